/**
 * Applies the plain SQL files in `migrations/`. All of a run is one transaction, which also holds the lock that several
 * runs at once wait for: nothing stays behind on the connection, so a pooler in transaction mode may be in between.
 *
 * How far the schema is says the schema itself, `gatebell.schema_version()`, whatever tool has applied the files.
 */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { sqlState } from './sql-errors.js';
import { parseWatches, repairSchema, type WatchCall } from './repair.js';

/** The schema cannot be used by this program, or cannot be migrated; the message says what to do. */
export class SchemaError extends Error {
  readonly code = 'schema';
}

/** Where a database stands. */
export interface MigrationStatus {
  /** Number of the newest migration that is applied; 0 for none. */
  readonly version: number;
  /** Number of the newest migration that this program has. */
  readonly newest: number;
  readonly migrations: readonly { readonly name: string; readonly applied: boolean }[];
}

/** How long a run waits, and where its warnings go. */
export interface MigrationOptions {
  /** How long to wait for another run to end, in milliseconds. Default 60,000. */
  readonly waitMs?: number;
  /** How long one statement waits for a lock, in milliseconds: readers queue up behind it meanwhile. Default 10,000. */
  readonly lockTimeoutMs?: number;
  /** Receives the warnings of Postgres, and what is waited for. Default: they are dropped. */
  readonly warn?: (text: string) => void;
}

/** What a run did. */
export interface MigrationResult {
  /** Names of the migrations that were applied or taken back. */
  readonly migrations: readonly string[];
  /** What was not as the migrations leave it, and is again. */
  readonly repairs: readonly string[];
}

const DIRECTORY = fileURLToPath(new URL('../../migrations', import.meta.url));
/** The advisory lock of a run; the same in every database. */
const LOCK = 4_285_001_977;
const WAIT_MS = 60_000;
const LOCK_TIMEOUT_MS = 10_000;
const POLL_MS = 100;
/** A run that waits says so after this time. */
const PATIENCE_MS = 1_000;
/** "invalid schema name" and "undefined function": there is no gatebell here. */
const NOT_THERE = new Set(['3F000', '42883', '42P01']);
const LOCK_NOT_AVAILABLE = '55P03';

/** Names of the migrations that this program has, oldest first. */
async function migrationNames(): Promise<string[]> {
  const files = await readdir(DIRECTORY);
  return files.flatMap(file => (file.endsWith('.up.sql') ? [path.basename(file, '.up.sql')] : [])).toSorted();
}

const readMigration = (name: string, direction: 'up' | 'down'): Promise<string> =>
  readFile(path.join(DIRECTORY, `${name}.${direction}.sql`), 'utf8');

/** Whether there is a function that says the version: asked first, since a failed statement ends a transaction. */
const HAS_SCHEMA = `select to_regprocedure('gatebell.schema_version()') is not null as found`;

async function readVersion(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ found: boolean }>(HAS_SCHEMA);
  if (rows[0]?.found !== true) {
    return 0;
  }
  try {
    const result = await client.query<{ version: number }>('select gatebell.schema_version() as version');
    return result.rows[0]?.version ?? 0;
  } catch (error) {
    // Dropped in between.
    if (NOT_THERE.has(sqlState(error) ?? '')) {
      return 0;
    }
    throw error;
  }
}

/** Reads where the database stands. */
export async function readMigrationStatus(client: pg.ClientBase): Promise<MigrationStatus> {
  const names = await migrationNames();
  const version = await readVersion(client);
  return {
    version,
    newest: names.length,
    migrations: names.map((name, index) => ({ name, applied: index < version })),
  };
}

/** Throws unless the database has exactly the schema that this program needs. @throws SchemaError */
export function requireCurrentSchema({ version, newest }: Pick<MigrationStatus, 'version' | 'newest'>): void {
  if (version < newest) {
    throw new SchemaError(
      version === 0
        ? 'this database has no gatebell schema: run "gatebell migrate up" with a role that may create it'
        : `the database is at migration ${version}, this program needs ${newest}: run "gatebell migrate up"`,
    );
  }
  requireNotNewer({ version, newest });
}

function requireNotNewer({ version, newest }: Pick<MigrationStatus, 'version' | 'newest'>): void {
  if (version > newest) {
    throw new SchemaError(
      `the database is at migration ${version}, newer than this program, which knows ${newest}: use a newer gatebell`,
    );
  }
}

/** Other sessions, in words. */
const describeSession = `format('process %s of role %s (%s, %s, in this transaction since %s)',
  a.pid, coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), 'without a name'),
  coalesce(a.state, 'state not visible'), to_char(a.xact_start, 'HH24:MI:SS'))`;

async function describeLockHolder(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query<{ session: string }>(
    `select ${describeSession} as session
     from pg_locks l join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and (l.classid::bigint << 32 | l.objid::bigint) = $1
       and l.database = (select d.oid from pg_database d where d.datname = current_database())`,
    [LOCK],
  );
  return rows[0]?.session ?? 'another session';
}

/** Takes the lock of the transaction, or gives up after a while. */
async function acquireLock(client: pg.ClientBase, options: MigrationOptions): Promise<void> {
  const { waitMs = WAIT_MS, warn } = options;
  const startedMs = performance.now();
  let told = false;
  for (;;) {
    const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_xact_lock($1) as locked', [LOCK]);
    if (rows[0]?.locked === true) {
      return;
    }
    const waitedMs = performance.now() - startedMs;
    if (waitedMs > waitMs) {
      throw new SchemaError(
        `the lock of another "gatebell migrate" was not released within ${Math.round(waitMs / 1000)} s; ` +
          'it is held by ' +
          `${await describeLockHolder(client)}. If that is dead: select pg_terminate_backend(pid)`,
      );
    }
    if (!told && waitedMs > PATIENCE_MS) {
      told = true;
      warn?.(`waiting for another "gatebell migrate" to end: ${await describeLockHolder(client)}`);
    }
    await sleep(POLL_MS);
  }
}

/** Says who may hold the lock that a statement did not get in time. */
async function describeBlocked(client: pg.ClientBase, lockTimeoutMs: number): Promise<SchemaError> {
  const { rows } = await client.query<{ session: string }>(
    `select distinct ${describeSession} as session
     from pg_locks l join pg_class c on c.oid = l.relation join pg_stat_activity a on a.pid = l.pid
     where l.granted and a.pid <> pg_backend_pid() and a.xact_start < now() - interval '1 second'
       and (c.relnamespace = to_regnamespace('gatebell')
         or exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname like 'gatebell\\_%'))
     limit 5`,
  );
  const sessions = rows.map(({ session }) => session).join('; ');
  return new SchemaError(
    `a table was locked by another session for ${lockTimeoutMs / 1000} s, and nothing was changed: try again` +
      (sessions === '' ? '' : ` when these have ended: ${sessions}`),
  );
}

/**
 * One transaction under the lock, with the warnings that Postgres raises in it.
 *
 * @throws SchemaError when the lock, or the lock of a table, was not free in time
 */
async function underLock<T>(client: pg.ClientBase, options: MigrationOptions, work: () => Promise<T>): Promise<T> {
  const { lockTimeoutMs = LOCK_TIMEOUT_MS, warn } = options;
  const onNotice = (notice: {
    readonly severity?: string | undefined;
    readonly message?: string | undefined;
  }): void => {
    if (notice.severity === 'WARNING') {
      warn?.(notice.message ?? '');
    }
  };
  client.on('notice', onNotice);
  try {
    await client.query('begin read write');
    try {
      // Settings of the transaction alone.
      await client.query(`
        select set_config('lock_timeout', '${lockTimeoutMs}ms', true), set_config('statement_timeout', '0', true),
          set_config('idle_in_transaction_session_timeout', '0', true)`);
      await acquireLock(client, options);
      const result = await work();
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => undefined);
      throw sqlState(error) === LOCK_NOT_AVAILABLE ? await describeBlocked(client, lockTimeoutMs) : error;
    }
  } finally {
    client.off('notice', onNotice);
  }
}

/**
 * Migrates all the way up, or `count` steps down (default 1). Safe when several do it at once. Up, it also repairs what
 * is not as the migrations leave it, in any case: privileges above all.
 *
 * @throws SchemaError when the database is newer than this program, or a lock was not free in time
 */
export function runMigrations(
  client: pg.ClientBase,
  direction: 'up' | 'down',
  { count = 1, ...options }: MigrationOptions & { readonly count?: number } = {},
): Promise<MigrationResult> {
  return underLock(client, options, async () => {
    const status = await readMigrationStatus(client);
    requireNotNewer(status);
    const names =
      direction === 'up'
        ? status.migrations.flatMap(({ name, applied }) => (applied ? [] : [name]))
        : status.migrations
            .flatMap(({ name, applied }) => (applied ? [name] : []))
            .slice(-count)
            .toReversed();
    for (const name of names) {
      await client.query(await readMigration(name, direction));
    }
    return { migrations: names, repairs: direction === 'up' ? await repairSchema(client, await ownWatches()) : [] };
  });
}

/** {@link runMigrations}, for those who only ask what was applied. @returns names of what was applied or taken back */
export async function migrate(client: pg.ClientBase, direction: 'up' | 'down', count?: number): Promise<string[]> {
  const { migrations } = await runMigrations(client, direction, count === undefined ? {} : { count });
  return [...migrations];
}

/**
 * Puts what the migrations leave in place again, where a restore or somebody's hand has changed it: privileges,
 * signals, the fence key.
 *
 * @returns what was done
 * @throws SchemaError unless the schema is current
 */
export function repair(client: pg.ClientBase, options: MigrationOptions = {}): Promise<readonly string[]> {
  return underLock(client, options, async () => {
    requireCurrentSchema(await readMigrationStatus(client));
    return repairSchema(client, await ownWatches());
  });
}

/** How the migrations watch Gatebell's own tables. */
export async function ownWatches(): Promise<readonly WatchCall[]> {
  return parseWatches(await Promise.all((await migrationNames()).map(name => readMigration(name, 'up'))));
}
