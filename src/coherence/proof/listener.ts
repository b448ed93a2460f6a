/**
 * The listener: keeps one LISTEN connection, hands its notifications to the bus, and proves with fences that it has heard
 * everything.
 *
 *               attempt            LISTEN acknowledged          first fence echoed
 *      down ───────────▶ connecting ───────────▶ listening ───────────▶ live ⇄ unproven
 *       ▲                     │                       │                   │  the lease runs out; a late echo proves again
 *       └─────────────────────┴───────────────────────┴───────────────────┘
 *         connection lost, fence overdue, another server or schema, anything odd: at once, and everything cached is flushed
 *
 * Each state is an observation, none is a wish. An epoch begins when LISTEN is acknowledged and ends, in the same turn as
 * its cause, when the connection is given up; a connection is never used again (P30).
 *
 * The trust window. Postgres delivers in commit order, and what was acknowledged before a replica asked is ahead in the queue of every
 * fence that had not completed by then. So a replica asks Postgres, at moments of its own, from where on fences are such
 * (`heard-fences.ts`); when it hears one, it has applied all that was acknowledged before it asked, and the proof is both clocks as of just
 * before it asked.
 *
 * Whoever asks sends a fence on the way if it is time for one, and nobody else has since. One fence proves all replicas, so
 * Postgres sees a few a second however many they are (P21). Whoever is in a hurry has one sent at once.
 *
 * Every fence is sent from a pool, never over a listening connection: hearing it proves that what *others* send
 * arrives (a transaction-mode pooler echoes a connection's own messages and delivers nothing else), and that the pool and
 * the listener see the same server. The statement that asks also reads which server and which schema answers, its clock, and the
 * state of the triggers, so a proof says too: up to here the triggers were in place (P11). If the server or the schema has changed
 * since the epoch began, the epoch ends.
 *
 * Each question also looks for the backend that serves the listening connection (`server.ts`). If it is not there, the pool leads to
 * another server, an old primary perhaps, or the server has crashed since: nothing that the pool reads is believed until it is
 * known that both lead to the same server (P5). An epoch begins with a question that only looks, because a server that cannot commit
 * any more can still answer that (P24).
 *
 * One fence is waited for at a time. Strong reads join the next one, which is not asked for yet (P19).
 */
import { backoffMs } from '../../time/backoff.js';
import type { SignalBus } from '../bus.js';
import { delay, sleep, type Clock, type Instant, type Delay, type Random, type Sequence } from '../../time/clock.js';
import type { Lease, ServerClock } from './lease.js';
import type { DownCause, FenceFailure, ListenerState, Observe } from '../observation.js';
import { createHeardFences, type HeardFences } from './heard-fences.js';
import { nextState, type ListenerEvent } from './listener-states.js';
import { changeOf, type AskServer, type ListeningBackend, type ServerReceipt } from './server.js';
import { parseMessage } from '../signal.js';
import { createWatches, type WatchState } from './watches.js';

/** An open LISTEN connection. */
export interface Subscription {
  readonly backend: ListeningBackend;
  /** Sends a message over this very connection, so that others see which backend speaks. */
  send(payload: string): void;
  /** Gives the connection up, at once and for good. Idempotent. */
  close(): void;
}

/** What a subscription tells. Calls come in the order in which Postgres sent the messages. */
export interface SubscriptionEvents {
  onMessage(payload: string): void;
  onLost(error: unknown): void;
}

/**
 * Opens a brand-new connection and LISTENs; resolves when Postgres has acknowledged it. Rejects when it cannot, or
 * within bounded time, or when the signal is aborted; then nothing is left behind.
 */
export type OpenSubscription = (
  channel: string,
  events: SubscriptionEvents,
  signal: AbortSignal,
) => Promise<Subscription>;

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

/**
 * Whether a question has a fence sent on the way: in any case, not at all, or unless there is one with a greater number
 * already.
 */
export type SendFence = 'always' | 'never' | { readonly unlessAfter: number };

/**
 * Asks from the pool for the bound, and has a fence sent if told so. Looks for the backend on the way. Reads the open
 * writers of the tables whose fingerprints are not among `trusted` (default: of all). Rejects when it cannot, within
 * bounded time.
 *
 * @param isProven whether a fence has come back in this epoch: then no transaction-mode pooler is in between
 */
export type AskFence = (
  send: SendFence,
  listener: ListeningBackend,
  isProven: boolean,
  trusted?: readonly string[],
) => Promise<FenceReceipt>;

/** A proven fence; null if it proved nothing. */
export type FenceOutcome = { readonly sentAt: number; readonly epoch: number } | null;

/** Times of a listener, in milliseconds. */
export interface ListenerTimes {
  /** From one question for a fence to the next. */
  readonly fenceIntervalMs: number;
  /** From the question to giving the connection up. */
  readonly fenceOverdueMs: number;
}

/** What a listener needs of its surroundings. */
export interface ListenerDeps {
  readonly channel: string;
  /** The name under which barriers are answered. */
  readonly replica: string;
  readonly times: ListenerTimes;
  readonly lease: Lease;
  readonly serverClock: ServerClock;
  readonly bus: SignalBus;
  readonly clock: Clock;
  readonly random: Random;
  readonly sequence: Sequence;
  readonly observe: Observe;
  readonly openSubscription: OpenSubscription;
  readonly askServer: AskServer;
  readonly askFence: AskFence;
  /** Gives the pool's connections up, for they may lead to another server; the next ones are new. */
  readonly renewPool: () => void;
  /** Resolves when the reads that run now have settled. */
  readonly readsSettled: () => Promise<void>;
}

export interface Listener {
  readonly state: ListenerState;
  /** Why the cache is not proven now, in words for an operator; null while live. */
  readonly problem: string | null;
  /** Watched topics whose triggers are not in place, with what is wrong. */
  readonly watchProblems: ReadonlyMap<string, string>;
  start(): void;
  /** Ends the epoch at once; resolves when the connection is given up. */
  stop(): Promise<void>;
  /** A fence that is asked for after this call, at once. Never rejects. */
  fence(): Promise<FenceOutcome>;
  /** Gives the connection up: what we see does not fit together. */
  reset(cause: DownCause): void;
}

/**
 * The two clocks may drift apart by this much while a fence is in flight; more is a step, and the fence proves nothing.
 */
const CLOCK_JUMP_MS = 100;
/** Interval and age of a fence may take this share of the lease; more leaves no room for one that is lost. */
const SLOW_SHARE = 0.75;
/** After a fence that could not be sent. */
const FENCE_RETRY_MS = 100;
/** Turns of the event loop that waiting input gets before a fence is judged overdue, while messages keep coming. */
const POLL_TURNS_MAX = 100;
/**
 * No fence is sent unless it is this share of the interval since the last one was heard; else whoever asks waits for
 * somebody else's.
 */
const GAP_SHARE = 0.5;
/** Whoever waits asks again a gap after the last one and up to this share of one later, so that not all do at once. */
const GAP_JITTER = 0.5;
/** Timers are as exact as this, in milliseconds. */
const TIMER_MS = 1;
/** Barriers that may wait for the same fence, and the longest name of one: anybody can send them. */
const BARRIERS_MAX = 16;
const BARRIER_ID_MAX = 64;
/** The pool and the listening connection see different servers. */
const MISMATCHES: ReadonlySet<DownCause> = new Set(['foreign_pool', 'foreign_reading', 'origin_changed', 'standby']);

/** Says in its message what an operator should know. */
class FenceError extends Error {}

/** What has ended an epoch, in words. */
function misfit(cause: DownCause, origin: string): string {
  switch (cause) {
    case 'foreign_pool':
      return `the pool reads from another server (${origin}) than the one that the listening connection leads to: an old primary still runs, Postgres has crashed and the listening connection does not know it, DATABASE_URL and GATEBELL_LISTEN_URL name different servers, or a transaction-mode pooler is in between (set GATEBELL_LISTEN_URL to a direct connection)`;
    case 'schema_changed':
      return 'schema gatebell was restored or made anew';
    case 'standby':
      return `the pool leads to a standby (${origin})`;
    default:
      return `another server or database answers (${origin}): Postgres was restarted, or another took its place`;
  }
}

interface Fence {
  /** Whether somebody waits for it, or nothing is proven without it. */
  readonly isUrgent: boolean;
  sentAt: number;
  sent: Instant;
  /** Of the first question, or of the first that has seen the listening backend. */
  receipt: FenceReceipt | null;
  /** When it was asked for last, and whether the answer is still to come. */
  askedMs: number;
  isAsking: boolean;
  /** When it is to be asked for again. */
  againMs: number;
  /** When it was asked for by a question before whose answer a fence was sent that has to come; Infinity if none. */
  owedMs: number;
  /** Ends the wait for it. */
  wake: () => void;
  /** Newest as of the last question. */
  newest: number;
  readonly promise: Promise<FenceOutcome>;
  readonly resolve: (outcome: FenceOutcome) => void;
}

/** One connection attempt and, if it succeeds, its epoch. */
interface Attempt {
  readonly abort: AbortController;
  subscription: Subscription | null;
  epoch: number | null;
  /** Set when the attempt was given up. */
  ended: DownCause | null;
  proven: boolean;
  /** Whether its backend was seen, with its mark. */
  seen: boolean;
  messages: number;
  readonly heard: HeardFences;
  /** Monotonic time, in milliseconds, of when a fence was last heard. */
  heardMs: number;
  inFlight: Fence | null;
  /** Barriers that are not answered yet, by their names, and the wait of each for the reads that run. */
  readonly barriers: Map<string, Delay>;
}

function createFence(isUrgent: boolean): Fence {
  let resolveFence!: (outcome: FenceOutcome) => void;
  const promise = new Promise<FenceOutcome>(resolve => {
    resolveFence = resolve;
  });
  return {
    isUrgent,
    sentAt: 0,
    sent: { monoMs: 0, wallMs: 0 },
    receipt: null,
    askedMs: 0,
    isAsking: false,
    againMs: Infinity,
    owedMs: Infinity,
    wake: () => undefined,
    newest: 0,
    promise,
    resolve: resolveFence,
  };
}

/** Creates a listener that is down. */
export function createListener(deps: ListenerDeps): Listener {
  const { channel, times, lease, serverClock, bus, clock, random, sequence, observe } = deps;
  let attempt: Attempt | null = null;
  let waiting: Fence | null = null;
  let stopped: AbortController | null = null;
  let running: Promise<void> = Promise.resolve();
  /** The pause before the next fence. */
  let pause: Delay | null = null;
  let failures = 0;
  let isFirst = true;
  let current: ListenerState = 'down';
  let noted: ListenerState = 'down';
  let problem: string | null = 'not started';
  const watches = createWatches(deps);
  const gapMs = times.fenceIntervalMs * GAP_SHARE;
  const pauseMs = (): number => gapMs * (1 + random.uniform() * GAP_JITTER);

  const step = (event: ListenerEvent): void => {
    current = nextState(current, event);
  };

  /** No timer ends a lease: whoever wants to know the state looks at the clocks. */
  const state = (): ListenerState => {
    step(lease.isFresh(clock.now()) ? 'lease_holds' : 'lease_expired');
    return current;
  };

  const noteState = (): void => {
    const now = state();
    if (now !== noted) {
      observe({ event: 'listener_state', from: noted, to: now });
      noted = now;
    }
  };

  const endAttempt = (ending: Attempt, cause: DownCause, error: unknown): void => {
    if (ending.ended !== null) {
      return;
    }
    ending.ended = cause;
    attempt = null;
    lease.endEpoch();
    step('given_up');
    const isMismatch = MISMATCHES.has(cause);
    // If no fence at all has come back, they may.
    if (isMismatch || (cause === 'fence_overdue' && !ending.proven)) {
      lease.suspectPool(isMismatch);
      deps.renewPool();
    }
    bus.emit({ type: 'flush', cause: 'down' });
    if (ending.epoch !== null) {
      observe({ event: 'flush', cause: 'down' });
      observe({ event: 'connection_closed', cause, error });
      problem = error instanceof FenceError ? error.message : `the listening connection was given up: ${cause}`;
    }
    const { inFlight } = ending;
    // Its receipt may still come; it must find nothing to prove, settle or trust.
    ending.inFlight = null;
    if (inFlight !== null) {
      observe({ event: 'fence_failed', cause: 'epoch_ended', error: null });
      inFlight.resolve(null);
    }
    waiting?.resolve(null);
    waiting = null;
    pause?.wake();
    for (const { wake } of ending.barriers.values()) {
      wake();
    }
    ending.abort.abort();
    ending.subscription?.close();
    noteState();
  };

  const overdueError = (receipt: FenceReceipt): FenceError =>
    new FenceError(
      receipt.channel === channel
        ? 'fences were sent and did not arrive: the listening connection is broken, sees another server than the pool, or goes through a transaction-mode pooler, which cannot deliver notifications: set GATEBELL_LISTEN_URL to a direct connection'
        : `the triggers signal on channel '${receipt.channel}', this replica listens on '${channel}': set GATEBELL_CHANNEL`,
    );

  const receive = (receiver: Attempt, payload: string): void => {
    if (receiver.ended !== null) {
      return;
    }
    receiver.messages += 1;
    const message = parseMessage(payload);
    switch (message.type) {
      case 'change':
        bus.emit(message);
        observe({ event: 'signal', topic: message.topic, keys: message.keys?.length ?? null });
        return;
      case 'fence':
        if (receiver.heard.hear(message)) {
          receiver.heardMs = clock.now().monoMs;
          judge(receiver);
        }
        return;
      case 'barrier':
        void answerBarrier(receiver, message.id);
        return;
      case 'acknowledgement':
      case 'greeting':
        return;
      case 'malformed':
        bus.emit({ type: 'flush', cause: 'malformed' });
        observe({ event: 'message_malformed', problem: message.problem, payloadBytes: Buffer.byteLength(payload) });
        observe({ event: 'flush', cause: 'malformed' });
        return;
    }
  };

  /**
   * All that was committed before the barrier has been applied by now, except what was not signalled: the fence that is
   * sent after it has seen the triggers, too (P11). What reads that run now have read may be older: they are waited
   * for, but no longer than for the lease, after which they read again what they have read before.
   */
  const answerBarrier = async (receiver: Attempt, id: string): Promise<void> => {
    const { barriers } = receiver;
    if (id.length > BARRIER_ID_MAX || barriers.size >= BARRIERS_MAX || barriers.has(id)) {
      return;
    }
    const reads = delay(clock, lease.leaseMs);
    barriers.set(id, reads);
    void deps.readsSettled().then(reads.wake);
    const outcome = await requestFence();
    await reads.over;
    // Whoever waited for such a read answers in the turn in which it settles. The barrier is answered in a later one.
    await new Promise<void>(resolve => {
      clock.defer(resolve);
    });
    barriers.delete(id);
    if (outcome !== null && receiver.ended === null) {
      receiver.subscription?.send(JSON.stringify({ v: 1, a: id, r: deps.replica }));
    }
  };

  const failFence = (sender: Attempt, fence: Fence, cause: FenceFailure, error: unknown = null): void => {
    sender.inFlight = null;
    observe({ event: 'fence_failed', cause, error });
    fence.resolve(null);
    noteState();
  };

  /** Whether an answer fits what is listened to; if not, the epoch is over. */
  const fits = (receiver: Attempt, receipt: ServerReceipt): boolean => {
    if (receiver.ended !== null) {
      return false;
    }
    const isGone = receipt.listener === 'absent' || (receipt.listener === 'unsure' && receiver.seen && receiver.proven);
    const cause = isGone
      ? 'foreign_pool'
      : receipt.inRecovery
        ? 'standby'
        : lease.origin === null
          ? null
          : changeOf(lease.origin, receipt.origin);
    if (cause !== null) {
      endAttempt(receiver, cause, new FenceError(misfit(cause, receipt.origin)));
      return false;
    }
    receiver.seen ||= receipt.listener === 'seen';
    // Behind a pooler the mark may be lost for good: while nothing else is known, the process id does.
    if (receipt.listener === 'seen' || (receipt.isPooled && !lease.everProven)) {
      lease.setServer(receipt.origin);
    }
    return true;
  };

  /** Called when a fence and when a receipt came, in whichever order; the second of them may prove. */
  const judge = (receiver: Attempt): void => {
    const { inFlight: fence } = receiver;
    const receipt = fence?.receipt ?? null;
    if (fence === null || receipt === null) {
      return;
    }
    // A process that had the mark and has not got it is another one.
    const isSame = receipt.listener === 'seen' || !receiver.seen;
    if (!isSame || receipt.channel !== channel || !receiver.heard.hasHeard(receipt.bound, receipt.origin)) {
      return;
    }
    lease.setServer(receipt.origin);
    const now = clock.now();
    const ageMs = now.monoMs - fence.sent.monoMs;
    if (Math.abs(now.wallMs - fence.sent.wallMs - ageMs) > CLOCK_JUMP_MS) {
      problem = 'a clock was stepped while a fence was in flight';
      failFence(receiver, fence, 'clock_jump');
      return;
    }
    receiver.inFlight = null;
    watches.apply(receipt.watches);
    serverClock.observe(fence.sent, receipt.serverTimeMs);
    lease.prove(fence.sent);
    receiver.proven = true;
    step('fence_proved');
    failures = 0;
    problem = null;
    observe({ event: 'fence_proven', rttMs: receipt.sent ? ageMs : null, queueUsage: receipt.queueUsage });
    if (ageMs + times.fenceIntervalMs > lease.leaseMs * SLOW_SHARE) {
      observe({ event: 'fence_slow', ageMs, leaseMs: lease.leaseMs });
    }
    noteState();
    fence.resolve({ sentAt: fence.sentAt, epoch: receiver.epoch! });
  };

  const isOverdue = async (sender: Attempt, fence: Fence): Promise<boolean> => {
    // After a pause this timer fires before the waiting echo was read (P12): the sockets get their turn first.
    for (let turn = 0, seen = -1; turn < POLL_TURNS_MAX && seen !== sender.messages; turn++) {
      seen = sender.messages;
      await new Promise<void>(resolve => {
        clock.defer(resolve);
      });
    }
    return sender.inFlight === fence;
  };

  const ask = async (sender: Attempt, fence: Fence, send: SendFence): Promise<void> => {
    const { backend } = sender.subscription!;
    fence.isAsking = true;
    fence.askedMs = clock.now().monoMs;
    fence.againMs = fence.askedMs + pauseMs();
    try {
      const receipt = await deps.askFence(send, backend, sender.proven, watches.trusted);
      // Each of them: one that came later may be from after a crash.
      if (!fits(sender, receipt)) {
        return;
      }
      sender.heard.learn(receipt);
      const isOwed = receipt.sent || receipt.newest > (fence.receipt?.newest ?? receipt.newest);
      if (fence.receipt?.listener !== 'seen') {
        fence.receipt = receipt;
      }
      fence.newest = receipt.newest;
      if (isOwed) {
        fence.owedMs = Math.min(fence.owedMs, fence.askedMs);
      }
      judge(sender);
    } catch (error) {
      if (sender.inFlight === fence) {
        problem = `a fence could not be sent: ${error instanceof Error ? error.message : String(error)}`;
        failFence(sender, fence, 'send_failed', error);
      }
    } finally {
      fence.isAsking = false;
      fence.wake();
    }
  };

  const overdueAtMs = ({ isAsking, askedMs, owedMs }: Fence): number =>
    (isAsking ? Math.min(askedMs, owedMs) : owedMs) + times.fenceOverdueMs;

  /** Resolves when the fence has proven, or failed, or made way for one that somebody waits for. Whether it failed. */
  const awaitFence = async (sender: Attempt, fence: Fence): Promise<boolean> => {
    sender.inFlight = fence;
    fence.sentAt = sequence.next();
    fence.sent = clock.now();
    if (fence.isUrgent) {
      void ask(sender, fence, 'always');
    } else if (fence.sent.monoMs - sender.heardMs >= gapMs) {
      void ask(sender, fence, { unlessAfter: sender.heard.newest });
    } else {
      void ask(sender, fence, 'never');
      fence.againMs = sender.heardMs + pauseMs();
    }
    void fence.promise.then(() => {
      fence.wake();
    });
    while (sender.inFlight === fence) {
      const dueMs = Math.min(overdueAtMs(fence), fence.isAsking ? Infinity : fence.againMs);
      const wait = delay(clock, Math.max(0, dueMs - clock.now().monoMs));
      fence.wake = wait.wake;
      await wait.over;
      if (sender.inFlight !== fence) {
        break;
      }
      const { monoMs: nowMs } = clock.now();
      if (waiting !== null && !fence.isUrgent && !fence.isAsking) {
        sender.inFlight = null;
        fence.resolve(null);
        return false;
      }
      if (overdueAtMs(fence) - nowMs < TIMER_MS) {
        await judgeOverdue(sender, fence);
      } else if (!fence.isAsking && fence.againMs - nowMs < TIMER_MS) {
        if (nowMs - sender.heardMs < gapMs) {
          // One was heard meanwhile, too old to prove this: the next is due a gap after it.
          fence.againMs = sender.heardMs + pauseMs();
        } else {
          void ask(sender, fence, { unlessAfter: fence.newest });
        }
      }
    }
    return (await fence.promise) === null;
  };

  const judgeOverdue = async (sender: Attempt, fence: Fence): Promise<void> => {
    if (!(await isOverdue(sender, fence))) {
      return;
    }
    const { receipt } = fence;
    const isHeardElsewhere = receipt !== null && receipt.channel !== channel;
    failFence(sender, fence, isHeardElsewhere ? 'channel_mismatch' : 'overdue');
    // One that may never have been sent costs only itself.
    if (receipt !== null && fence.owedMs < Infinity) {
      endAttempt(sender, isHeardElsewhere ? 'channel_mismatch' : 'fence_overdue', overdueError(receipt));
    }
  };

  const runFenceLoop = async (sender: Attempt): Promise<void> => {
    let hasFailed = false;
    while (sender.ended === null) {
      const fence =
        waiting ?? createFence(hasFailed || watches.againMs < times.fenceIntervalMs || !lease.isFresh(clock.now()));
      waiting = null;
      hasFailed = await awaitFence(sender, fence);
      if (sender.ended !== null) {
        return;
      }
      if (hasFailed) {
        await sleep(clock, FENCE_RETRY_MS * (0.5 + random.uniform()), sender.abort.signal);
      } else if (waiting === null) {
        const dueMs = fence.sent.monoMs + Math.min(times.fenceIntervalMs, watches.againMs);
        pause = delay(clock, Math.max(0, dueMs - clock.now().monoMs));
        await pause.over;
      }
      noteState();
    }
  };

  /** Resolves when it is known whether the pool leads to the server that is listened to, or the attempt has ended. */
  const findServer = async (sender: Attempt, { backend }: Subscription): Promise<void> => {
    while (sender.ended === null) {
      try {
        fits(sender, await deps.askServer(backend));
        return;
      } catch (error) {
        if (sender.ended === null) {
          problem = `the pool cannot ask which server it leads to: ${error instanceof Error ? error.message : String(error)}`;
          observe({ event: 'fence_failed', cause: 'send_failed', error });
          await sleep(clock, FENCE_RETRY_MS * (0.5 + random.uniform()), sender.abort.signal);
        }
      }
    }
  };

  /** Resolves when the attempt has ended; returns what it failed with, unless it was told to stop. */
  const connect = async (stop: AbortSignal): Promise<{ readonly error: unknown } | null> => {
    const opened: Attempt = {
      abort: new AbortController(),
      subscription: null,
      epoch: null,
      ended: null,
      proven: false,
      seen: false,
      messages: 0,
      heard: createHeardFences(),
      heardMs: -Infinity,
      inFlight: null,
      barriers: new Map(),
    };
    attempt = opened;
    step('attempt');
    if (isFirst) {
      isFirst = false;
      lease.expectEpoch();
    }
    noteState();
    try {
      const subscription = await deps.openSubscription(
        channel,
        {
          onMessage: payload => {
            receive(opened, payload);
          },
          onLost: error => {
            endAttempt(opened, 'connection_lost', error);
          },
        },
        opened.abort.signal,
      );
      // Whoever stops ends the attempt in the same turn.
      if (opened.ended !== null) {
        subscription.close();
        return null;
      }
      opened.subscription = subscription;
      opened.epoch = lease.beginEpoch();
      step('listen_acknowledged');
      watches.beginEpoch();
      problem = failures === 0 ? 'waiting for the first fence' : problem;
      observe({ event: 'connection_opened' });
      noteState();
      await findServer(opened, subscription);
      await runFenceLoop(opened);
      return null;
    } catch (error) {
      endAttempt(opened, 'connection_lost', error);
      if (stop.aborted) {
        return null;
      }
      problem = `cannot listen: ${error instanceof Error ? error.message : String(error)}`;
      return { error };
    }
  };

  const run = async (stop: AbortSignal): Promise<void> => {
    while (!stop.aborted) {
      const failed = await connect(stop);
      const retryMs = backoffMs(failures++, random);
      if (failed !== null) {
        observe({ event: 'connection_failed', error: failed.error, retryMs });
      }
      await sleep(clock, retryMs, stop);
    }
  };

  const requestFence = (): Promise<FenceOutcome> => {
    if (attempt === null || attempt.epoch === null) {
      return Promise.resolve(null);
    }
    waiting ??= createFence(true);
    pause?.wake();
    attempt.inFlight?.wake();
    return waiting.promise;
  };

  return {
    get state() {
      return state();
    },
    get problem() {
      return state() === 'live' ? null : (problem ?? 'the lease has run out, and no fence has come back since');
    },
    get watchProblems() {
      return watches.problems;
    },
    start() {
      if (stopped === null) {
        stopped = new AbortController();
        running = run(stopped.signal);
      }
    },
    async stop() {
      stopped?.abort();
      if (attempt !== null) {
        endAttempt(attempt, 'stopped', null);
      }
      await running;
    },
    fence: requestFence,
    reset(cause) {
      if (attempt !== null) {
        endAttempt(attempt, cause, cause === 'schema_changed' ? new FenceError(misfit(cause, '')) : null);
      }
    },
  };
}
