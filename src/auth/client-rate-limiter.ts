/**
 * Who asks Postgres in vain too often may not ask it for a while: a flood of made-up tokens and hosts then costs a few queries a second,
 * and real users wait for nobody. A token bucket a source. What memory can answer is never limited, and nobody's bucket is another's: a
 * limiter that all share locks everyone out (CVE-2026-77561).
 *
 * Whoever has asked in vain lately pays before, and gets back what was not in vain: else all that are under way at once would pass for the
 * price of one. Whoever has not, pays nothing: an office whose replica has just started is no flood.
 */
import { performance } from 'node:perf_hooks';

/** A question that is under way. */
export interface Question {
  /** It has come back. */
  settle(wasNegativeLookup: boolean): void;
}

export interface ClientRateLimiter {
  /** Lets this source ask; null: it may not now. */
  admit(source: string): Question | null;
}

/** Bounds of a limiter. */
export interface ClientRateLimits {
  /** Questions in vain at once. Default 200: a page that was signed out asks dozens. */
  readonly burst?: number;
  /** Questions in vain in the long run. Default 20. */
  readonly perSecond?: number;
  /** Sources that are remembered; the one that was charged longest ago makes way. Default 10,000. */
  readonly sourcesMax?: number;
  /** Milliseconds that only go forward. */
  readonly nowMs?: () => number;
}

interface Bucket {
  left: number;
  atMs: number;
  /** Questions under way that have been paid for. */
  underWay: number;
}

/** Creates a limiter that nobody has been charged by. */
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
        settle(wasNegativeLookup) {
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
