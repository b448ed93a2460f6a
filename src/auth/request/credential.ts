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
export interface CredentialReader {
  read(headers: SingleHeaders): PresentedCredential;
  /** All that it is read from, as one text: the same text always is the same credential. */
  text(headers: SingleHeaders): string;
}

const BEARER = /^bearer +(\S+) *$/i;
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

/** @param jwt null: JWTs are somebody else's bearers */
export function createCredentialReader(
  cookieName: string,
  jwt: Pick<JwtVerifier, 'present'> | null = null,
): CredentialReader {
  const present = (token: string): PresentedCredential =>
    isWellFormedToken(token) ? { kind: 'token', hashes: [hashToken(token)] } : BAD;

  const read = (headers: SingleHeaders): PresentedCredential => {
    // A bearer of our form wins; else the cookie; a foreign bearer is the app's own business where there is a cookie.
    const authorization = headers.get('authorization');
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
    const [token, ...others] = new Set(values.filter(isWellFormedToken));
    if (token === undefined || others.length >= COOKIES_MAX) {
      return BAD;
    }
    return { kind: 'token', hashes: [token, ...others].map(hashToken) };
  };

  return {
    read,
    text(headers) {
      const authorization = headers.get('authorization');
      let cookies = '';
      for (const value of cookieValues(headers.get('cookie'), cookieName)) {
        // No value holds a semicolon; with one before each, a cookie without a value differs from no cookie.
        cookies += `;${value}`;
      }
      return authorization === undefined ? cookies : `${authorization}\n${cookies}`;
    },
  };
}
