/** Whose credential it is: what tokens and verified JWTs come to, as a pure function of the facts. */
import type { Facts } from '../coherence/facts/reader.js';
import type { Key } from '../coherence/signal.js';
import type { FactTypes, UserFact } from './facts.js';
import type { PresentedCredential } from './request/credential.js';
import type { JwtClaims } from './jwt/verifier.js';

/** Whose credential it is, or why it does not count. */
export type Holder =
  | { readonly userId: string }
  | { readonly refused: 'bad_credential' | 'expired_credential' }
  /** The subject of the JWT is seen for the first time: it has to be bound to the user whom it names. */
  | { readonly bind: JwtClaims };

/** Looks a fact up: null if it does not exist, undefined if it is not known. */
export type GetFact = <S extends keyof FactTypes>(topic: S, key: Key) => FactTypes[S] | null | undefined;

/** Whether a moment has come by Postgres' clock. @param timeMs milliseconds since 1970 */
export type HasCome = (timeMs: number) => boolean;

/** @param expiresAtMs null: never */
export function hasExpired(expiresAtMs: number | null, hasCome: HasCome): boolean {
  return expiresAtMs !== null && hasCome(expiresAtMs);
}

/**
 * Who holds tokens that came together, in cookies of one name; undefined if a fact is lacking. Any host of the domain
 * can have set one of them. So those that do not count are ignored, and if those that count are of two users, it is
 * nobody's.
 *
 * @param appId the app that is asked for; null: it is not known which
 */
export function holderOfTokens(
  hashes: readonly string[],
  appId: string | null,
  get: GetFact,
  hasCome: HasCome,
): Holder | undefined {
  let isLacking = false;
  let expired = false;
  let userId: string | null = null;
  let isAmbiguous = false;
  for (const hash of hashes) {
    const credential = get('credential', [hash]);
    if (credential === undefined) {
      isLacking = true;
    } else if (
      credential !== null &&
      !credential.revoked &&
      (credential.appId === null || appId === null || credential.appId === appId)
    ) {
      if (hasExpired(credential.expiresAtMs, hasCome)) {
        expired = true;
      } else {
        isAmbiguous ||= userId !== null && userId !== credential.userId;
        userId = credential.userId;
      }
    }
  }
  if (isLacking) {
    return undefined;
  }
  if (userId !== null && !isAmbiguous) {
    return { userId };
  }
  return { refused: userId === null && expired ? 'expired_credential' : 'bad_credential' };
}

/** Whom a verified JWT means; undefined if a fact is lacking. */
export function holderOfJwt(claims: JwtClaims, get: GetFact, hasCome: HasCome): Holder | undefined {
  const revoked = claims.jti === null ? null : get('revoked_jwt', [claims.jti]);
  const identity = claims.userId === null ? get('identity', [claims.issuer, claims.subject]) : claims;
  // Who has the name matters only for a subject that is not bound yet.
  const named = identity === null ? get('user_name', [claims.name]) : null;
  if (revoked === undefined || identity === undefined || named === undefined) {
    return undefined;
  }
  if (revoked !== null || !hasCome(claims.validFromMs)) {
    return { refused: 'bad_credential' };
  }
  if (hasCome(claims.validUntilMs)) {
    return { refused: 'expired_credential' };
  }
  if (identity === null) {
    return named === null ? { refused: 'bad_credential' } : { bind: claims };
  }
  return identity.userId === null ? { refused: 'bad_credential' } : { userId: identity.userId };
}

/**
 * Whether a JWT is young enough for its user. One that does not say when it was issued counts as issued before
 * everything.
 */
export function isIssuedInTime({ issuedAtMs }: JwtClaims, { jwtNotBeforeMs }: UserFact): boolean {
  return jwtNotBeforeMs === null || (issuedAtMs !== null && issuedAtMs >= jwtNotBeforeMs);
}

/** Who presents a credential that memory knows to be good; null: nobody, or it would have to be asked for. */
export function knownHolder(presented: PresentedCredential, facts: Facts<FactTypes>): string | null {
  const get: GetFact = (topic, key) => facts.get(topic, key);
  const hasCome: HasCome = timeMs => facts.hasCome(timeMs);
  const holder =
    presented.kind === 'token'
      ? holderOfTokens(presented.hashes, null, get, hasCome)
      : presented.kind === 'jwt'
        ? holderOfJwt(presented, get, hasCome)
        : undefined;
  return holder !== undefined && 'userId' in holder ? holder.userId : null;
}
