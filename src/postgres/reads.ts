/**
 * How facts are read on a connection: by one statement, or by several in one snapshot. Either way the answer says which
 * server gave it, from the same snapshot as the facts (P4, P5).
 *
 * A function of the program may read, too, with a query builder say. It is given the connection, in a transaction that
 * is read only and sees one snapshot; so what it reads there is as good as what one statement reads. Nobody can
 * vouch for what it reads elsewhere.
 */
import pg from 'pg';
import type { Key } from '../coherence/signal.js';
import type { QueryResult, ReadPart, Row } from '../coherence/facts/source.js';
import { delay, systemClock } from '../time/clock.js';

/** Reads the rows of some keys on the connection that it is given, and on no other; see `FunctionLoad`. */
export type ReadFunction<R extends object = Row> = (
  keys: readonly Key[],
  client: pg.ClientBase,
) => Promise<readonly R[]>;

/**
 * Whether a table that this transaction has read was emptied or rewritten after its snapshot was taken: it then looks
 * as it is now, or empty, beside others that look as they were. The catalog is read as of the snapshot,
 * `pg_relation_filenode` as of now. https://www.postgresql.org/docs/current/mvcc-caveats.html
 */
const REWRITTEN = `
  select now()::text as began, exists (
    select from pg_locks l left join pg_class c on c.oid = l.relation
    where l.pid = pg_backend_pid() and l.locktype = 'relation'
      and (c.oid is null or c.relfilenode <> 0 and c.relfilenode is distinct from pg_relation_filenode(c.oid))
  ) as rewritten`;
/** Reads in one snapshot, when tables are emptied or rewritten under way. */
const SNAPSHOTS_MAX = 3;

interface ReadingRow extends pg.QueryResultRow {
  gatebell_server_id: string;
  gatebell_in_recovery: boolean;
  gatebell_server_time_ms: number;
  gatebell_found: boolean | null;
}

const SERVER = 'select s.server_id, s.in_recovery, s.server_time_ms, now()::text as began from gatebell.server s';

interface ServerRow extends pg.QueryResultRow {
  server_id: string;
  in_recovery: boolean;
  server_time_ms: number;
  /** When the transaction began: no two of a connection have begun at the same time. */
  began: string;
}

/** A reading, and the transaction that it was made in, if that could have been ended under way. */
type Called = QueryResult & { readonly began?: string };

/** @param prepared the name that it is prepared under; null: it is not */
export type Query = <R extends pg.QueryResultRow>(
  name: string,
  text: string,
  values?: readonly unknown[],
  prepared?: string | null,
) => Promise<R[]>;

/** The statement that reads what a query returns, and which server has answered when. */
export const readingStatement = (text: string): string =>
  `select s.server_id as gatebell_server_id, s.in_recovery as gatebell_in_recovery,
     s.server_time_ms as gatebell_server_time_ms, f.*
   from gatebell.server s left join (select true as gatebell_found, q.* from (${text}) q) f on true`;

/** Reads facts with one statement. */
async function readFacts(run: Query, name: string, { text, keys }: Omit<ReadPart, 'topic'>): Promise<QueryResult> {
  const parts = (keys[0] ?? []).map((_, part) => keys.map(key => key[part]));
  const rows = await run<ReadingRow>(name, readingStatement(text), parts);
  const [first] = rows;
  if (first === undefined) {
    throw new Error('the view gatebell.server returned no row');
  }
  return {
    serverId: first.gatebell_server_id,
    inRecovery: first.gatebell_in_recovery,
    serverTimeMs: first.gatebell_server_time_ms,
    rows: rows.filter(row => row.gatebell_found === true),
  };
}

/** A connection, and what counts the statements that are sent on it. */
export interface ReadingConnection {
  readonly run: Query;
  readonly client: pg.ClientBase;
}

/**
 * Gives a connection to read on, and takes it back; if it turns out to be dead, the reading is tried once more on
 * another.
 */
export type WithConnection = <T>(read: (connection: ReadingConnection) => Promise<T>) => Promise<T>;

export interface Reads {
  read(name: string, part: ReadPart): Promise<QueryResult>;
  /** All of them in one snapshot. */
  readTogether(parts: readonly ReadPart[]): Promise<readonly QueryResult[]>;
  /** From now on this function stands for the text: parts that name it are read by the function. */
  addFunction(text: string, read: ReadFunction): void;
}

/** Query builders wrap the errors of Postgres, and what they say about the values is lost then. */
const ofPostgres = (error: unknown): unknown =>
  error instanceof Error && error.cause instanceof pg.DatabaseError ? error.cause : error;

/** @param timeoutMs bound of what a function reads in one call: a connection is held meanwhile */
export function createReads(withConnection: WithConnection, timeoutMs: number): Reads {
  const functions = new Map<string, ReadFunction>();

  const callWithin = async (read: ReadFunction, keys: readonly Key[], client: pg.ClientBase): Promise<unknown> => {
    const waiting = delay(systemClock, timeoutMs);
    const late = waiting.over.then(() => {
      throw new Error(`the load function took longer than ${timeoutMs} ms`);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([read(keys, client), late]);
    } catch (error) {
      throw ofPostgres(error);
    } finally {
      waiting.wake();
    }
  };

  /** Reads facts with a function, in the transaction that is open. */
  const callFunction = async (
    { run, client }: ReadingConnection,
    name: string,
    { topic, keys }: ReadPart,
    read: ReadFunction,
  ): Promise<Called> => {
    const [server] = await run<ServerRow>(name, SERVER);
    if (server === undefined) {
      throw new Error('the view gatebell.server returned no row');
    }
    const rows = await callWithin(read, keys, client);
    if (!Array.isArray(rows) || !rows.every((row): row is Row => typeof row === 'object' && row !== null)) {
      throw new TypeError(`the load function of ${topic} must return an array of rows`);
    }
    const { in_recovery: inRecovery, server_time_ms: serverTimeMs, began } = server;
    return { serverId: server.server_id, inRecovery, serverTimeMs, rows, began };
  };

  /** Reads all parts in one snapshot; null if the snapshot did not hold. */
  const readSnapshot = async (
    connection: ReadingConnection,
    parts: readonly { readonly name: string; readonly part: ReadPart }[],
  ): Promise<readonly QueryResult[] | null> => {
    const { run } = connection;
    await run('begin', 'begin isolation level repeatable read read only');
    const readings: Called[] = [];
    for (const { name, part } of parts) {
      const read = functions.get(part.text);
      readings.push(
        await (read === undefined ? readFacts(run, name, part) : callFunction(connection, name, part, read)),
      );
    }
    const [after] = await run<{ began: string; rewritten: boolean }>('rewritten', REWRITTEN);
    if (readings.some(({ began }) => began !== undefined && began !== after?.began)) {
      throw new Error('a load function has ended the transaction in which it was called');
    }
    await run('commit', 'commit');
    return after?.rewritten === false ? readings : null;
  };

  const readInSnapshot = async (
    parts: readonly { readonly name: string; readonly part: ReadPart }[],
  ): Promise<readonly QueryResult[]> => {
    for (let attempt = 0; attempt < SNAPSHOTS_MAX; attempt++) {
      const readings = await withConnection(connection => readSnapshot(connection, parts));
      if (readings !== null) {
        return readings;
      }
    }
    throw new Error(`tables were emptied or rewritten while they were read together, ${SNAPSHOTS_MAX} times`);
  };

  return {
    async read(name, part) {
      if (!functions.has(part.text)) {
        return withConnection(({ run }) => readFacts(run, name, part));
      }
      const [reading] = await readInSnapshot([{ name, part }]);
      return reading!;
    },
    readTogether: parts => readInSnapshot(parts.map(part => ({ name: `load_${part.topic}`, part }))),
    addFunction(text, read) {
      functions.set(text, read);
    },
  };
}
