/**
 * The few connections to Postgres besides the listening one: reads facts, sends fences. Every wait has a bound on both
 * sides, or a handful of slots become dozens of backends (P13).
 */
import pg from 'pg';
import type { ClientConfig } from 'pg';
import type { AskFence, FenceReceipt, SendFence } from '../coherence/proof/fence.js';
import type { AskServer, ServerReceipt } from '../coherence/proof/server.js';
import type { FactSource } from '../coherence/facts/source.js';
import { createReads, type Query, type ReadFunction, type ReadingConnection } from './reads.js';

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
/**
 * Classes of Postgres' error codes that say something of the values asked for: data exception, integrity constraint
 * violation (of a domain), PL/pgSQL error (raised by a function that the load calls).
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const DATA_ERRORS = ['22', '23', 'P0'];
/**
 * Classes that say it either of the query or of a value: a name that is not there, a syntax that is wrong, what is not
 * supported. Values are read so by `::regclass` and its like, `::tsquery`, `::jsonpath`, `::ltree`. Of the query itself
 * Postgres says the place, and no context.
 */
const TEXT_ERRORS = ['42', '3F', '0A'];
/** "Insufficient privilege" and "infinite recursion" of views and policies: of the query, without a place. */
const QUERY_ERRORS = new Set(['42501', '42P17']);

function isDataError(error: unknown): boolean {
  const code = sqlState(error) ?? '';
  const isOfText =
    TEXT_ERRORS.includes(code.slice(0, 2)) &&
    !QUERY_ERRORS.has(code) &&
    error instanceof pg.DatabaseError &&
    (error.position === undefined || error.where !== undefined) &&
    error.internalPosition === undefined;
  return isOfText || DATA_ERRORS.includes(code.slice(0, 2));
}
/** Terminated by the administrator, or by a crash or shutdown of the server. */
const ADMINISTRATOR = '57P';

/** The SQLSTATE of an error, if Postgres sent it. */
export function sqlState(error: unknown): string | null {
  return error instanceof pg.DatabaseError && error.code !== undefined ? error.code : null;
}

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

/** Which server answers, and whether the backend of process id $1, with the mark $2, is on it, in the same database. */
const SERVER = `
  o.origin, o.in_recovery, pg_backend_pid() as process_id, coalesce((
    select case when position($2::text in a.application_name) > 0 then 'seen' else 'unsure' end
    from pg_stat_get_activity($1::integer) a
    where a.datid = (select d.oid from pg_database d where d.datname = current_database())
  ), 'absent') as listener`;

const ASK_SERVER = `select ${SERVER} from gatebell.origin o`;

const FENCE = `
  select ${SERVER}, o.server_time_ms, gatebell.channel() as channel, pg_notification_queue_usage() as queue_usage,
    f.bound::double precision as bound, f.newest::double precision as newest, f.sent, encode(f.key, 'hex') as key,
    (select coalesce(json_agg(json_build_object('topic', w.topic, 'problem', w.problem, 'fingerprint', w.fingerprint,
       'writers', case when w.problem is not null or w.fingerprint = any ($4::text[]) then '{}'
         else gatebell.open_writers(w.target, pg_current_snapshot()) end)
       order by w.topic, w.target::oid), '[]') from gatebell.watch_status w) as watches
  from gatebell.origin o, gatebell.fence($3) f`;

/**
 * Planning it costs Postgres more than running it, so it is prepared, but only when a fence has come back before: then
 * no transaction-mode pooler is in between, for which a prepared statement is on another connection the next time.
 */
const PREPARED_FENCE = 'gatebell_fence';

interface ServerRow extends pg.QueryResultRow {
  origin: string;
  in_recovery: boolean;
  process_id: number;
  listener: ServerReceipt['listener'];
}

interface FenceRow extends ServerRow {
  server_time_ms: number;
  bound: number;
  newest: number;
  sent: boolean;
  key: string;
  channel: string;
  queue_usage: number;
  watches: FenceReceipt['watches'];
}

/** As `gatebell.fence` takes it. */
function unlessAfter(send: SendFence): number | null {
  switch (send) {
    case 'always':
      return null;
    case 'never':
      return -1;
    default:
      return send.unlessAfter;
  }
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
  const onConnection = async <T>(work: (run: Query, client: pg.PoolClient) => Promise<T>): Promise<T> => {
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

  /** One row, and what it says of the server. */
  const askAbout = <R extends ServerRow>(
    name: string,
    text: string,
    values: readonly unknown[],
    prepared: string | null = null,
  ): Promise<R & ServerReceipt> =>
    onConnection(async (run, client) => {
      const [row] = await run<R>(name, text, values, prepared);
      if (row === undefined) {
        throw new Error('the view gatebell.origin returned no row');
      }
      // The driver keeps it and does not declare it: the process that the connection began with.
      const { processID: begunWith } = client as { readonly processID?: unknown };
      return { ...row, inRecovery: row.in_recovery, isPooled: row.process_id !== begunWith };
    });

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
    askServer: async ({ processId, mark }) => askAbout<ServerRow>('server', ASK_SERVER, [processId, mark]),
    async askFence(send, { processId, mark }, isProven, trusted = []) {
      const prepared = isDirect && isProven ? PREPARED_FENCE : null;
      const row = await askAbout<FenceRow>('fence', FENCE, [processId, mark, unlessAfter(send), trusted], prepared);
      return {
        origin: row.origin,
        inRecovery: row.inRecovery,
        listener: row.listener,
        isPooled: row.isPooled,
        serverTimeMs: row.server_time_ms,
        bound: row.bound,
        newest: row.newest,
        sent: row.sent,
        key: row.key,
        channel: row.channel,
        queueUsage: row.queue_usage,
        watches: row.watches,
      };
    },
    async close() {
      await pool.end();
    },
  };
}
