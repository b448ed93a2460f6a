/** A listener on a bench: everything around it is the test's to move. */
import { createBus, type SignalBus } from '../../src/coherence/bus.js';
import { createSequence } from '../../src/time/clock.js';
import { createLease, createServerClock, type Lease, type ServerClock } from '../../src/coherence/proof/lease.js';
import type { FenceReceipt } from '../../src/coherence/proof/fence.js';
import { createListener, type Listener } from '../../src/coherence/proof/listener.js';
import { createRunningReads, type RunningReads } from '../../src/coherence/facts/running-reads.js';
import type { WatchState } from '../../src/coherence/proof/watches.js';
import type { Signal } from '../../src/coherence/signal.js';
import { CHANNEL, createFakeFences, fenceMessage, SERVER_ID, type FakeFences } from './fake-fences.js';
import { createFakeSubscriptions, type FakeSubscriptions } from './fake-subscription.js';
import { createObservationLog, type ObservationLog } from './observation-log.js';
import { createFixedRandom, createSimulatedClock, type SimulatedClock } from './simulated-clock.js';

export const LEASE_MS = 3_000;
export const REPLICA = 'replica 1';
export const FENCE_INTERVAL_MS = 1_000;
/** Longer than any wait before another attempt, or another fence. */
export const RETRY_MS = 5_000;

export interface ListenerBench {
  readonly clock: SimulatedClock;
  readonly lease: Lease;
  readonly serverClock: ServerClock;
  readonly bus: SignalBus;
  readonly log: ObservationLog;
  readonly subscriptions: FakeSubscriptions;
  readonly fences: FakeFences;
  readonly listener: Listener;
  /** What a cache would have been told, oldest first. */
  readonly signals: readonly Signal[];
  /** How often the pool's connections were given up. */
  poolsRenewed: number;
  /** Reads that wait for Postgres. */
  readonly runningReads: RunningReads;
  /** The newest fence comes back on the newest connection. */
  echo(serverId?: string): void;
  /** Echo and confirmation of the newest fence. */
  prove(receipt?: Partial<FenceReceipt>): Promise<void>;
  /** Accepts the newest connection. */
  accept(): Promise<void>;
  /** Starts, accepts, proves. */
  goLive(): Promise<void>;
  /** Waits for the next fence, and proves it with these watches. */
  proveNext(watches?: readonly WatchState[]): Promise<void>;
}

export function createListenerBench(...chances: readonly number[]): ListenerBench {
  const clock = createSimulatedClock();
  const lease = createLease(clock, LEASE_MS);
  const serverClock = createServerClock();
  const log = createObservationLog();
  const bus = createBus(log.observe);
  const subscriptions = createFakeSubscriptions();
  const fences = createFakeFences();
  const signals: Signal[] = [];
  const runningReads = createRunningReads();
  for (const topic of ['grant', 'user']) {
    bus.subscribeCache({
      topic,
      apply: signal => {
        if (topic === 'grant' || signal.type === 'change') {
          signals.push(signal);
        }
      },
      flush: () => undefined,
    });
  }
  const listener = createListener({
    channel: CHANNEL,
    replica: REPLICA,
    times: { fenceIntervalMs: FENCE_INTERVAL_MS, fenceOverdueMs: LEASE_MS },
    lease,
    serverClock,
    bus,
    clock,
    random: createFixedRandom(...chances),
    sequence: createSequence(),
    observe: log.observe,
    openSubscription: subscriptions.open,
    askServer: fences.askServer,
    askFence: fences.ask,
    renewPool: () => {
      bench.poolsRenewed += 1;
    },
    readsSettled: () => runningReads.settled(),
  });
  const bench: ListenerBench = {
    poolsRenewed: 0,
    runningReads,
    clock,
    lease,
    serverClock,
    bus,
    log,
    subscriptions,
    fences,
    listener,
    signals,
    echo(serverId = SERVER_ID) {
      subscriptions.newest.say(fenceMessage(fences.newest.number, serverId));
    },
    async prove(receipt) {
      bench.echo(receipt?.serverId);
      fences.newest.confirm(receipt);
      await clock.drain();
    },
    async accept() {
      subscriptions.newest.accept();
      await clock.drain();
    },
    async goLive() {
      listener.start();
      await clock.drain();
      await bench.accept();
      await bench.prove();
    },
    async proveNext(watches) {
      await clock.advance(FENCE_INTERVAL_MS);
      await bench.prove(watches === undefined ? {} : { watches });
    },
  };
  return bench;
}
