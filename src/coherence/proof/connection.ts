/**
 * One attempt to listen and, if it succeeds, its epoch. The connection is opened once and given up once; it is never
 * used again, and the next attempt is another `Connection` (P30).
 *
 * An epoch begins when LISTEN is acknowledged. First it is found out whether the pool leads to the server that is
 * listened to: by a question that only looks, because a server that cannot commit any more can still answer that (P24).
 * Then one fence follows the other. If an answer shows that it comes from another server, an old primary perhaps, or
 * that the server has crashed since, nothing that the pool reads is believed until it is known that both lead to the
 * same server (P5).
 *
 * An epoch ends in the same turn as its cause.
 */
import { sleep } from '../../time/clock.js';
import type { SignalBus } from '../bus.js';
import type { DownCause } from '../observation.js';
import { createBarriers } from './barriers.js';
import { questionRetryMs, type FenceOutcome } from './fence.js';
import { createFenceLoop, type FenceLoop, type FenceLoopDeps } from './fence-loop.js';
import { createHeardFences } from './heard-fences.js';
import { FenceError, messageOf, mismatchError, type ListenerStatus } from './listener-status.js';
import { createMessages } from './messages.js';
import { createListenedServer, type AskServer, type ListeningBackend, type ServerReceipt } from './server.js';
import type { Watches } from './watches.js';

/** An open LISTEN connection. */
export interface Subscription {
  readonly backend: ListeningBackend;
  /** Sends a message over this very connection, so that others see which backend speaks. */
  send(payload: string): void;
  /** Gives the connection up, at once and for good. Idempotent. */
  close(): void;
}

/** What a subscription reports. Calls come in the order in which Postgres sent the messages. */
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

/** What a connection needs of the surroundings of its listener. */
export interface ConnectionDeps extends FenceLoopDeps {
  /** The name under which barriers are answered. */
  readonly replica: string;
  readonly bus: SignalBus;
  readonly openSubscription: OpenSubscription;
  readonly askServer: AskServer;
  /** Gives the pool's connections up, for they may lead to another server; the next ones are new. */
  readonly renewPool: () => void;
  /** Resolves when the reads that run now have settled. */
  readonly readsSettled: () => Promise<void>;
}

/** The listener whose attempt this is; the next one is, too. */
export interface ConnectionOwner {
  readonly status: ListenerStatus;
  readonly watches: Watches;
  /** Whether this is its first attempt. */
  readonly isFirst: boolean;
}

export interface Connection {
  /** Whether a fence has come back on it. */
  readonly isProven: boolean;
  /**
   * Listens until the connection is given up. Returns what kept it from that, if it could not be opened; null: it was
   * given up.
   */
  run(): Promise<{ readonly error: unknown } | null>;
  /** A fence that is asked for after this call, at once. Never rejects. */
  fence(): Promise<FenceOutcome>;
  /** Gives it up, at once and for good. Idempotent. */
  end(cause: DownCause, error: unknown): void;
}

type Phase =
  | { readonly name: 'opening' }
  | { readonly name: 'open'; readonly subscription: Subscription; readonly fences: FenceLoop }
  | { readonly name: 'ended' };

/** The pool and the listening connection see different servers. */
const MISMATCHES: ReadonlySet<DownCause> = new Set(['foreign_pool', 'foreign_reading', 'server_changed', 'standby']);

/** Creates a connection that is not opened yet. */
export function createConnection(deps: ConnectionDeps, { status, watches, isFirst }: ConnectionOwner): Connection {
  const { channel, lease, bus, clock, random, observe } = deps;
  const abort = new AbortController();
  const server = createListenedServer(lease);
  const heard = createHeardFences();
  let phase: Phase = { name: 'opening' };
  const isEnded = (): boolean => phase.name === 'ended';

  const fence = (): Promise<FenceOutcome> => (phase.name === 'open' ? phase.fences.request() : Promise.resolve(null));

  const barriers = createBarriers({
    replica: deps.replica,
    leaseMs: lease.leaseMs,
    clock,
    readsSettled: deps.readsSettled,
    fence,
    send: payload => {
      if (phase.name === 'open') {
        phase.subscription.send(payload);
      }
    },
  });

  const messages = createMessages({
    bus,
    clock,
    observe,
    hearFence: message => {
      if (heard.hear(message) && phase.name === 'open') {
        phase.fences.noteHeard();
      }
    },
    answerBarrier: id => {
      void barriers.answer(id);
    },
  });

  /** All of it happens in this turn, so that nothing that comes late finds the epoch half ended (P30). */
  const end = (cause: DownCause, error: unknown): void => {
    if (phase.name === 'ended') {
      return;
    }
    const before = phase;
    phase = { name: 'ended' };
    lease.endEpoch();
    status.step('given_up');
    const isMismatch = MISMATCHES.has(cause);
    // If no fence at all has come back, they may.
    if (isMismatch || (cause === 'fence_overdue' && !server.isProven)) {
      lease.suspectPool(isMismatch);
      deps.renewPool();
    }
    bus.emit({ type: 'flush', cause: 'down' });
    if (before.name === 'open') {
      observe({ event: 'flush', cause: 'down' });
      observe({ event: 'connection_closed', cause, error });
      status.explain(error instanceof FenceError ? error.message : `the listening connection was given up: ${cause}`);
      before.fences.end();
    }
    barriers.end();
    abort.abort();
    if (before.name === 'open') {
      before.subscription.close();
    }
    status.note();
  };

  /** Notes from where an answer comes. Whether it may be used: one from another server ends the epoch (P5). */
  const accept = (receipt: ServerReceipt): boolean => {
    if (isEnded()) {
      return false;
    }
    const cause = server.mismatchOf(receipt);
    if (cause !== null) {
      end(cause, mismatchError(cause, receipt.serverId));
      return false;
    }
    server.note(receipt);
    return true;
  };

  /** Resolves when it is known whether the pool leads to the same server, or the connection has ended (P24). */
  const findServer = async ({ backend }: Subscription): Promise<void> => {
    while (!isEnded()) {
      try {
        accept(await deps.askServer(backend));
        return;
      } catch (error) {
        if (!isEnded()) {
          status.explain(`the pool cannot ask which server it leads to: ${messageOf(error)}`);
          observe({ event: 'fence_failed', cause: 'send_failed', error });
          await sleep(clock, questionRetryMs(random), abort.signal);
        }
      }
    }
  };

  /** LISTEN is acknowledged: an epoch begins. */
  const begin = (subscription: Subscription): FenceLoop => {
    const fences = createFenceLoop(deps, {
      epoch: lease.beginEpoch(),
      backend: subscription.backend,
      server,
      heard,
      status,
      watches,
      accept,
      isEnded,
      signal: abort.signal,
      caughtUp: () => messages.caughtUp(),
      giveUp: end,
    });
    phase = { name: 'open', subscription, fences };
    status.step('listen_acknowledged');
    watches.beginEpoch();
    if (isFirst) {
      status.explain('waiting for the first fence');
    }
    observe({ event: 'connection_opened' });
    status.note();
    return fences;
  };

  return {
    get isProven() {
      return server.isProven;
    },
    async run() {
      status.step('attempt');
      status.note();
      try {
        const subscription = await deps.openSubscription(
          channel,
          {
            onMessage: payload => {
              if (!isEnded()) {
                messages.receive(payload);
              }
            },
            onLost: error => {
              end('connection_lost', error);
            },
          },
          abort.signal,
        );
        // A listener that is stopped ends the attempt in the same turn.
        if (isEnded()) {
          subscription.close();
          return null;
        }
        const fences = begin(subscription);
        await findServer(subscription);
        await fences.run();
        return null;
      } catch (error) {
        end('connection_lost', error);
        return { error };
      }
    },
    fence,
    end,
  };
}
