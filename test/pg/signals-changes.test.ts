/** What counts as a change of a row: for all types, with and without a primary key. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSignalDatabase, type Heard, type SignalDatabase } from '../support/signals.js';

let database: SignalDatabase;

beforeAll(async () => {
  database = await createSignalDatabase();
  await database.sql(`
    create extension citext;
    create extension ltree;
    create type mood as enum ('sad', 'glad');
    create type spot as (x integer, y numeric);
    create domain loud as text check (value <> '');
    create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`);
});

afterAll(() => database.drop());

beforeEach(async () => {
  await database.sql('drop schema if exists s cascade; create schema s');
});

const TYPES: readonly [type: string, before: string, after: string][] = [
  ['text', `'a'`, `'b'`],
  ['text', `'a'`, 'null'],
  ['text', 'null', `''`],
  ['text collate any_case', `'a'`, `'A'`],
  ['citext', `'a'`, `'A'`],
  ['loud', `'a'`, `'A'`],
  ['mood', `'sad'`, `'glad'`],
  ['numeric', '1.0', '1.00'],
  ['float8', '0', `'-0'`],
  ['float8', '0', `'NaN'`],
  ['float8', '1', '1.0000000000000002'],
  ['timestamptz', 'now()', `'infinity'`],
  ['timestamptz', `'-infinity'`, `'infinity'`],
  ['timestamptz', `'2024-01-01 00:00:00.000001+00'`, `'2024-01-01 00:00:00.000002+00'`],
  ['json', `'{"a":1,"b":2}'`, `'{"b":2,"a":1}'`],
  ['json', `'1'`, `'1 '`],
  ['jsonb', `'{"a":1}'`, `'{"a":2}'`],
  ['xml', `'<a/>'`, `'<b/>'`],
  ['point', `'1,2'`, `'1,3'`],
  ['text[]', `'{a,b}'`, `'{b,a}'`],
  ['spot', `row(1, 1.0)`, `row(1, 1.00)`],
  ['ltree', `'a.b'`, `'a.c'`],
  ['tsvector', `'a b'`, `'a c'`],
  ['bytea', `'\\x00'`, `'\\x0000'`],
];

describe.each(['primary key', ''])('a column of a table with %s key', primaryKey => {
  test.each(TYPES)('of type %s signals from %s to %s, and not again', async (type, before, after) => {
    await database.sql(`create table s.t (id integer ${primaryKey}, key text, v ${type}, other integer)`);
    await database.sql(`select gatebell.watch('s.t', 't', '{key}', '{v}')`);
    await database.sql(`insert into s.t values (1, 'a', ${before}, 1), (2, 'b', ${after}, 1)`);
    expect(await database.heard('update s.t set other = 2')).toEqual({});
    expect(await database.heard(`update s.t set v = ${after} where id = 1`)).toEqual({ t: [['a']] });
    expect(await database.heard(`update s.t set v = ${after}`)).toEqual({});
    expect(await database.heard(`update s.t set v = ${after}`, await replica())).toEqual({});
    expect(await database.heard(`update s.t set v = ${before} where id = 1`, await replica())).toEqual({ t: [['a']] });
  });
});

let replicaClient: ReturnType<SignalDatabase['connect']> | null = null;
/** A connection in the replica role: row triggers, the same comparison. */
function replica(): ReturnType<SignalDatabase['connect']> {
  replicaClient ??= database.connect().then(async client => {
    await client.query('set session_replication_role = replica');
    return client;
  });
  return replicaClient;
}

describe('without a primary key the rows are compared as a multiset', () => {
  beforeEach(async () => {
    await database.sql(`
      create table s.t (k text, v text, seen integer default 0);
      select gatebell.watch('s.t', 't', '{k}', '{v}');
      insert into s.t values ('a', '1'), ('b', '2'), ('c', '3'), ('c', '3'), ('d', null), (null, '9')`);
  });

  test.each<[statement: string, heard: Heard]>([
    [`update s.t set v = case v when '1' then '2' else '1' end where k in ('a', 'b')`, { t: [['a'], ['b']] }],
    [`update s.t set k = case k when 'a' then 'b' else 'a' end where k in ('a', 'b')`, { t: [['a'], ['b']] }],
    [`update s.t set k = 'c', v = '3' where k = 'a'`, { t: [['a'], ['c']] }],
    [`update s.t set v = '4' where ctid = (select min(ctid) from s.t where k = 'c')`, { t: [['c']] }],
    [
      `update s.t set k = case when ctid = (select min(ctid) from s.t where k = 'c') then 'a' else k end`,
      { t: [['a'], ['c']] },
    ],
    [`update s.t set v = 'x' where k = 'd'`, { t: [['d']] }],
    [`update s.t set k = 'e' where k is null`, { t: [['e']] }],
    [`update s.t set v = 'x' where k is null`, {}],
    [`update s.t set seen = 1`, {}],
    [`update s.t set v = v, k = k`, {}],
    [`update s.t set k = 'a', v = '1' where k = 'a' or k = 'b'`, { t: [['a'], ['b']] }],
    [`delete from s.t where k = 'c'`, { t: [['c']] }],
  ])('%s', async (statement, heard) => {
    expect(await database.heard(statement)).toEqual(heard);
  });

  test('however few digits the writer has set', async () => {
    await database.sql(`
      create table s.f (k text, v float8);
      select gatebell.watch('s.f', 't', '{k}', '{v}');
      insert into s.f values ('a', 1), ('b', 1)`);
    const writer = await database.connect();
    await writer.query('set extra_float_digits = -15');
    expect(await database.heard('update s.f set v = 1.0000001', writer)).toEqual({ t: [['a'], ['b']] });
    await writer.end();
  });

  test('two rows may trade places: nothing that is read has changed', async () => {
    const statement = `update s.t
      set (k, v) = (select case s.t.k when 'a' then 'b' else 'a' end, case s.t.k when 'a' then '2' else '1' end)
                       where k in ('a', 'b')`;
    expect(await database.heard(statement)).toEqual({});
  });
});

describe('the primary key that joins old and new rows', () => {
  test.each<[column: string, values: readonly [string, string]]>([
    ['citext', [`'a'`, `'b'`]],
    ['ltree', [`'a.b'`, `'a.c'`]],
    ['loud', [`'a'`, `'b'`]],
    ['mood', [`'sad'`, `'glad'`]],
    ['text collate any_case', [`'a'`, `'b'`]],
    ['numeric', ['1', '2']],
    ['float8', [`'NaN'`, `'-0'`]],
    ['timestamptz', [`'infinity'`, `'-infinity'`]],
    ['spot', ['row(1, 1.0)', 'row(2, 1.0)']],
    ['int4range', [`'[1,2)'`, `'empty'`]],
    ['ltree[]', [`'{a.b}'`, `'{a}'`]],
    ['money', [`1`, `2`]],
  ])('may be of type %s', async (type, [first, second]) => {
    await database.sql(`create table s.t (p ${type} primary key, k integer, v integer, seen integer);
      select gatebell.watch('s.t', 't', '{k}', '{v}');
      insert into s.t values (${first}, 1, 1), (${second}, 2, 2)`);
    expect(await database.heard('update s.t set seen = 1')).toEqual({});
    expect(await database.heard('update s.t set v = 9 where k = 2')).toEqual({ t: [['2']] });
    expect(await database.heard('update s.t set v = 3 - v, k = k where k = 1')).toEqual({ t: [['1']] });
  });

  test('may have several columns, and names that need quotes', async () => {
    await database.sql(`create table s."T %s" ("a b" integer, "C""d" text, "old_rows" integer, keys text, seen integer,
      "%1$L" integer,
        primary key ("a b", "C""d"));
      select gatebell.watch('s."T %s"', 't', '{"C\\"d",keys}', '{old_rows,"%1$L"}');
      insert into s."T %s" values (1, 'x', 1, 'k', 1, 1), (1, 'y', 1, 'k', 1, 1)`);
    expect(await database.heard('update s."T %s" set seen = 2')).toEqual({});
    expect(await database.heard(`update s."T %s" set "%1$L" = 2 where "C""d" = 'y'`)).toEqual({ t: [['y', 'k']] });
    expect(await database.heard(`update s."T %s" set "C""d" = 'z' where "C""d" = 'y'`)).toEqual({
      t: [
        ['y', 'k'],
        ['z', 'k'],
      ],
    });
  });

  test('may be given up later: every change is still seen', async () => {
    await database.sql(`create table s.t (id integer primary key, k text, v text);
      select gatebell.watch('s.t', 't', '{k}', '{v}');
      alter table s.t drop constraint t_pkey;
      insert into s.t values (1, 'a', '1'), (1, 'b', '2'), (1, 'c', '3')`);
    expect(
      await database.heard(`update s.t set v = case k when 'a' then '2' else '1' end where k in ('a', 'b')`),
    ).toMatchObject({
      t: expect.arrayContaining([['a'], ['b']]) as unknown,
    });
  });
});

test('a generated column signals by what it is computed from', async () => {
  await database.sql(`create table s.t (id integer primary key, n integer,
    double integer generated always as (n * 2) stored, abs integer generated always as (abs(n)) stored);
    select gatebell.watch('s.t', 't', '{double}', '{abs}')`);
  expect(await database.heard('insert into s.t values (1, 5)')).toEqual({ t: [['10']] });
  expect(await database.heard('update s.t set n = -5')).toEqual({ t: [['-10'], ['10']] });
  expect(await database.heard('update s.t set n = -6', await replica())).toEqual({ t: [['-10'], ['-12']] });
});

test('one table may be watched for several topics, each with its own columns', async () => {
  await database.sql(`create table s.t (id integer primary key, a text, b text);
    select gatebell.watch('s.t', 'by_id', '{id}', '{a}'); select gatebell.watch('s.t', 'by_b', '{b}');
    insert into s.t values (1, 'a', 'b')`);
  expect(await database.heard(`update s.t set a = 'x'`)).toEqual({ by_id: [['1']] });
  expect(await database.heard(`update s.t set b = 'x'`)).toEqual({ by_b: [['b'], ['x']] });
  expect(await database.heard('truncate s.t')).toEqual({ by_id: 'all', by_b: 'all' });
});
