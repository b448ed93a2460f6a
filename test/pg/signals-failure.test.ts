/**
 * A trigger never fails its user's write: what goes wrong in it becomes a signal for all of the topic, and a warning.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { databaseUrl } from '../support/database.js';
import { createSignalDatabase, type SignalDatabase } from '../support/signals.js';

let database: SignalDatabase;

beforeAll(async () => {
  database = await createSignalDatabase();
});

beforeEach(async () => {
  await database.sql(`
    drop table if exists t;
    delete from gatebell.watches where topic = 't';
    create table t (id integer primary key, k text, n integer, v text);
    insert into t values (1, 'a', 1, 'x');
    select gatebell.watch('t', 't', '{k,n}', '{v}')`);
});

afterAll(() => database.drop());

const problem = async (): Promise<unknown> =>
  (await database.sql(`select problem from gatebell.watch_status where topic = 't'`))[0]?.['problem'];

describe.each(['origin', 'replica'])('in the %s role, after', role => {
  test.each<[change: string, statement: string]>([
    [`alter table t rename k to renamed`, `insert into t values (2, 'b', 1, 'x')`],
    [`alter table t rename k to renamed`, `update t set renamed = 'z'`],
    [`alter table t rename k to renamed`, `delete from t`],
    [`alter table t rename v to renamed`, `update t set renamed = 'z'`],
    [`alter table t drop column v`, `update t set k = 'z'`],
    [`alter table t drop column k`, `delete from t`],
  ])('%s: %s', async (change, statement) => {
    const writer = await database.connect();
    await writer.query(`set session_replication_role = ${role}`);
    await writer.query(`update t set v = 'planned before'`);
    await database.sql(change);
    expect(await problem()).toBe('a watched column was dropped or renamed, or has another type');
    const notices: pg.DatabaseError[] = [];
    writer.on('notice', notice => notices.push(notice as pg.DatabaseError));
    expect(await database.heard(statement, writer)).toEqual({ t: 'all' });
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatchObject({ severity: 'WARNING' });
    expect(notices[0]?.message).toMatch(
      /^gatebell: the trigger of public.t could not name the changed keys of topic t, so all of them were signalled: /,
    );
    await writer.end();
  });
});

test('a primary key column that was renamed is a problem, too: rows are joined by it', async () => {
  await database.sql('alter table t rename id to number');
  expect(await problem()).toBe('a watched column was dropped or renamed, or has another type');
  expect(await database.heard(`update t set v = 'y'`)).toEqual({ t: 'all' });
});

test.each(['k type varchar(9)', `n type text using 'a","b'`, 'v type integer using 1', 'id type bigint'])(
  'a column that changed its type is a problem until watched again: %s',
  async change => {
    await database.sql(`alter table t alter ${change}`);
    expect(await problem()).toBe('a watched column was dropped or renamed, or has another type');
    await database.sql(`select gatebell.watch('t', 't', '{k,n}', '{v}')`);
    expect(await problem()).toBeNull();
    const n = change.startsWith('n') ? 'a","b' : '1';
    expect(await database.heard(`delete from t`)).toEqual({ t: [['a', n]] });
  },
);

test('a column that is not part of it may change as it likes', async () => {
  await database.sql(
    'alter table t add other integer; alter table t alter other type text; alter table t rename other to another',
  );
  expect(await problem()).toBeNull();
  expect(await database.heard(`update t set another = 'x'`)).toEqual({});
});

test('a type whose output fails does not fail the write', async () => {
  await database.sql(`
    create type odd as enum ('one');
    create function refuse(odd) returns text language plpgsql as $$ begin raise 'no text for you'; end $$;
    create cast (odd as text) with function refuse(odd);
    create table odd_keys (id integer primary key, k odd);
    select gatebell.watch('odd_keys', 'odd', '{k}')`);
  expect(await database.heard(`insert into odd_keys values (1, 'one')`)).toEqual({ odd: 'all' });
  expect(await database.sql('select id from odd_keys')).toEqual([{ id: 1 }]);
});

describe('a writer without any rights on schema gatebell', () => {
  const role = `writer_${randomBytes(6).toString('hex')}`;

  afterAll(async () => {
    await database.sql(`drop owned by ${role}; drop role ${role}`);
  });

  test('writes to its watched table, in every way, and signals', async () => {
    await database.sql(`create role ${role} login password 'x'`);
    await database.sql(`create schema own authorization ${role}`);
    const url = new URL(databaseUrl(new URL(database.url).pathname.slice(1), database.url));
    url.username = role;
    url.password = 'x';
    const writer = new pg.Client({ connectionString: url.href });
    await writer.connect();
    try {
      await writer.query(`create table own.t (id integer primary key, k text, v text)`);
      await database.sql(`select gatebell.watch('own.t', 'own', '{k}', '{v}')`);

      expect(await database.heard(`insert into own.t values (1, 'a', 'x'), (2, 'b', 'x')`, writer)).toEqual({
        own: [['a'], ['b']],
      });
      expect(await database.heard(`update own.t set v = 'y' where id = 1`, writer)).toEqual({ own: [['a']] });
      expect(await database.heard(`delete from own.t where id = 1`, writer)).toEqual({ own: [['a']] });
      expect(await database.heard(`truncate own.t`, writer)).toEqual({ own: 'all' });
      await expect(writer.query('select gatebell.channel()')).rejects.toMatchObject({ code: '42501' });
      await expect(writer.query(`select gatebell.unwatch('own.t', 'own')`)).rejects.toMatchObject({ code: '42501' });
    } finally {
      await writer.end();
    }
  });
});
