/**
 * What a program holds: coherent caches, the signals of topics and channels of its own, all on one listening connection
 * and one small pool. It is the coherence on a real Postgres with checked options and nothing of its insides; the
 * promises are the coherence's.
 */
import { createPublicCache, type Cache } from './public-cache.js';
import type { ChangeHandler } from '../coherence/bus.js';
import { UnavailableError } from '../coherence/errors.js';
import type { ListenerState } from '../coherence/observation.js';
import { barrier, type BarrierResult } from './barrier.js';
import { createChannels, type ChannelHandler } from './channels.js';
import { createPostgresCoherence, type PostgresCoherence } from './coherence.js';
import {
  checkCacheOptions,
  checkChannel,
  checkGatebellOptions,
  checkTopic,
  withoutUndefined,
  type CacheOptions,
  type GatebellOptions,
} from './gatebell-options.js';
import type { Row } from '../coherence/facts/source.js';

/** Options of `gatebell.barrier`. */
export interface PassOptions {
  /** The longest lease of any replica, in whole milliseconds. Default: the lease of this process. */
  readonly leaseMs?: number | undefined;
}

/** One listening connection, one pool, and all that a program does with them. Make one for each process. */
export interface Gatebell extends AsyncDisposable {
  /** `live`: caches are served from memory. In every other state each answer is read from Postgres. */
  readonly state: ListenerState;
  /** Why caches are not served from memory now, for an operator; null while `live`. */
  readonly problem: string | null;
  /**
   * Topics that are not served from memory because their triggers are not in place, with what is wrong. Empty when all
   * is well.
   */
  readonly watchProblems: ReadonlyMap<string, string>;
  /**
   * How many milliseconds an answer from memory may lie behind Postgres at this moment; null while nothing is served
   * from memory.
   */
  readonly stalenessBoundMs: number | null;
  /**
   * Makes a cache of a topic. The table must be watched: `select gatebell.watch('prices', 'price', '{sku}', '{cents}')`
   * in SQL, once; until it is, every answer is read from Postgres. A cache lives as long as its gatebell, so make it
   * once.
   *
   * @throws TypeError if an option is not allowed
   */
  cache<V, R extends object = Row>(options: CacheOptions<V, R>): Cache<V>;
  /**
   * Calls the handler when facts of the topic may have changed: after the commit, and after the caches of this process
   * have forgotten them. `keys` is null when any of them may have. A handler that throws is reported to `observe`, and
   * harms nobody else.
   *
   * @returns what unsubscribes it
   * @throws TypeError if the topic is not one
   */
  on(topic: string, handler: ChangeHandler): () => void;
  /**
   * Listens to a channel of your own on the same connection. The handler is called with `listening` when it begins, at
   * first and after each lost connection, and with each `message`. Keep it quick: it runs on the connection that keeps
   * the caches true.
   *
   * @returns what unsubscribes it
   * @throws TypeError if the name is none, or that of the triggers' channel
   */
  channel(name: string, handler: ChannelHandler): () => void;
  /**
   * Sends a message to all who listen to the channel now, on the server that the pool leads to. Nobody else gets it:
   * Postgres keeps none.
   *
   * @param payload text of at most 7,999 bytes
   * @throws TypeError (as a rejection) if one of them is not allowed
   * @throws UnavailableError (as a rejection) if Postgres did not take it within `timeoutMs`
   */
  publish(channel: string, payload: string): Promise<void>;
  /**
   * Resolves when every process has applied all that was committed before this call. Uses a connection of its own
   * meanwhile.
   *
   * @throws what `pg` throws (as a rejection) when Postgres cannot be asked; then nothing is known
   */
  barrier(options?: PassOptions): Promise<BarrierResult>;
  /** Closes all connections and drops what is cached; later calls get an UnavailableError. Idempotent. */
  close(): Promise<void>;
}

const PAYLOAD_BYTES_MAX = 7_999;
const SIGNAL_CHANNEL = 'gatebell';
const LEASE_MS = 3_000;

/** The coherence of each, for those parts of this package that need more of it than programs do. */
const coherences = new WeakMap<Gatebell, PostgresCoherence>();

/** What a gatebell is made on. */
export function coherenceOf(gatebell: Gatebell): PostgresCoherence {
  const coherence = coherences.get(gatebell);
  if (coherence === undefined) {
    throw new TypeError('not made by createGatebell of this copy of the package');
  }
  return coherence;
}

/**
 * Creates one and begins to connect in the background. Nothing has to be waited for: until it is `live`, answers are
 * read from Postgres. The schema must be there: `gatebell migrate up`.
 *
 * @throws TypeError if an option is not allowed, with what is
 * @example
 * const gatebell = createGatebell({ connectionString: process.env.DATABASE_URL });
 * const prices = gatebell.cache({
 *   topic: 'price',
 *   load: {
 *     text: 'select sku, cents from prices where sku = any ($1::text[])',
 *     key: (row: { sku: string; cents: number }) => row.sku,
 *     value: row => row.cents,
 *   },
 * });
 * await prices.get('apple'); // from Postgres the first time, then from memory until the row changes
 * await gatebell.close();
 */
export function createGatebell(options: GatebellOptions = {}): Gatebell {
  checkGatebellOptions(options);
  const given = withoutUndefined(options);
  const { signalChannel = SIGNAL_CHANNEL, leaseMs = LEASE_MS, observe = () => undefined } = given;
  const channels = createChannels(observe);
  const coherence = createPostgresCoherence({ ...given, channel: signalChannel, channels });
  let isClosed = false;

  const check = (name: string): void => {
    checkChannel(name);
    if (name === signalChannel) {
      throw new TypeError(`channel ${JSON.stringify(name)} is not allowed: it is the channel of the triggers`);
    }
  };
  const close = (): Promise<void> => {
    isClosed = true;
    return coherence.stop();
  };

  const gatebell: Gatebell = {
    get state() {
      return coherence.state;
    },
    get problem() {
      return coherence.problem;
    },
    get watchProblems() {
      return coherence.watchProblems;
    },
    get stalenessBoundMs() {
      return coherence.stalenessBoundMs;
    },
    cache(cacheOptions) {
      checkCacheOptions(cacheOptions);
      return createPublicCache(coherence, withoutUndefined(cacheOptions), () => isClosed);
    },
    on(topic, handler) {
      checkTopic(topic);
      return coherence.on(topic, handler);
    },
    channel(name, handler) {
      check(name);
      return channels.on(name, handler);
    },
    async publish(channel, payload) {
      check(channel);
      if (typeof payload !== 'string' || payload.includes('\0') || Buffer.byteLength(payload) > PAYLOAD_BYTES_MAX) {
        throw new TypeError(`payload is not allowed: it must be text of at most ${PAYLOAD_BYTES_MAX} bytes`);
      }
      try {
        await coherence.database.query('publish', 'select pg_notify($1, $2)', [channel, payload]);
      } catch (error) {
        throw new UnavailableError(isClosed ? 'stopped' : 'database', 'the message could not be published', error);
      }
    },
    barrier: (pass = {}) =>
      barrier({
        connectionString: given.listenConnectionString ?? given.connectionString,
        leaseMs: pass.leaseMs ?? leaseMs,
      }),
    close,
    [Symbol.asyncDispose]: close,
  };
  coherences.set(gatebell, coherence);
  coherence.start();
  return gatebell;
}
