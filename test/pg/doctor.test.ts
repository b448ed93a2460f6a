/** What `gatebell doctor` finds, and that what it says to do does it. */
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../../src/dev/postgres.js';
import { ownWatches } from '../../src/postgres/migrate.js';
import { gatebell, type Outcome } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createSigningKey } from '../support/jwt-issuer.js';
import { startReplica } from '../support/replica.js';
import { runTool } from '../support/tool.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase();
});

afterEach(() => database.drop());

const doctor = (words: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Outcome> =>
  gatebell(['doctor', ...words], database.url, env);

/** The lines of what is not well. */
async function failures(words: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<string[]> {
  const { code, stdout, stderr } = await doctor(words, env);
  const lines = stdout.match(/^FAILED .*$/gm) ?? [];
  expect([code, stderr]).toEqual([lines.length === 0 ? 0 : 1, '']);
  return lines;
}

/** A role of the test's own; its rights go with the database. */
const roleOf = (prefix: string): string => `${prefix}_${new URL(database.url).pathname.slice(1)}`;

describe('privileges', () => {
  test('a right too many is named with the statement that takes it away', async () => {
    await database.sql('grant select on gatebell.credentials to public');
    const [line] = await failures();
    expect(line).toContain(
      '* public has SELECT on table gatebell.credentials: revoke SELECT ' +
        'on table gatebell.credentials from public cascade;',
    );
    expect((await gatebell(['repair'], database.url)).stdout).toBe(
      'repaired: revoke SELECT on table gatebell.credentials from public cascade\n',
    );
    expect(await failures()).toEqual([]);
  });

  test('a program that writes grants is named, until --allow-role accepts it; secrets never are', async () => {
    const role = roleOf('portal');
    await database.sql(`
      create role ${role};
      grant usage on schema gatebell to ${role};
      grant select, insert on gatebell.grants to ${role}`);
    try {
      expect(await failures()).toEqual([expect.stringContaining(`--allow-role NAME`)]);
      // Neither a migration nor a repair takes from others what they were given.
      expect((await gatebell(['migrate', 'up'], database.url)).stdout).toBe('up to date\n');
      expect(await failures(['--allow-role', 'another'])).toHaveLength(1);
      expect(await failures(['--allow-role', role])).toEqual([]);
      await database.sql(`grant select on gatebell.fence_key to ${role}`);
      expect(await failures(['--allow-role', role])).toHaveLength(1);
    } finally {
      await database.sql(`drop owned by ${role}; drop role ${role}`);
    }
  });
});

describe('rows that deny their app', () => {
  /** Each is refused by a constraint, or by the command, as long as those are there. */
  test.each([
    {
      title: 'a header template that the schema once named as an example',
      sql: `update gatebell.apps set headers = '{"X-Forwarded-User": "{{user.name}}"}' where id = 1`,
      says: 'gatebell.apps of app "wiki" (host wiki.test): header name "X-Forwarded-User" is not allowed',
      reason: 'disabled_app',
    },
    {
      title: 'a header template that names what is not there',
      sql: `update gatebell.apps set headers = '{"X-A": "{{user.nmae}}"}' where id = 1`,
      says: '(host wiki.test): the template of header X-A names "user.nmae"',
      reason: 'disabled_app',
    },
    {
      title: 'a header template of a route, which denies all paths of the app',
      sql: `update gatebell.app_routes set headers = '{"X-A": 1}' where path_prefix = '/admin'`,
      says: 'gatebell.app_routes of app "wiki" (app_id 1): the template of header X-A must be printable ASCII text',
      reason: 'disabled_app',
    },
    {
      title: 'too many headers',
      sql: `update gatebell.apps set headers = (select jsonb_object_agg('X-' || i, 'x') from generate_series(1, 33) i)
        where id = 1`,
      says: '33 headers are too many: at most 32',
      reason: 'disabled_app',
    },
    {
      title: 'a host that no request has',
      sql: `alter table gatebell.apps drop constraint apps_host_canonical; update gatebell.apps set host = 'Wiki.test'
        where id = 1`,
      says: 'gatebell.apps of app "wiki" (host Wiki.test): no request has this host',
      reason: 'unknown_app',
    },
    {
      title: 'a wildcard that holds nothing',
      sql: `alter table gatebell.apps drop constraint apps_host_canonical;
        update gatebell.apps set host = '*.Wiki.test.' where id = 1`,
      says: '(host *.Wiki.test.): no request has this host',
      reason: 'unknown_app',
    },
  ])('$title', async ({ sql, says, reason }) => {
    await database.sql(`
      insert into gatebell.apps (id, name, host) values (1, 'wiki', 'wiki.test'), (2, 'notes', '*.notes.test');
      insert into gatebell.app_routes (app_id, path_prefix, access) values (1, '/', 'public'), (1, '/admin', 'grant'),
        (2, '/', 'public')`);
    expect(await failures()).toEqual([]);
    await database.sql(sql);

    const [line, ...others] = await failures();
    expect(line).toContain('FAILED  rows can be used: ');
    expect(line).toContain(says);
    expect(others.filter(other => !other.startsWith('FAILED  constraints: apps_host_canonical'))).toEqual([]);

    // The gate itself sees it the same way, and the other app is well.
    const replica = await startReplica(database.url);
    try {
      expect((await replica.ask({ host: 'wiki.test' })).reason).toBe(reason);
      expect((await replica.ask({ host: 'a.notes.test' })).reason).toBe('public');
    } finally {
      await replica.stop();
    }
  });

  test.each(['com', 'co.uk', 'github.io'])('a wildcard that holds everybody below %s', async suffix => {
    await database.sql(`insert into gatebell.apps (name, host) values ('lan', '*.lan'), ('wide', '*.${suffix}')`);
    expect(await failures()).toEqual([
      `FAILED  rows can be used: gatebell.apps of app "wide" (host *.${suffix}): everybody can have a name under ` +
        `${suffix}, which is a public suffix`,
    ]);
  });

  test('rules that no request falls under, or that make requests ambiguous', async () => {
    await database.sql(`
      insert into gatebell.apps (id, name, host) values (1, 'wiki', 'wiki.test');
      do $$ declare c record; begin
        for c in select conname from pg_constraint where conrelid = 'gatebell.app_routes'::regclass
          and contype = 'c' loop
          execute format('alter table gatebell.app_routes drop constraint %I', c.conname);
        end loop;
      end $$;
      insert into gatebell.app_routes (app_id, path_prefix, access) values
        (1, '/a/../b', 'grant'), (1, '/c%20d', 'grant'), (1, 'e', 'grant'), (1, '/f', 'open')`);
    const [line] = await failures();
    for (const prefix of ['/a/../b', 'e']) {
      expect(line).toContain(`(path_prefix ${prefix}): `);
    }
    expect(line).toContain('(path_prefix /f): access "open" is not known');
    expect(line).not.toContain('path_prefix /x');
  });

  test('thousands of apps are looked at, and of very many that are bad the first are named', async () => {
    await database.sql(`
      insert into gatebell.apps (name, host, headers)
      select 'app ' || i, 'app-' || i || '.test', case when i > 1100 then '{"Host": "x"}'::jsonb else '{}' end
        from generate_series(1, 1200) i`);
    const [line] = await failures();
    expect(line).toContain('"app 1101"');
    expect(line).toContain('and 80 more');
    await database.sql(`update gatebell.apps set headers = '{}'`);
    expect((await doctor()).stdout).toContain('rows can be used: 1200 apps with their routes');
  });
});

describe('constraints', () => {
  test('each that is dropped is named, with the statement that puts it in place again', async () => {
    // Primary keys go with the foreign keys that need them.
    const dropped = (await database.sql(`
      select format('alter table %s drop constraint if exists %I cascade', conrelid::regclass, conname) as statement,
        conname::text as name
      from pg_constraint where connamespace = 'gatebell'::regnamespace and contype in ('c', 'f', 'u', 'p')
      union all select format('drop index gatebell.%I', n), n
        from unnest('{app_routes_path_prefix_any_case,fence_key_one}'::text[]) n
      union all select format('alter table %s alter column %I drop not null', a.attrelid::regclass, a.attname),
        a.attname
      from pg_attribute a join pg_class c on c.oid = a.attrelid
      where c.relnamespace = 'gatebell'::regnamespace and c.relkind = 'r' and a.attnum > 0 and a.attnotnull
        and a.attidentity = ''
        and not exists (select from pg_constraint p where p.conrelid = c.oid and p.contype = 'p'
          and a.attnum = any (p.conkey))`)) as {
      statement: string;
      name: string;
    }[];
    expect(dropped.length).toBeGreaterThan(60);
    const problems = (): Promise<{ problem: string; remedy: string }[]> =>
      database.sql('select problem, remedy from gatebell.constraint_problems()') as Promise<never>;
    for (const { statement, name } of dropped) {
      await database.sql(`begin; ${statement}`);
      const found = await problems();
      expect(found.map(({ problem }) => problem).join('\n'), statement).toContain(`${name} on gatebell.`);
      // What depends on another comes after it: foreign keys after keys.
      for (const { remedy } of found.toSorted(
        (a, b) => Number(a.remedy.includes('FOREIGN')) - Number(b.remedy.includes('FOREIGN')),
      )) {
        await database.sql(remedy);
      }
      expect(await problems(), statement).toEqual([]);
      await database.sql('rollback');
    }
  });

  test.each([
    [
      'not validated',
      `alter table gatebell.grants drop constraint grants_role_form, add constraint grants_role_form
        check (gatebell.is_label(role)) not valid`,
      /grants_role_form on gatebell\.grants is not .*: CHECK \(gatebell\.is_label\(role\)\) NOT VALID: alter table/,
    ],
    [
      'another condition under the same name',
      'alter table gatebell.apps drop constraint apps_host_canonical, add constraint apps_host_canonical check (true)',
      /apps_host_canonical on gatebell\.apps is not .*: CHECK \(true\): alter table/,
    ],
    [
      'a foreign key that deletes nothing',
      `alter table gatebell.credentials drop constraint credentials_user_id_fkey, add
        constraint credentials_user_id_fkey foreign key (user_id) references gatebell.users`,
      /credentials_user_id_fkey on gatebell\.credentials is not/,
    ],
    [
      'a foreign key whose triggers are disabled',
      'alter table gatebell.identities disable trigger all; alter table gatebell.identities enable trigger user',
      /identities_user_id_fkey on gatebell\.identities is not .* DISABLED/,
    ],
    [
      'a function that constraints call',
      'create or replace function gatebell.is_label(label text) returns boolean language sql immutable return true',
      /function gatebell\.is_label, which constraints call, is not as the migrations make it/,
    ],
  ])('%s', async (_, fault, says) => {
    await database.sql(fault);
    expect((await failures()).filter(line => line.startsWith('FAILED  constraints: '))).toEqual([
      expect.stringMatching(says),
    ]);
  });

  // As a restore does it, which writes them from what Postgres prints.
  test('functions and constraints that are made again as Postgres prints them are the same', async () => {
    await database.sql(`
      do $$ declare f record; begin
        set quote_all_identifiers = on;
        for f in select oid from pg_proc where pronamespace = 'gatebell'::regnamespace and proname ~ '^(is|are)_' loop
          execute pg_get_functiondef(f.oid);
        end loop;
        for f in select conrelid::regclass as t, conname as n, pg_get_constraintdef(oid) as d from pg_constraint
          where connamespace = 'gatebell'::regnamespace and contype = 'c' loop
          execute format('alter table %s drop constraint %I, add constraint %I %s', f.t, f.n, f.n, f.d);
        end loop;
      end $$`);
    expect(await failures()).toEqual([]);
  });

  test('one more of your own is yours', async () => {
    await database.sql(`alter table gatebell.users add constraint mine check (name <> 'root')`);
    expect(await failures()).toEqual([]);
  });
});

describe('what is watched', () => {
  const CREATE = `
    create schema shop;
    create table shop."the orders" (id integer primary key, customer text, "a ""b" text);
    select gatebell.watch('shop."the orders"', 'orders', '{customer,id}', '{"a \\"b"}')`;

  /** Statements in what doctor says. */
  const remedies = (line: string | undefined): string[] => line?.match(/select gatebell\.\w+\(.*?\);/g) ?? [];

  test.each([
    ['a disabled trigger', 'alter table shop."the orders" disable trigger gatebell_orders_insert'],
    ['a dropped trigger', 'drop trigger gatebell_orders_update on shop."the orders"'],
    ['a table with another name', 'alter table shop."the orders" rename to "y"'],
    ['rows of gatebell.watches that are lost', 'delete from gatebell.watches'],
    [
      'own tables that are not watched',
      `select gatebell.unwatch('gatebell.users', 'user'); select gatebell.unwatch('gatebell.grants', 'grant')`,
    ],
    [
      'functions that are gone',
      `do $$ declare f record; begin
       for f in select oid::regprocedure as f from pg_proc where proname like 'signal\\_%' loop
         execute format('drop function %s cascade', f.f); end loop; end $$`,
    ],
    ['a table that was dropped', 'drop table shop."the orders" cascade'],
    ['a column of the key that was dropped', 'alter table shop."the orders" drop column customer'],
    ['a watched column that was dropped', 'alter table shop."the orders" drop column "a ""b"'],
  ])('%s: the statements that doctor prints put it right, as they stand', async (_, fault) => {
    await database.sql(CREATE);
    const before = await database.sql(
      'select topic, key_columns, watched_columns from gatebell.watch_status order by topic',
    );
    await database.sql(fault);
    const [line, ...others] = await failures();
    expect(others).toEqual([]);
    expect(line).toContain('triggers present, enabled and current');
    for (const statement of remedies(line)) {
      await database.sql(statement);
    }
    expect(await failures()).toEqual([]);
    if (!fault.includes('drop column') && !fault.includes('drop table')) {
      expect(
        await database.sql('select topic, key_columns, watched_columns from gatebell.watch_status order by topic'),
      ).toEqual(before);
    }
  });

  test('repair does the same, but leaves to people what they must decide, and says so', async () => {
    await database.sql(CREATE);
    await database.sql('delete from gatebell.watches');
    expect((await gatebell(['repair'], database.url)).stdout.match(/select gatebell\.watch\(/g)).toHaveLength(
      (await ownWatches()).length + 1,
    );
    expect(await failures()).toEqual([]);

    await database.sql('alter table shop."the orders" drop column "a ""b"');
    const { code, stdout, stderr } = await gatebell(['repair'], database.url);
    expect(stdout).toBe('nothing to repair\n');
    expect(stderr).toContain('warning: gatebell: not repaired: select gatebell.watch(');
    expect(code).toBe(0);
  });

  test('a fence key that is lost is created again', async () => {
    await database.sql('delete from gatebell.fence_key');
    expect(await failures()).toContainEqual(expect.stringContaining('fence key: it is missing'));
    expect((await gatebell(['repair'], database.url)).stdout).toBe('repaired: made a new key for fences\n');
    expect(await failures()).toEqual([]);
  });
});

describe('the OpenID provider', () => {
  let servers: { close(): void }[] = [];
  let scratch: string;

  beforeEach(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-doctor-'));
  });

  afterEach(async () => {
    servers.forEach(server => {
      server.close();
    });
    servers = [];
    await rm(scratch, { recursive: true, force: true });
  });

  const KEYS = { keys: [createSigningKey('RS256').jwk] };

  interface Answers {
    readonly metadata?: Readonly<Record<string, unknown>>;
    readonly keys?: unknown;
    readonly date?: string;
  }

  /** A provider that tells of itself, and no more. */
  const providerAt =
    (issuer: () => string, { metadata = {}, keys = KEYS, date }: Answers): RequestListener =>
    (request, response) => {
      if (date !== undefined) {
        response.setHeader('date', date);
      }
      response.setHeader('content-type', 'application/json');
      const known = {
        issuer: issuer(),
        authorization_endpoint: `${issuer()}/authorize`,
        token_endpoint: `${issuer()}/token`,
        jwks_uri: `${issuer()}/keys`,
        ...metadata,
      };
      response.end(JSON.stringify(request.url === '/keys' ? keys : known));
    };

  async function start(answers: Answers = {}): Promise<string> {
    const server = createHttpServer((request, response) => {
      providerAt(() => issuer, answers)(request, response);
    });
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return issuer;
  }

  const envOf = (issuer: string): NodeJS.ProcessEnv => ({
    GATEBELL_OIDC_ISSUER: issuer,
    GATEBELL_OIDC_CLIENT_ID: 'gate',
    GATEBELL_OIDC_CLIENT_SECRET: 'not-really-a-secret',
  });

  test('is well', async () => {
    const { stdout, code } = await doctor([], envOf(await start()));
    // The provider tells whole seconds.
    expect(stdout).toMatch(/^ok {6}OpenID provider: http:\/\/127.*, 1 public keys, its clock differs by [01] s$/m);
    expect(code).toBe(0);
  });

  test.each<[string, Answers, RegExp]>([
    ['another issuer', { metadata: { issuer: 'https://other.test' } }, /issuer/],
    ['no token endpoint', { metadata: { token_endpoint: undefined } }, /names no token_endpoint/],
    ['no key set', { metadata: { jwks_uri: undefined } }, /names no jwks_uri/],
    ['keys without TLS', { metadata: { jwks_uri: 'http://keys.example.test/' } }, /names an address without TLS/],
    ['an empty key set', { keys: { keys: [] } }, /no public key/],
    ['no code flow', { metadata: { response_types_supported: ['id_token'] } }, /does not offer the code flow/],
    ['no PKCE', { metadata: { code_challenge_methods_supported: ['plain'] } }, /does not offer PKCE/],
    ['a clock that is wrong', { date: 'Tue, 01 Jan 2019 00:00:00 GMT' }, /its clock is \d+ s behind this machine's/],
  ])('%s is found', async (_, answers, says) => {
    const [line, ...others] = await failures([], envOf(await start(answers)));
    expect(line).toMatch(/^FAILED {2}OpenID provider: .*Until that is mended nobody can sign in$/);
    expect(line).toMatch(says);
    expect(others).toEqual([]);
  });

  test('that cannot be reached is found; a proxy that is set and not used is named', async () => {
    const env = envOf(`http://127.0.0.1:${await freePort()}`);
    expect(await failures([], env)).toEqual([expect.stringMatching(/OpenID provider: .*ECONNREFUSED/)]);
    expect(await failures([], { ...env, HTTPS_PROXY: 'http://127.0.0.1:1' })).toEqual([
      expect.stringContaining('HTTPS_PROXY is set, and is not used'),
    ]);
  });

  // What docs/credentials.md says of private authorities.
  test('with a certificate of a private authority: NODE_EXTRA_CA_CERTS is named, and helps', async () => {
    const [key, certificate] = [path.join(scratch, 'key.pem'), path.join(scratch, 'ca.pem')];
    await runTool('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=localhost'],
      ...['-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate],
    ]);
    const server = createServer(
      { key: await readFile(key), cert: await readFile(certificate) },
      (request, response) => {
        providerAt(() => issuer, {})(request, response);
      },
    );
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const issuer = `https://localhost:${(server.address() as AddressInfo).port}`;

    const env = {
      ...envOf(issuer),
      GATEBELL_JWT_ISSUER: issuer,
      GATEBELL_JWT_AUDIENCE: 'gate',
      GATEBELL_JWT_ALGORITHMS: 'RS256',
      GATEBELL_JWT_JWKS_URL: `${issuer}/keys`,
    };
    const lines = await failures([], env);
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      expect(line).toContain('name that one’s file in NODE_EXTRA_CA_CERTS');
    }
    expect(await failures([], { ...env, NODE_EXTRA_CA_CERTS: certificate })).toEqual([]);
  });
});
