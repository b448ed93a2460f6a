import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import {
  migrate,
  readMigrationStatus,
  requireCurrentSchema,
  runMigrations,
  SchemaError,
} from '../../src/postgres/migrate.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

/** All migrations, oldest first. */
const NAMES = readdirSync(new URL('../../migrations', import.meta.url))
  .flatMap(name => (name.endsWith('.up.sql') ? [name.replace('.up.sql', '')] : []))
  .toSorted();
const NEWEST = NAMES.length;

let database: TestDatabase;

afterEach(() => database.drop());

test('goes up, down and up again, and leaves nothing behind when down', async () => {
  database = await createTestDatabase({ migrated: false });
  const { client } = database;

  const up = await migrate(client, 'up');
  expect(up).toHaveLength(NEWEST);
  expect(await readMigrationStatus(client)).toMatchObject({ version: NEWEST, newest: NEWEST });

  expect(await migrate(client, 'down', NEWEST)).toHaveLength(NEWEST);
  expect(await database.sql(`select from pg_namespace where nspname = 'gatebell'`)).toHaveLength(0);
  expect(await readMigrationStatus(client)).toMatchObject({ version: 0 });

  await migrate(client, 'up');
  requireCurrentSchema(await readMigrationStatus(client));
});

test('goes down one step at a time', async () => {
  database = await createTestDatabase({ migrated: false });
  const { client } = database;
  await migrate(client, 'up');
  for (let version = NEWEST - 1; version >= 0; version--) {
    expect(await migrate(client, 'down')).toHaveLength(1);
    expect((await readMigrationStatus(client)).version).toBe(version);
  }
});

test('is safe when five start at once', async () => {
  database = await createTestDatabase({ migrated: false });
  const clients = await Promise.all([1, 2, 3, 4, 5].map(() => database.connect()));

  const applied = await Promise.all(clients.map(client => migrate(client, 'up')));

  expect(applied.flat()).toHaveLength(NEWEST);
  requireCurrentSchema(await readMigrationStatus(database.client));
});

test('refuses a database that is newer than the program', async () => {
  database = await createTestDatabase({ migrated: false });
  const { client } = database;
  await migrate(client, 'up');
  await database.sql(
    'create or replace function gatebell.schema_version() returns integer language sql immutable return 99',
  );

  await expect(migrate(client, 'up')).rejects.toThrow(/at migration 99, newer than this program/);
  await expect(migrate(client, 'down')).rejects.toThrow(SchemaError);
  const status = await readMigrationStatus(client);
  expect(() => requireCurrentSchema(status)).toThrow(/use a newer gatebell/);
});

test('goes on from where another tool, or a restored schema, has brought the database', async () => {
  database = await createTestDatabase({ migrated: false });
  const { client } = database;
  for (const name of NAMES.slice(0, 3)) {
    await database.sql(readFileSync(new URL(`../../migrations/${name}.up.sql`, import.meta.url), 'utf8'));
  }

  expect(await migrate(client, 'up')).toEqual(NAMES.slice(3));
  expect(await migrate(client, 'down')).toEqual(NAMES.slice(-1));
});

test('works without schema public, and without a right on it', async () => {
  database = await createTestDatabase({ migrated: false });
  await database.sql('drop schema public');

  expect(await migrate(database.client, 'up')).toEqual(NAMES);
  expect(await migrate(database.client, 'up')).toEqual([]);
});

describe('while another session is in the way', () => {
  const LOCK = 'select pg_advisory_xact_lock(4285001977)';

  test('it waits for another run, says for whom, and goes on when that ends', async () => {
    database = await createTestDatabase({ migrated: false });
    const other = await database.connect();
    await other.query(`set application_name = 'the other'`);
    await other.query('begin');
    await other.query(LOCK);
    const warnings: string[] = [];

    const result = await runMigrations(database.client, 'up', {
      warn: text => {
        warnings.push(text);
        void other.query('commit');
      },
    });

    expect(result.migrations).toEqual(NAMES);
    const { rows } = await other.query<{ pid: number }>('select pg_backend_pid() as pid');
    expect(warnings).toEqual([
      expect.stringMatching(
        new RegExp(
          `^waiting for another "gatebell migrate" to end: process ${rows[0]!.pid} of role postgres \\(the other`,
        ),
      ),
    ]);
  });

  test('it gives up after a bound, names who holds the lock, and has changed nothing', async () => {
    database = await createTestDatabase({ migrated: false });
    const other = await database.connect();
    await other.query('begin');
    await other.query(LOCK);

    await expect(runMigrations(database.client, 'up', { waitMs: 1 })).rejects.toThrow(
      /was not released within 0 s; it is held by process \d+ of role postgres/,
    );
    await other.query('rollback');
    expect(await readMigrationStatus(database.client)).toMatchObject({ version: 0 });
    expect(await migrate(database.client, 'up')).toEqual(NAMES);
  });

  test('it gives up on a table that an open transaction has read, and names that session', async () => {
    database = await createTestDatabase();
    const other = await database.connect();
    await other.query('begin');
    await other.query('select from gatebell.users');
    await other.query(`set application_name = 'the reader'`);

    const run = runMigrations(database.client, 'down', { count: 2, lockTimeoutMs: 1_500 });

    await expect(run).rejects.toThrow(/was locked by another session for 1.5 s, and nothing was changed.*the reader/);
    expect((await readMigrationStatus(database.client)).version).toBe(NEWEST);
  });

  test('nothing of it stays on the connection: no lock, no setting, no transaction', async () => {
    database = await createTestDatabase({ migrated: false });
    const { client } = database;
    const settings = `select name, setting from pg_settings
      where name in ('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'search_path')`;
    await client.query(`set statement_timeout = '123s'`);
    const before = await database.sql(settings);

    await migrate(client, 'up');
    await expect(runMigrations(client, 'down', { count: 1, waitMs: 1 })).resolves.toBeDefined();

    expect(await database.sql(settings)).toEqual(before);
    const held = `select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`;
    expect(await database.sql(held)).toEqual([]);
    await expect(client.query('savepoint x')).rejects.toThrow(/can only be used in transaction blocks/);
  });
});

test('goes up again after somebody dropped the schema, also when five do at once', async () => {
  database = await createTestDatabase({ migrated: false });
  await migrate(database.client, 'up');
  await database.sql('drop schema gatebell cascade');
  const clients = await Promise.all([1, 2, 3, 4, 5].map(() => database.connect()));

  const applied = await Promise.all(clients.map(client => migrate(client, 'up')));

  expect(applied.flat()).toHaveLength(NEWEST);
  requireCurrentSchema(await readMigrationStatus(database.client));
  expect(await migrate(database.client, 'down', NEWEST)).toHaveLength(NEWEST);
});

test('says what to do with a database that has no schema', async () => {
  database = await createTestDatabase({ migrated: false });
  const status = await readMigrationStatus(database.client);
  expect(() => requireCurrentSchema(status)).toThrow(/run "gatebell migrate up"/);
});
