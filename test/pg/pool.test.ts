/** The pool on a real Postgres: which server it reads from, and that its connections can be created again. */
import { once } from 'node:events';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NOBODY } from '../../src/coherence/proof/server.js';
import type { Subscription } from '../../src/coherence/proof/connection.js';
import type { ReadPart } from '../../src/coherence/facts/source.js';
import { createSubscriptionOpener } from '../../src/postgres/listen.js';
import { createDatabase, type Database } from '../../src/postgres/pool.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let pool: Database;
let subscription: Subscription;
const heard: string[] = [];
/** Other test files have databases of their own on this server. */
const HERE = '(select oid from pg_database where datname = current_database())';

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createDatabase({ connectionString: database.url, applicationName: 'gatebell/p', poolMax: 3 });
  subscription = await createSubscriptionOpener(pool.listenConfig)(
    'gatebell',
    {
      onMessage: payload => {
        heard.push(payload);
      },
      onLost: () => undefined,
    },
    new AbortController().signal,
  );
});

afterAll(async () => {
  subscription.close();
  await pool.close();
  await database.drop();
});

const backends = async (application: string): Promise<number[]> =>
  (
    await database.sql(
      'select pid from pg_stat_activity where application_name = $1 and datname = current_database() order by pid',
      [application],
    )
  ).map(row => row['pid'] as number);

describe('when Postgres gives up', () => {
  const SETTINGS: Readonly<Record<string, string>> = {
    statement_timeout: '1234ms',
    client_connection_check_interval: '1234ms',
    tcp_user_timeout: '10000',
    tcp_keepalives_idle: '5',
    tcp_keepalives_interval: '5',
    tcp_keepalives_count: '2',
    idle_session_timeout: '0',
    default_transaction_read_only: 'off',
    extra_float_digits: '1',
    quote_all_identifiers: 'off',
  };
  const ASK = `select name, current_setting(name) as value from unnest($1::text[]) name`;
  const withParameter = (url: string, name: string, value: string): string => {
    const changed = new URL(url);
    changed.searchParams.set(name, value);
    return changed.href;
  };
  const toRecord = (rows: readonly pg.QueryResultRow[]): Record<string, unknown> =>
    Object.fromEntries(rows.map(({ name, value }) => [name, value]));

  // What the role or the connection string says must not take its place.
  beforeAll(() =>
    database.sql(`do $$
      declare setting text;
      begin
        foreach setting
          in array '{idle_session_timeout = 1000,extra_float_digits = -15,quote_all_identifiers = on}'::text[] loop
          execute format('alter role current_user in database %I set %s', current_database(), setting);
        end loop;
      end $$`),
  );

  test.each([
    ['as it is', (url: string) => url],
    ['with options of its own', (url: string) => withParameter(url, 'options', '-c work_mem=1MB')],
    ['with a name of its own', (url: string) => withParameter(url, 'application_name', 'other')],
  ])('is set on every connection, the address %s', async (_, addressOf) => {
    const asked = createDatabase({ connectionString: addressOf(database.url), timeoutMs: 1_234, poolMax: 3 });
    try {
      const names = Object.keys(SETTINGS);
      // At the same time, so on several connections.
      const ofPool = await Promise.all([1, 2, 3].map(() => asked.query<pg.QueryResultRow>('ask', ASK, [names])));
      for (const rows of ofPool) {
        expect(toRecord(rows)).toEqual(SETTINGS);
      }
      const listening = new pg.Client(asked.listenConfig);
      await listening.connect();
      const { rows } = await listening.query<pg.QueryResultRow>(ASK, [names]);
      await listening.end();
      expect(toRecord(rows)).toEqual(SETTINGS);
    } finally {
      await asked.close();
    }
  });
});

test('settings of the role round no time, and no table seems renamed', async () => {
  await database.sql(`do $$
    begin
      execute format('alter role current_user in database %I set extra_float_digits = -15', current_database());
      execute format('alter role current_user in database %I set quote_all_identifiers = on', current_database());
    end $$`);
  const asked = createDatabase({ connectionString: database.url });
  try {
    expect(
      await asked.query<pg.QueryResultRow>(
        'ask',
        `select 1795899898154::double precision as ms,
          (select count(*)::integer from gatebell.watch_status where problem is not null) as problems`,
      ),
    ).toEqual([{ ms: 1_795_899_898_154, problems: 0 }]);
  } finally {
    await asked.close();
  }
});

test('a subscription knows its own backend', async () => {
  expect(await backends(`gatebell/p${subscription.backend.mark}`)).toEqual([subscription.backend.processId]);
  expect(subscription.backend.mark).toMatch(/^#.{5}$/);
});

test('what is sent over it comes from that backend', async () => {
  const client = await database.connect();
  await client.query('listen gatebell');
  const notified = once(client, 'notification');
  subscription.send('{"v":1,"a":"it\'s","r":"p"}');
  expect((await notified)[0]).toMatchObject({
    processId: subscription.backend.processId,
    payload: '{"v":1,"a":"it\'s","r":"p"}',
  });
});

test('a fence sees the backend that listens on the same server, and says when it does not', async () => {
  const open = await createSubscriptionOpener(pool.listenConfig)(
    'gatebell',
    { onMessage: () => undefined, onLost: () => undefined },
    new AbortController().signal,
  );
  const { backend } = open;
  const look = async (asked: typeof backend): Promise<string> => {
    const { listener, isPooled } = await pool.askServer(asked);
    expect(isPooled).toBe(false);
    expect(await pool.askFence('always', asked, false)).toMatchObject({ listener, isPooled });
    return listener;
  };
  expect(await look(NOBODY)).toBe('absent');
  expect(await look(backend)).toBe('seen');
  expect(await look({ ...backend, mark: 'of another server' })).toBe('unsure');
  await database.sql('select pg_terminate_backend($1, 5000)', [backend.processId]);
  expect(await look(backend)).toBe('absent');
  open.close();
});

test('a question has a fence sent in any case, not at all, or unless there is a newer one', async () => {
  const { newest: before } = await pool.askFence('always', NOBODY, false);
  const newest = before + 1;
  expect(await pool.askFence('never', NOBODY, false)).toMatchObject({ newest, sent: false });
  expect(await pool.askFence({ unlessAfter: before }, NOBODY, false)).toMatchObject({ newest, sent: false });
  expect(await pool.askFence({ unlessAfter: newest }, NOBODY, false)).toMatchObject({ newest, sent: true });
  expect(await pool.askFence('always', NOBODY, false)).toMatchObject({ newest: newest + 1, sent: true });
});

test('a fence sees everything as it is, however often it was asked for on the same connection', async () => {
  for (let times = 0; times < 8; times++) {
    await pool.askFence('always', NOBODY, true);
  }
  const before = await pool.askFence('always', NOBODY, true);
  await database.sql(`select gatebell.set_channel('elsewhere')`);
  expect(await pool.askFence('always', NOBODY, true)).toMatchObject({
    channel: 'elsewhere',
    newest: before.newest + 1,
  });
  await database.sql(`alter table gatebell.grants disable trigger gatebell_grant_update`);
  const { watches } = await pool.askFence('always', NOBODY, true);
  expect(watches.filter(({ problem }) => problem !== null)).toHaveLength(1);
  await database.sql(`alter table gatebell.grants enable trigger gatebell_grant_update`);
  await database.sql(`select gatebell.set_channel('gatebell')`);
  const after = await pool.askFence('always', NOBODY, true);
  expect(after.channel).toBe('gatebell');
  expect(after.watches.map(({ problem }) => problem)).toEqual(before.watches.map(({ problem }) => problem));
  expect(after.watches.map(({ fingerprint }) => fingerprint)).not.toEqual(
    before.watches.map(({ fingerprint }) => fingerprint),
  );
});

test('renewed, each connection is closed before it is used again, and never more are open than allowed', async () => {
  await Promise.all([1, 2, 3].map(() => pool.query('sleep', 'select pg_sleep(0.05)')));
  const before = await backends('gatebell/p/pool');
  expect(before).toHaveLength(3);
  const slow = pool.query('sleep', 'select pg_sleep(0.2)');
  pool.renew();
  await Promise.all([1, 2, 3, 4, 5].map(() => pool.query('sleep', 'select pg_sleep(0.05)')));
  expect(pool.poolSize).toBeLessThanOrEqual(3);
  await slow;
  await pool.query('one', 'select 1');
  const after = await backends('gatebell/p/pool');
  expect(after.length).toBeLessThanOrEqual(3);
  const [row] = await pool.query<{ pid: number }>('pid', 'select pg_backend_pid() as pid');
  expect(before).not.toContain(row?.pid);
});

test('what is read together is read in one snapshot', async () => {
  await database.sql(`create table pair (key text primary key, value int); insert into pair values ('a', 1), ('b', 1)`);
  const holder = await database.connect();
  await holder.query('select pg_advisory_lock(7)');
  const text = 'select key, value from pair where key = any ($1::text[])';
  const reading = pool.source.readTogether([
    { topic: 'pair', text, keys: [['a']] },
    // Stands still between the two.
    {
      topic: 'pair',
      text: `select 'lock' as key, pg_advisory_lock_shared(7)::text as value where $1::text[] is not null`,
      keys: [['lock']],
    },
    { topic: 'pair', text, keys: [['b']] },
  ]);
  let isWaiting = false;
  while (!isWaiting) {
    isWaiting =
      (await database.sql(`select from pg_locks where locktype = 'advisory' and not granted and database = ${HERE}`))
        .length > 0;
  }
  await database.sql('update pair set value = 2');
  await holder.query('select pg_advisory_unlock(7)');
  const [first, , last] = await reading;
  expect([first?.rows[0]?.['value'], last?.rows[0]?.['value']]).toEqual([1, 1]);
  const [afterwards] = await pool.source.readTogether([{ topic: 'pair', text, keys: [['b']] }]);
  expect(afterwards?.rows[0]?.['value']).toBe(2);
});

// TRUNCATE and rewrites show in snapshots that were taken before.
test.each([
  { title: 'emptied', change: 'truncate emptied', expected: undefined },
  {
    title: 'rewritten',
    change: `alter table emptied alter column value type text using 'rewritten'`,
    expected: 'rewritten',
  },
  {
    title: 'created again',
    change: `drop table emptied; create table emptied (key text primary key, value int);
      insert into emptied values ('b', 2)`,
    expected: 2,
  },
])('a table that is $title under way is read again, with all others', async ({ change, expected }) => {
  await database.sql(`
    drop table if exists kept, emptied;
    create table kept (key text primary key, value int); insert into kept values ('a', 1);
    create table emptied (key text primary key, value int); insert into emptied values ('b', 1)`);
  const writer = await database.connect();
  await writer.query(`begin; ${change}`);
  const part = (table: string, key: string): ReadPart => ({
    topic: table,
    text: `select key, value from ${table} where key = any ($1::text[])`,
    keys: [[key]],
  });
  const reading = pool.source.readTogether([part('kept', 'a'), part('emptied', 'b')]);
  let isWaiting = false;
  while (!isWaiting) {
    isWaiting =
      (
        await database.sql(
          `select from pg_locks where relation = 'emptied'::regclass and not granted and database = ${HERE}`,
        )
      ).length > 0;
  }
  await database.sql('update kept set value = 2');
  await writer.query('commit');
  const [kept, emptied] = await reading;
  expect([kept?.rows[0]?.['value'], emptied?.rows[0]?.['value']]).toEqual([2, expected]);
});

test('tables that are emptied again and again cannot be read together', async () => {
  await database.sql('drop table if exists emptied; create table emptied (key text primary key, value int)');
  const text = 'select key, value from emptied where key = any ($1::text[])';
  // Each reading stands still between its parts, with its snapshot taken, until the table has been emptied.
  const lock = {
    topic: 'lock',
    text: `select 'lock' as key, pg_advisory_xact_lock(8)::text as value where $1::text[] is not null`,
    keys: [['lock']],
  };
  const waiting = async (count: number): Promise<void> => {
    while (
      (await database.sql(`select from pg_locks where locktype = 'advisory' and not granted and database = ${HERE}`))
        .length < count
    );
  };
  let holder = await database.connect();
  await holder.query('select pg_advisory_lock(8)');
  const failed = expect(pool.source.readTogether([lock, { topic: 'emptied', text, keys: [['a']] }])).rejects.toThrow(
    'tables were emptied or rewritten while they were read together, 3 times',
  );
  for (let attempt = 0; attempt < 3; attempt++) {
    await waiting(1);
    await database.sql('truncate emptied');
    // What stops the next attempt must be in the queue before this one goes on.
    const next = await database.connect();
    const held = next.query('select pg_advisory_lock(8)');
    await waiting(2);
    await holder.query('select pg_advisory_unlock(8)');
    await held;
    holder = next;
  }
  await holder.query('select pg_advisory_unlock(8)');
  await failed;
});

test('a connection that breaks under a statement fails that statement only', async () => {
  const failed = expect(
    pool.query('suicide', 'select pg_terminate_backend(pg_backend_pid()), pg_sleep(5)'),
  ).rejects.toThrow();
  await failed;
  expect(await pool.query('one', 'select 1 as one')).toEqual([{ one: 1 }]);
});
