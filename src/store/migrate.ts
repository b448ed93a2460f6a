/**
 * Applies the plain SQL files in `migrations/` with node-pg-migrate, under an advisory lock: several replicas may start at
 * once. Which are applied is kept in `public.gatebell_migrations`, outside the schema, so that the schema can be dropped.
 *
 * The number of the newest one is also in the database itself, `gatebell.schema_version()`, whatever tool has applied them.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { sqlState } from './pool.js';

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

const DIRECTORY = fileURLToPath(new URL('../../migrations', import.meta.url));
const TABLE = 'gatebell_migrations';
const TABLE_SCHEMA = 'public';
/** "invalid schema name" and "undefined function": there is no gatebell here. */
const NOT_THERE = new Set(['3F000', '42883', '42P01']);

/** Names of the migrations that this program has, oldest first. */
async function migrationNames(): Promise<string[]> {
  const files = await readdir(DIRECTORY);
  return files.flatMap(file => (file.endsWith('.up.sql') ? [path.basename(file, '.up.sql')] : [])).toSorted();
}

async function queryOrNull(client: pg.ClientBase, text: string): Promise<pg.QueryResult | null> {
  try {
    return await client.query(text);
  } catch (error) {
    if (NOT_THERE.has(sqlState(error) ?? '')) {
      return null;
    }
    throw error;
  }
}

/** Reads where the database stands. */
export async function readMigrationStatus(client: pg.ClientBase): Promise<MigrationStatus> {
  const names = await migrationNames();
  const result = await queryOrNull(client, 'select gatebell.schema_version() as version');
  const version: unknown = result?.rows[0]?.version;
  const applied = typeof version === 'number' ? version : 0;
  return {
    version: applied,
    newest: names.length,
    migrations: names.map((name, index) => ({ name, applied: index < applied })),
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

/**
 * Migrates all the way up, or `count` steps down. Safe when several do it at once.
 *
 * @returns names of what was applied or taken back
 * @throws SchemaError when the database is newer than this program, or was migrated by another tool
 */
export async function migrate(client: pg.ClientBase, direction: 'up' | 'down', count?: number): Promise<string[]> {
  const status = await readMigrationStatus(client);
  requireNotNewer(status);
  // Whoever drops the schema means it: what is recorded of it is void. In one statement, so that it cannot undo what another has just applied.
  await queryOrNull(client, `delete from ${TABLE_SCHEMA}.${TABLE} where to_regnamespace('gatebell') is null`);
  const recorded = await queryOrNull(client, `select name from ${TABLE_SCHEMA}.${TABLE} order by id`);
  if (status.version > 0 && (recorded?.rowCount ?? 0) < status.version) {
    if (direction === 'up' && status.version === status.newest) {
      return [];
    }
    throw new SchemaError(
      `the schema is at migration ${status.version}, but "gatebell migrate" did not apply it (${TABLE_SCHEMA}.${TABLE} lists ${recorded?.rowCount ?? 0}): migrate with the tool that did`,
    );
  }
  // Loaded when it is needed: it is the slowest part of starting any command.
  const { runner } = await import('node-pg-migrate');
  const applied = await runner({
    dbClient: client,
    dir: DIRECTORY,
    direction,
    migrationsTable: TABLE,
    migrationsSchema: TABLE_SCHEMA,
    migrationLoaderStrategies: [{ extensions: ['.sql'], loader: 'sql' }],
    advisoryLockMode: 'wait',
    singleTransaction: true,
    checkOrder: true,
    ...(count === undefined ? (direction === 'up' ? {} : { count: 1 }) : { count }),
    logger: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
  });
  return applied.map(({ name }) => name);
}
