/** Role gatebell_daemon can do what a replica does, statement by statement, and nothing else. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NOBODY } from '../../src/coherence/proof/server.js';
import { signFence } from '../../src/coherence/proof/heard-fences.js';
import { parseMessage } from '../../src/coherence/signal.js';
import { migrate, readMigrationStatus, requireCurrentSchema } from '../../src/postgres/migrate.js';
import { createDatabase, type Database } from '../../src/postgres/pool.js';
import { factCaches } from '../../src/auth/facts.js';
import { createSignalDatabase, type SignalDatabase } from '../support/signals.js';

const LOGIN = `replica_${randomBytes(6).toString('hex')}`;
const HASH = 'ab'.repeat(32);

/** As many keys of each topic as a replica may ask for. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  credential: [HASH],
  user: ['1'],
  identity: ['https://id.test', 'ada-1'],
  user_name: ['ada'],
  revoked_jwt: ['ab-1'],
  app: ['wiki.test'],
  route: ['1'],
  grant: ['1', '1'],
};

let database: SignalDatabase;
let daemon: Database;
let client: pg.Client;

beforeAll(async () => {
  database = await createSignalDatabase();
  await database.sql(`
    create role ${LOGIN} login password 'x' in role gatebell_daemon;
    insert into gatebell.users (id, name, groups) values (1, 'ada', '{staff}');
    insert into gatebell.apps (id, name, host) values (1, 'wiki', 'wiki.test');
    insert into gatebell.app_routes (app_id, path_prefix, access) values (1, '/', 'grant');
    insert into gatebell.grants (user_id, app_id) values (1, 1);
    insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'token', '\\x${HASH}');
    insert into gatebell.identities (issuer, subject, user_id) values ('https://id.test', 'ada-1', 1);
    insert into gatebell.revoked_jwts (jti) values ('ab-1')`);
  const url = new URL(database.url);
  url.username = LOGIN;
  url.password = 'x';
  daemon = createDatabase({ connectionString: url.href });
  client = new pg.Client({ connectionString: url.href });
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await daemon.close();
  await database.sql(`drop role ${LOGIN}`);
  await database.drop();
});

describe('it can', () => {
  test.each(Object.values(factCaches(() => undefined)))('load $topic', async ({ topic, load }) => {
    const { rows, inRecovery } = await daemon.source.read(topic, load.text, [KEYS[topic] ?? []], 'load');
    expect(rows.map(load.key)).toEqual([KEYS[topic]]);
    expect(inRecovery).toBe(false);
  });

  test('send fences, which say how the watched tables are', async () => {
    const receipt = await daemon.askFence('always', NOBODY, true);
    expect(receipt).toMatchObject({
      inRecovery: false,
      channel: 'gatebell',
      queueUsage: expect.any(Number) as unknown,
    });
    expect(receipt.watches.map(watch => [watch.topic, watch.problem])).toEqual(
      ['app', 'credential', 'grant', 'identity', 'revoked_jwt', 'route', 'user', 'user_name'].map(topic => [
        topic,
        null,
      ]),
    );
  });

  test('listen, and hear its own fence, which is signed', async () => {
    await client.query('listen gatebell');
    const heard = new Promise<pg.Notification>(resolve => {
      client.on('notification', notification => {
        resolve(notification);
      });
    });
    const { bound, newest, serverId, key } = await daemon.askFence('always', NOBODY, true);
    const message = parseMessage((await heard).payload ?? '');
    const id = message.type === 'fence' ? message.id : -1;
    expect(id).toBeGreaterThanOrEqual(bound);
    const fence = { id, number: newest + 1, serverId };
    expect(message).toEqual({ type: 'fence', ...fence, signature: signFence(key, fence) });
    await client.query('unlisten *');
  });

  test('see that the schema is current', async () => {
    const status = await readMigrationStatus(client);
    expect(status.version).toBe(status.newest);
    requireCurrentSchema(status);
  });
});

describe('it cannot', () => {
  test.each([
    `insert into gatebell.grants (user_id, app_id) values (1, 1)`,
    `update gatebell.grants set role = 'admin'`,
    `update gatebell.grants set expires_at = null`,
    `delete from gatebell.grants`,
    `truncate gatebell.grants`,
    `insert into gatebell.users (name) values ('eve')`,
    `update gatebell.users set enabled = true`,
    `delete from gatebell.users`,
    `insert into gatebell.apps (name, host) values ('eve', 'eve.test')`,
    `update gatebell.apps set host = 'eve.test'`,
    `update gatebell.app_routes set access = 'public'`,
    `insert into gatebell.app_routes (app_id, path_prefix, access) values (1, '/eve', 'public')`,
    `insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'token', decode(repeat('00', 32), 'hex'))`,
    `update gatebell.credentials set revoked_at = null`,
    `update gatebell.credentials set expires_at = 'infinity'`,
    `update gatebell.credentials set token_hash = decode(repeat('00', 32), 'hex')`,
    `delete from gatebell.credentials`,
    `insert into gatebell.identities (issuer, subject, user_id) values ('i', 's', 1)`,
    `update gatebell.identities set user_id = 1`,
    `delete from gatebell.identities`,
    `select created_at from gatebell.identities`,
    `select * from gatebell.former_names`,
    `delete from gatebell.former_names`,
    `select gatebell.identify('i', 's', 'ada', now())`,
    `select gatebell.bind_identity('x', 'i', 's', 'ada', now())`,
    `insert into gatebell.revoked_jwts (jti) values ('x')`,
    `update gatebell.revoked_jwts set jti = 'x'`,
    `delete from gatebell.revoked_jwts`,
    `truncate gatebell.revoked_jwts`,
    `update gatebell.users set jwt_not_before = null`,
    `select revoked_at from gatebell.revoked_jwts`,
    `select expires_at from gatebell.revoked_jwts`,
    `select created_at from gatebell.users`,
    `select * from gatebell.users`,
    `select label from gatebell.credentials`,
    `select created_at from gatebell.credentials`,
    `select last_seen_at from gatebell.credentials`,
    `select id from gatebell.credentials`,
    `copy gatebell.credentials to stdout`,
    `alter table gatebell.grants disable trigger gatebell_grant_update`,
    `alter table gatebell.grants disable trigger all`,
    `drop trigger gatebell_grant_update on gatebell.grants`,
    `create trigger mine after insert on gatebell.grants execute function gatebell.signal_4()`,
    `set session_replication_role = replica`,
    `select gatebell.watch('gatebell.grants', 'mine', '{user_id}')`,
    `select gatebell.unwatch('gatebell.grants', 'grant')`,
    `select gatebell.set_channel('mine')`,
    `update gatebell.watches set function_md5 = ''`,
    `delete from gatebell.watches`,
    `update gatebell.fence_key set key = ''`,
    `delete from gatebell.fence_key`,
    `update gatebell.credentials set last_seen_at = now()`,
    `select gatebell.make_fence_key()`,
    `select gatebell.sign_in('', 'i', 's', 'ada', null, decode(repeat('00', 32), 'hex'), '1 hour', null, '{}')`,
    `select gatebell.sign_out('', '\\x${HASH}')`,
    `select gatebell.repair_privileges()`,
    `select setval('gatebell.fence_number', 1)`,
    `create table gatebell.mine (id integer)`,
    `create or replace function gatebell.channel() returns text language sql return 'mine'`,
    `create or replace view gatebell.watch_status as select 1`,
    `drop schema gatebell cascade`,
    `set role postgres`,
    `create role eve`,
    `alter table gatebell.users add column mine integer`,
  ])('%s', async statement => {
    await expect(client.query(statement)).rejects.toMatchObject({ code: '42501' });
  });

  test('migrate', async () => {
    await expect(migrate(client, 'down')).rejects.toThrow();
    requireCurrentSchema(await readMigrationStatus(database.client));
  });
});

test('a role that is nothing but a role can neither send fences nor learn how they are signed', async () => {
  await database.sql('create role gatebell_nobody; grant usage on schema gatebell to gatebell_nobody');
  await database.sql('set role gatebell_nobody');
  try {
    for (const statement of ['select gatebell.fence(null)', 'select gatebell.fence(-1)', 'table gatebell.fence_key']) {
      await expect(database.sql(statement), statement).rejects.toMatchObject({ code: '42501' });
    }
  } finally {
    await database.sql('reset role');
    await database.sql('drop owned by gatebell_nobody; drop role gatebell_nobody');
  }
});

describe('it cannot hold up a writer', () => {
  const LOCK_MODES = [
    'row share',
    'row exclusive',
    'share update exclusive',
    'share',
    'share row exclusive',
    'exclusive',
    'access exclusive',
  ];
  const ROW_LOCKS = ['key share', 'share', 'no key update', 'update'];

  /** All that can be locked, with the columns that the role may read. */
  const relations = (): Promise<pg.QueryResultRow[]> =>
    database.sql(`
      select c.oid::regclass::text as name, c.relkind::text as kind,
        (select string_agg(quote_ident(a.attname), ', ') from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           and has_column_privilege('gatebell_daemon', c.oid, a.attnum, 'select')) as columns
      from pg_class c
      where c.relnamespace = 'gatebell'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') order by 1`);

  test('by any lock of any table, of any strength above that of reading', async () => {
    const locked: string[] = [];
    const all = await relations();
    expect(all.length).toBeGreaterThan(8);
    for (const { name } of all) {
      for (const mode of LOCK_MODES) {
        await client.query('begin');
        await client.query(`lock table ${String(name)} in ${mode} mode`).then(
          () => locked.push(`${String(name)} in ${mode} mode`),
          (error: unknown) => {
            expect(error).toMatchObject({ code: '42501' });
          },
        );
        await client.query('rollback');
      }
    }
    expect(locked).toEqual([]);
  });

  test('by any lock of a row', async () => {
    const locked: string[] = [];
    const tables = (await relations()).filter(({ kind, columns }) => kind === 'r' && columns !== null);
    expect(tables.length).toBeGreaterThan(6);
    for (const { name, columns } of tables) {
      for (const lock of ROW_LOCKS) {
        await client
          .query(`select ${String(columns)} from ${String(name)} for ${lock}`)
          .then(() => locked.push(`${String(name)} for ${lock}`))
          .catch((error: unknown) => {
            expect(error).toMatchObject({ code: '42501' });
          });
      }
    }
    expect(locked).toEqual([]);
  });

  test('by doing all that it may and leaving its transaction open', async () => {
    await client.query('begin');
    try {
      await client.query('select * from gatebell.fence(null)');
      for (const { name, columns } of (await relations()).filter(({ columns }) => columns !== null)) {
        await client.query(`select ${String(columns)} from ${String(name)}`);
      }
      for (const { load, topic } of Object.values(factCaches(() => undefined))) {
        const key = KEYS[topic] ?? [];
        await client.query(
          load.text,
          key.map(part => [part]),
        );
      }
      const { rows } = await client.query(`
        select l.locktype, l.relation::regclass::text as relation, l.mode from pg_locks l
        where l.pid = pg_backend_pid() and l.mode <> 'AccessShareLock'
          and l.locktype not in ('virtualxid', 'transactionid')`);
      // What nextval() takes: only a change of the sequence itself waits for it.
      expect(rows).toEqual([{ locktype: 'relation', relation: 'gatebell.fence_number', mode: 'RowExclusiveLock' }]);

      const writer = await database.connect();
      await writer.query(`set lock_timeout = '20s'`);
      for (const statement of [
        `update gatebell.users set name = 'eva', enabled = false where id = 1`,
        `update gatebell.credentials set revoked_at = now(), token_hash = sha256('x')`,
        `update gatebell.grants set role = 'x'`,
        `update gatebell.apps set host = 'x.test'`,
        `insert into gatebell.revoked_jwts (jti) values ('ab-2')`,
        `select gatebell.sign_in((select server_id from gatebell.server), 'i', 's', 'ada', null, sha256('y'), '1 hour',
          null, '{}')`,
        `delete from gatebell.revoked_jwts`,
        `delete from gatebell.apps`,
        `delete from gatebell.users`,
        `select gatebell.fence(null)`,
      ]) {
        await writer.query('begin');
        await writer.query('set constraints all immediate');
        await writer.query(statement);
        await writer.query('rollback');
      }
    } finally {
      await client.query('rollback');
    }
  });

  test('by the locks that the writers of this schema take themselves: none of them is an advisory lock', async () => {
    const uses = await database.sql(`
      select p.oid::regprocedure::text as name from pg_proc p
      where p.pronamespace = 'gatebell'::regnamespace and p.prosrc ilike '%advisory%'`);
    expect(uses).toEqual([]);
  });
});

test('the migration grants what a replica runs by name, also where functions are not for everybody', async () => {
  const functions = await database.sql(`
    select p.oid::regprocedure::text as name
    from pg_proc p cross join aclexplode(p.proacl) as a
    where p.pronamespace = 'gatebell'::regnamespace and a.grantee = 'gatebell_daemon'::regrole order by 1`);
  expect(functions.map(row => row['name'] as unknown)).toEqual([
    'gatebell.channel()',
    'gatebell.constraint_problems()',
    'gatebell.fence(bigint)',
    'gatebell.open_writers(regclass,pg_snapshot)',
    'gatebell.privileges()',
    'gatebell.relation_tree(regclass)',
    'gatebell.schema_version()',
    'gatebell.types_fingerprint(regtype[])',
  ]);

  await database.sql(`
    do $$ declare f regprocedure; begin
      for f in select oid from pg_proc where pronamespace = 'gatebell'::regnamespace loop
        execute format('revoke execute on function %s from public', f);
      end loop;
    end $$`);
  await expect(client.query('select gatebell.is_label($1)', ['x'])).rejects.toMatchObject({ code: '42501' });
  expect((await daemon.askFence('always', NOBODY, true)).watches).toHaveLength(8);
  requireCurrentSchema(await readMigrationStatus(client));
});
