/**
 * The few connections to Postgres besides the listening one: reads facts, sends fences. Every wait has a bound on both
 * sides, or a handful of slots become dozens of backends (P13).
 */
import pg from 'pg';
import type { ClientConfig } from 'pg';
import type { AskFence } from '../coherence/proof/fence.js';
import type { AskServer } from '../coherence/proof/server.js';
import type { FactSource } from '../coherence/facts/source.js';
import { createFenceQueries, type OnConnection } from './fence-queries.js';
import { createReads, type Query, type ReadFunction, type ReadingConnection } from './reads.js';
import { isDataError, sqlState } from './sql-errors.js';

/** How to reach Postgres. */
export interface DatabaseOptions {
  /** A connection string; without one libpq's `PG*` variables are used. */
  readonly connectionString?: string | undefined;
  /** A direct connection for LISTEN, when `connectionString` goes through a pooler. */
  readonly listenConnectionString?: string | undefined;
  /** Connections besides the listening one. Default 4. */
  readonly poolMax?: number;
  /** Shown in `pg_stat_activity`. Default `gatebell`. */
  readonly applicationName?: string;
  /** Bound of connecting, and of one statement, in milliseconds. Default 2,000. */
  readonly timeoutMs?: number;
  /** Receives what happens. Must not throw. */
  readonly observe?: (observation: StoreObservation) => void;
}

/** What is observed of the pool: a statement was sent (by its name), or an idle connection broke. */
export type StoreObservation =
  | { readonly event: 'query'; readonly query: string }
  | { readonly event: 'pool_connection_lost'; readonly error: unknown };

export interface Database {
  readonly source: FactSource;
  readonly askServer: AskServer;
  readonly askFence: AskFence;
  /** What the listening connection is made of. */
  readonly listenConfig: ClientConfig;
  readonly poolMax: number;
  /** Open connections of the pool. */
  readonly poolSize: number;
  /** Each connection of the pool is closed before it is used again. */
  readonly renew: () => void;
  /**
   * From now on facts whose query has this text are read by the function, in a transaction that shows one snapshot and
   * writes nothing.
   */
  addFunction(text: string, read: ReadFunction): void;
  query<R extends pg.QueryResultRow>(name: string, text: string, values?: readonly unknown[]): Promise<R[]>;
  close(): Promise<void>;
}

const POOL_MAX = 4;
const TIMEOUT_MS = 2_000;
const KEEPALIVE_MS = 5_000;
/** Terminated by the administrator, or by a crash or shutdown of the server. */
const ADMINISTRATOR = '57P';

/**
 * Settings of one connection. A direct one tells the server, too, when to give up: on a statement, and on a peer that
 * does not answer. Poolers refuse `options` at start-up, so a connection through one goes without.
 */
function connectionConfig(
  connectionString: string | undefined,
  applicationName: string,
  timeoutMs: number,
  direct: boolean,
): ClientConfig {
  const settings = [
    `statement_timeout=${timeoutMs}`,
    `client_connection_check_interval=${timeoutMs}`,
    `tcp_user_timeout=${2 * KEEPALIVE_MS}`,
    `tcp_keepalives_idle=${KEEPALIVE_MS / 1000}`,
    `tcp_keepalives_interval=${KEEPALIVE_MS / 1000}`,
    'tcp_keepalives_count=2',
    // The listening connection is idle for as long as nothing changes.
    'idle_session_timeout=0',
    // A fence takes a number.
    'default_transaction_read_only=off',
    // Times and bounds are read as numbers: with fewer digits an expiry, and what a fence proves, would be rounded.
    'extra_float_digits=1',
    // Names of watched tables are compared as Postgres quotes them.
    'quote_all_identifiers=off',
  ];
  const config: ClientConfig = {
    application_name: applicationName,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
  };
  let own = process.env['PGOPTIONS'] ?? '';
  if (connectionString !== undefined) {
    config.connectionString = connectionString;
    if (URL.canParse(connectionString)) {
      // What stands in the connection string wins over the other settings, so ours must not be hidden by it.
      const url = new URL(connectionString);
      own = url.searchParams.get('options') ?? own;
      url.searchParams.delete('options');
      url.searchParams.delete('application_name');
      config.connectionString = url.href;
    }
  }
  const options = [...(direct ? settings.map(setting => `-c ${setting}`) : []), own].join(' ').trim();
  return options === '' ? config : { ...config, options };
}

/** Opens nothing yet: connections are made when they are needed. */
export function createDatabase(options: DatabaseOptions): Database {
  const {
    connectionString,
    listenConnectionString,
    poolMax = POOL_MAX,
    applicationName = 'gatebell',
    timeoutMs = TIMEOUT_MS,
  } = options;
  const isDirect = listenConnectionString === undefined;
  const pool = new pg.Pool({
    ...connectionConfig(connectionString, `${applicationName}/pool`, timeoutMs, isDirect),
    max: poolMax,
    // One connection stays: a fence must not depend on the server having room for a new one.
    min: 1,
    idleTimeoutMillis: 30_000,
  });
  pool.on('error', error => options.observe?.({ event: 'pool_connection_lost', error }));

  let generation = 0;
  const generations = new WeakMap<pg.PoolClient, number>();
  pool.on('connect', client => {
    generations.set(client, generation);
    // The statement that was under way rejects with it; without a listener the process would end.
    client.on('error', () => undefined);
  });

  const acquire = async (): Promise<pg.PoolClient> => {
    for (;;) {
      const client = await pool.connect();
      if (generations.get(client) === generation) {
        return client;
      }
      client.release(true);
    }
  };

  /** One connection for some statements; it is not used again if any of them fails. */
  const onConnection: OnConnection = async work => {
    const client = await acquire();
    try {
      const result = await work(
        async <R extends pg.QueryResultRow>(
          name: string,
          text: string,
          values: readonly unknown[] = [],
          prepared: string | null = null,
        ) => {
          options.observe?.({ event: 'query', query: name });
          const statement = { text, values: [...values] };
          return (await client.query<R>(prepared === null ? statement : { ...statement, name: prepared })).rows;
        },
        client,
      );
      client.release();
      return result;
    } catch (error) {
      client.release(true);
      throw error;
    }
  };

  const query: Query = (name, text, values) => onConnection(run => run(name, text, values));

  /**
   * A read on a connection that turns out to be dead is tried once more on another: once, and only while there is time.
   */
  const readTwice = async <T>(read: (connection: ReadingConnection) => Promise<T>): Promise<T> => {
    const startedMs = performance.now();
    try {
      return await onConnection((run, client) => read({ run, client }));
    } catch (error) {
      const state = sqlState(error);
      if ((state !== null && !state.startsWith(ADMINISTRATOR)) || performance.now() - startedMs > timeoutMs / 2) {
        throw error;
      }
      return onConnection((run, client) => read({ run, client }));
    }
  };
  const reads = createReads(readTwice, timeoutMs);

  const { askServer, askFence } = createFenceQueries(onConnection, isDirect);

  return {
    poolMax,
    get poolSize() {
      return pool.totalCount;
    },
    listenConfig: connectionConfig(listenConnectionString ?? connectionString, applicationName, timeoutMs, true),
    query,
    renew() {
      generation += 1;
    },
    addFunction(text, read) {
      reads.addFunction(text, read);
    },
    source: {
      read: (topic, text, keys, purpose) => reads.read(`${purpose}_${topic}`, { topic, text, keys }),
      readTogether: parts => reads.readTogether(parts),
      isDataError,
    },
    askServer,
    askFence,
    async close() {
      await pool.end();
    },
  };
}
