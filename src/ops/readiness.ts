/**
 * Whether a replica can decide, which is what a proxy has to know. With a proven lease it can, from memory. Without one
 * it reads Postgres for every decision: then it asks for one fact on the same way as decisions do. So a fault that hits
 * LISTEN alone, on all replicas at once, takes none of them away.
 */
import { UnavailableError } from '../coherence/errors.js';
import type { ListenerState } from '../coherence/observation.js';

/** What readiness depends on. */
export interface ReadinessDeps {
  readonly state: () => ListenerState;
  /** Asks for one fact as a decision does. Throws or rejects when it cannot be read. */
  readonly probe: () => unknown;
  readonly nowMs: () => number;
  /** Resolves after some milliseconds. Default: a timer. */
  readonly sleep: (ms: number) => Promise<void>;
}

/** How old an outcome may be before it is checked again. */
const FRESH_MS = 500;
/**
 * How long a check waits for an outcome before it answers with the last one. Less than proxies wait for their check.
 */
const WAIT_MS = 300;
/** A probe that takes longer has failed: proxies wait no longer for a decision. */
const OVERDUE_MS = 5_000;

/** Creates the check; it resolves with whether the replica can decide now, within 300 ms. */
export function createReadiness({ state, probe, nowMs, sleep }: ReadinessDeps): () => Promise<boolean> {
  /** The last that was known; nothing at the beginning. */
  let canDecide = false;
  let endedMs = -Infinity;
  let running: { readonly startedMs: number; readonly ended: Promise<void> } | null = null;

  const settle = (outcome: boolean): void => {
    canDecide = outcome;
    endedMs = nowMs();
    running = null;
  };
  const start = (): NonNullable<typeof running> => {
    const ended = Promise.resolve()
      .then(probe)
      .then(
        () => {
          settle(true);
        },
        (error: unknown) => {
          // A queue that is full says that many ask, not that nothing can be read.
          settle(error instanceof UnavailableError && error.reason === 'queue_full' && canDecide);
        },
      );
    return { startedMs: nowMs(), ended };
  };

  return async () => {
    if (state() === 'live') {
      canDecide = true;
      endedMs = -Infinity;
      return true;
    }
    if (running === null && nowMs() - endedMs < FRESH_MS) {
      return canDecide;
    }
    running ??= start();
    const { startedMs, ended } = running;
    await Promise.race([ended, sleep(WAIT_MS)]);
    if (running !== null && nowMs() - startedMs > OVERDUE_MS) {
      canDecide = false;
    }
    return canDecide;
  };
}
