/**
 * Who asks Postgres in vain too often may not ask it for a while: a flood of made-up tokens and hosts then costs a few queries a second,
 * and real users wait for nobody. A token bucket a source. What memory can answer is never limited, and nobody's bucket is another's: a
 * limiter that all share locks everyone out (CVE-2026-77561).
 */
import { performance } from 'node:perf_hooks';

/** See the head of the file. */
export interface SourceLimiter {
  /** Whether this source may not ask now. */
  isExhausted(source: string): boolean;
  /** It has asked in vain. */
  charge(source: string): void;
}

/** Bounds of a limiter. */
export interface SourceLimits {
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
}

/** Creates a limiter that nobody has been charged by. */
export function createSourceLimiter({
  burst = 200,
  perSecond = 20,
  sourcesMax = 10_000,
  nowMs = () => performance.now(),
}: SourceLimits = {}): SourceLimiter {
  /** Those charged last stand last. */
  const buckets = new Map<string, Bucket>();

  const leftOf = ({ left, atMs }: Bucket, now: number): number =>
    Math.min(burst, left + ((now - atMs) / 1_000) * perSecond);

  return {
    isExhausted(source) {
      const bucket = buckets.get(source);
      return bucket !== undefined && leftOf(bucket, nowMs()) < 1;
    },
    charge(source) {
      const now = nowMs();
      const bucket = buckets.get(source);
      const left = bucket === undefined ? burst : leftOf(bucket, now);
      buckets.delete(source);
      const oldest = buckets.keys().next();
      if (buckets.size >= sourcesMax && oldest.done !== true) {
        buckets.delete(oldest.value);
      }
      buckets.set(source, { left: Math.max(0, left - 1), atMs: now });
    },
  };
}
