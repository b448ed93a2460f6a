/**
 * Puts the parts together: one lease, one bus, one listener, one loader, one set of slots, and a cache for each topic.
 * This is what a program holds; it knows nothing of what the facts are about.
 */
import { createSourceCheck } from './facts/source-check.js';
import { createAuditor, type AuditTotals } from './facts/audit.js';
import { createBus, type ChangeHandler } from './bus.js';
import { createCache, type AuditedCache, type Cache, type CacheOptions } from './facts/cache.js';
import { createSequence, type Clock, type Random } from '../time/clock.js';
import { createLease, createServerClock } from './proof/lease.js';
import type { OpenSubscription } from './proof/connection.js';
import type { AskFence } from './proof/fence.js';
import { createListener } from './proof/listener.js';
import type { AskServer } from './proof/server.js';
import { createLoader } from './facts/loader.js';
import type { ListenerState, Observe } from './observation.js';
import { createReader, type Caches, type Reader } from './facts/reader.js';
import { createRunningReads } from './facts/running-reads.js';
import type { Key } from './signal.js';
import { createSlots } from './facts/slots.js';
import { createSnapshots } from './facts/snapshots.js';
import type { FactSource } from './facts/source.js';

/** What a coherence needs. All times are in milliseconds. */
export interface CoherenceOptions {
  /** The channel that the triggers signal on. */
  readonly channel: string;
  /** Name of this replica: what barriers are answered with. */
  readonly replica: string;
  /** How long a proof holds: the bound of staleness under faults. */
  readonly leaseMs: number;
  /** From one fence to the next; well below the lease. */
  readonly fenceIntervalMs: number;
  /** Batches of loads in flight at once; leave one connection of the pool to the fences. */
  readonly loadsMax: number;
  /** Keys in one batch. Default 500. */
  readonly batchKeysMax?: number;
  /** Keys that wait for a batch, a topic. Default 20,000. */
  readonly waitingKeysMax?: number;
  /** From one audit of cached facts to the next, on average; 0: never. Default 10,000. */
  readonly auditIntervalMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly observe: Observe;
  readonly openSubscription: OpenSubscription;
  readonly askServer: AskServer;
  readonly askFence: AskFence;
  /** Makes the connections to Postgres, except the listening one, anew. */
  readonly renewPool: () => void;
  readonly source: FactSource;
}

/** A coherent cache as other programs use it. */
export interface CoherentCache<V> extends Cache<V> {
  /**
   * The fact, or null if the row does not exist; from memory when it is proven to be true, else from Postgres. With
   * `strong` it is what every commit acknowledged before this call has left.
   * @throws UnavailableError (as a rejection) when neither can be had
   */
  get(key: Key, options?: { readonly strong?: boolean }): Promise<V | null>;
}

export interface Coherence {
  readonly state: ListenerState;
  /** Why caches are not served now, for an operator; null while live. */
  readonly problem: string | null;
  /** Topics that are not served because their triggers are not in place, with what is wrong. */
  readonly watchProblems: ReadonlyMap<string, string>;
  /**
   * The server, the database and the schema that are listened to and read, as in `gatebell.server`; null while that is
   * not known.
   */
  readonly serverId: string | null;
  /**
   * Upper bound in milliseconds of how stale an answer from memory may be now; null while nothing is served from
   * memory.
   */
  readonly stalenessBoundMs: number | null;
  /**
   * The server that is listened to, as the view `gatebell.server` names it: changes are sent there. Null while that is
   * not proven.
   */
  readonly listenedServer: string | null;
  readonly caches: readonly Cache<unknown>[];
  /** What audits have found so far, a cache each. */
  readonly audits: readonly AuditTotals[];
  /** Makes the cache of a watched topic. */
  coherentCache<V>(options: CacheOptions<V>): CoherentCache<V>;
  /** Makes a reader over several caches, for questions that need more than one fact. */
  reader<Types>(caches: Caches<Types>): Reader<Types>;
  /**
   * Calls the handler whenever facts of the topic may have changed, after the caches forgot. Returns what unsubscribes
   * it.
   */
  on(topic: string, handler: ChangeHandler): () => void;
  /** Starts listening; returns at once. Idempotent. */
  start(): void;
  /** Stops listening and drops the caches. Idempotent. */
  stop(): Promise<void>;
}

/** A short lease runs out often on a busy machine; that alone is no reason to give the connection up. */
const FENCE_OVERDUE_MIN_MS = 2_000;
const AUDIT_INTERVAL_MS = 10_000;

/** Creates a coherence that does not listen yet: until `start()`, every read goes to Postgres. */
export function createCoherence(options: CoherenceOptions): Coherence {
  const { clock, random, observe, leaseMs, loadsMax, batchKeysMax = 500, waitingKeysMax = 20_000 } = options;
  const sequence = createSequence();
  const serverClock = createServerClock();
  const lease = createLease(clock, leaseMs);
  const bus = createBus(observe);
  const caches: (Cache<unknown> & AuditedCache<unknown>)[] = [];
  const runningReads = createRunningReads();
  const listener = createListener({
    channel: options.channel,
    replica: options.replica,
    times: { fenceIntervalMs: options.fenceIntervalMs, fenceOverdueMs: Math.max(leaseMs, FENCE_OVERDUE_MIN_MS) },
    lease,
    serverClock,
    bus,
    clock,
    random,
    sequence,
    observe,
    openSubscription: options.openSubscription,
    askServer: options.askServer,
    askFence: options.askFence,
    renewPool: options.renewPool,
    readsSettled: () => runningReads.settled(),
  });
  const slots = createSlots(clock, loadsMax);
  const reading = {
    source: options.source,
    slots,
    clock,
    sequence,
    serverClock,
    acceptance: createSourceCheck({
      lease,
      clock,
      onForeignResult: cause => {
        listener.reset(cause);
      },
    }),
    observe,
    limits: { batchKeysMax, waitingKeysMax },
  };
  const loader = createLoader(reading);
  const snapshots = createSnapshots(reading);
  const auditor = createAuditor({
    caches,
    intervalMs: options.auditIntervalMs ?? AUDIT_INTERVAL_MS,
    lease,
    slots,
    source: options.source,
    bus,
    clock,
    random,
    sequence,
    observe,
    fence: () => listener.fence(),
  });
  const reader = <Types>(over: Caches<Types>): Reader<Types> =>
    createReader(over, {
      clock,
      sequence,
      lease,
      serverClock,
      snapshots,
      fence: () => listener.fence(),
      runningReads,
      strongWaitMs: leaseMs / 2,
    });

  return {
    get state() {
      return listener.state;
    },
    get problem() {
      return listener.problem;
    },
    get watchProblems() {
      const problems = new Map(listener.watchProblems);
      for (const { topic } of lease.isFresh(clock.now()) ? caches : []) {
        if (!lease.trusts(topic) && !problems.has(topic)) {
          problems.set(topic, 'no table is watched for this topic');
        }
      }
      return problems;
    },
    get serverId() {
      return lease.serverId;
    },
    get stalenessBoundMs() {
      return lease.stalenessBoundMs();
    },
    get listenedServer() {
      return lease.provenServerId(clock.now());
    },
    caches,
    get audits() {
      return auditor.totals;
    },
    coherentCache<V>(cacheOptions: CacheOptions<V>): CoherentCache<V> {
      const cache = createCache(cacheOptions, {
        lease,
        loader,
        bus,
        clock,
        observe,
      });
      const answers = reader<{ fact: V }>({ fact: cache });
      caches.push(cache);
      return Object.assign(cache, {
        async get(key: Key, { strong = false }: { readonly strong?: boolean } = {}): Promise<V | null> {
          return answers.read(facts => {
            const value = facts.get('fact', key);
            return value === undefined ? { lacks: [{ topic: 'fact', key }] } : { answer: value, strong };
          });
        },
      });
    },
    reader,
    on: (topic, handler) => bus.on(topic, handler),
    start() {
      listener.start();
      auditor.start();
    },
    async stop() {
      await Promise.all([auditor.stop(), listener.stop()]);
    },
  };
}
