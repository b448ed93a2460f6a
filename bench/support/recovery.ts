/**
 * How a memory fills again after everything in it was forgotten, while questions keep coming at a steady rate, whatever
 * the answers do. Beside it, from the same questions: a memory that has a fact as soon as it was asked for once, which
 * nothing that learns from questions can undercut.
 */
import { setImmediate as turn } from 'node:timers/promises';

/** What it took until 99 % of the answers came from memory again. */
export interface Recovery {
  readonly recoveredMs: number;
  /** The same for a memory that has a fact as soon as it was asked for. */
  readonly perfectMs: number;
  /** Load queries until then. */
  readonly queries: number;
  /** Questions that could not be answered. */
  readonly failed: number;
  /** The longest time that a question waited for its answer. */
  readonly slowestMs: number;
}

/** Who is asked, and how everything is made to be forgotten. */
export interface RecoveryDeps {
  readonly users: number;
  readonly asksPerSecond: number;
  /** At once if it is in memory, else a promise. */
  readonly ask: (user: number) => boolean | Promise<boolean>;
  /** Load queries so far. */
  readonly queries: () => number;
  /** Has everything be forgotten. */
  readonly breakMemory: () => Promise<void>;
  /** Calls the handler whenever everything is forgotten. */
  readonly onForgotten: (handler: () => void) => void;
}

const RECOVERED = 0.99;
/** Questions in a row that are looked at together. */
const WINDOW_ASKS = 2_000;
/** Questions after which sockets are looked at, at the latest. */
const TURN_ASKS = 50;
const STEADY_WINDOWS = 5;
const RECOVERY_MAX_MS = 30_000;

/** Asks until memory has recovered. What is asked for must be in memory at first. @throws if it does not recover */
export async function measureRecovery(deps: RecoveryDeps): Promise<Recovery> {
  const askedBefore = new Set<number>();
  const startedMs = performance.now();
  let forgottenMs: number | null = null;
  let askedInAll = 0;
  let failed = 0;
  let slowestMs = 0;

  const wait = async (answer: Promise<boolean>): Promise<void> => {
    const askedMs = performance.now();
    try {
      await answer;
    } catch {
      failed += 1;
    }
    slowestMs = Math.max(slowestMs, performance.now() - askedMs);
  };

  /** Asks when it is time to; returns which shares of a window came from memory, and would have from a perfect one. */
  const askWindow = async (): Promise<{ readonly fromMemory: number; readonly perfect: number }> => {
    let [asked, fromMemory, perfect] = [0, 0, 0];
    for (; asked < WINDOW_ASKS; asked++) {
      while (((performance.now() - startedMs) * deps.asksPerSecond) / 1_000 < askedInAll) {
        await turn();
      }
      askedInAll += 1;
      const user = Math.floor(Math.random() * deps.users);
      perfect += askedBefore.has(user) ? 1 : 0;
      askedBefore.add(user);
      const answer = deps.ask(user);
      if (answer instanceof Promise) {
        void wait(answer);
      } else {
        fromMemory += 1;
      }
      if (asked % TURN_ASKS === 0) {
        // When it is late, too: answers must be able to arrive.
        await turn();
      }
    }
    return { fromMemory: fromMemory / asked, perfect: perfect / asked };
  };

  for (let window = 0; window < STEADY_WINDOWS; window++) {
    await askWindow();
  }
  deps.onForgotten(() => {
    forgottenMs ??= performance.now();
    // A perfect memory has forgotten, too.
    askedBefore.clear();
  });
  const queriesBefore = deps.queries();
  const brokenMs = performance.now();
  const broken = deps.breakMemory();
  let perfectMs: number | null = null;
  for (;;) {
    const wasForgotten = forgottenMs !== null;
    const { fromMemory, perfect } = await askWindow();
    const sinceMs = performance.now() - (forgottenMs ?? brokenMs);
    if (wasForgotten && perfect >= RECOVERED) {
      perfectMs ??= sinceMs;
    }
    if (wasForgotten && fromMemory >= RECOVERED && perfectMs !== null) {
      await broken;
      return { recoveredMs: sinceMs, perfectMs, queries: deps.queries() - queriesBefore, failed, slowestMs };
    }
    if (sinceMs > RECOVERY_MAX_MS) {
      throw new Error(`after ${sinceMs} ms, ${100 * fromMemory} % of the answers come from memory`);
    }
  }
}
