/** Role gatebell_daemon can do what a replica does, statement by statement, and nothing else. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signFence } from '../../src/coherence/fences.js';
import { parseMessage } from '../../src/coherence/signal.js';
import { migrate, readMigrationStatus, requireCurrentSchema } from '../../src/store/migrate.js';
import { createDatabase, type Database } from '../../src/store/pool.js';
import { factCaches } from '../../src/store/facts.js';
import { createSignalDatabase, type SignalDatabase } from '../support/signals.js';

const LOGIN = `replica_${randomBytes(6).toString('hex')}`;
const HASH = 'ab'.repeat(32);

/** As many keys of each subject as a replica may ask for. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  credential: [HASH],
  user: ['1'],
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
    insert into gatebell.app_routes (app_id, path_prefix, access) values (1, '/', 'granted');
    insert into gatebell.grants (user_id, app_id) values (1, 1);
    insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'token', '\\x${HASH}');
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
  test.each(Object.values(factCaches(() => undefined)))('load $subject', async ({ subject, load }) => {
    const { rows, inRecovery } = await daemon.source.read(subject, load.text, [KEYS[subject] ?? []], 'load');
    expect(rows.map(load.key)).toEqual([KEYS[subject]]);
    expect(inRecovery).toBe(false);
  });

  test('send fences, which say how the watched tables are', async () => {
    const receipt = await daemon.askFence(null, null);
    expect(receipt).toMatchObject({
      inRecovery: false,
      channel: 'gatebell',
      queueUsage: expect.any(Number) as unknown,
    });
    expect(receipt.watches.map(watch => [watch.subject, watch.problem])).toEqual(
      ['app', 'credential', 'grant', 'revoked_jwt', 'route', 'user', 'user_name'].map(subject => [subject, null]),
    );
  });

  test('listen, and hear its own fence, which is signed', async () => {
    await client.query('listen gatebell');
    const heard = new Promise<pg.Notification>(resolve => {
      client.on('notification', notification => {
        resolve(notification);
      });
    });
    const { newest, origin, key } = await daemon.askFence(null, null);
    const message = parseMessage((await heard).payload ?? '');
    expect(message).toEqual({
      type: 'fence',
      number: newest + 1,
      origin,
      signature: signFence(key, newest + 1, origin),
    });
    await client.query('unlisten *');
  });

  test('see that the schema is current', async () => {
    const status = await readMigrationStatus(client);
    expect(status.version).toBe(status.newest);
    requireCurrentSchema(status);
  });

  test('note when a credential was last seen, in silence', async () => {
    const statement = `update gatebell.credentials set last_seen_at = now() where token_hash = '\\x${HASH}'`;
    expect(await database.heard(statement, client)).toEqual({});
    const [row] = await database.sql('select last_seen_at is not null as seen from gatebell.credentials');
    expect(row).toEqual({ seen: true });
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
    `select * from gatebell.users for update`,
    `set session_replication_role = replica`,
    `select gatebell.watch('gatebell.grants', 'mine', '{user_id}')`,
    `select gatebell.unwatch('gatebell.grants', 'grant')`,
    `select gatebell.set_channel('mine')`,
    `update gatebell.watches set function_md5 = ''`,
    `delete from gatebell.watches`,
    `select key from gatebell.fence_key`,
    `select setval('gatebell.fence_number', 1)`,
    `create table gatebell.mine (id integer)`,
    `create or replace function gatebell.channel() returns text language sql return 'mine'`,
    `create or replace view gatebell.watched as select 1`,
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

test('the migration grants what a replica runs by name, also where functions are not for everybody', async () => {
  const functions = await database.sql(`
    select p.oid::regprocedure::text as name
    from pg_proc p cross join aclexplode(p.proacl) as a
    where p.pronamespace = 'gatebell'::regnamespace and a.grantee = 'gatebell_daemon'::regrole order by 1`);
  expect(functions.map(row => row['name'] as unknown)).toEqual([
    'gatebell.channel()',
    'gatebell.fence(bigint)',
    'gatebell.relation_tree(regclass)',
    'gatebell.schema_version()',
  ]);

  await database.sql(`
    do $$ declare f regprocedure; begin
      for f in select oid from pg_proc where pronamespace = 'gatebell'::regnamespace loop
        execute format('revoke execute on function %s from public', f);
      end loop;
    end $$`);
  await expect(client.query('select gatebell.is_label($1)', ['x'])).rejects.toMatchObject({ code: '42501' });
  expect((await daemon.askFence(null, null)).watches).toHaveLength(7);
  requireCurrentSchema(await readMigrationStatus(client));
});
