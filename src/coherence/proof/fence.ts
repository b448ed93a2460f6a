/**
 * One fence: how Postgres is asked for it, what the answer says, and how long it is waited for.
 *
 * It is asked for once or more often, with one question at a time (P21). Whether it has proven or failed is decided by
 * `fence-loop.ts`.
 */
import { delay, type Clock, type Instant, type Random } from '../../time/clock.js';
import type { ListeningBackend, ServerReceipt } from './server.js';
import type { WatchState } from './watches.js';

/** Whether a question has a fence sent on the way: in any case, not at all, or unless there is a newer one already. */
export type SendFence = 'always' | 'never' | { readonly unlessAfter: number };

/**
 * Asks for the bound, from the pool, and has a fence sent as `send` says. Looks for the backend on the way. Reads the
 * open writers of the tables whose fingerprints are not among `trusted` (default: of all). Rejects when it cannot,
 * within bounded time.
 *
 * @param isProven whether a fence has come back in this epoch: then no transaction-mode pooler is in between
 */
export type AskFence = (
  send: SendFence,
  listener: ListeningBackend,
  isProven: boolean,
  trusted?: readonly string[],
) => Promise<FenceReceipt>;

/** What the statement that asked for a fence has read in the same breath. */
export interface FenceReceipt extends ServerReceipt {
  readonly serverTimeMs: number;
  /**
   * First transaction id past all that had completed by then. A fence that was sent on the way has it or a greater one.
   */
  readonly bound: number;
  /** Number of the newest fence as of then. */
  readonly newest: number;
  /** Whether a fence was sent on the way. */
  readonly sent: boolean;
  /** What fences are signed with, in hexadecimal. */
  readonly key: string;
  /** The channel that the triggers use. */
  readonly channel: string;
  /** Share of the notification queue that is in use, 0 to 1. When it is full, writers fail at COMMIT. */
  readonly queueUsage: number;
  readonly watches: readonly WatchState[];
}

/** A proven fence; null if it proved nothing. */
export type FenceOutcome = { readonly sentAt: number; readonly epoch: number } | null;

/** A fence that is wanted, before it is asked for. */
export interface FenceRequest {
  /** Whether somebody waits for it, or nothing is proven without it. */
  readonly isUrgent: boolean;
  readonly outcome: Promise<FenceOutcome>;
  readonly resolve: (outcome: FenceOutcome) => void;
}

/** A fence that is waited for. */
export interface Fence extends FenceRequest {
  /** Logical time of just before it was asked for first. */
  readonly sentAt: number;
  /** Both clocks as of then. */
  readonly sent: Instant;
  /** Of the first question, or of the first that has seen the listening backend; null: none was answered yet. */
  readonly receipt: FenceReceipt | null;
  /** Number of the newest fence as of the last answer. */
  readonly newest: number;
  /** Whether a question is under way. */
  readonly isAsking: boolean;
  /** Whether a fence was sent that has to come. */
  readonly isOwed: boolean;
  /** When it is given up, in monotonic milliseconds; Infinity while nothing is under way. */
  readonly overdueAtMs: number;
  /** When it is to be asked for again, in monotonic milliseconds. */
  againMs: number;
  /** A question is sent. */
  ask(nowMs: number): void;
  /** The question was answered. */
  answer(receipt: FenceReceipt): void;
  /** The question is over, answered or not. */
  endQuestion(): void;
  /** Resolves when it is to be asked for again, is overdue, is settled, or was woken. */
  due(): Promise<void>;
  wake(): void;
}

/** After a question to Postgres that failed, on average. */
const RETRY_MS = 100;

/** How long to wait, in milliseconds, after a question to Postgres that failed. */
export function questionRetryMs(random: Random): number {
  return RETRY_MS * (0.5 + random.uniform());
}

/** A fence is wanted. */
export function createFenceRequest(isUrgent: boolean): FenceRequest {
  let resolve!: (outcome: FenceOutcome) => void;
  const outcome = new Promise<FenceOutcome>(resolveOutcome => {
    resolve = resolveOutcome;
  });
  return { isUrgent, outcome, resolve };
}

/** Creates a fence that was not asked for yet. @param overdueMs from a question to giving the fence up */
export function createFence(request: FenceRequest, sentAt: number, clock: Clock, overdueMs: number): Fence {
  let receipt: FenceReceipt | null = null;
  let newest = 0;
  let isAsking = false;
  let askedMs = 0;
  /** When the oldest question was sent whose fence has to come; Infinity if none has. */
  let owedMs = Infinity;
  let wake = (): void => undefined;
  void request.outcome.then(() => {
    wake();
  });

  const fence: Fence = {
    ...request,
    sentAt,
    sent: clock.now(),
    get receipt() {
      return receipt;
    },
    get newest() {
      return newest;
    },
    get isAsking() {
      return isAsking;
    },
    get isOwed() {
      return owedMs < Infinity;
    },
    get overdueAtMs() {
      return (isAsking ? Math.min(askedMs, owedMs) : owedMs) + overdueMs;
    },
    againMs: Infinity,
    ask(nowMs) {
      isAsking = true;
      askedMs = nowMs;
    },
    answer(answered) {
      // One was sent by this question, or by somebody else since the one before.
      if (answered.sent || (receipt !== null && answered.newest > receipt.newest)) {
        owedMs = Math.min(owedMs, askedMs);
      }
      if (receipt?.listener !== 'seen') {
        receipt = answered;
      }
      newest = answered.newest;
    },
    endQuestion() {
      isAsking = false;
      wake();
    },
    due() {
      const dueMs = Math.min(fence.overdueAtMs, isAsking ? Infinity : fence.againMs);
      const wait = delay(clock, Math.max(0, dueMs - clock.now().monoMs));
      wake = wait.wake;
      return wait.over;
    },
    wake() {
      wake();
    },
  };
  return fence;
}
