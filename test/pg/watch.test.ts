/** gatebell.watch(), unwatch(), set_channel(), and the view gatebell.watch_status that a replica trusts (P11). */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSignalDatabase, type SignalDatabase } from '../support/signals.js';

let database: SignalDatabase;

beforeAll(async () => {
  database = await createSignalDatabase();
});

beforeEach(async () => {
  await database.sql(`
    drop schema if exists s cascade; create schema s;
    select gatebell.unwatch(target, topic) from gatebell.watches where not target::text like 'gatebell.%';
    create table s.t (id integer primary key, k text, v text);
    create view s.seen as select * from s.t;
    create materialized view s.kept as select * from s.t;
    create sequence s.numbers;
    create index by_k on s.t (k)`);
});

afterAll(() => database.drop());

interface Watched {
  readonly problem: string | null;
  readonly fingerprint: string;
}

async function watched(topic = 't'): Promise<Watched> {
  const [row] = await database.sql('select problem, fingerprint from gatebell.watch_status where topic = $1', [topic]);
  return row as Watched;
}

/** Functions and triggers that watching has made. */
async function traces(): Promise<unknown> {
  const rows = await database.sql(`
    select p.proname::text as name from pg_proc p where p.pronamespace = 'gatebell'::regnamespace
      and p.proname like 'signal\\_%'
    union all select t.tgname || ' on ' || t.tgrelid::regclass from pg_trigger t where t.tgname like 'gatebell%'
      order by 1`);
  return rows.map(row => row['name'] as unknown);
}

describe('watch() refuses', () => {
  test.each<[call: string, code: string, message: string, hint: RegExp | undefined]>([
    [
      `null, 't', '{k}'`,
      '22004',
      'the table, the topic, the key columns and the watched columns must not be null',
      /Leave the watched columns out/,
    ],
    [`'s.t', null, '{k}'`, '22004', 'must not be null', /./],
    [`'s.t', 't', null`, '22004', 'must not be null', /./],
    [`'s.t', 't', '{k}', null`, '22004', 'must not be null', /'\{\}'/],
    [`'s.t', '', '{k}'`, '22023', `topic '' is not allowed`, /1 to 40 characters, a-z, 0-9 and _/],
    [`'s.t', 'Grant', '{k}'`, '22023', `topic 'Grant' is not allowed`, /begins with a letter/],
    [`'s.t', '1st', '{k}'`, '22023', `topic '1st' is not allowed`, /begins with a letter/],
    [`'s.t', E't\\n', '{k}'`, '22023', `is not allowed`, /./],
    [`'s.t', 'a"b', '{k}'`, '22023', `topic 'a"b' is not allowed`, /./],
    [`'s.t', repeat('t', 41), '{k}'`, '22023', 'is not allowed', /1 to 40/],
    [`'s.none', 't', '{k}'`, '42P01', 'relation "s.none" does not exist', undefined],
    [`'s.seen', 't', '{k}'`, '42809', 's.seen is not a table', /watch the tables below a view/],
    [`'s.kept', 't', '{k}'`, '42809', 's.kept is not a table', /tables and partitioned tables/],
    [`'s.numbers', 't', '{k}'`, '42809', 's.numbers is not a table', /./],
    [`'s.by_k', 't', '{k}'`, '42809', 's.by_k is not a table', /./],
    [`4711::regclass, 't', '{k}'`, '42809', '4711 is not a table', /./],
    [`'s.t', 't', '{}'`, '22023', 'no key column was given for s.t', /at least one column/],
    [`'s.t', 't', '{k,nope}'`, '42703', `table s.t has no column 'nope'`, /columns of the table itself/],
    [`'s.t', 't', '{k}', '{V,"it''s"}'`, '42703', `table s.t has no column 'V', 'it''s'`, /./],
    [`'s.t', 't', '{ctid}'`, '42703', `table s.t has no column 'ctid'`, /./],
    [`'s.t', 't', '{k,NULL}'`, '42703', 'table s.t has no column null', /./],
    [`'s.t', 't', '{k,id,k}'`, '42701', `key column 'k' is named twice`, /each part of the key once/],
  ])('%s', async (call, code, message, hint) => {
    const before = await traces();
    const error: unknown = await database.sql(`select gatebell.watch(${call})`).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) as unknown });
    expect(error).toMatchObject({ hint: hint === undefined ? undefined : (expect.stringMatching(hint) as unknown) });
    expect(await traces()).toEqual(before);
  });

  test('a virtual generated column, of which triggers see nothing (Postgres before 18 has none)', async () => {
    const [server] = await database.sql(`select current_setting('server_version_num')::integer as version`);
    const create = database.sql(
      'create table s.g (id integer primary key, v integer generated always as (id * 2) virtual)',
    );
    if (Number(server?.['version']) < 180_000) {
      await expect(create).rejects.toMatchObject({ code: '42601' });
      return;
    }
    await create;
    for (const columns of [`'{v}'`, `'{id}', '{v}'`]) {
      await expect(database.sql(`select gatebell.watch('s.g', 't', ${columns})`)).rejects.toMatchObject({
        code: '0A000',
        message: `gatebell.watch: column 'v' of s.g is generated and virtual`,
        hint: expect.stringContaining('make it STORED') as unknown,
      });
    }
  });
});

test('watch() tells replicas to forget the topic, and takes effect at its commit', async () => {
  expect(await database.heard(`begin; select gatebell.watch('s.t', 't', '{k}'); rollback`)).toEqual({});
  expect(await database.heard(`select gatebell.watch('s.t', 't', '{k}')`)).toEqual({ t: 'all' });
  expect(await watched()).toMatchObject({ problem: null });
});

test('watch() again replaces what is watched', async () => {
  await database.sql(`insert into s.t values (1, 'a', 'x')`);
  await database.sql(`select gatebell.watch('s.t', 't', '{k}', '{v}')`);
  const [before, first] = [await traces(), await watched()];
  await database.sql(`select gatebell.watch('s.t', 't', '{id}')`);

  expect(await traces()).toHaveLength((before as unknown[]).length);
  expect((await watched()).fingerprint).not.toBe(first.fingerprint);
  expect(await database.heard(`update s.t set v = 'y'`)).toEqual({});
  expect(await database.payloads(`update s.t set id = 2`)).toEqual(['{"v":1,"s":"t","k":[["1"],["2"]]}']);
});

test('watch() takes a repeated watched column, or one that is in the key, as one', async () => {
  await database.sql(`select gatebell.watch('s.t', 't', '{k}', '{v,v,k}')`);
  expect(await database.heard(`insert into s.t values (1, 'a', 'x')`)).toEqual({ t: [['a']] });
  expect(await database.heard(`update s.t set v = 'y'`)).toEqual({ t: [['a']] });
});

test('unwatch() removes all traces', async () => {
  const before = await traces();
  await database.sql(`select gatebell.watch('s.t', 't', '{k}', '{v}')`);
  await database.sql(`select gatebell.unwatch('s.t', 't')`);
  expect(await traces()).toEqual(before);
  expect(await database.heard(`insert into s.t values (1, 'a', 'x')`)).toEqual({});
  await expect(database.sql(`select gatebell.unwatch('s.t', 't')`)).rejects.toMatchObject({
    code: '42704',
    message: `gatebell.unwatch: table s.t is not watched for topic 't'`,
    hint: expect.stringContaining('gatebell.watch_status') as unknown,
  });
});

test('unwatch() works for a table that was dropped', async () => {
  const before = await traces();
  await database.sql(`select gatebell.watch('s.t', 't', '{k}'); drop table s.t cascade`);
  await database.sql(
    `select gatebell.unwatch(target, topic) from gatebell.watch_status where problem = 'the table was dropped'`,
  );
  expect(await watched()).toBeUndefined();
  expect(await traces()).toEqual(before);
});

test('a renamed or moved table still signals, and is said to be so: loads find it by its name', async () => {
  await database.sql(`select gatebell.watch('s.t', 't', '{k}', '{v}')`);
  await database.sql('alter table s.t rename to u');
  expect((await watched()).problem).toBe('the table was renamed or moved, it was s.t');
  await database.sql('alter table s.u set schema public');
  expect((await watched()).problem).toBe('the table was renamed or moved, it was s.t');
  expect(await database.heard(`insert into public.u values (1, 'a', 'x')`)).toEqual({ t: [['a']] });
  await database.sql(`select gatebell.watch('public.u', 't', '{k}', '{v}')`);
  expect((await watched()).problem).toBeNull();
  await database.sql('drop table public.u cascade');
});

describe('gatebell.watch_status', () => {
  beforeEach(async () => {
    await database.sql(`select gatebell.watch('s.t', 't', '{k}', '{v}')`);
  });

  const functionName = async (): Promise<string> => {
    const [row] = await database.sql(`select 'gatebell.signal_' || id as name from gatebell.watches where topic = 't'`);
    return String(row?.['name']);
  };

  test.each<[change: string, problem: string]>([
    [
      'alter table s.t disable trigger gatebell_t_insert',
      'trigger gatebell_t_insert on s.t is not enabled as it must be',
    ],
    ['alter table s.t disable trigger user', 'trigger gatebell_t_delete on s.t is not enabled as it must be'],
    [
      'alter table s.t enable replica trigger gatebell_t_update',
      'trigger gatebell_t_update on s.t is not enabled as it must be',
    ],
    [
      'alter table s.t enable trigger gatebell_t_truncate',
      'trigger gatebell_t_truncate on s.t is not enabled as it must be',
    ],
    [
      'alter table s.t enable always trigger gatebell_t_replica',
      'trigger gatebell_t_replica on s.t is not enabled as it must be',
    ],
    ['drop trigger gatebell_t_update on s.t', 'trigger gatebell_t_update on s.t is missing'],
    ['drop trigger gatebell_t_replica on s.t', 'trigger gatebell_t_replica on s.t is missing'],
    ['alter trigger gatebell_t_insert on s.t rename to other', 'trigger gatebell_t_insert on s.t is missing'],
    ['drop function FUNCTION() cascade', 'the trigger function is missing'],
    [
      'create or replace function FUNCTION() returns trigger language plpgsql as $$ begin return null; end $$',
      'the trigger function is not current',
    ],
    ['drop table s.t cascade', 'the table was dropped'],
    ['alter schema s rename to s2', 'the table was renamed or moved, it was s.t'],
    ['drop schema s cascade', 'the table was dropped'],
    ['alter table s.t drop column v cascade', 'a watched column was dropped or renamed, or has another type'],
    [
      `create or replace function gatebell.channel() returns text language sql return 'elsewhere'`,
      'the triggers signal on another channel',
    ],
  ])('after %s: %s', async (change, problem) => {
    const before = await watched();
    expect(before.problem).toBeNull();
    await database.sql('begin');
    await database.sql(change.replace('FUNCTION', await functionName()));
    const after = await watched();
    await database.sql('rollback');
    expect(after.problem).toBe(problem);
    expect(await watched()).toEqual(before);
  });

  test.each([
    [
      'disabled and enabled',
      'alter table s.t disable trigger user',
      `alter table s.t enable trigger user; alter table s.t enable always trigger gatebell_t_truncate;
        alter table s.t enable replica trigger gatebell_t_replica`,
    ],
    [
      'renamed to and fro',
      'alter trigger gatebell_t_insert on s.t rename to x',
      'alter trigger x on s.t rename to gatebell_t_insert',
    ],
    ['watched again', `select gatebell.unwatch('s.t', 't')`, `select gatebell.watch('s.t', 't', '{k}', '{v}')`],
  ])('has another fingerprint after the triggers were %s, though nothing is wrong', async (_, off, on) => {
    const before = await watched();
    await database.sql(off);
    await database.sql(on);
    const after = await watched();
    expect(after.problem).toBeNull();
    expect(after.fingerprint).not.toBe(before.fingerprint);
  });

  test('has a new fingerprint when the function is replaced by itself, a problem when it is altered', async () => {
    const fingerprints = [(await watched()).fingerprint];
    const name = await functionName();
    const [row] = await database.sql(`select pg_get_functiondef('${name}'::regproc) as definition`);
    for (const statement of [String(row?.['definition']), `alter function ${name}() reset search_path`]) {
      await database.sql(statement);
      fingerprints.push((await watched()).fingerprint);
    }
    expect(new Set(fingerprints).size).toBe(3);
    expect((await watched()).problem).toBe('the trigger function is not current');
  });

  test('keeps its fingerprint while nothing changes but rows', async () => {
    const before = await watched();
    await database.sql(`insert into s.t values (1, 'a', 'x')`);
    await database.sql('vacuum analyze s.t');
    expect(await watched()).toEqual(before);
  });
});

describe('set_channel()', () => {
  test('moves every watched table, the fences, and tells replicas', async () => {
    await database.sql(`select gatebell.watch('s.t', 't', '{k}', '{v}')`);
    await database.sql(
      `create table s.dropped (id integer primary key); select gatebell.watch('s.dropped', 'dropped', '{id}');
        drop table s.dropped`,
    );
    await database.listener.query(`listen "Other 'channel'"`);
    const channels: string[] = [];
    database.listener.on('notification', ({ channel, payload = '' }) => {
      if (!payload.includes('"f"')) {
        channels.push(channel);
      }
    });

    const heard = await database.heard(`select gatebell.set_channel('Other ''channel''')`);
    const topics = ['app', 'credential', 'grant', 'identity', 'revoked_jwt', 'route', 't', 'user', 'user_name'];
    expect(heard).toEqual(Object.fromEntries(topics.map(topic => [topic, 'all'])));
    expect(await database.heard(`insert into s.t values (1, 'a', 'x')`)).toEqual({ t: [['a']] });
    expect(new Set(channels)).toEqual(new Set([`Other 'channel'`]));
    const problems = await database.sql('select topic, problem from gatebell.watch_status where problem is not null');
    expect(problems).toEqual([{ topic: 'dropped', problem: 'the table was dropped' }]);

    await database.sql(`select gatebell.set_channel('gatebell')`);
    channels.length = 0;
    expect(await database.heard(`insert into s.t values (2, 'b', 'x')`)).toEqual({ t: [['b']] });
    expect(new Set(channels)).toEqual(new Set(['gatebell']));
  });

  test.each([`''`, `repeat('x', 64)`, `repeat('é', 32)`, 'null'])('refuses %s', async name => {
    await expect(database.sql(`select gatebell.set_channel(${name})`)).rejects.toMatchObject({
      code: '22023',
      hint: 'A channel is 1 to 63 bytes.',
    });
  });
});
