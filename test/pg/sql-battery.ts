/** What the migrations must do, in short: run against the migrations as they are, and against each planted mistake. */
import { createHmac } from 'node:crypto';
import { deepStrictEqual as equal, match, ok, rejects } from 'node:assert';
import type pg from 'pg';

/** Two connections to one migrated database. */
export interface Bench {
  readonly writer: pg.Client;
  readonly listener: pg.Client;
  /** Payloads that the statements sent, in order. */
  heard(text: string): Promise<string[]>;
  sql(text: string, values?: readonly unknown[]): Promise<pg.QueryResultRow[]>;
}

/** A bench on two open connections. */
export async function createBench(writer: pg.Client, listener: pg.Client): Promise<Bench> {
  await listener.query('listen gatebell; listen elsewhere');
  let marks = 0;
  const sql = async (text: string, values: readonly unknown[] = []): Promise<pg.QueryResultRow[]> =>
    (await writer.query<pg.QueryResultRow>(text, [...values])).rows;
  const until = async (text: string): Promise<string[]> => {
    const mark = `mark ${++marks}`;
    const payloads: string[] = [];
    let hear: (message: pg.Notification) => void = () => undefined;
    const marked = new Promise<void>(resolve => {
      hear = ({ payload = '' }) => {
        if (payload === mark) {
          resolve();
        } else {
          payloads.push(payload);
        }
      };
    });
    listener.on('notification', hear);
    try {
      await writer.query(text);
      await writer.query(`select pg_notify('gatebell', $1)`, [mark]);
      await marked;
    } finally {
      listener.off('notification', hear);
    }
    return payloads;
  };
  return {
    writer,
    listener,
    sql,
    async heard(text) {
      // What was signalled before is not the text's.
      await until(`select pg_notify('gatebell', '')`);
      return until(text);
    },
  };
}

/** Keys that the payloads name, each once and sorted; `all` if one of them names none. */
function keysOf(payloads: readonly string[], topic = 't'): unknown {
  const changes = payloads
    .map(payload => JSON.parse(payload) as { s?: string; k?: string[][] })
    .filter(({ s }) => s === topic);
  if (changes.some(({ k }) => k === undefined)) {
    return 'all';
  }
  return [...new Set(changes.flatMap(({ k = [] }) => k.map(key => key.join(' '))))].sort();
}

const fresh = `drop schema if exists s cascade; create schema s; delete from gatebell.watches
  where not target::text like 'gatebell.%';
  create table s.t (id integer primary key, k text, v text, w text);
  insert into s.t values (1, 'a', 'x', ''), (2, 'b', 'y', '')`;
const WATCH = `select gatebell.watch('s.t', 't', '{k}', '{v}')`;

interface State {
  readonly problem: string | null;
  readonly fingerprint: string;
}

const stateOf = async (bench: Bench): Promise<State> =>
  (await bench.sql(`select problem, fingerprint from gatebell.watch_status where topic = 't'`))[0] as State;

/** What a change in a transaction of its own makes of the watch; then it is rolled back. */
async function changed(
  bench: Bench,
  change: string,
): Promise<{ readonly problem: string | null; readonly touched: boolean }> {
  const before = await stateOf(bench);
  await bench.sql('begin');
  try {
    await bench.sql(change);
    const after = await stateOf(bench);
    return { problem: after.problem, touched: after.fingerprint !== before.fingerprint };
  } finally {
    await bench.sql('rollback');
  }
}

const refused = (bench: Bench, text: string, code: string): Promise<void> => rejects(bench.sql(text), { code }, text);
const FUNCTION = `(select 'gatebell.signal_' || id || '()' from gatebell.watches where topic = 't')`;
const ofFunction = (statement: string): string =>
  `do $do$ begin execute replace($$${statement}$$, '%', ${FUNCTION}); end $do$`;
const trigger = (definition: string): string =>
  ofFunction(`create or replace trigger gatebell_t_update ${definition} execute function %`);

export const CHECKS = {
  async statements(bench) {
    await bench.sql(`${fresh}; ${WATCH}`);
    const signalled = async (text: string): Promise<unknown> => keysOf(await bench.heard(text));
    equal(await signalled(`insert into s.t values (3, 'c', '', '')`), ['c']);
    equal(await signalled(`update s.t set v = 'z' where id = 1`), ['a']);
    equal(await signalled(`update s.t set k = 'aa' where id = 1`), ['a', 'aa']);
    equal(await signalled(`update s.t set w = 'z', v = v where id = 1`), []);
    equal(await signalled(`update s.t set w = 'z'`), []);
    equal(await signalled(`update s.t set v = v || '!'`), ['aa', 'b', 'c']);
    equal(await signalled(`update s.t set v = '' where id = 9`), []);
    equal(await signalled(`delete from s.t where false`), []);
    equal(await signalled(`delete from s.t where id > 1`), ['b', 'c']);
    equal(await signalled(`insert into s.t select n, 'k' || n from generate_series(10, 12) n`), ['k10', 'k11', 'k12']);
    equal(await signalled('truncate s.t'), 'all');
    equal(await signalled(`insert into s.t values (1, null, 'x')`), []);
    equal(await signalled(`update s.t set k = 'a'`), ['a']);
  },
  async limits(bench) {
    await bench.sql(`${fresh}; truncate s.t; ${WATCH}`);
    const count = async (text: string): Promise<number> =>
      ((keys: unknown) => (keys === 'all' ? -1 : (keys as string[]).length))(keysOf(await bench.heard(text)));
    const rows = (number: number): string => `insert into s.t select n, n from generate_series(1, ${number}) n`;
    equal(await count(rows(300)), 300);
    equal(await count(`update s.t set v = 'x'`), 300);
    equal(await count('delete from s.t'), 300);
    equal(await count(rows(301)), -1);
    equal(await count(`update s.t set v = 'x'`), -1);
    equal(await count('delete from s.t'), -1);
    // Null keys count as read.
    equal(await count('insert into s.t select n, case when n > 650 then n end from generate_series(1, 700) n'), -1);
    await bench.sql('truncate s.t');
    equal(await count(`insert into s.t values (1, repeat('k', 690))`), 1);
    equal(await count(`insert into s.t values (2, repeat('k', 710))`), -1);
    equal(await count(`insert into s.t values (3, repeat('k', 710)), (4, 'x')`), -1);
    const payloads = await bench.heard(
      `insert into s.t select n, n || repeat('k', 600) from generate_series(10, 40) n`,
    );
    ok(payloads.length > 1 && payloads.every(one => Buffer.byteLength(one) < 7_900), 'parts of a long signal');
    equal((keysOf(payloads) as string[]).length, 31);
  },
  async 'no primary key'(bench) {
    await bench.sql(`${fresh}; alter table s.t drop constraint t_pkey;
      create table s.d (k date, v float8); insert into s.d values ('2026-01-02', 1);
      ${WATCH}; select gatebell.watch('s.d', 'd', '{k}', '{v}')`);
    equal(keysOf(await bench.heard(`update s.t set v = id || 'q'`)), ['a', 'b']);
    equal(keysOf(await bench.heard(`update s.t set k = k || 'q'`)), ['a', 'aq', 'b', 'bq']);
    equal(keysOf(await bench.heard(`update s.t set w = 'q'`)), []);
    const [row] = await bench.sql(
      `select proconfig::text as settings from pg_proc
        where proname = (select 'signal_' || id from gatebell.watches where topic = 'd')`,
    );
    match(String(row!['settings']), /search_path.*DateStyle=ISO.*TimeZone=UTC.*extra_float_digits=1/i);
  },
  async 'the text of keys'(bench) {
    await bench.sql(`${fresh}; create domain s.bytes as bytea; create domain s.deep as s.bytes;
      create table s.k (z s.deep, a text, at timestamptz, id integer, primary key (id));
      select gatebell.watch('s.k', 'k', '{z,a,at}')`);
    const payloads = await bench.heard(
      `set timezone = 'Asia/Tokyo'; insert into s.k values ('\\x00ff', E'"\\n', 'epoch', 1); reset timezone`,
    );
    equal(payloads, [JSON.stringify({ v: 1, s: 'k', k: [['00ff', '"\n', '0.000000']] })]);
    // A function of another schema must not come before those that the trigger means.
    equal(
      await bench.heard(`create function s.octet_length(text) returns integer language sql as 'select 9999';
        set search_path = s, pg_catalog;
        insert into s.k values ('\\x01', '', 'epoch', 2); reset search_path`),
      [JSON.stringify({ v: 1, s: 'k', k: [['01', '', '0.000000']] })],
    );
    await bench.sql(`create table s.float (k float8 primary key); select gatebell.watch('s.float', 'float', '{k}')`);
    equal(
      keysOf(
        await bench.heard(
          `set extra_float_digits = -5; insert into s.float values (0.1::float8 + 0.2::float8);
            reset extra_float_digits`,
        ),
        'float',
      ),
      ['0.30000000000000004'],
    );
  },
  async 'images of rows'(bench) {
    await bench.sql(
      `${fresh}; create table s.n (id integer primary key, v numeric); insert into s.n values (1, 1.0);
        select gatebell.watch('s.n', 'n', '{id}', '{v}')`,
    );
    equal(keysOf(await bench.heard('update s.n set v = 1.00'), 'n'), ['1']);
    // No operator of the type is needed, and a key that cannot be printed fails no write.
    await bench.sql(`create table s.j (id integer primary key, v json); insert into s.j values (1, '{}');
      select gatebell.watch('s.j', 'j', '{id}', '{v}');
      create type s.mood as enum ('a', 'b');
      create function s.print(s.mood) returns text language plpgsql immutable as $$
        begin return 1 / 0; exception when division_by_zero then raise 'no'; end $$;
      create cast (s.mood as text) with function s.print(s.mood);
      create table s.bad (k s.mood primary key); select gatebell.watch('s.bad', 'bad', '{k}')`);
    equal(keysOf(await bench.heard(`update s.j set v = '{"a":1}'`), 'j'), ['1']);
    equal(keysOf(await bench.heard(`insert into s.bad values ('a')`), 'bad'), 'all');
  },
  async 'partitions and replication'(bench) {
    await bench.sql(`${fresh}; create table s.p (id integer primary key, v text) partition by range (id);
      create table s.low partition of s.p for values from (0) to (10);
      create table s.high partition of s.p for values from (10) to (20);
      insert into s.p values (1, ''), (11, ''); select gatebell.watch('s.p', 'p', '{id}', '{v}')`);
    const signalled = async (text: string): Promise<unknown> => keysOf(await bench.heard(text), 'p');
    equal(await signalled(`update s.p set v = 'x'`), ['1', '11']);
    equal(await signalled(`update s.low set v = 'y'`), ['1']);
    equal(await signalled('update s.p set id = 12 where id = 1'), ['1', '12']);
    equal(
      await signalled(
        `set session_replication_role = replica; update s.high set v = 'z' where id = 11;
          reset session_replication_role`,
      ),
      ['11'],
    );
    equal(
      await signalled('set session_replication_role = replica; truncate s.high; reset session_replication_role'),
      'all',
    );
    equal(await signalled('truncate s.low'), 'all');
  },
  async 'watch, unwatch and set_channel'(bench) {
    await bench.sql(fresh);
    equal(keysOf(await bench.heard(WATCH)), 'all');
    await refused(bench, `select gatebell.watch('s.t', 't', '{k,v,k}')`, '42701');
    await refused(
      bench,
      `create view s.seen as select * from s.t; select gatebell.watch('s.seen', 't', '{k}')`,
      '42809',
    );
    await refused(bench, `create table s.r (k regclass); select gatebell.watch('s.r', 'r', '{k}')`, '0A000');
    await refused(
      bench,
      `create table s.r (k regclass[], id integer); select gatebell.watch('s.r', 'r', '{id}', '{k}')`,
      '0A000',
    );
    await bench.sql('create table s.child () inherits (s.t)');
    await refused(bench, `select gatebell.watch('s.child', 't', '{k}')`, '42710');
    await bench.sql(`${fresh}; ${WATCH}; select gatebell.set_channel('elsewhere')`);
    equal((await bench.sql('select gatebell.channel() as channel'))[0], { channel: 'elsewhere' });
    equal(await stateOf(bench).then(({ problem }) => problem), null);
    equal(keysOf(await bench.heard(`update s.t set v = 'e' where id = 1`)), ['a']);
    await bench.sql(`select gatebell.set_channel('gatebell'); select gatebell.unwatch('s.t', 't')`);
    equal(await bench.heard(`update s.t set v = 'f'`), []);
  },
  async 'virtual columns'(bench) {
    const [server] = await bench.sql(`select current_setting('server_version_num')::integer as version`);
    if (Number(server!['version']) >= 180_000) {
      await bench.sql(`${fresh}; create table s.g (id integer primary key, v text generated always as ('x') virtual)`);
      await refused(bench, `select gatebell.watch('s.g', 'g', '{id}', '{v}')`, '0A000');
      await bench.sql(WATCH);
      match(
        String(
          (await changed(bench, `alter table s.t drop v; alter table s.t add v text generated always as (w) virtual`))
            .problem,
        ),
        /virtual/,
      );
    }
  },
  async 'problems of a watch'(bench) {
    await bench.sql(`${fresh}; ${WATCH}`);
    const problems: readonly [change: string, problem: RegExp][] = [
      ['alter table s.t rename to u', /renamed or moved/],
      [
        ofFunction(
          `create or replace function % returns trigger language plpgsql
            set search_path = pg_catalog, pg_temp as 'begin return null; end'`,
        ),
        /not current/,
      ],
      [ofFunction('alter function % reset all'), /not current/],
      [
        `create or replace function gatebell.channel() returns text language sql stable as $$ select 'x' $$`,
        /another channel/,
      ],
      ['alter table s.t drop v', /dropped or renamed/],
      ['alter table s.t alter v type varchar', /another type/],
      ['drop trigger gatebell_t_update on s.t', /update on s.t is missing/],
      ['alter table s.t disable trigger gatebell_t_update', /not enabled/],
      ['alter table s.t enable replica trigger gatebell_t_update', /not enabled/],
      [trigger('after delete on s.t for each statement'), /not current/],
      [trigger('after update on s.t for each statement when (false)'), /not current/],
      [trigger('after update of w on s.t for each statement'), /not current/],
      [
        `create function s.f() returns trigger language plpgsql as 'begin return null; end';
        create or replace trigger gatebell_t_update after update on s.t for each statement execute function s.f()`,
        /missing/,
      ],
      ['drop table s.t', /was dropped/],
    ];
    for (const [change, problem] of problems) {
      match(String((await changed(bench, change)).problem), problem, change);
    }
  },
  async fingerprints(bench) {
    await bench.sql(`${fresh}; create type s.mood as enum ('a'); create type s.pair as (a integer);
      alter table s.t add m s.mood, add p s.pair; create table s.child () inherits (s.t);
      select gatebell.watch('s.t', 't', '{k}', '{v,m,p}')`);
    const touching = [
      ofFunction('alter function % cost 5'),
      'alter schema s rename to x; alter schema x rename to s',
      'alter table s.t alter v set default 1',
      "alter type s.mood rename value 'a' to 'b'",
      'alter type s.pair rename attribute a to b',
      'alter type s.pair add attribute b integer',
      'alter table s.t alter id drop default; alter table s.t set (fillfactor = 90)',
      'alter table s.child set (fillfactor = 90)',
      'alter table s.child no inherit s.t; alter table s.child inherit s.t',
      'alter table s.t disable trigger gatebell_t_update; alter table s.t enable trigger gatebell_t_update',
    ];
    for (const change of touching) {
      equal((await changed(bench, change)).touched, true, change);
    }
    equal((await changed(bench, ofFunction('drop function % cascade'))).problem, 'the trigger function is missing');
    equal((await changed(bench, `comment on table s.t is 'x'; analyze s.t; create index on s.t (w)`)).touched, false);
  },
  async 'row level security'(bench) {
    await bench.sql(`${fresh}; alter table s.t enable row level security; create policy p on s.t using (true);
      create policy mine on s.t to gatebell_daemon using (true); ${WATCH};
      grant usage on schema s to gatebell_daemon; grant select on s.t to gatebell_daemon`);
    const asDaemon = (change: string): string => `${change}; set local role gatebell_daemon`;
    await bench.sql('begin; set local role gatebell_daemon');
    const asRead = await stateOf(bench);
    await bench.sql('rollback');
    equal(asRead.problem, null);
    match(
      String((await changed(bench, asDaemon(`alter policy p on s.t using (w = '')`))).problem),
      /row level security/,
    );
    equal((await changed(bench, `alter policy p on s.t with check (false)`)).touched, true);
    equal((await changed(bench, 'drop policy p on s.t')).touched, true);
    // The policy for gatebell_daemon alone is no policy of everybody's.
    await bench.sql(`begin; create role gatebell_battery; grant usage on schema gatebell, s to gatebell_battery;
      grant select on gatebell.watch_status, gatebell.watches to gatebell_battery;
      grant execute on all functions in schema gatebell to gatebell_battery;
      set local role gatebell_battery`);
    const other = await stateOf(bench);
    await bench.sql('reset role; grant gatebell_daemon to gatebell_battery; set local role gatebell_battery');
    const member = await stateOf(bench);
    await bench.sql('rollback');
    equal(other.fingerprint === member.fingerprint, false, 'membership of the role of a policy');
  },
  async 'open writers'(bench) {
    await bench.sql(`${fresh}; create table s.child () inherits (s.t)`);
    const open = async (seen = 'pg_current_snapshot()'): Promise<string[] | null> => {
      for (let attempt = 0; ; attempt++) {
        const { rows } = await bench.listener.query<{ writers: string[] | null }>(
          `select gatebell.open_writers('s.t', ${seen}) as writers`,
        );
        // Transactions of other databases may be ending.
        if (rows[0]!.writers !== null || attempt > 200 || seen !== 'pg_current_snapshot()') {
          return rows[0]!.writers;
        }
      }
    };
    for (const write of [`update s.t set v = 'x'`, `insert into s.child values (9)`]) {
      await bench.sql(`begin; ${write}; select pg_current_xact_id()`);
      // A later one has ended: it still runs.
      await bench.listener.query('select pg_current_xact_id()');
      equal((await open())?.length, 1, write);
      const [row] = await bench.sql('select pg_current_xact_id()::text as xid');
      const next = BigInt(String(row!['xid'])) + 1n;
      equal(await open(`'${next}:${next}:'::pg_snapshot`), null, 'a transaction that is ending');
      await bench.sql('rollback');
    }
    await bench.sql('begin; select from s.t for update');
    equal(await open(), []);
    await bench.sql('rollback');
  },
  async fences(bench) {
    const [first] = await bench.sql('select newest::integer, sent, key from gatebell.fence(null)');
    const payloads = await bench.heard(
      `drop table if exists pg_temp.taken; begin; create table pg_temp.taken as select pg_current_xact_id()::text as id;
        select gatebell.fence(null); commit`,
    );
    const message = JSON.parse(payloads[0]!) as { v: number; f: number; n: number; i: string; m: string };
    const [server] = await bench.sql(`
      select s.server_id, s.in_recovery, (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint
        || '/' || d.oid || '/' || k.tableoid || '.' || k.xmin as expected
      from gatebell.server s, gatebell.fence_key k, pg_database d where d.datname = current_database()`);
    equal([message.v, message.i, server!['in_recovery']], [1, server!['server_id'], false]);
    equal(server!['server_id'], server!['expected']);
    equal(await bench.sql('select id from pg_temp.taken'), [{ id: String(message.f) }]);
    const signed = `${message.f}/${message.n}/${message.i}`;
    equal(
      message.m,
      createHmac('sha256', first!['key'] as Buffer)
        .update(signed)
        .digest('hex'),
    );
    equal([first!['sent'], Number(first!['newest'])], [true, message.n - 2]);
    equal(await bench.heard(`select gatebell.fence(${message.n - 1})`), []);
    equal((await bench.heard(`select gatebell.fence(${message.n})`)).length, 1);
    equal((await bench.heard(`select gatebell.fence(${message.n + 5})`)).length, 1);
    // The bound is past all that has completed, whatever still runs; to read it takes no id.
    await bench.listener.query('begin; select pg_current_xact_id()');
    const [later] = await bench.sql('select pg_current_xact_id()::text as id');
    await bench.sql('begin');
    const [asked] = await bench.sql('select bound::text from gatebell.fence(-1)');
    equal(await bench.sql('select pg_current_xact_id_if_assigned() as id'), [{ id: null }]);
    await bench.sql('rollback');
    await bench.listener.query('commit');
    ok(BigInt(String(asked!['bound'])) > BigInt(String(later!['id'])), 'the bound is past what has completed');
    await bench.sql('begin; set local synchronous_commit = off; select gatebell.fence(null)');
    equal(await bench.sql(`select current_setting('synchronous_commit') as setting`), [{ setting: 'local' }]);
    await bench.sql('rollback; begin');
    await bench.sql('delete from gatebell.fence_key');
    await refused(bench, 'select gatebell.fence(null)', '55000');
    await bench.sql('rollback');
    ok(new Set(first!['key'] as Buffer).size > 8, 'the key is random');
    await refused(bench, 'insert into gatebell.fence_key select * from gatebell.fence_key', '23505');
    await bench.sql('begin');
    await bench.sql('select pg_sleep(0.01)');
    equal(
      await bench.sql('select server_time_ms > extract(epoch from now()) * 1000 + 5 as later from gatebell.server'),
      [{ later: true }],
    );
    await bench.sql('rollback');
  },
  async facts(bench) {
    for (const [text, code] of [
      [`insert into gatebell.apps (name, host) values ('a', 'A.example')`, '23514'],
      [`insert into gatebell.users (name) values (' x')`, '23514'],
      [`insert into gatebell.users (name) values ('dup'), ('dup')`, '23505'],
      [`insert into gatebell.revoked_jwts values (E'\\n')`, '23514'],
    ] as const) {
      await refused(bench, text, code);
    }
    await bench.sql(`insert into gatebell.users (id, name) values (1001, 'alice'), (1002, 'bob');
      insert into gatebell.apps (id, name, host) values (1001, 'a', '*.example.test')`);
    for (const text of [
      `insert into gatebell.app_routes (app_id, path_prefix, access) values (1001, '/a/../b', 'public')`,
      `insert into gatebell.app_routes (app_id, path_prefix, access, roles) values (1001, '/x', 'grant', '{NULL}')`,
      `insert into gatebell.credentials (user_id, kind, token_hash) values (1001, 'other', sha256('x'))`,
      `insert into gatebell.credentials (user_id, kind, token_hash) values (1001, 'token', 'x')`,
    ]) {
      await refused(bench, text, '23514');
    }
    await bench.sql(`insert into gatebell.app_routes (app_id, path_prefix, access) values (1001, '/', 'grant');
      insert into gatebell.grants values (1001, 1001); insert into gatebell.credentials (user_id, kind, token_hash)
        values (1001, 'token', sha256('t'))`);
    const signalled = async (text: string, topic: string): Promise<unknown> =>
      ((keys: unknown) => (keys === 'all' ? -1 : (keys as string[]).length))(keysOf(await bench.heard(text), topic));
    equal(await signalled('update gatebell.users set enabled = false where id = 1001', 'user'), 1);
    equal(await signalled('update gatebell.users set jwt_not_before = now() where id = 1001', 'user'), 1);
    equal(await signalled('update gatebell.credentials set revoked_at = now()', 'credential'), 1);
    equal(await signalled(`update gatebell.grants set role = 'admin'`, 'grant'), 1);
    equal(await signalled('update gatebell.app_routes set preflight = true', 'route'), 1);
    await bench.sql(`update gatebell.users set name = 'robert' where id = 1002`);
    equal(await bench.sql('select name from gatebell.former_names'), [{ name: 'bob' }]);
    equal(await bench.sql('select gatebell.schema_version() as version'), [{ version: 6 }]);
    await bench.sql('delete from gatebell.users; delete from gatebell.apps; delete from gatebell.former_names');
  },
  async 'sign-in'(bench) {
    await bench.sql(`insert into gatebell.users (id, name, enabled) values (1, 'alice', true), (2, 'gone', false)`);
    const [{ server_id: serverId }] = (await bench.sql('select server_id from gatebell.server')) as [
      { server_id: string },
    ];
    const call = (subject: string, name: string, lifetime = '1 day', server = serverId): string =>
      `select problem
        from gatebell.sign_in('${server}', 'https://issuer.test', '${subject}', '${name}', null, sha256('${subject}'),
          '${lifetime}', null, '{}')`;
    equal(await bench.sql(call('s1', 'alice')), [{ problem: null }]);
    equal(await bench.sql(call('s2', 'alice')), [{ problem: 'name_of_another_subject' }]);
    equal(await bench.sql(call('s3', 'gone')), [{ problem: 'disabled_user' }]);
    equal(await bench.sql(call('s4', 'nobody')), [{ problem: 'unknown_user' }]);
    await refused(bench, call('s5', 'alice', '367 days'), '22023');
    await refused(bench, call('s6', 'alice', '1 day', 'another'), 'GB001');
    await refused(bench, `select gatebell.sign_out('another', sha256('s1'))`, 'GB001');
    await bench.sql(
      `begin; grant execute on all functions in schema gatebell to gatebell_daemon; set local role gatebell_daemon`,
    );
    await refused(bench, call('s7', 'alice'), '42501');
    await bench.sql('rollback');
    await bench.sql(
      `insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'token', sha256('token'))`,
    );
    equal(await bench.sql(`select gatebell.sign_out('${serverId}', sha256('token')) as ended`), [{ ended: null }]);
    const [session] = await bench.sql(`select gatebell.sign_out('${serverId}', sha256('s1')) as ended`);
    ok(session!['ended'] !== null, 'a session is ended');
  },
} satisfies Readonly<Record<string, (bench: Bench) => Promise<void>>>;

export type CheckName = keyof typeof CHECKS;
