/**
 * Whatever is done to a watched table beside its triggers, a replica notices with its next fence: it serves nothing of
 * the topic from memory, or has forgotten it, and it trusts the topic again when the table is watched again (P11).
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CoherentCache } from '../../src/coherence/coherence.js';
import { UnavailableError } from '../../src/coherence/errors.js';
import { createMetrics } from '../../src/ops/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createInsideCoherence, type InsideCoherence } from '../support/inside.js';

let database: TestDatabase;
let inside: InsideCoherence;
let cache: CoherentCache<string>;

beforeAll(async () => {
  database = await createTestDatabase();
  inside = createInsideCoherence({
    connectionString: database.url,
    leaseMs: 2_000,
    fenceIntervalMs: 50,
    auditIntervalMs: 0,
  });
  cache = inside.coherence.coherentCache({
    topic: 't',
    load: {
      text: 'select t.id::text, t.v from s.t where t.id = any ($1::text[]::integer[])',
      key: row => [String(row['id'])],
      value: row => String(row['v']),
    },
  });
  const live = inside.seen('fence_proven');
  inside.coherence.start();
  await live;
});

afterAll(async () => {
  await inside.coherence.stop();
  await database.drop();
});

/** Two fences from now on: the first may have been under way. */
const fenced = (): Promise<unknown> => inside.seen('fence_proven', 2);

const get = async (): Promise<string | null | typeof UnavailableError> =>
  cache.get(['1']).catch((error: unknown) => {
    expect(error).toBeInstanceOf(UnavailableError);
    return UnavailableError;
  });

/** The value, and whether it came from memory. */
async function serve(): Promise<{ readonly value: unknown; readonly fromMemory: boolean }> {
  const before = inside.queries('load_t');
  const value = await get();
  return { value, fromMemory: inside.queries('load_t') === before };
}

const problem = (): string | undefined => inside.coherence.watchProblems.get('t');

async function metric(): Promise<string | undefined> {
  const text = await createMetrics(inside.coherence).scrape();
  return text.split('\n').find(line => line.startsWith('gatebell_watch_problems{topic="t"}'));
}

async function warm(value: string): Promise<void> {
  await fenced();
  await get();
  expect(await serve()).toEqual({ value, fromMemory: true });
  expect(problem()).toBeUndefined();
}

const WATCH = `select gatebell.watch('s.t', 't', '{id}', '{v}')`;
const WRITE = `update s.t set v = 'new'`;

beforeEach(async () => {
  await database.sql(`
    drop schema if exists s, moved cascade; create schema s;
    delete from gatebell.watches where not target::text like 'gatebell.%';
    create table s.t (id integer primary key, v text, w text);
    insert into s.t values (1, 'old', 'new');
    ${WATCH}`);
  await warm('old');
});

interface Fault {
  readonly title: string;
  readonly fault: string;
  /** What is wrong from then on. */
  readonly problem: RegExp;
  /** What Postgres says then; a load that fails is a 503. */
  readonly value?: string | typeof UnavailableError;
  readonly repair?: string;
  readonly repaired?: string;
}

const UPDATE = 'gatebell_t_update';
const FAULTS: readonly Fault[] = [
  {
    title: 'a trigger is dropped',
    fault: `drop trigger ${UPDATE} on s.t; ${WRITE}`,
    problem: /update on s\.t is missing/,
  },
  {
    title: 'a row trigger for replication is dropped',
    fault: `drop trigger gatebell_t_replica on s.t; set session_replication_role = replica; ${WRITE};
      set session_replication_role = origin`,
    problem: /replica on s\.t is missing/,
  },
  ...['all', 'user', UPDATE].map(which => ({
    title: `disable trigger ${which}`,
    fault: `alter table s.t disable trigger ${which}; ${WRITE}`,
    problem: /not enabled/,
  })),
  {
    title: 'a trigger is enabled for replication only',
    fault: `alter table s.t enable replica trigger ${UPDATE}; ${WRITE}`,
    problem: /not enabled/,
  },
  {
    title: 'a trigger is replaced by one that never fires',
    fault: `do $$ declare f text; begin
        select tgfoid::regproc into f from pg_trigger where tgname = '${UPDATE}';
        execute
          'create or replace trigger ${UPDATE} after update on s.t for each statement when (false) execute function '
            || f || '()';
      end $$; ${WRITE}`,
    problem: /update on s\.t is not current/,
  },
  {
    title: 'a trigger is replaced by one for another event',
    fault: `do $$ declare f text; begin
        select tgfoid::regproc into f from pg_trigger where tgname = '${UPDATE}';
        execute 'create or replace trigger ${UPDATE} after delete on s.t for each statement execute function ' || f
          || '()';
      end $$; ${WRITE}`,
    problem: /update on s\.t is not current/,
  },
  {
    title: 'the function is replaced',
    fault: `do $$ begin execute (
        select 'create or replace function ' || tgfoid::regproc
          || '() returns trigger language plpgsql as ''begin return null; end'''
        from pg_trigger where tgname = '${UPDATE}'); end $$; ${WRITE}`,
    problem: /function is not current/,
  },
  ...['reset search_path', 'reset all', 'set datestyle = german', 'set bytea_output = escape'].map(setting => ({
    title: `alter function ${setting}`,
    fault: `do $$ begin execute (select 'alter function ' || tgfoid::regproc || '() ${setting}' from pg_trigger
      where tgname = '${UPDATE}'); end $$; ${WRITE}`,
    problem: /function is not current/,
  })),
  {
    title: 'the function is dropped',
    fault: `do $$ begin execute (select 'drop function ' || tgfoid::regproc || '() cascade' from pg_trigger
      where tgname = '${UPDATE}'); end $$; ${WRITE}`,
    problem: /function is missing/,
  },
  {
    title: 'the table is dropped',
    fault: 'drop table s.t',
    problem: /table was dropped/,
    value: UnavailableError,
    repair: `create table s.t (id integer primary key, v text); insert into s.t values (1, 'new'); ${WATCH}`,
  },
  {
    title: 'the table is dropped and created again',
    fault: `drop table s.t; create table s.t (id integer primary key, v text); insert into s.t values (1, 'new')`,
    problem: /table was dropped/,
  },
  {
    title: 'the table is renamed',
    fault: `alter table s.t rename to u; update s.u set v = 'new'`,
    problem: /renamed or moved, it was s\.t/,
    value: UnavailableError,
    repair: 'alter table s.u rename to t',
  },
  {
    title: 'another table takes its name',
    fault: `alter table s.t rename to u; create table s.t (like s.u); insert into s.t values (1, 'new')`,
    problem: /renamed or moved/,
  },
  {
    title: 'the table is moved to another schema',
    fault: 'create schema moved; alter table s.t set schema moved',
    problem: /renamed or moved/,
    value: UnavailableError,
    repair: 'alter table moved.t set schema s',
    repaired: 'old',
  },
  {
    title: 'its schema is renamed, and another takes its name',
    fault: `alter schema s rename to moved; create schema s; create table s.t (id integer primary key, v text);
      insert into s.t values (1, 'new')`,
    problem: /renamed or moved/,
  },
  {
    title: 'a watched column is dropped',
    fault: 'alter table s.t drop column v',
    problem: /column was dropped or renamed/,
    value: UnavailableError,
    repair: `alter table s.t add column v text default 'new'; ${WATCH}`,
  },
  {
    title: 'a watched column is renamed',
    fault: 'alter table s.t rename column v to x',
    problem: /column was dropped or renamed/,
    value: UnavailableError,
    repair: 'alter table s.t rename column w to v',
  },
  {
    title: 'a watched column has another type',
    fault: `alter table s.t alter column v type varchar using 'new'`,
    problem: /another type/,
  },
  {
    title: 'a child is added that has no triggers',
    fault: `create table s.child () inherits (s.t); delete from s.t; insert into s.child values (1, 'new')`,
    problem: /on s\.child is missing/,
  },
  {
    title: 'it is no longer watched',
    fault: `select gatebell.unwatch('s.t', 't'); ${WRITE}`,
    problem: /no longer watched/,
  },
  {
    title: 'the watch is deleted',
    fault: `delete from gatebell.watches where topic = 't'; ${WRITE}`,
    problem: /no longer watched/,
    repair: `do $$ declare t record; begin for t in select tgname from pg_trigger where tgrelid = 's.t'::regclass
      and not tgisinternal loop
        execute format('drop trigger %I on s.t', t.tgname); end loop; end $$; ${WATCH}`,
  },
];

describe('serves nothing of the topic from memory, and says why, when', () => {
  test.each(FAULTS)('$title', async ({ fault, problem: expected, value = 'new', repair = WATCH, repaired = 'new' }) => {
    expect(await metric()).toMatch(/ 0$/);
    await database.sql(fault);
    await fenced();
    expect(problem()).toMatch(expected);
    expect(await metric()).toMatch(/ 1$/);
    expect(await serve()).toEqual({ value, fromMemory: false });
    expect(await serve()).toEqual({ value, fromMemory: false });
    expect(inside.coherence.state).toBe('live');

    await database.sql(repair);
    await warm(repaired);
    expect(await metric()).toMatch(/ 0$/);
  });
});

describe('has forgotten the topic, though nothing is wrong any more, when', () => {
  test.each([
    {
      title: 'triggers were disabled and enabled again, with a write in between',
      fault: `alter table s.t disable trigger ${UPDATE}; ${WRITE}; alter table s.t enable trigger ${UPDATE}`,
    },
    {
      title: 'a trigger was renamed and named back',
      fault: `alter trigger ${UPDATE} on s.t rename to x; alter table s.t disable trigger x; ${WRITE};
        alter table s.t enable trigger x; alter trigger x on s.t rename to ${UPDATE}`,
    },
    {
      title: 'it was watched again',
      fault: `select gatebell.unwatch('s.t', 't'); ${WRITE}; ${WATCH}`,
    },
    {
      title: 'a column was rewritten without an update',
      fault: `alter table s.t alter column v type text using 'new'`,
    },
    {
      title: 'another column took the name of a watched one',
      fault: `alter table s.t rename column v to x; alter table s.t rename column w to v`,
    },
    {
      title: 'a partition or child was detached',
      setUp: `create table s.child () inherits (s.t); insert into s.child values (1, 'old'); delete from only s.t;
        ${WATCH}`,
      fault: 'alter table s.child no inherit s.t',
      value: null,
    },
    {
      title: 'a child was dropped',
      setUp: `create table s.child () inherits (s.t); insert into s.child values (1, 'old'); delete from only s.t;
        ${WATCH}`,
      fault: 'drop table s.child',
      value: null,
    },
    {
      title: 'a table with the right triggers was attached',
      setUp: `create table s.child () inherits (s.t); ${WATCH}; alter table s.child no inherit s.t; delete from s.t;
        insert into s.child values (1, 'new'); insert into s.t values (1, 'old')`,
      fault: 'delete from s.t; alter table s.child inherit s.t',
    },
  ])('$title', async ({ setUp, fault, value = 'new' }) => {
    if (setUp !== undefined) {
      await database.sql(setUp);
      await warm('old');
    }
    const problems = inside.observations.length;
    // One transaction: no fence sees what is in between.
    await database.sql(fault);
    await fenced();
    expect((await serve()).value).toBe(value);
    expect(await serve()).toEqual({ value, fromMemory: true });
    expect(inside.observations.slice(problems).filter(({ event }) => event === 'watch_changed')).toEqual([]);
  });
});

describe('partitions', () => {
  beforeEach(async () => {
    await database.sql(`
      drop table s.t cascade;
      create table s.t (id integer primary key, v text) partition by range (id);
      create table s.low partition of s.t for values from (0) to (10);
      insert into s.t values (1, 'old');
      ${WATCH}`);
    await warm('old');
  });

  test('one that is detached takes its facts with it', async () => {
    await database.sql('alter table s.t detach partition s.low');
    await fenced();
    expect(await serve()).toEqual({ value: null, fromMemory: false });
  });

  test('one that is attached without triggers makes the topic untrusted, until it is watched again', async () => {
    await database.sql(`
      alter table s.t detach partition s.low;
      create table s.other (id integer primary key, v text); insert into s.other values (1, 'new');
      alter table s.t attach partition s.other for values from (0) to (10)`);
    await fenced();
    expect(problem()).toMatch(/on s\.other is missing/);
    expect(await serve()).toEqual({ value: 'new', fromMemory: false });
    await database.sql(WATCH);
    await warm('new');
  });
});

test('another table that takes the name of a watched one ends its watch', async () => {
  await database.sql(`alter table s.t rename to u; create table s.t (like s.u including all); ${WATCH}`);
  expect(await database.sql(`select target::text, problem from gatebell.watch_status where topic = 't'`)).toEqual([
    { target: 's.t', problem: null },
  ]);
  expect(
    await database.sql(`select tgname from pg_trigger where tgrelid = 's.u'::regclass and not tgisinternal`),
  ).toEqual([]);
});

test('what is routine on a watched table makes nobody forget', async () => {
  const before = inside.observations.length;
  await database.sql(`insert into s.t values (2, 'two'); update s.t set w = 'seen'`);
  await database.sql('vacuum (analyze, freeze) s.t');
  await database.sql('create index on s.t (w)');
  await database.sql('vacuum pg_class, pg_trigger, pg_attribute, pg_proc');
  await fenced();
  expect(await serve()).toEqual({ value: 'old', fromMemory: true });
  const heard = inside.observations.slice(before).filter(({ event }) => event === 'invalidation');
  expect(heard).toHaveLength(1);
});

test('triggers that signal on another channel: not live within the lease, right answers, live again', async () => {
  const gone = inside.seen('listener_state');
  await database.sql(`select gatebell.set_channel('elsewhere')`);
  await gone;
  expect(inside.coherence.state).not.toBe('live');
  await database.sql(WRITE);
  expect(await serve()).toEqual({ value: 'new', fromMemory: false });
  await database.sql(`select gatebell.set_channel('gatebell')`);
  await warm('new');
});
