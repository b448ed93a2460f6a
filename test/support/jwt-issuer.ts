/** Somebody who issues JWTs: keys of every algorithm, and tokens with whatever header and claims a test wants. */
import { generateKeyPairSync, randomBytes, sign, createHmac, type JsonWebKey, type KeyObject } from 'node:crypto';
import type { JwtAlgorithm } from '../../src/auth/jwt/key.js';

export const ISSUER = 'https://issuer.test/';
export const AUDIENCE = 'gatebell.test';

/** A key that signs. */
export interface SigningKey {
  readonly algorithm: JwtAlgorithm;
  readonly kid: string;
  /** As it is published; of a shared secret, the secret. */
  readonly jwk: JsonWebKey & { readonly kid: string };
  /** PEM; of a shared secret, the secret. */
  readonly text: string;
  sign(data: string): Buffer;
}

const ASYMMETRIC: Readonly<
  Record<Exclude<JwtAlgorithm, 'HS256'>, () => { publicKey: KeyObject; privateKey: KeyObject }>
> = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

/** Makes a key. */
export function createSigningKey(algorithm: JwtAlgorithm, kid = 'key-1'): SigningKey {
  if (algorithm === 'HS256') {
    const text = randomBytes(32).toString('base64url');
    const k = Buffer.from(text).toString('base64url');
    return {
      algorithm,
      kid,
      jwk: { kty: 'oct', k, kid },
      text,
      sign: data => createHmac('sha256', text).update(data).digest(),
    };
  }
  const { publicKey, privateKey } = ASYMMETRIC[algorithm]();
  return {
    algorithm,
    kid,
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' },
    text: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    sign: data =>
      sign(algorithm === 'EdDSA' ? null : 'sha256', Buffer.from(data), {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
      }),
  };
}

export const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** What a good token says: alice's, valid for an hour. */
export function goodClaims(nowMs: number): Readonly<Record<string, unknown>> {
  const now = Math.floor(nowMs / 1_000);
  return { iss: ISSUER, aud: AUDIENCE, sub: 'alice', iat: now, exp: now + 3_600, jti: 'token-1' };
}

/** Signs a token. Header and claims may be texts, to say what `JSON.stringify` would not. */
export function issue(key: SigningKey, claims: unknown, header: unknown = {}): string {
  const full =
    typeof header === 'string' ? header : { alg: key.algorithm, typ: 'JWT', kid: key.kid, ...(header as object) };
  const data = `${encode(full)}.${encode(claims)}`;
  return `${data}.${key.sign(data).toString('base64url')}`;
}
