/**
 * Dumps and restores, as docs/backup-and-restore.md tells them, with the commands that stand there. The dumps are made
 * by PostgreSQL 15 (its pg_dump cannot read a newer server), and restored into the server of the suite, 15 or 18.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createPostgresServer, type PostgresServer } from '../../src/dev/postgres.js';
import { migrate, repair } from '../../src/postgres/migrate.js';
import { run, type Outcome } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { POSTGRES_15 } from '../support/global-postgres-15.js';
import { CLI, startReplica } from '../support/replica.js';

const page = readFileSync(fileURLToPath(new URL('../../docs/backup-and-restore.md', import.meta.url)), 'utf8');

/** The commands under a heading of the page. */
function commands(heading: string, index = 0): string {
  const section = page.split(/^## /m).find(text => text.startsWith(`${heading}\n`)) ?? '';
  const block = [...section.matchAll(/^```sh\n([^]*?)^```/gm)][index]?.[1];
  if (block === undefined) {
    throw new Error(`there are no commands under "${heading}"`);
  }
  return block;
}

const FACTS = `
  create schema shop;
  create table shop.prices (sku text primary key, cents integer);
  insert into shop.prices values ('a', 1);
  insert into gatebell.users (name, groups) values ('ada', '{staff}'), ('eva', '{}');
  insert into gatebell.apps (name, host) values ('wiki', 'wiki.test');
  insert into gatebell.app_routes (app_id, path_prefix, access) values (1, '/open', 'public');
  insert into gatebell.grants (user_id, app_id) values (1, 1);
  insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'session', sha256('x'));
  insert into gatebell.revoked_jwts (jti) values ('j');
  delete from gatebell.users where id = 2;
  select gatebell.watch('shop.prices', 'price', '{sku}', '{cents}')`;

/** All rights on the schema, as Postgres keeps them. */
const RIGHTS = `
  select o.what, coalesce(r.rolname, 'public') as grantee, a.privilege_type as privilege, a.is_grantable
  from (
    select 'schema' as what, nspacl as acl, nspowner as owner from pg_namespace where nspname = 'gatebell'
    union all select relname, relacl, relowner from pg_class where relnamespace = 'gatebell'::regnamespace
      and relkind in ('r', 'v', 'S')
    union all select c.relname || '.' || attname, attacl, relowner
      from pg_attribute join pg_class c on c.oid = attrelid where relnamespace = 'gatebell'::regnamespace and attnum > 0
    union all select proname, coalesce(proacl, acldefault('f', proowner)), proowner
      from pg_proc where pronamespace = 'gatebell'::regnamespace and proname not like 'signal\\_%'
  ) as o cross join lateral aclexplode(o.acl) a left join pg_roles r on r.oid = a.grantee
  where a.grantee <> o.owner order by 1, 2, 3`;

const WATCHED =
  'select target::text, topic, key_columns, watched_columns, problem from gatebell.watch_status order by 1, 2';

let source: PostgresServer;
let rights: pg.QueryResultRow[];
let watched: pg.QueryResultRow[];
let target: TestDatabase;
let scratch: string;

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  source = await createPostgresServer({ binDirectory: POSTGRES_15, settings: { fsync: 'off' } });
  await withClient(source.url('postgres'), client => client.query('create database origin'));
  await withClient(source.url('origin'), async client => {
    await migrate(client, 'up');
    await client.query(FACTS);
    rights = (await client.query(RIGHTS)).rows;
    watched = (await client.query(WATCHED)).rows;
  });
});

afterAll(() => source.remove());

beforeEach(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-restore-'));
  target = await createTestDatabase({ migrated: false });
});

afterEach(async () => {
  await target.drop();
  await rm(scratch, { recursive: true, force: true });
});

/** Runs commands of the page in a shell, with PostgreSQL 15's programs. */
async function inShell(script: string, { from = source.url('origin'), to = target.url } = {}): Promise<Outcome> {
  const outcome = await run('sh', [
    '-ec',
    `cd '${scratch}'; PATH='${POSTGRES_15}':"$PATH"; export DATABASE_URL='${from}' NEW_DATABASE_URL='${to}'
     gatebell() { '${process.execPath}' '${CLI}' "$@"; }
     ${script}`,
  ]);
  expect(outcome.stderr).toBe('');
  expect(outcome.code).toBe(0);
  return outcome;
}

/** A restored database is as the one that was dumped. */
async function expectRestored({ facts }: { readonly facts: boolean }): Promise<void> {
  expect(await target.sql(RIGHTS)).toEqual(rights);
  expect(await target.sql('select problem from gatebell.privilege_problems')).toEqual([]);
  expect(await target.sql('select from gatebell.fence_key')).toHaveLength(1);
  const counts = await target.sql(`
    select (select count(*) from gatebell.users)::integer as users,
      (select count(*) from gatebell.grants)::integer as grants,
      (select count(*) from gatebell.credentials)::integer as credentials,
        (select count(*) from gatebell.former_names)::integer as former`);
  expect(counts).toEqual([
    facts ? { users: 1, grants: 1, credentials: 1, former: 1 } : { users: 0, grants: 0, credentials: 0, former: 0 },
  ]);
  // Whatever the numbers are, the next row gets a free one.
  await target.sql(`insert into gatebell.users (name) values ('next')`);
}

/** Tables signal their changes, the own and the watched ones. */
async function expectSignals(statements: Readonly<Record<string, string>>): Promise<void> {
  const listener = await target.connect();
  await listener.query('listen gatebell');
  const payloads: string[] = [];
  listener.on('notification', ({ payload }) => payloads.push(payload ?? ''));
  for (const statement of Object.values(statements)) {
    await target.sql(statement);
  }
  await listener.query('select 1');
  for (const topic of Object.keys(statements)) {
    expect(payloads.join('\n')).toContain(`"s":"${topic}"`);
  }
}

test('with owners and privileges: all is there, and there is nothing to repair', async () => {
  await inShell(`${commands('Back up')}
    pg_restore --exit-on-error --dbname="$NEW_DATABASE_URL" gatebell.dump`);
  expect(await repair(target.client)).toEqual([]);
  await expectRestored({ facts: true });
  expect(await target.sql(WATCHED)).toEqual(watched);
  await expectSignals({ grant: 'delete from gatebell.grants', price: 'update shop.prices set cents = 2' });
});

describe('without owners and privileges', () => {
  const RESTORE = `${commands('Back up')}
    pg_restore --exit-on-error --no-owner --no-privileges --dbname="$NEW_DATABASE_URL" gatebell.dump`;

  test('a stranger with blanket rights on tables can call nothing that matters; doctor names every right', async () => {
    await inShell(RESTORE);
    const stranger = `reader_${randomBytes(6).toString('hex')}`;
    await target.sql(`create role ${stranger} login password 'x'`);
    try {
      await target.sql(
        `grant usage on schema gatebell to ${stranger}; grant select on all tables in schema gatebell to ${stranger}`,
      );
      const url = new URL(target.url);
      [url.username, url.password] = [stranger, 'x'];
      const functions = await target.sql(`
        select p.proname::text as name,
          array(select format('null::%s', format_type(t, null)) from unnest(p.proargtypes) t) as arguments
        from pg_proc p where p.pronamespace = 'gatebell'::regnamespace and p.prorettype <> 'trigger'::regtype
          and (p.prosecdef
            or p.proname in ('fence', 'watch', 'unwatch', 'set_channel', 'make_fence_key', 'repair_privileges'))
              order by 1`);
      expect(functions.length).toBeGreaterThan(6);
      await withClient(url.href, async client => {
        for (const { name, arguments: values } of functions as { name: string; arguments: string[] }[]) {
          const given = {
            watch: [`'gatebell.users'`, `'x'`, `'{id}'`],
            unwatch: [`'gatebell.users'`, `'user'`],
            set_channel: [`'mine'`],
          }[name];
          const call = client.query(`select gatebell.${name}(${(given ?? values).join(', ')})`);
          await (name === 'repair_privileges' ? call : expect(call, name).rejects.toMatchObject({ code: '42501' }));
        }
      });
      // What it may do by itself is nothing.
      const [before] = await target.sql('select count(*)::integer as problems from gatebell.privilege_problems');
      expect(before?.['problems']).toBeGreaterThan(50);
      expect(await repair(target.client)).not.toEqual([]);
      const left = await target.sql('select distinct role, privilege from gatebell.privilege_problems order by 2');
      expect(left).toEqual([
        { role: stranger, privilege: 'SELECT' },
        { role: stranger, privilege: 'USAGE' },
      ]);
      const doctor = await run(process.execPath, [CLI, 'doctor'], { DATABASE_URL: target.url });
      expect(doctor.stdout).toContain(
        `${stranger} has SELECT on table gatebell.credentials: revoke ` +
          `SELECT on table gatebell.credentials from ${stranger}`,
      );
      expect(doctor.code).toBe(1);
    } finally {
      await target.sql(`drop owned by ${stranger}; drop role ${stranger}`);
    }
  });

  test('the commands of the page put everything in place', async () => {
    const { stdout } = await inShell(`${commands('Back up')}${commands('Restore into a new database')}`);
    expect(stdout).toContain('repaired: grant USAGE on schema gatebell to gatebell_daemon');
    expect(stdout).toContain('All is well.');
    await expectRestored({ facts: true });
    expect(await target.sql(WATCHED)).toEqual(watched);
    await expectSignals({ grant: 'delete from gatebell.grants', price: 'update shop.prices set cents = 2' });
  });

  test('works where the owner is no superuser, and the roles are there', async () => {
    const owner = `owner_${randomBytes(6).toString('hex')}`;
    await target.sql(`create role ${owner} login password 'x'`);
    try {
      const name = new URL(target.url).pathname.slice(1);
      await target.sql(`alter database ${name} owner to ${owner}`);
      const url = new URL(target.url);
      [url.username, url.password] = [owner, 'x'];
      const { stdout } = await inShell(`${commands('Back up')}${commands('Restore into a new database')}`, {
        to: url.href,
      });
      expect(stdout).toContain('All is well.');
      await expectRestored({ facts: true });
    } finally {
      await target.sql(`reassign owned by ${owner} to postgres; drop owned by ${owner}; drop role ${owner}`);
    }
  });
});

test('the schema alone: the key is new, and what was watched is watched again, own tables and others', async () => {
  const { stdout } = await inShell(commands('The schema alone'));
  expect(stdout).toContain('repaired: made a new key for fences');
  expect(stdout).toContain(`repaired: select gatebell.watch('shop.prices', 'price', '{sku}', '{cents}');`);
  expect(stdout).toContain('All is well.');
  expect(await target.sql(WATCHED)).toEqual(watched);
  await expectRestored({ facts: false });
  await expectSignals({
    user: `update gatebell.users set name = 'x'`,
    price: `insert into shop.prices values ('b', 1)`,
  });
});

test('the schema alone: what doctor prints works as it stands', async () => {
  await inShell(`pg_dump --schema-only --format=custom --file=schema.dump "$DATABASE_URL"
    pg_restore --exit-on-error --dbname="$NEW_DATABASE_URL" schema.dump`);
  const doctor = (): Promise<Outcome> => run(process.execPath, [CLI, 'doctor'], { DATABASE_URL: target.url });
  const { stdout } = await doctor();
  expect(stdout).toContain('FAILED  fence key');
  expect(stdout).toContain('price: shop.prices is not watched any more, its triggers are left over');
  for (const statement of stdout.match(/select gatebell\.watch\(.*?\);/g) ?? []) {
    await target.sql(statement);
  }
  await target.sql('select gatebell.make_fence_key()');
  expect((await doctor()).stdout).toContain('All is well.');
  expect(await target.sql(WATCHED)).toEqual(watched);
});

test('the facts alone, into a database that was just migrated', async () => {
  const { stdout } = await inShell(commands('The facts alone'));
  expect(stdout).toContain('All is well.');
  await expectRestored({ facts: true });
  await expectSignals({ grant: 'delete from gatebell.grants' });
});

test('schema gatebell alone, in place: watched tables outside of it get their triggers again', async () => {
  await inShell(`${commands('Back up')}
    pg_restore --exit-on-error --dbname="$NEW_DATABASE_URL" gatebell.dump
    pg_dump --schema=gatebell --format=custom --file=own.dump "$DATABASE_URL"
    export DATABASE_URL=$NEW_DATABASE_URL
    psql -qc 'SET client_min_messages = warning' -c 'DROP SCHEMA gatebell CASCADE' "$DATABASE_URL"
    pg_restore --exit-on-error --single-transaction --dbname="$DATABASE_URL" own.dump
    gatebell migrate up
    gatebell doctor`);
  await expectRestored({ facts: true });
  expect(await target.sql(WATCHED)).toEqual(watched);
  await expectSignals({ grant: 'delete from gatebell.grants', price: 'update shop.prices set cents = 2' });
});

test('in place, while a replica runs: it follows', async () => {
  await inShell(`${commands('Back up')}
    pg_restore --exit-on-error --dbname="$NEW_DATABASE_URL" gatebell.dump`);
  const replica = await startReplica(target.url);
  try {
    const ask = { host: 'wiki.test', uri: '/open' };
    expect((await replica.ask(ask)).reason).toBe('public');
    await target.sql('delete from gatebell.app_routes');
    await replica.askUntil('no_credential', ask);

    await inShell(`${commands('Restore in place')}${commands('Restore in place', 1)}`, { from: target.url });
    await replica.askUntil('public', ask);
    await target.sql('delete from gatebell.apps');
    await replica.askUntil('unknown_app', ask);
    expect(await target.sql('select from gatebell.credentials where revoked_at is null')).toEqual([]);
  } finally {
    await replica.stop();
  }
});

test('the queries of "Rights"', async () => {
  await migrate(target.client, 'up');
  const { stdout } = await inShell(commands('Rights'), { from: target.url });
  expect(stdout).toContain('gatebell_daemon');
  expect(stdout).toMatch(/SELECT 0\n$/);
});
