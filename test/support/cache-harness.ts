/** Caches and their loader on a bench: Postgres, time and the lease are the test's to move. */
import { createSourceCheck } from '../../src/coherence/facts/source-check.js';
import { createBus, type SignalBus } from '../../src/coherence/bus.js';
import { createCache, type Cache, type CacheLimits } from '../../src/coherence/facts/cache.js';
import { createSequence, type Sequence } from '../../src/time/clock.js';
import { createLease, createServerClock, type Lease, type ServerClock } from '../../src/coherence/proof/lease.js';
import { createLoader, type LoaderLimits } from '../../src/coherence/facts/loader.js';
import type { Key } from '../../src/coherence/signal.js';
import { createSlots, type Slots } from '../../src/coherence/facts/slots.js';
import { createSnapshots, type Snapshots } from '../../src/coherence/facts/snapshots.js';
import type { FactQuery } from '../../src/coherence/facts/source.js';
import { SERVER_ID } from './fake-fences.js';
import { createFakeSource, fakeQuery, type FakeSource } from './fake-source.js';
import { createObservationLog, type ObservationLog } from './observation-log.js';
import { createSimulatedClock, type SimulatedClock } from './simulated-clock.js';

export const LEASE_MS = 3_000;

export interface CacheBench {
  readonly clock: SimulatedClock;
  readonly sequence: Sequence;
  readonly lease: Lease;
  readonly serverClock: ServerClock;
  readonly bus: SignalBus;
  readonly log: ObservationLog;
  readonly source: FakeSource;
  readonly slots: Slots;
  readonly snapshots: Snapshots;
  /** How often a reading has called for the listener to be distrusted. */
  readonly foreignReadings: number;
  cache(topic: string, limits?: CacheLimits, query?: FactQuery<string>): Cache<string>;
  /** An epoch begins and is proven as of now, with these topics trusted. */
  goLive(...topics: string[]): void;
  /** The epoch ends as it does when the connection is lost. */
  goDown(): void;
  /** Postgres says that facts of the topic have changed. */
  change(topic: string, keys: readonly Key[] | null): void;
  /** The value that the cache serves now: null is absence, undefined is a miss. */
  served(cache: Cache<string>, key: Key): string | null | undefined;
  /** The value as loaded. */
  loaded(cache: Cache<string>, key: Key): Promise<string | null>;
}

/** @param limits and `slotsMax`: readings under way at once; default 3 */
export function createCacheBench({
  slotsMax = 3,
  ...limits
}: Partial<LoaderLimits & { readonly slotsMax: number }> = {}): CacheBench {
  const clock = createSimulatedClock();
  const sequence = createSequence();
  const lease = createLease(clock, LEASE_MS);
  const serverClock = createServerClock();
  const log = createObservationLog();
  const bus = createBus(log.observe);
  const source = createFakeSource();
  let foreignReadings = 0;
  const slots = createSlots(clock, slotsMax);
  const reading = {
    source,
    slots,
    clock,
    sequence,
    serverClock,
    acceptance: createSourceCheck({
      lease,
      clock,
      onForeignResult: () => {
        foreignReadings += 1;
      },
    }),
    observe: log.observe,
    limits: { batchKeysMax: 500, waitingKeysMax: 20_000, ...limits },
  };
  const loader = createLoader(reading);
  return {
    clock,
    sequence,
    lease,
    serverClock,
    bus,
    log,
    source,
    slots,
    snapshots: createSnapshots(reading),
    get foreignReadings() {
      return foreignReadings;
    },
    cache: (topic, cacheLimits = {}, query = fakeQuery()) =>
      createCache(
        { topic, load: query, entriesMax: 1_000, negativeEntriesMax: 1_000, ...cacheLimits },
        {
          lease,
          loader,
          bus,
          clock,
          observe: log.observe,
        },
      ),
    goLive(...topics) {
      lease.beginEpoch();
      lease.setServer(SERVER_ID);
      lease.setTrustedTopics(new Set(topics));
      lease.prove(clock.now());
    },
    goDown() {
      lease.endEpoch();
      bus.emit({ type: 'flush', cause: 'down' });
    },
    change(topic, keys) {
      bus.emit({ type: 'change', topic, keys });
    },
    served: (cache, key) => cache.lookup(key, clock.now())?.value,
    async loaded(cache, key) {
      const [loaded] = await Promise.all([cache.load(key), clock.settle()]);
      return loaded.value;
    },
  };
}
