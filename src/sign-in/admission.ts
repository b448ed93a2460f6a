/**
 * Who may ask the pages of sign-in, and how much at once: they ask Postgres and the provider for anybody who comes.
 * A lookup that finds nothing is charged to its client, as it is where decisions are made, and no client can take all
 * places.
 */
import type { BlockList } from 'node:net';
import { clientNetwork } from '../auth/request/client-address.js';
import type { SingleHeaders } from '../auth/request/headers.js';
import type { ClientRateLimiter } from '../auth/client-rate-limiter.js';
import { SignInRefused } from './refusal.js';

/** One request that has been let in. */
export interface Visit {
  /** It was answered. */
  leave(wasNegativeLookup: boolean): void;
}

export interface Admission {
  /** @throws SignInRefused if too many are in, or its client has had too many misses */
  enter(headers: SingleHeaders): Visit;
}

/** Bounds of what is under way at once. */
export interface AdmissionLimits {
  readonly visitsMax: number;
  /** Of one client; those whose address the proxy does not send share one bound. */
  readonly visitsOfSourceMax: number;
}

const overloaded = (): SignInRefused => new SignInRefused('overloaded');

/** Creates an admission that nobody has asked yet. */
export function createAdmission(
  limiter: ClientRateLimiter,
  trustedProxies: BlockList,
  { visitsMax, visitsOfSourceMax }: AdmissionLimits,
): Admission {
  const ofSource = new Map<string, number>();
  let visits = 0;

  return {
    enter(headers) {
      const source = clientNetwork(headers, 'x-forwarded-for', trustedProxies);
      const known = source === null ? 0 : (ofSource.get(source) ?? 0);
      if (visits >= visitsMax || known >= visitsOfSourceMax) {
        throw overloaded();
      }
      const permit = source === null ? null : limiter.admit(source);
      if (source !== null && permit === null) {
        throw overloaded();
      }
      visits += 1;
      if (source !== null) {
        ofSource.set(source, known + 1);
      }
      return {
        leave(wasNegativeLookup) {
          visits -= 1;
          permit?.release(wasNegativeLookup);
          if (source !== null) {
            const left = (ofSource.get(source) ?? 1) - 1;
            if (left === 0) {
              ofSource.delete(source);
            } else {
              ofSource.set(source, left);
            }
          }
        },
      };
    },
  };
}
