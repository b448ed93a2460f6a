/**
 * Limits negative lookups per client: questions to Postgres about what does not exist. A flood of made-up tokens and
 * hosts then costs a few queries per second, and real users do not wait for it. Each client has a token bucket of its
 * own, since a limiter that all clients share locks everyone out (CVE-2026-77561). What memory can answer is never
 * limited. Paths that take much work are charged to the same bucket.
 *
 * A client with recent misses reserves a token before its lookup and gets it back if the key exists. Otherwise many
 * lookups at once would cost one token. A client without misses pays nothing: an office whose replica has just started
 * is not a flood.
 */
import { performance } from 'node:perf_hooks';

/** A permit that is under way. */
export interface Permit {
  /** The lookup has ended; a negative one is charged. */
  release(wasNegativeLookup: boolean): void;
}

export interface ClientRateLimiter {
  /** Returns a permit, or null if this client has used up its tokens. */
  admit(source: string): Permit | null;
}

/** Bounds of a limiter. */
export interface ClientRateLimits {
  /** Negative lookups in a burst. Default 200: a page whose session has ended sends dozens of requests. */
  readonly burst?: number;
  /** Negative lookups per second in the long run. Default 20. */
  readonly perSecond?: number;
  /** Clients that are remembered; the one charged longest ago is evicted. Default 10,000. */
  readonly sourcesMax?: number;
  /** Milliseconds that only go forward. */
  readonly nowMs?: () => number;
}

interface Bucket {
  left: number;
  atMs: number;
  /** Lookups under way that have reserved a token. */
  underWay: number;
}

/** Creates a limiter in which all buckets are full. */
export function createClientRateLimiter({
  burst = 200,
  perSecond = 20,
  sourcesMax = 10_000,
  nowMs = () => performance.now(),
}: ClientRateLimits = {}): ClientRateLimiter {
  /** Those charged last stand last. */
  const buckets = new Map<string, Bucket>();

  const leftOf = ({ left, atMs }: Bucket, now: number): number =>
    Math.min(burst, left + ((now - atMs) / 1_000) * perSecond);

  const charge = (source: string): void => {
    const now = nowMs();
    const bucket = buckets.get(source) ?? { left: burst, atMs: now, underWay: 0 };
    bucket.left = Math.max(0, leftOf(bucket, now) - 1);
    bucket.atMs = now;
    buckets.delete(source);
    const oldest = buckets.keys().next();
    if (buckets.size >= sourcesMax && oldest.done !== true) {
      buckets.delete(oldest.value);
    }
    buckets.set(source, bucket);
  };

  return {
    admit(source) {
      const bucket = buckets.get(source);
      if (bucket !== undefined) {
        const left = leftOf(bucket, nowMs());
        if (left < burst && left - bucket.underWay < 1) {
          return null;
        }
        bucket.underWay += 1;
      }
      return {
        release(wasNegativeLookup) {
          if (bucket !== undefined) {
            bucket.underWay -= 1;
          }
          if (wasNegativeLookup) {
            charge(source);
          }
        },
      };
    },
  };
}
