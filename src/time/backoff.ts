/** How long to wait before the next connection attempt: doubling, jittered so that replicas do not return in step. */
import type { Random } from './clock.js';

const FIRST_MS = 100;
const LAST_MS = 5_000;

/**
 * Milliseconds to wait after `failures` attempts in a row that came to nothing: up to 100 ms for the first, 5 s at
 * most.
 */
export function backoffMs(failures: number, random: Random): number {
  const ceilingMs = Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(failures, 10));
  return ceilingMs * (0.5 + random.uniform() / 2);
}
