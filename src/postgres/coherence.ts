/**
 * A coherence on a real Postgres, on the clocks of this machine: the one way in for programs, ours among them.
 */
import { systemClock, systemRandom } from '../time/clock.js';
import { createCoherence, type Coherence } from '../coherence/coherence.js';
import type { OpenSubscription } from '../coherence/proof/connection.js';
import type { CoherenceObservation } from '../coherence/observation.js';
import type { ChannelSink } from './channels.js';
import { createSubscriptionOpener } from './listen.js';
import { applicationNameOf, defaultReplica, isReplicaName } from './replica-name.js';
import { createDatabase, type Database, type DatabaseOptions, type StoreObservation } from './pool.js';

/** Options of {@link createPostgresCoherence}; all times in milliseconds. */
export interface PostgresCoherenceOptions extends Omit<DatabaseOptions, 'observe' | 'applicationName'> {
  /** Name of this replica, in `pg_stat_activity` and in the answers to barriers. Default: host name and process id. */
  readonly replica?: string;
  /** The channel of `gatebell.channel()`. Default `gatebell`. */
  readonly channel?: string;
  /** How long a proof holds: the bound of staleness under faults. Default 3,000. */
  readonly leaseMs?: number;
  /** From one fence to the next. Default 1,000, or a third of a shorter lease. */
  readonly fenceIntervalMs?: number;
  /** From one audit of cached facts to the next, on average; 0: never. Default 10,000. */
  readonly auditIntervalMs?: number;
  /** How it listens; default: on a connection of its own. */
  readonly openSubscription?: OpenSubscription;
  /** Other channels to listen to on the same connection. Default: there are none. */
  readonly channels?: ChannelSink;
  /** Connections of the pool that loads leave alone: one is for fences. Default 1, less than `poolMax`. */
  readonly reservedConnections?: number;
  /** Receives everything that happens. Must not throw. */
  readonly observe?: (observation: CoherenceObservation | StoreObservation) => void;
}

/** A coherence with the connections that it owns. `stop()` closes them, too. */
export interface PostgresCoherence extends Coherence {
  readonly database: Database;
}

const LEASE_MS = 3_000;
const FENCE_INTERVAL_MS = 1_000;
const ignore = (): void => undefined;

/**
 * Creates a coherence over tables that are watched with `gatebell.watch(…)`. It connects when it is started, or first
 * read from.
 *
 * @example
 * const coherence = createPostgresCoherence({ connectionString: process.env.DATABASE_URL });
 * const prices = coherence.coherentCache({
 *   topic: 'price',
 *   load: {
 *     text: 'select sku, cents from prices where sku = any ($1::text[])',
 *     key: row => [row.sku],
 *     value: row => row.cents,
 *   },
 * });
 * coherence.start();
 * await prices.get(['apple']); // from Postgres the first time, then from memory until the row changes
 */
export function createPostgresCoherence(options: PostgresCoherenceOptions): PostgresCoherence {
  const {
    channel = 'gatebell',
    replica = defaultReplica(),
    leaseMs = LEASE_MS,
    fenceIntervalMs = Math.min(FENCE_INTERVAL_MS, leaseMs / 3),
    auditIntervalMs,
    reservedConnections = 1,
    observe = ignore,
  } = options;
  if (!isReplicaName(replica)) {
    throw new TypeError(
      `replica ${JSON.stringify(replica)} is not allowed: 1 to 48 printable ASCII characters, not ending in /pool`,
    );
  }
  const database = createDatabase({ ...options, applicationName: applicationNameOf(replica), observe });
  const coherence = createCoherence({
    channel,
    replica,
    leaseMs,
    fenceIntervalMs,
    ...(auditIntervalMs === undefined ? {} : { auditIntervalMs }),
    // One connection is kept for the fences: a pool full of slow loads must not make the cache unproven.
    loadsMax: Math.max(1, database.poolMax - reservedConnections),
    clock: systemClock,
    random: systemRandom,
    observe,
    openSubscription: options.openSubscription ?? createSubscriptionOpener(database.listenConfig, options.channels),
    askServer: database.askServer,
    askFence: database.askFence,
    renewPool: database.renew,
    source: database.source,
  });
  const stopListening = coherence.stop.bind(coherence);
  let stopping: Promise<void> | null = null;
  return Object.assign(coherence, {
    database,
    stop: () => (stopping ??= stopListening().then(() => database.close())),
  });
}
