/**
 * What the client presents: a token or a JWT in the Authorization header, or a token in the session cookie. A public
 * route never looks at it.
 */
import { cookieValues, withoutCookies } from './cookies.js';
import type { SingleHeaders } from './headers.js';
import type { JwtPresented, JwtVerifier } from '../jwt/verifier.js';
import { hashToken, isWellFormedToken, looksLikeToken } from '../token.js';

/** What was presented; of tokens, the hashes alone; of a JWT, what it says once it is verified. */
export type PresentedCredential =
  | { readonly kind: 'none' }
  | { readonly kind: 'bad' }
  /** Several only from cookies of one name: each host of a domain can have set one. */
  | { readonly kind: 'token'; readonly hashes: readonly string[] }
  | JwtPresented;

/** Reads it from the headers. */
export type ReadCredential = (headers: SingleHeaders) => PresentedCredential;

/** As nearly everybody writes it before a JWT. */
const BEARER_OF_JWT = 'Bearer ey';
const BEARER = /^bearer +(\S+) *$/i;
/** Tokens whose checksum and hash are remembered: computing them takes longer than all the rest of a decision. */
const TOKENS_MAX = 1_000;
/**
 * Different tokens in cookies of our name that are looked up: that of the host, and a few that other hosts of the
 * domain have set.
 */
const COOKIES_MAX = 4;
/**
 * Words of an Authorization header that may be a token or a JWT. Tried at the head of a word alone, it takes linear
 * time.
 */
const CLAIMED = /(?<![^\s,;="])(?:gb_[^\s,;="]*|ey[\w-]*\.[^\s,;="]*)/g;
/** JWTs in one Authorization header that are looked at. */
const JWTS_MAX = 4;
const NONE: PresentedCredential = { kind: 'none' };
const BAD: PresentedCredential = { kind: 'bad' };

/** The client's headers that may carry a credential. */
export interface CredentialHeaders {
  readonly cookie: string;
  readonly authorization: string;
}

/**
 * Whether a credential of ours is in the header, in whatever place: a header that is malformed is no credential, but
 * what is in it is one. A header with more JWTs than anybody needs is taken for ours: each would have to be decoded.
 */
function holdsOurs(authorization: string, jwt: Pick<JwtVerifier, 'present'> | null): boolean {
  let looked = 0;
  for (const [word] of authorization.matchAll(CLAIMED)) {
    if (looksLikeToken(word)) {
      return true;
    }
    if (jwt !== null && (++looked > JWTS_MAX || jwt.present(word) !== null)) {
      return true;
    }
  }
  return false;
}

/** What the client sent besides the gate's own credential; empty where nothing is left. */
export function withoutCredential(
  headers: SingleHeaders,
  cookieName: string,
  jwt: Pick<JwtVerifier, 'present'> | null = null,
): CredentialHeaders {
  const authorization = headers.get('authorization') ?? '';
  return {
    cookie: withoutCookies(headers.get('cookie'), cookieName),
    authorization: holdsOurs(authorization, jwt) ? '' : authorization,
  };
}

/**
 * Creates a reader. It remembers tokens that are well formed, in plain text, as Node's own buffers hold them for a
 * while.
 *
 * @param jwt null: JWTs are somebody else's bearers
 */
export function createCredentialReader(
  cookieName: string,
  jwt: Pick<JwtVerifier, 'present' | 'recall'> | null = null,
): ReadCredential {
  const presented = new Map<string, PresentedCredential>();

  const isToken = (value: string): boolean => presented.has(value) || isWellFormedToken(value);

  const present = (token: string): PresentedCredential => {
    const known = presented.get(token);
    if (known !== undefined) {
      return known;
    }
    if (!isWellFormedToken(token)) {
      return BAD;
    }
    const fresh: PresentedCredential = { kind: 'token', hashes: [hashToken(token)] };
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
    const values = cookieValues(headers.get('cookie'), cookieName);
    if (values.length === 0) {
      return bearer === undefined ? NONE : BAD;
    }
    if (values.length === 1) {
      return present(values[0]!);
    }
    // Any host of the domain can have set a cookie of our name: what is not even a token must not hide the one that is.
    const [token, ...others] = new Set(values.filter(isToken));
    if (token === undefined || others.length >= COOKIES_MAX) {
      return BAD;
    }
    return others.length === 0 ? present(token) : { kind: 'token', hashes: [token, ...others].map(hashToken) };
  };
}
