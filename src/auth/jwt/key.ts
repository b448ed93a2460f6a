/**
 * The one key of an issuer that publishes no key set: a public key as PEM or JWK, or a shared secret for HS256. A key
 * belongs to one algorithm and is never tried with another: a public key that is taken for a shared secret lets anybody
 * sign (CVE-2015-9235).
 */
import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto';

/** The algorithms that a signature may be made with. */
export const JWT_ALGORITHMS = ['HS256', 'RS256', 'ES256', 'EdDSA'] as const;

/** One of {@link JWT_ALGORITHMS}. */
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

/** A key, and the algorithm that it is for. */
export interface JwtKey {
  readonly key: KeyObject;
  readonly algorithm: JwtAlgorithm;
}

/** A shared secret that is shorter can be guessed from one token (RFC 7518, 3.2). */
const SECRET_BYTES_MIN = 32;
const RSA_BITS_MIN = 2_048;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The algorithm that a public key is for; null if it is none that is known here, or too weak. */
function algorithmOf(key: KeyObject): JwtAlgorithm | null {
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return (key.asymmetricKeyDetails?.modulusLength ?? 0) >= RSA_BITS_MIN ? 'RS256' : null;
    case 'ec':
      return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'ES256' : null;
    case 'ed25519':
      return 'EdDSA';
    default:
      return null;
  }
}

function publicKey(read: () => KeyObject): JwtKey | null {
  let key: KeyObject;
  try {
    key = read();
  } catch {
    return null;
  }
  const algorithm = algorithmOf(key);
  return algorithm === null ? null : { key, algorithm };
}

function secretKey(bytes: Buffer): JwtKey | null {
  return bytes.length < SECRET_BYTES_MIN ? null : { key: createSecretKey(bytes), algorithm: 'HS256' };
}

function jwkKey(jwk: Readonly<Record<string, unknown>>): JwtKey | null {
  if (jwk['kty'] === 'oct') {
    return typeof jwk['k'] === 'string' ? secretKey(Buffer.from(jwk['k'], 'base64url')) : null;
  }
  // A private key has no business here; whoever holds it can sign.
  return 'd' in jwk ? null : publicKey(() => createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' }));
}

/** What a text must be to be a key; told when it is none. */
export const JWT_KEY_FORMS =
  'a public key as PEM or JWK (RSA of at least 2048 bits, P-256 or Ed25519), or for HS256 a secret of at least ' +
  '32 bytes';

/** Reads a key; null if it is none, or too weak. */
export function parseJwtKey(text: string): JwtKey | null {
  if (text.includes('-----BEGIN')) {
    return text.includes('PUBLIC KEY-----') && !text.includes('PRIVATE')
      ? publicKey(() => createPublicKey(text))
      : null;
  }
  const json = parseJson(text);
  return isObject(json) ? jwkKey(json) : secretKey(Buffer.from(text, 'utf8'));
}
