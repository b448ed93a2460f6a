import { readdirSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { migrate, readMigrationStatus, requireCurrentSchema, SchemaError } from '../../src/store/migrate.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

/** How many migrations there are. */
const NEWEST = readdirSync(new URL('../../migrations', import.meta.url)).filter(name =>
  name.endsWith('.up.sql'),
).length;

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

test('accepts a schema that another tool has brought up to date, and refuses to change it', async () => {
  database = await createTestDatabase({ migrated: false });
  const { client } = database;
  await migrate(client, 'up');
  await database.sql('drop table public.gatebell_migrations');

  expect(await migrate(client, 'up')).toEqual([]);
  await expect(migrate(client, 'down')).rejects.toThrow(/migrate with the tool that did/);
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
