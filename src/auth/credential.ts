/**
 * What the client presents: a token or a JWT in the Authorization header, or a token in the session cookie. A public route never looks at it.
 */
import type { SingleHeaders } from './headers.js';
import type { JwtPresented, JwtVerifier } from './jwt.js';
import { hashToken, isWellFormedToken, looksLikeToken } from './token.js';

/** What was presented; of a token, the hash alone; of a JWT, what it says once it is verified. */
export type PresentedCredential =
  | { readonly kind: 'none' }
  | { readonly kind: 'bad' }
  | { readonly kind: 'token'; readonly hash: string }
  | JwtPresented;

/** Reads it from the headers. */
export type ReadCredential = (headers: SingleHeaders) => PresentedCredential;

/** As nearly everybody writes it before a JWT. */
const BEARER_OF_JWT = 'Bearer ey';
const BEARER = /^bearer +(\S+) *$/i;
/** Tokens whose checksum and hash are remembered: computing them takes longer than all the rest of a decision. */
const TOKENS_MAX = 1_000;
const NONE: PresentedCredential = { kind: 'none' };
const BAD: PresentedCredential = { kind: 'bad' };

const unquote = (value: string): string =>
  value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;

/** The value of every cookie of that name, unquoted; null if there is none, undefined if there are several that differ. */
function readCookie(header: string, name: string): string | null | undefined {
  let found: string | null = null;
  for (let from = 0; from < header.length;) {
    const semicolon = header.indexOf(';', from);
    const end = semicolon === -1 ? header.length : semicolon;
    const pair = header.slice(from, end);
    const equals = pair.indexOf('=');
    if (equals !== -1 && pair.slice(0, equals).trim() === name) {
      const value = unquote(pair.slice(equals + 1).trim());
      if (found !== null && found !== value) {
        return undefined;
      }
      found = value;
    }
    from = end + 1;
  }
  return found;
}

/** The client's headers that may carry a credential. */
export interface CredentialHeaders {
  readonly cookie: string;
  readonly authorization: string;
}

/** What the client sent besides the gate's own credential; empty where nothing is left. */
export function withoutCredential(
  headers: SingleHeaders,
  cookieName: string,
  jwt: Pick<JwtVerifier, 'present'> | null = null,
): CredentialHeaders {
  const authorization = headers.get('authorization') ?? '';
  // In whatever place: a header that is malformed is no credential here, but what is in it is one.
  const isOurs = (word: string): boolean => looksLikeToken(word) || (jwt !== null && jwt.present(word) !== null);
  return {
    cookie: (headers.get('cookie') ?? '')
      .split(';')
      .filter(pair => pair.trim() !== '' && pair.split('=', 1)[0]!.trim() !== cookieName)
      .map(pair => pair.trim())
      .join('; '),
    authorization: authorization.split(/[\s,;="]+/).some(isOurs) ? '' : authorization,
  };
}

/**
 * Creates a reader. It remembers tokens that are well formed, in plain text, as Node's own buffers hold them for a while.
 *
 * @param jwt null: JWTs are somebody else's bearers
 */
export function createCredentialReader(
  cookieName: string,
  jwt: Pick<JwtVerifier, 'present' | 'recall'> | null = null,
): ReadCredential {
  const presented = new Map<string, PresentedCredential>();

  const present = (token: string): PresentedCredential => {
    const known = presented.get(token);
    if (known !== undefined) {
      return known;
    }
    if (!isWellFormedToken(token)) {
      return BAD;
    }
    const fresh: PresentedCredential = { kind: 'token', hash: hashToken(token) };
    if (presented.size >= TOKENS_MAX) {
      presented.clear();
    }
    presented.set(token, fresh);
    return fresh;
  };

  return headers => {
    // A bearer of our form wins; else the cookie; a foreign bearer is the app's own business where there is a cookie.
    const authorization = headers.get('authorization');
    if (jwt !== null && authorization?.startsWith(BEARER_OF_JWT) === true) {
      // Without the pattern, which takes longer over a JWT than all the rest.
      const known = jwt.recall(authorization.slice('Bearer '.length));
      if (known !== undefined) {
        return known;
      }
    }
    const bearer = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
    if (bearer !== undefined && looksLikeToken(bearer)) {
      return present(bearer);
    }
    const claimed = jwt === null || bearer === undefined ? null : jwt.present(bearer);
    if (claimed !== null) {
      return claimed;
    }
    const header = headers.get('cookie');
    const cookie = header === undefined ? null : readCookie(header, cookieName);
    if (cookie === null) {
      return bearer === undefined ? NONE : BAD;
    }
    // Two cookies of one name come from two hosts of one domain: neither is to be preferred.
    return cookie === undefined ? BAD : present(cookie);
  };
}
