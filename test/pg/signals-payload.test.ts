/** Payloads: short enough, complete, and the same text for a key, no matter who writes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseMessage, type Key } from '../../src/coherence/signal.js';
import { createSignalDatabase, sortedKeys, type SignalDatabase } from '../support/signals.js';

let database: SignalDatabase;

beforeAll(async () => {
  database = await createSignalDatabase();
  await database.sql(`
    create table item (id integer primary key generated always as identity, name text, owner text);
    create table pile (name text, owner text);
    create table pair (id integer primary key generated always as identity, a text, b text);
    select gatebell.watch('item', 'item', '{name}', '{owner}');
    select gatebell.watch('pile', 'pile', '{name}', '{owner}');
    select gatebell.watch('pair', 'pair', '{a,b}')`);
});

afterAll(() => database.drop());

/** Inserts rows with these names and says what was heard of them. */
async function insertNames(
  names: readonly (string | null)[],
  table = 'item',
): Promise<readonly Key[] | 'all' | undefined> {
  const heard = await database.heard(() =>
    database.sql(
      `insert into ${table} (name) select name from unnest($1::text[]) with ordinality as u (name, n) order by n`,
      [names],
    ),
  );
  return heard[table];
}

const numbered = (count: number, text = 'n'): string[] =>
  Array.from({ length: count }, (_, index) => `${text}${index}`);
const keysOf = (names: readonly string[]): Key[] => sortedKeys(names.map(name => [name]));

describe.each(['item', 'pile'])('a statement on %s, with and without a primary key', table => {
  test('of 300 rows names its keys, of 301 all of the topic', async () => {
    await database.sql(`truncate ${table}`);
    expect(await insertNames(numbered(300), table)).toEqual(keysOf(numbered(300)));
    expect(await database.heard(`update ${table} set owner = 'x'`)).toEqual({ [table]: keysOf(numbered(300)) });
    expect(await database.heard(`delete from ${table}`)).toEqual({ [table]: keysOf(numbered(300)) });

    expect(await insertNames(numbered(301), table)).toBe('all');
    expect(await database.heard(`update ${table} set owner = 'x'`)).toEqual({ [table]: 'all' });
    expect(await database.heard(`delete from ${table}`)).toEqual({ [table]: 'all' });
  });

  test('of 100,000 rows sends one message', async () => {
    await database.sql(`truncate ${table}`);
    const all = [`{"v":1,"s":"${table}"}`];
    expect(
      await database.payloads(`insert into ${table} (name) select 'bulk' || g from generate_series(1, 100000) g`),
    ).toEqual(all);
    expect(await database.payloads(`update ${table} set owner = 'x'`)).toEqual(all);
    expect(await database.payloads(`update ${table} set owner = 'x'`)).toEqual([]);
    expect(await database.payloads(`delete from ${table}`)).toEqual(all);
  }, 120_000);

  test('of very many rows without a key, then one with a key, does not lose that one', async () => {
    await database.sql(`truncate ${table}`);
    const nobody = Array.from({ length: 5_000 }, () => null);
    expect(await insertNames(['first', ...nobody], table)).toBe('all');
    expect(await insertNames([...nobody, 'last'], table)).toBe('all');
    expect(await database.heard(`update ${table} set owner = 'x'`)).toEqual({ [table]: 'all' });
    expect(await insertNames([...nobody.slice(0, 500), 'last'], table)).toEqual([['last']]);
    expect(await database.heard(`delete from ${table} where name is null and owner is null`)).toBeDefined();
  });

  test('of hundreds of rows with one key names it once', async () => {
    expect(
      await insertNames(
        Array.from({ length: 500 }, () => 'same'),
        table,
      ),
    ).toEqual([['same']]);
  });
});

describe('keys of odd text arrive as they are', () => {
  test.each<[what: string, name: string]>([
    ['empty', ''],
    ['a quote', `"`],
    ['backslashes', `\\ \\\\ \\n \\u0041`],
    ['an end of a payload', `"]]}`],
    ['another key', `a"],["b`],
    ['line ends', 'a\nb\r\nc\u2028d'],
    ['control characters', '\u0001\b\f\t\u001f\u007f'],
    ['markup', `</script>&'<`],
    ['several bytes a character', 'Zoë 日本 🔔'],
    ['combining characters', 'e\u0301 \u200d\ufeff'],
    ['format and dollar signs', '%s %1$L $body$ $1'],
    ['spaces', '  a  '],
  ])('%s', async (_, name) => {
    expect(await insertNames([name])).toEqual([[name]]);
    expect(await database.heard(() => database.sql('insert into pair (a, b) values ($1, $1)', [name]))).toEqual({
      pair: [[name, name]],
    });
  });

  test('all of them at once', async () => {
    const names = ['"', '\\', '\n', ',', '[', ']', '","', '🔔'].flatMap(part => numbered(30, part));
    expect(await insertNames(names)).toEqual(keysOf(names));
  });
});

describe('when the keys do not fit into one payload', () => {
  test.each<[what: string, unit: string, widths: (index: number) => number]>([
    ['long keys', 'x', () => 695],
    ['keys of very different lengths', 'x', index => (index % 2 === 0 ? 1 : 690 - index)],
    ['keys of several bytes a character', '🔔', index => 160 + (index % 10)],
    ['keys that escaping makes longer', '"', index => 300 + (index % 40)],
    ['keys of middling length', 'y', index => 30 + (index % 7)],
  ])('%s come in several, and none is lost', async (_, unit, width) => {
    const names = numbered(300, '').map(
      (prefix, index) => prefix + unit.repeat(Math.max(1, width(index) - prefix.length)),
    );
    const payloads = await database.payloads(() =>
      database.sql('insert into item (name) select unnest($1::text[])', [names]),
    );
    const messages = payloads.map(parseMessage);
    const keys = messages.flatMap(message => (message.type === 'change' ? (message.keys ?? []) : []));
    expect(payloads.length).toBeGreaterThan(1);
    expect(Math.max(...payloads.map(payload => Buffer.byteLength(payload)))).toBeLessThan(8_000);
    expect(keys).toHaveLength(names.length);
    expect(sortedKeys(keys)).toEqual(keysOf(names));
  });

  test.each<[bytes: number, name: string, named: boolean]>([
    [700, 'x'.repeat(696), true],
    [701, 'x'.repeat(697), false],
    [700, '🔔'.repeat(174), true],
    [704, '🔔'.repeat(175), false],
    [700, '"'.repeat(348), true],
    [702, '"'.repeat(349), false],
  ])('a key of %i bytes (%#) is named, or else stands for all', async (bytes, name, named) => {
    expect(Buffer.byteLength(JSON.stringify([name]))).toBe(bytes);
    expect(await insertNames([name, 'short'])).toEqual(named ? keysOf([name, 'short']) : 'all');
  });

  test('a key that no payload can hold never fails the write', async () => {
    expect(await insertNames(['x'.repeat(1_000_000)])).toBe('all');
    expect(await database.heard(`delete from item where length(name) = 1000000`)).toEqual({ item: 'all' });
  });
});

test('a key with a null part is no key', async () => {
  expect(await database.heard(`insert into pair (a, b) values ('x', null), (null, 'x'), (null, null)`)).toEqual({});
  expect(await database.heard(`update pair set b = 'now' where a = 'x'`)).toEqual({ pair: [['x', 'now']] });
  expect(await database.heard(`update pair set a = null where b = 'now'`)).toEqual({ pair: [['x', 'now']] });
});

describe('the text of a key', () => {
  test.each<[type: string, literal: string, text: string]>([
    ['bytea', `'\\x00ff0a'`, '00ff0a'],
    ['bytea', `''`, ''],
    ['timestamptz', `'2024-05-06 07:08:09.123456+02'`, '1714972089.123456'],
    ['timestamptz', `'infinity'`, 'Infinity'],
    ['timestamp', `'2024-05-06 07:08:09'`, '1714979289.000000'],
    ['date', `'2024-05-06'`, '1714953600'],
    ['date', `'-infinity'`, '-Infinity'],
    ['date[]', `'{2024-05-06}'`, '{2024-05-06}'],
    ['timestamptz[]', `'{2024-05-06 00:00+02}'`, '{"2024-05-05 22:00:00+00"}'],
    ['bytea[]', `array['\\xff'::bytea]`, '{"\\\\xff"}'],
    ['interval', `'1 year 2 days 03:04:05'`, '1 year 2 days 03:04:05'],
    ['float8', `0.1::float8 + 0.2`, '0.30000000000000004'],
    ['float4', `1.0/3`, '0.33333334'],
    ['numeric', `1.50`, '1.50'],
    ['bool', `true`, 'true'],
    ['uuid', `'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'`, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    ['int8', `-9223372036854775808`, '-9223372036854775808'],
    ['oid', `4294967295`, '4294967295'],
    ['citext', `'MiXed'`, 'MiXed'],
    ['inet', `'::1'`, '::1/128'],
    ['mood', `'so "so"'`, 'so "so"'],
    ['spot', `row(1, '2024-05-06')`, '(1,2024-05-06)'],
    ['hash', `'\\xabcd'`, 'abcd'],
    ['hash_of_hash', `'\\xabcd'`, 'abcd'],
    ['moment', `'2024-05-06 00:00+00'`, '1714953600.000000'],
    ['small', `7`, '7'],
  ])('of type %s, %s, is the same under any setting of the writer', async (type, literal, text) => {
    await database.sql(`
      create extension if not exists citext;
      do $$ begin
        create type mood as enum ('so "so"'); create type spot as (x integer, day date);
        create domain hash as bytea; create domain hash_of_hash as hash; create domain moment as timestamptz;
        create domain small as smallint;
      exception when duplicate_object then null; end $$;
      drop table if exists typed; create table typed (id integer primary key, k ${type});
      create schema if not exists evil`);
    await database.sql(`select gatebell.watch('typed', 'typed', '{k}')`);
    const writer = await database.connect();
    const act = async (): Promise<void> => {
      await writer.query(`insert into typed values (1, ${literal})`);
      await writer.query(`set bytea_output = escape; set datestyle = 'German'; set timezone = 'Asia/Tokyo';
        set intervalstyle = 'iso_8601'; set extra_float_digits = -5; set search_path = evil;
        set standard_conforming_strings = off`);
      await writer.query(`update public.typed set id = 2; delete from public.typed`);
    };
    const heard = [...new Set(await database.payloads(act))];
    expect(heard).toEqual([JSON.stringify({ v: 1, s: 'typed', k: [[text]] })]);
    await writer.end();
  });

  test('does not listen to what the writer put into the search path', async () => {
    const writer = await database.connect();
    await writer.query(`
      create schema evil2;
      create function evil2.pg_notify(text, text) returns void language sql as 'select';
      create function evil2.to_json(text) returns json language sql as $$ select '"forged"'::json $$;
      create function evil2.octet_length(text) returns integer language sql as 'select 0';
      create function evil2.row_differs(record, record) returns boolean language plpgsql as 'begin return false; end';
      create function evil2.forge(text, text) returns text language sql as $$ select 'forged'::text $$;
      create operator evil2.|| (leftarg = text, rightarg = text, function = evil2.forge);
      create operator evil2.*<> (leftarg = record, rightarg = record, function = evil2.row_differs);
      create table evil2.new_rows (name text); create table evil2.old_rows (name text);
      create temporary table new_rows (name text); create temporary table old_rows (name text);
      create function pg_temp.to_json(text) returns json language sql as $$ select '"forged"'::json $$;
      create domain pg_temp.text as pg_catalog.text check (value = 'never');
      set search_path = evil2, pg_temp, pg_catalog, public`);
    expect(await database.heard(`insert into public.item (name) values ('true')`, writer)).toEqual({
      item: [['true']],
    });
    expect(await database.heard(`update public.item set owner = 'eve' where name = 'true'`, writer)).toEqual({
      item: [['true']],
    });
    expect(await database.heard(`delete from public.item where name = 'true'`, writer)).toEqual({ item: [['true']] });
    await writer.end();
  });
});
