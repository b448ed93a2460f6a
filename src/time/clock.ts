/**
 * Time and chance, as everything in this project sees them. One `Clock` and one `Random` are handed down from the
 * composition root, so that a whole replica can run on simulated time.
 */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';

/** One reading of both clocks, taken together. */
export interface Instant {
  /** Monotonic time in milliseconds. It never goes back, and stands still while the machine is suspended. */
  readonly monoMs: number;
  /** Wall time in milliseconds since 1970. It may be stepped, and shows a suspension. */
  readonly wallMs: number;
}

/**
 * Whether less than `ms` milliseconds have passed by both clocks. A clock that was set back does not say so: it cannot
 * tell how much has passed.
 */
export function isYoungerThan(ms: number, since: Instant, now: Instant): boolean {
  const [monoMs, wallMs] = [now.monoMs - since.monoMs, now.wallMs - since.wallMs];
  return monoMs >= 0 && monoMs < ms && wallMs >= 0 && wallMs < ms;
}

/** Source of time. */
export interface Clock {
  now(): Instant;
  /** Calls back after `ms` milliseconds. Returns what cancels it; that may be called at any time. */
  startTimer(ms: number, fire: () => void): () => void;
  /** Runs the task in a later turn, after the sockets were read. */
  defer(task: () => void): void;
}

/** Source of chance. */
export interface Random {
  /** A number from 0 to below 1. */
  uniform(): number;
  /** 128 fresh random bits in hexadecimal. */
  nonce(): string;
}

/** The clocks of this machine. */
export const systemClock: Clock = {
  now: () => ({ monoMs: performance.now(), wallMs: Date.now() }),
  startTimer: (ms, fire) => {
    const timer = setTimeout(fire, ms);
    return () => {
      clearTimeout(timer);
    };
  },
  defer: task => {
    setImmediate(task);
  },
};

/** A wait that can be cut short. */
export interface Delay {
  /** Resolves when the time has passed, or `wake` was called. */
  readonly over: Promise<void>;
  readonly wake: () => void;
}

/** Waits for `ms` milliseconds. */
export function delay(clock: Clock, ms: number): Delay {
  let wake!: () => void;
  const over = new Promise<void>(resolve => {
    const cancel = clock.startTimer(ms, resolve);
    wake = () => {
      cancel();
      resolve();
    };
  });
  return { over, wake };
}

/** Resolves after `ms` milliseconds, or at once when the signal is (or becomes) aborted; it never rejects. */
export async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) {
    const { over, wake } = delay(clock, ms);
    signal.addEventListener('abort', wake);
    await over;
    signal.removeEventListener('abort', wake);
  }
}

/** Chance from the operating system. */
export const systemRandom: Random = {
  uniform: () => Math.random(),
  nonce: () => randomBytes(16).toString('hex'),
};

/**
 * Logical time of this process: each number is later than those handed out before. Requests take one when they arrive,
 * loads and fences when they are sent and when they are answered; comparing them says what came before what.
 */
export interface Sequence {
  next(): number;
}

/** A sequence that starts at 1. */
export function createSequence(): Sequence {
  let last = 0;
  return { next: () => ++last };
}
