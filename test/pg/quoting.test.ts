/**
 * `quote_all_identifiers` changes how Postgres prints names. It is a setting of each session: what one writes down,
 * another compares.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runMigrations } from '../../src/postgres/migrate.js';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createSignalDatabase } from '../support/signals.js';

const ON = 'set quote_all_identifiers = on';
const OFF = 'set quote_all_identifiers = off';
const WATCH = `select gatebell.watch('s."the table"', 'odd', '{"a b",k}', '{v}')`;

let database: TestDatabase;
/** A role that is asked as replicas ask, with the setting of its own. */
let role: string;

beforeEach(async () => {
  database = await createTestDatabase({ migrated: false });
  role = `quoting_${new URL(database.url).pathname.slice(1)}`;
});

afterEach(async () => {
  await database.sql(`drop owned by ${role}; drop role ${role}`).catch(() => undefined);
  await database.drop();
});

const watched = (): Promise<unknown> =>
  database.sql('select target::oid, topic, problem, fingerprint from gatebell.watch_status order by 1, 2');

test.each([
  ['on', ON],
  ['off', OFF],
])('the migrator has it %s: everybody sees the same, and nothing wrong', async (_, setting) => {
  await database.sql(setting);
  await runMigrations(database.client, 'up');
  await database.sql(
    `create schema s; create table s."the table" ("a b" text, k integer primary key, v text); ${WATCH}`,
  );
  await database.sql(`create role ${role} login password 'x'; grant gatebell_daemon to ${role};
    alter role ${role} set quote_all_identifiers = on`);

  const [known] = await database.sql(`select array_agg(target_name order by id) as names from gatebell.watches`);
  expect(known?.['names']).toEqual(expect.arrayContaining(['s."the table"', 'gatebell.users']));
  const views: unknown[] = [];
  for (const reader of [ON, OFF]) {
    await database.sql(reader);
    views.push(await watched());
    expect(await database.sql('select * from gatebell.constraint_problems()')).toEqual([]);
    expect(await database.sql('select problem from gatebell.privilege_problems')).toEqual([]);
    expect(await database.sql('select topic from gatebell.watch_status where problem is not null')).toEqual([]);
    expect((await runMigrations(database.client, 'up')).repairs).toEqual([]);
  }
  expect(views[0]).toEqual(views[1]);

  const url = new URL(database.url);
  [url.username, url.password] = [role, 'x'];
  expect(await gatebell(['doctor'], url.href)).toMatchObject({ code: 0, stderr: '' });
});

test.each([
  [ON, OFF],
  [OFF, ON],
])('watched under "%s", and again under "%s": one watch, with the same function', async (first, second) => {
  await runMigrations(database.client, 'up');
  await database.sql('create schema s; create table s."the table" ("a b" text, k integer primary key, v text)');
  const digest = async (): Promise<unknown> =>
    database.sql(`select w.target_name, p.proconfig, md5(replace(p.prosrc, 'signal_' || w.id, '')) as source
      from gatebell.watches w join pg_proc p on p.proname = 'signal_' || w.id where w.topic = 'odd'`);
  await database.sql(first);
  await database.sql(WATCH);
  const before = await digest();
  await database.sql(second);
  await database.sql(WATCH);
  expect(await digest()).toEqual(before);

  // The table created again under the same name takes the place of the one that was watched.
  await database.sql(
    'drop table s."the table"; create table s."the table" ("a b" text, k integer primary key, v text)',
  );
  await database.sql(first);
  await database.sql(WATCH);
  expect(await database.sql(`select problem from gatebell.watch_status where topic = 'odd'`)).toEqual([
    { problem: null },
  ]);
  // So does the one whose watch was lost.
  await database.sql(`delete from gatebell.watches where topic = 'odd'`);
  await database.sql(second);
  await database.sql(WATCH);
  expect(await database.sql('select topic from gatebell.lost_watches')).toEqual([]);
  expect(await database.sql(`select problem from gatebell.watch_status where topic = 'odd'`)).toEqual([
    { problem: null },
  ]);
  await database.sql(`alter table s."the table" rename to "The Table"`);
  expect(await database.sql(`select problem from gatebell.watch_status where topic = 'odd'`)).toEqual([
    { problem: 'the table was renamed or moved, it was s."the table"' },
  ]);
});

test('a writer that has it on signals the same keys', async () => {
  const signals = await createSignalDatabase();
  await signals.sql(`create schema s; create type s.mood as enum ('Low', 'select');
    create table s."the table" ("a b" s.mood, k name, v text, primary key ("a b", k)); ${WATCH}`);
  const writer = await signals.connect();
  const payloads: unknown[] = [];
  for (const setting of [OFF, ON]) {
    await writer.query(setting);
    payloads.push(
      await signals.heard(
        `insert into s."the table" values ('Low', 'Order', 'x'), ('select', 'user', 'y');
          update s."the table" set v = 'z'; delete from s."the table"`,
        writer,
      ),
    );
  }
  expect(payloads[1]).toEqual(payloads[0]);
  expect(JSON.stringify(payloads[0])).toContain('Order');
  await signals.drop();
});
