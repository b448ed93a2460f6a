/**
 * Asks for one fence after the other while a connection lasts. Decides what each fence proves, when one is overdue, and
 * when to ask for the next.
 *
 * The trust window. Postgres delivers in the order of commits. So what was acknowledged before a replica asked stands
 * in the queue ahead of every fence that had not completed by then, and the answer says which fences these are
 * (`heard-fences.ts`). When the replica hears one of them, it has applied all that was acknowledged before it asked.
 * The proof is both clocks as of just before the question (P10).
 *
 * A question has a fence sent only if it is time for one, and nobody else has sent one since. One fence proves all
 * replicas, so Postgres sees a few per second however many replicas there are (P21). If somebody waits for a fence, one
 * is sent at once.
 *
 * Every fence is sent from the pool, never over a listening connection. Hearing it proves that what *others* send
 * arrives: a transaction-mode pooler echoes a connection's own messages, and delivers nothing else. It also proves that
 * the pool and the listener see the same server (P9). The statement that asks reads more in the same breath: which
 * server and which schema answers, its clock, whether the listening backend runs there (P22), and the state of the
 * triggers. So a proof says, too, that the triggers were in place up to here (P11).
 *
 * One fence is waited for at a time. Strong reads join the next one, which is not asked for yet (P19).
 */
import { delay, sleep, type Clock, type Delay, type Random, type Sequence } from '../../time/clock.js';
import type { DownCause, FenceFailure, Observe } from '../observation.js';
import {
  createFence,
  createFenceRequest,
  questionRetryMs,
  type AskFence,
  type Fence,
  type FenceOutcome,
  type FenceReceipt,
  type FenceRequest,
  type SendFence,
} from './fence.js';
import type { HeardFences } from './heard-fences.js';
import type { Lease, ServerClock } from './lease.js';
import { messageOf, overdueError, type ListenerStatus } from './listener-status.js';
import type { ListenedServer, ListeningBackend, ServerReceipt } from './server.js';
import type { Watches } from './watches.js';

/** Times of fences, in milliseconds. */
export interface FenceTimes {
  /** From one question for a fence to the next. */
  readonly fenceIntervalMs: number;
  /** From the question to giving the connection up. */
  readonly fenceOverdueMs: number;
}

/** What fences need, on any connection. */
export interface FenceLoopDeps {
  readonly channel: string;
  readonly times: FenceTimes;
  readonly lease: Lease;
  readonly serverClock: ServerClock;
  readonly clock: Clock;
  readonly random: Random;
  readonly sequence: Sequence;
  readonly observe: Observe;
  readonly askFence: AskFence;
}

/** The connection over which fences are heard. */
export interface FencedConnection {
  readonly epoch: number;
  readonly backend: ListeningBackend;
  readonly server: ListenedServer;
  readonly heard: HeardFences;
  readonly status: ListenerStatus;
  readonly watches: Watches;
  /** Whether an answer may be used. One that comes from another server ends the epoch. */
  readonly accept: (receipt: ServerReceipt) => boolean;
  readonly isEnded: () => boolean;
  /** Aborted when the connection ends. */
  readonly signal: AbortSignal;
  /** Resolves when the messages that wait to be read have been received. */
  readonly caughtUp: () => Promise<void>;
  readonly giveUp: (cause: DownCause, error: unknown) => void;
}

export interface FenceLoop {
  /** Asks for one fence after the other. Resolves after the end. */
  run(): Promise<void>;
  /** A fence that is asked for after this call, at once. Never rejects. */
  request(): Promise<FenceOutcome>;
  /** A fence was heard that is newer than all before. */
  noteHeard(): void;
  /** The epoch has ended: all who wait for a fence get null. */
  end(): void;
}

/**
 * The two clocks may drift apart by this much while a fence is in flight; more is a step, and the fence proves nothing.
 */
const CLOCK_JUMP_MS = 100;
/** Interval and age of a fence may take this share of the lease; more leaves no room for one that is lost. */
const SLOW_SHARE = 0.75;
/**
 * No fence is sent unless it is this share of the interval since the last one was heard; else a replica waits for that
 * of another one.
 */
const GAP_SHARE = 0.5;
/** A replica that waits asks again after a gap and up to this share of one more, so that not all ask at once. */
const GAP_JITTER = 0.5;
/** Timers are as exact as this, in milliseconds. */
const TIMER_MS = 1;

/** Creates a loop that has asked for nothing yet. */
export function createFenceLoop(deps: FenceLoopDeps, connection: FencedConnection): FenceLoop {
  const { channel, times, lease, serverClock, clock, random, sequence, observe, askFence } = deps;
  const { epoch, backend, server, heard, status, watches } = connection;
  const gapMs = times.fenceIntervalMs * GAP_SHARE;
  let inFlight: Fence | null = null;
  /** The next one, if somebody waits for it. */
  let waiting: FenceRequest | null = null;
  /** Until the next one is due. */
  let pause: Delay | null = null;
  /** When a fence was last heard, in monotonic milliseconds. */
  let heardMs = -Infinity;

  /** A gap, and a part of one that differs from replica to replica. */
  const jitteredGapMs = (): number => gapMs * (1 + random.uniform() * GAP_JITTER);

  const fail = (fence: Fence, cause: FenceFailure, error: unknown = null): void => {
    inFlight = null;
    observe({ event: 'fence_failed', cause, error });
    fence.resolve(null);
    status.note();
  };

  const prove = (fence: Fence, receipt: FenceReceipt, ageMs: number): void => {
    inFlight = null;
    watches.apply(receipt.watches);
    serverClock.observe(fence.sent, receipt.serverTimeMs);
    lease.prove(fence.sent);
    server.noteProof();
    status.step('fence_proved');
    status.explain(null);
    observe({ event: 'fence_proven', rttMs: receipt.sent ? ageMs : null, queueUsage: receipt.queueUsage });
    if (ageMs + times.fenceIntervalMs > lease.leaseMs * SLOW_SHARE) {
      observe({ event: 'fence_slow', ageMs, leaseMs: lease.leaseMs });
    }
    status.note();
    fence.resolve({ sentAt: fence.sentAt, epoch });
  };

  /** Called when a fence and when an answer came, in whichever order; the second of them may prove. */
  const judge = (): void => {
    const fence = inFlight;
    const receipt = fence?.receipt ?? null;
    if (fence === null || receipt === null) {
      return;
    }
    if (!server.mayProve(receipt) || receipt.channel !== channel || !heard.hasHeard(receipt.bound, receipt.serverId)) {
      return;
    }
    lease.setServer(receipt.serverId);
    const now = clock.now();
    const ageMs = now.monoMs - fence.sent.monoMs;
    if (Math.abs(now.wallMs - fence.sent.wallMs - ageMs) > CLOCK_JUMP_MS) {
      status.explain('a clock was stepped while a fence was in flight');
      fail(fence, 'clock_jump');
      return;
    }
    prove(fence, receipt, ageMs);
  };

  const ask = async (fence: Fence, send: SendFence): Promise<void> => {
    const { monoMs: nowMs } = clock.now();
    fence.ask(nowMs);
    fence.againMs = nowMs + jitteredGapMs();
    try {
      const receipt = await askFence(send, backend, server.isProven, watches.trusted);
      // Each of them: one that came later may be from after a crash.
      if (connection.accept(receipt)) {
        heard.learn(receipt);
        fence.answer(receipt);
        judge();
      }
    } catch (error) {
      if (inFlight === fence) {
        status.explain(`a fence could not be sent: ${messageOf(error)}`);
        fail(fence, 'send_failed', error);
      }
    } finally {
      fence.endQuestion();
    }
  };

  const start = (request: FenceRequest): Fence => {
    const fence = createFence(request, sequence.next(), clock, times.fenceOverdueMs);
    inFlight = fence;
    if (fence.isUrgent) {
      void ask(fence, 'always');
    } else if (fence.sent.monoMs - heardMs >= gapMs) {
      void ask(fence, { unlessAfter: heard.newest });
    } else {
      void ask(fence, 'never');
      fence.againMs = heardMs + jitteredGapMs();
    }
    return fence;
  };

  const judgeOverdue = async (fence: Fence): Promise<void> => {
    // After a pause this timer fires before the waiting echo was read (P12).
    await connection.caughtUp();
    if (inFlight !== fence) {
      return;
    }
    const { receipt } = fence;
    const isHeardElsewhere = receipt !== null && receipt.channel !== channel;
    fail(fence, isHeardElsewhere ? 'channel_mismatch' : 'overdue');
    // One that may never have been sent costs only itself.
    if (receipt !== null && fence.isOwed) {
      const cause = isHeardElsewhere ? 'channel_mismatch' : 'fence_overdue';
      connection.giveUp(cause, overdueError(receipt.channel, channel));
    }
  };

  /** Resolves when the fence has proven, or failed, or made way for one that somebody waits for. Whether it failed. */
  const settle = async (fence: Fence): Promise<boolean> => {
    while (inFlight === fence) {
      await fence.due();
      if (inFlight !== fence) {
        break;
      }
      const { monoMs: nowMs } = clock.now();
      if (waiting !== null && !fence.isUrgent && !fence.isAsking) {
        inFlight = null;
        fence.resolve(null);
        return false;
      }
      if (fence.overdueAtMs - nowMs < TIMER_MS) {
        await judgeOverdue(fence);
      } else if (!fence.isAsking && fence.againMs - nowMs < TIMER_MS) {
        if (nowMs - heardMs < gapMs) {
          // One was heard meanwhile, too old to prove this: the next is due a gap after it.
          fence.againMs = heardMs + jitteredGapMs();
        } else {
          void ask(fence, { unlessAfter: fence.newest });
        }
      }
    }
    return (await fence.outcome) === null;
  };

  /** Resolves when it is time for the next fence: somebody asks for one, or the interval is over. */
  const untilNext = (fence: Fence): Promise<void> => {
    const dueMs = fence.sent.monoMs + Math.min(times.fenceIntervalMs, watches.againMs);
    pause = delay(clock, Math.max(0, dueMs - clock.now().monoMs));
    return pause.over;
  };

  return {
    async run() {
      let hasFailed = false;
      while (!connection.isEnded()) {
        const isUrgent = hasFailed || watches.againMs < times.fenceIntervalMs || !lease.isFresh(clock.now());
        const request = waiting ?? createFenceRequest(isUrgent);
        waiting = null;
        const fence = start(request);
        hasFailed = await settle(fence);
        if (connection.isEnded()) {
          return;
        }
        if (hasFailed) {
          await sleep(clock, questionRetryMs(random), connection.signal);
        } else if (waiting === null) {
          await untilNext(fence);
        }
        status.note();
      }
    },
    request() {
      waiting ??= createFenceRequest(true);
      pause?.wake();
      inFlight?.wake();
      return waiting.outcome;
    },
    noteHeard() {
      heardMs = clock.now().monoMs;
      judge();
    },
    end() {
      const fence = inFlight;
      // Its answer may still come; it must find nothing to prove, settle or trust.
      inFlight = null;
      if (fence !== null) {
        observe({ event: 'fence_failed', cause: 'epoch_ended', error: null });
        fence.resolve(null);
      }
      waiting?.resolve(null);
      waiting = null;
      pause?.wake();
    },
  };
}
