/** One key, one victim: whatever one caller asks for, the others of its batch are served (P6). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UnavailableError } from '../../src/coherence/errors.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createInsideCoherence, type InsideCoherence } from '../support/inside.js';

let database: TestDatabase;
let inside: InsideCoherence;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.sql(`create schema s; create type s.mood as enum ('low', 'high');
    create domain s.even as integer check (value % 2 = 0);
    create function s.picky(k text) returns text language plpgsql immutable as $$
      begin if k = 'bad' then raise 'no'; end if; return k; end $$`);
  inside = createInsideCoherence({ connectionString: database.url, auditIntervalMs: 0 });
  const live = inside.seen('fence_proven');
  inside.coherence.start();
  await live;
});

afterAll(async () => {
  await inside.coherence.stop();
  await database.drop();
});

interface Kind {
  readonly type: string;
  /** As Postgres prints them; the first three are in the table. */
  readonly good: readonly string[];
  /** Keys that read back otherwise, or cannot be read. */
  readonly bad: readonly string[];
}

const UUID = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1';
const KINDS: readonly Kind[] = [
  { type: 'integer', good: ['7', '8', '-9', '11'], bad: ['007', ' 8', '+7', 'x', '', '99999999999', '1\0', '7.0'] },
  { type: 'bigint', good: ['7', '8', '-9', '11'], bad: ['007', '0x7', '99999999999999999999', '\ud800'] },
  {
    type: 'uuid',
    good: [`${UUID}1`, `${UUID}2`, `${UUID}3`, `${UUID}4`],
    bad: [`${UUID}1`.toUpperCase(), `{${UUID}2}`, `${UUID}3`.replaceAll('-', ''), 'none'],
  },
  { type: 'numeric', good: ['1.00', '2', 'NaN', '3'], bad: ['1.0', '1', '2.000', '2e0', 'nan', 'one'] },
  { type: 'text', good: ['a', 'ä', '', 'x'], bad: ['a\0', '\0'] },
  { type: 'char(5)', good: ['ab', 'cd', 'e', 'f'], bad: ['ab   ', 'cd ', '\0'] },
  { type: 'boolean', good: ['true', 'false'], bad: ['t', 'TRUE', 'yes', '0', 'maybe'] },
  {
    type: 'date',
    good: ['2026-01-02', '2026-03-04', '-infinity', '2026-05-06'],
    bad: ['2026-1-2', 'Jan 2 2026', '2026-02-30', 'x', '20260304'],
  },
  { type: 's.mood', good: ['low', 'high'], bad: ['Low', '', 'middle'] },
  { type: 's.even', good: ['2', '4', '6', '8'], bad: ['3', '02', 'x'] },
  {
    type: 'inet',
    good: ['10.0.0.1/32', '10.0.0.2/32', '::1/128', '10.0.0.3/32'],
    bad: ['10.0.0.1', '0:0::1', '10.0.0.256'],
  },
];

/** Asks for all keys at once, past memory, so that they share a batch, and returns what each got. */
async function askAll(
  get: (key: readonly string[]) => Promise<string | null>,
  keys: readonly (readonly string[])[],
): Promise<unknown[]> {
  return Promise.all(keys.map(key => get(key).catch((error: unknown) => error)));
}

describe.each(KINDS)('$type', ({ type, good, bad }) => {
  const present = good.slice(0, 3);

  test.each([false, true])('a key that reads back otherwise fails alone (strong: %s)', async strong => {
    const name = `k_${type.replaceAll(/[^a-z]/g, '')}_${strong ? 'strong' : 'bounded'}`;
    await database.sql(`create table s.${name} (k ${type} primary key, v text)`);
    for (const key of present) {
      await database.sql(`insert into s.${name} values ($1, $2)`, [key, key]);
    }
    // Strong reads of a table that is not watched are read together, in one snapshot.
    if (!strong) {
      await database.sql(`select gatebell.watch('s.${name}', '${name}', '{k}', '{v}')`);
      await inside.seen('fence_proven', 2);
    }
    const cache = inside.coherence.coherentCache({
      topic: name,
      load: {
        text: `select t.k::text, t.v from s.${name} t where t.k = any ($1::text[]::${type}[])`,
        key: row => [String(row['k'])],
        value: row => String(row['v']),
      },
    });
    const get = (key: readonly string[]): Promise<string | null> => cache.get(key, { strong });
    // Each bad one together with all good ones that it is not another spelling of, and all bad ones at once with those
    // that none of them is.
    for (const one of bad) {
      const [alone] = await askAll(get, [[one]]);
      expect(alone instanceof UnavailableError || alone === null, `${one}: ${String(alone)}`).toBe(true);
      const others = await askAll(get, [[one], ...good.map(key => [key])]);
      // With its own row in the batch, too, under the spelling that Postgres prints.
      expect(String(others[0]), one).toBe(String(alone));
      expect(others.slice(1), one).toEqual(good.map(key => (present.includes(key) ? key : null)));
    }
    const all = await askAll(
      get,
      [...bad, ...good].map(key => [key]),
    );
    expect(all.slice(bad.length)).toEqual(good.map(key => (present.includes(key) ? key : null)));
    expect(all.slice(0, bad.length).filter(one => typeof one === 'string')).toEqual([]);
  });
});

test.each([false, true])('a key of too few or too many parts fails alone, and says why (strong: %s)', async strong => {
  const name = `parts_${String(strong)}`;
  await database.sql(
    `create table s.${name} (a integer, b text, primary key (a, b)); insert into s.${name} values (1, 'x'), (2, 'y')`,
  );
  const cache = inside.coherence.coherentCache({
    topic: name,
    load: {
      text: `select t.a::text, t.b, '$9 is no parameter' from unnest($1::text[]::integer[], $2::text[]) as k (a, b)
        join s.${name} t using (a, b)`,
      key: row => [String(row['a']), String(row['b'])],
      value: row => `${String(row['a'])}${String(row['b'])}`,
    },
  });
  const keys = [['1'], ['1', 'x'], ['1', 'x', 'z'], [], ['2', 'y'], ['3', 'z']];
  const got = await askAll(key => cache.get(key, { strong }), keys);
  expect(got.map(one => (one instanceof TypeError ? 'TypeError' : one))).toEqual([
    'TypeError',
    '1x',
    'TypeError',
    'TypeError',
    '2y',
    null,
  ]);
  expect((got[0] as Error).message).toBe(`key ["1"] of ${name} must have as many parts as its load has parameters: 2`);
});

test.each([false, true])(
  'one question that asks for two spellings of a key fails, and for what is absent does not (strong: %s)',
  async strong => {
    await database.sql(
      `create table s.pairs_${String(strong)} (k integer primary key);
        insert into s.pairs_${String(strong)} values (7), (8)`,
    );
    const cache = inside.coherence.coherentCache({
      topic: `pairs_${String(strong)}`,
      load: {
        text: `select t.k::text from s.pairs_${String(strong)} t where t.k = any ($1::text[]::integer[])`,
        key: row => [String(row['k'])],
        value: row => String(row['k']),
      },
    });
    const reader = inside.coherence.reader({ pair: cache });
    const ask = async (...keys: readonly string[]): Promise<unknown> => {
      const read = async (): Promise<unknown> =>
        reader.read(facts => {
          const values = keys.map(key => facts.get('pair', [key]));
          const lacks = keys.flatMap((key, at) =>
            values[at] === undefined ? [{ topic: 'pair' as const, key: [key] }] : [],
          );
          return lacks.length > 0 ? { lacks } : { answer: values, strong };
        });
      return read().catch((error: unknown) => error);
    };
    const [both, absent, other] = await Promise.all([ask('7', '007'), ask('7', '9'), ask('8', '08', '10')]);
    expect(absent).toEqual(['7', null]);
    expect([both, other]).toEqual([expect.any(UnavailableError), expect.any(UnavailableError)]);
  },
);

test.each([
  ['regclass', ['s.named_here', 'pg_class'], ['nope', 'a b', 'nope.t', 'a.b.c.d', '"']],
  ['regtype', ['integer', 's.mood'], ['nope', 'nope.t', 'integer[']],
  ['regnamespace', ['s', 'pg_catalog'], ['nope', 'a.b']],
  ['regprocedure', ['now()'], ['nope()', 'now', 'now(']],
  ['tsquery', ["'a'", "'a' & 'b'"], ['a b', '&']],
  ['jsonpath', ['$', '$."a"'], ['$.', 'a b']],
])('a key that cannot be read as %s fails alone', async (type, good, bad) => {
  await database.sql('create table if not exists s.named_here ()');
  const cache = inside.coherence.coherentCache({
    topic: `as_${type}`,
    load: {
      text: `select x.k::${type}::text as k from unnest($1::text[]) as x (k)`,
      key: row => [String(row['k'])],
      value: row => String(row['k']),
    },
  });
  const got = await askAll(
    key => cache.get(key),
    [...bad, ...good].map(key => [key]),
  );
  expect(got).toEqual([...bad.map(() => expect.any(UnavailableError) as unknown), ...good]);
});

test.each([
  ['a table that is not there', 'select k from s.nowhere, unnest($1::text[]) as k'],
  ['a function that is not there', 'select s.nothing(k) as k from unnest($1::text[]) as k'],
  ['a syntax error', 'select from from unnest($1::text[]) as k'],
])('%s in the load itself is asked once, not key by key', async (_, text) => {
  const cache = inside.coherence.coherentCache({
    topic: 'broken',
    load: { text, key: row => [String(row['k'])], value: row => String(row['k']) },
  });
  const failed = (): number => inside.observations.filter(({ event }) => event === 'load_failed').length;
  const before = failed();
  const got = await askAll(
    key => cache.get(key),
    ['a', 'b', 'c', 'd'].map(key => [key]),
  );
  expect(got).toEqual(got.map(() => expect.any(UnavailableError) as unknown));
  expect(failed() - before).toBeLessThanOrEqual(2);
});

test('a function of the load that refuses one value fails that one', async () => {
  const cache = inside.coherence.coherentCache({
    topic: 'picky',
    load: {
      text: 'select s.picky(k) as k from unnest($1::text[]) as k',
      key: row => [String(row['k'])],
      value: row => String(row['k']),
    },
  });
  const got = await askAll(key => cache.get(key), [['a'], ['bad'], ['b']]);
  expect(got).toEqual(['a', expect.any(UnavailableError), 'b']);
});

test('the error names the key that Postgres reads back', async () => {
  await database.sql(`create table s.named (k uuid primary key); insert into s.named values ('${UUID}1')`);
  const cache = inside.coherence.coherentCache({
    topic: 'named',
    load: {
      text: 'select t.k::text from s.named t where t.k = any ($1::text[]::uuid[])',
      key: row => [String(row['k'])],
      value: row => String(row['k']),
    },
  });
  await expect(cache.get([`${UUID}1`.toUpperCase()])).rejects.toThrow(
    `returned a row of key ["${UUID}1"], which was not asked for`,
  );
});
