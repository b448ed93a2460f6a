/**
 * JSON Web Tokens of one issuer (RFC 7519, with the counsel of RFC 8725). A token is verified once, then remembered by
 * what it says; no request after that costs a signature. What may change is asked anew for each decision, from facts:
 * expiry by Postgres' clock, the user, revocation (`decide.ts`).
 *
 * The verdict of a token holds as long as the keys that could have signed it: when one of those leaves the key set, the
 * token is verified again. Forgeries have a room of their own, so that a flood of them cannot push genuine tokens out;
 * how many may be under verification at once is bounded.
 */
import { hash } from 'node:crypto';
import { errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions } from 'jose';
import type { Clock, Random } from '../../time/clock.js';
import { createSieveMap, type SieveNode } from '../../collections/sieve-map.js';
import { createJwks, type Jwks, type JwksObservation, type JwksOptions, type KeysLeft } from './jwks.js';
import type { JwtAlgorithm, JwtKey } from './key.js';

/** What a verified token says. Times in milliseconds since 1970. */
export interface JwtClaims {
  readonly kind: 'jwt';
  readonly issuer: string;
  /** Whom it is about; the issuer promises that it stays the same person's or program's. */
  readonly subject: string;
  /** The name of a user; asked only when the subject is seen for the first time. */
  readonly name: string;
  /** The user whom the subject was just bound to; null: the facts say which. */
  readonly userId: string | null;
  /** Its id; null if it has none, so that it can be revoked only with all of its user's. */
  readonly jti: string | null;
  /** When it was issued at the earliest, as the issuer's clock may be ahead by the leeway; null if it does not say. */
  readonly issuedAtMs: number | null;
  /** The first and the last moment of its validity, leeway included. */
  readonly validFromMs: number;
  readonly validUntilMs: number;
}

/** What a token turned out to be. */
export type JwtVerdict = JwtClaims | { readonly kind: 'bad' };

/** What is known of a bearer before anything is verified. */
export type JwtPresented = JwtVerdict | { readonly kind: 'unverified'; readonly token: string };

/** How a verification ended. */
export const JWT_RESULTS = ['valid', 'invalid', 'unknown_key', 'no_keys', 'busy'] as const;

/** What is observed while JWTs are verified. */
export type JwtObservation =
  JwksObservation | { readonly event: 'jwt_verified'; readonly result: (typeof JWT_RESULTS)[number] };

/** What verifies signatures: one key, or a key set. */
export type JwtVerificationKeys =
  | { readonly source: 'key'; readonly key: JwtKey }
  | ({ readonly source: 'jwks'; readonly algorithms: readonly JwtAlgorithm[] } & Pick<
      JwksOptions,
      'fetchText' | 'refreshMs'
    >);

/** What a verifier needs. */
export interface JwtVerifierOptions {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly keys: JwtVerificationKeys;
  /** The claim whose text is the name of a user. */
  readonly claim: string;
  readonly leewayMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly observe: (observation: JwtObservation) => void;
}

export interface JwtVerifier {
  /** Grows whenever what is known of some bearer may have changed because keys have. */
  readonly keysVersion: number;
  /** What is known of a bearer; null if it is no JWT of our issuer. */
  present(bearer: string): JwtPresented | null;
  /** Verifies a token; null if that cannot be done now. Never rejects. */
  verify(token: string): Promise<JwtVerdict | null>;
  /** Begins to fetch keys, if there is a key set. */
  start(): void;
  stop(): void;
}

const TOKEN_CHARACTERS_MAX = 8_192;
const FORM = /^ey[\w-]*\.([\w-]+)\.[\w-]*$/;
/** Tokens that are remembered by their hash. */
const GOOD_MAX = 100_000;
const BAD_MAX = 1_000;
/** A verification takes about a tenth of a millisecond of one of four threads: so many are done in some 50 ms. */
const VERIFYING_MAX = 1_000;
/** Keys that are tried for a token that names none; each is a verification, and anyone can send such a token. */
const CANDIDATES_MAX = 16;
/** Seconds: jose's own look at the time is left to the decision, where the time is Postgres'. */
const ANY_TIME = Number.MAX_SAFE_INTEGER;
/** Kinds of tokens that are given to be shown to others; a logout or event token is none. */
const TYPES = new Set(['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt']);
/** As the checks of the tables say. */
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;
const NAME_CHARACTERS_MAX = 200;
/** OpenID Connect Core 1.0, 2: a subject is at most 255 characters. */
const SUBJECT_CHARACTERS_MAX = 255;
const JTI = /^[\x20-\x7e]{1,255}$/;
const BAD: JwtVerdict = { kind: 'bad' };

/** A verdict as it is remembered. */
interface Remembered extends SieveNode<Remembered> {
  readonly verdict: JwtVerdict;
  /** The key id that the token names, if it does. */
  readonly keyId: string | null;
}

/** The issuer that a token names; not verified. */
function claimedIssuer(payload: string): unknown {
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    return typeof claims === 'object' && claims !== null && 'iss' in claims ? claims.iss : undefined;
  } catch {
    return undefined;
  }
}

/** One line of text, as the tables have names and subjects; null if it cannot be one. */
function parseLabel(value: unknown, charactersMax: number): string | null {
  return typeof value === 'string' &&
    value !== '' &&
    !value.startsWith(' ') &&
    !value.endsWith(' ') &&
    Array.from(value).length <= charactersMax &&
    !CONTROL.test(value) &&
    // No half of a surrogate pair.
    Buffer.from(value, 'utf8').toString('utf8') === value
    ? value
    : null;
}

/** A time in milliseconds; undefined if the claim is there and is none. JSON can say 1e999. */
function parseTime(value: unknown): number | null | undefined {
  if (value === undefined) {
    return null;
  }
  return typeof value === 'number' && Number.isFinite(value * 1_000) ? value * 1_000 : undefined;
}

/** Creates a verifier that knows nothing yet. */
export function createJwtVerifier(options: JwtVerifierOptions): JwtVerifier {
  const { issuer, claim, leewayMs, keys, clock, random, observe } = options;
  /** All that is in the room of good ones. */
  const held = new Set<Remembered>();
  const good = createSieveMap<Remembered>(GOOD_MAX, guest => held.delete(guest));
  const bad = createSieveMap<Remembered>(BAD_MAX, () => undefined);
  const verifying = new Map<string, Promise<JwtVerdict | null>>();
  /** Grows when the keys change: what began before is not remembered. */
  let generation = 0;

  const onKeysChanged = (left: KeysLeft): void => {
    generation += 1;
    // A key that was unknown may be known now.
    bad.clear();
    if (left.any) {
      // Whichever key has verified a token, it was one of those with the id that it names; without an id it may have
      // been any.
      for (const guest of held) {
        if (guest.keyId === null || left.ids.has(guest.keyId)) {
          good.delete(guest.text);
          held.delete(guest);
        }
      }
    }
  };

  const jwks: Jwks | null =
    keys.source === 'jwks'
      ? createJwks({
          fetchText: keys.fetchText,
          refreshMs: keys.refreshMs,
          clock,
          random,
          onChange: onKeysChanged,
          observe,
        })
      : null;
  const verifyOptions: JWTVerifyOptions = {
    algorithms: keys.source === 'key' ? [keys.key.algorithm] : [...keys.algorithms],
    issuer,
    audience: [...options.audiences],
    requiredClaims: ['exp', 'sub', claim],
    clockTolerance: ANY_TIME,
  };

  /** What verified claims come to; null if they are not as they must be. */
  const readClaims = (payload: JWTPayload): JwtClaims | null => {
    const name = parseLabel(payload[claim], NAME_CHARACTERS_MAX);
    const subject = parseLabel(payload.sub, SUBJECT_CHARACTERS_MAX);
    const jti: unknown = payload.jti ?? null;
    const expiresAtMs = parseTime(payload.exp);
    const notBeforeMs = parseTime(payload.nbf);
    const issuedAtMs = parseTime(payload.iat);
    if (
      name === null ||
      subject === null ||
      // Of an email address it is believed only that the issuer has made sure of it: people can say of themselves what
      // they like.
      (claim === 'email' && payload['email_verified'] !== true) ||
      expiresAtMs === null ||
      expiresAtMs === undefined ||
      notBeforeMs === undefined ||
      issuedAtMs === undefined ||
      // One that cannot be revoked by its id, though it has one, is not accepted.
      (jti !== null && (typeof jti !== 'string' || !JTI.test(jti)))
    ) {
      return null;
    }
    return {
      kind: 'jwt',
      issuer,
      subject,
      name,
      userId: null,
      jti,
      issuedAtMs: issuedAtMs === null ? null : issuedAtMs - leewayMs,
      validFromMs: Math.max(notBeforeMs ?? -Infinity, issuedAtMs ?? -Infinity) - leewayMs,
      validUntilMs: expiresAtMs + leewayMs,
    };
  };

  /** Tries the key that the token names, or all that it may mean. */
  const verifyWith = async (token: string, key: JwtKey['key'] | JWTVerifyGetKey): ReturnType<typeof jwtVerify> => {
    try {
      return await (typeof key === 'function'
        ? jwtVerify(token, key, verifyOptions)
        : jwtVerify(token, key, verifyOptions));
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) {
        throw error;
      }
      let tried = 0;
      for await (const candidate of error) {
        tried += 1;
        if (tried > CANDIDATES_MAX) {
          break;
        }
        try {
          return await jwtVerify(token, candidate, verifyOptions);
        } catch (failure) {
          if (!(failure instanceof errors.JWSSignatureVerificationFailed)) {
            throw failure;
          }
        }
      }
      throw new errors.JWSSignatureVerificationFailed();
    }
  };

  const remember = (text: string, verdict: JwtVerdict, keyId: string | null): void => {
    const guest: Remembered = { text, verdict, keyId, used: false, older: null, newer: null };
    if (verdict.kind === 'jwt') {
      good.set(guest);
      held.add(guest);
    } else {
      bad.set(guest);
    }
  };

  const examine = async (token: string, text: string): Promise<JwtVerdict | null> => {
    const key = jwks === null ? (keys.source === 'key' ? keys.key.key : null) : jwks.getKey;
    if (key === null) {
      observe({ event: 'jwt_verified', result: 'no_keys' });
      return null;
    }
    const began = generation;
    let verdict: JwtVerdict = BAD;
    let keyId: string | null = null;
    let isKeyUnknown = false;
    try {
      const { payload, protectedHeader } = await verifyWith(token, key);
      keyId = typeof protectedHeader.kid === 'string' ? protectedHeader.kid : null;
      if (protectedHeader.typ === undefined || TYPES.has(protectedHeader.typ.toLowerCase())) {
        verdict = readClaims(payload) ?? BAD;
      }
    } catch (error) {
      // Whatever it is that cannot be read or believed, the client has sent it.
      isKeyUnknown = error instanceof errors.JWKSNoMatchingKey;
    }
    if (began !== generation) {
      return examine(token, text);
    }
    if (isKeyUnknown) {
      jwks?.askForRefresh();
    }
    remember(text, verdict, keyId);
    observe({
      event: 'jwt_verified',
      result: isKeyUnknown ? 'unknown_key' : verdict.kind === 'jwt' ? 'valid' : 'invalid',
    });
    return verdict;
  };

  const hashOf = (token: string): string => hash('sha256', token, 'base64');

  return {
    get keysVersion() {
      return generation;
    },
    present(bearer) {
      const payload = bearer.length > TOKEN_CHARACTERS_MAX ? undefined : FORM.exec(bearer)?.[1];
      if (payload === undefined || claimedIssuer(payload) !== issuer) {
        return null;
      }
      const text = hashOf(bearer);
      const remembered = good.get(text) ?? bad.get(text);
      if (remembered === undefined) {
        return { kind: 'unverified', token: bearer };
      }
      remembered.used = true;
      return remembered.verdict;
    },
    async verify(token) {
      const text = hashOf(token);
      const remembered = good.get(text) ?? bad.get(text);
      if (remembered !== undefined) {
        return remembered.verdict;
      }
      const underWay = verifying.get(text);
      if (underWay !== undefined) {
        return underWay;
      }
      if (verifying.size >= VERIFYING_MAX) {
        observe({ event: 'jwt_verified', result: 'busy' });
        return null;
      }
      const verdict = examine(token, text).finally(() => verifying.delete(text));
      verifying.set(text, verdict);
      return verdict;
    },
    start() {
      jwks?.start();
    },
    stop() {
      jwks?.stop();
    },
  };
}
