/** The deployment files, put before the programs that read them. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/postgres/migrate.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { runTool, type Tool } from '../support/tool.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

let scratch: string;

beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-deploy-'));
});

afterAll(() => rm(scratch, { recursive: true, force: true }));

/** Runs a tool at the root of the project. */
const run = (tool: Tool, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> =>
  runTool(tool, args, { cwd: root, env });

describe('docker-compose', () => {
  test('accepts docker-compose.yml, with and without passwords set', async () => {
    await run('docker-compose', ['config', '-q']);
    const passwords = {
      OWNER_PASSWORD: 'owner-secret',
      REPLICA_PASSWORD: 'replica-secret',
      POSTGRES_PASSWORD: 'secret',
    };
    const config = await run('docker-compose', ['--profile', 'sample', 'config'], passwords);
    expect(config).toContain('postgres://gatebell_owner:owner-secret@postgres:5432/gatebell');
    expect(config).toContain('postgres://gatebell_replica:replica-secret@postgres:5432/gatebell');
    expect(config).not.toContain('-demo');
  });
});

describe('promtool', () => {
  test('accepts the configuration with its rules', async () => {
    const output = await run('promtool', ['check', 'config', 'deploy/prometheus/prometheus.yml']);
    expect(output).toContain('1 rule files found');
    await run('promtool', ['check', 'rules', 'deploy/prometheus/alerts.yml']);
  });

  test('sees each alert fire in trouble, and none in health', async () => {
    await run('promtool', ['test', 'rules', 'deploy/prometheus/alerts.test.yml']);
  });
});

describe('nginx', () => {
  test('accepts the files as they are, included in an http block', async () => {
    await cp(path.join(root, 'deploy/nginx'), path.join(scratch, 'gatebell'), { recursive: true });
    const directories = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map(name => `${name}_temp_path ${scratch}/${name};`)
      .join(' ');
    const conf = path.join(scratch, 'nginx.conf');
    await writeFile(
      conf,
      `pid ${scratch}/pid; error_log stderr; events {}\nhttp { access_log off; ${directories} include ` +
        'gatebell/gatebell.conf; }\n',
    );
    const output = await run('nginx', ['-t', '-p', scratch, '-c', conf]);
    expect(output).toContain('test is successful');
    expect(output).not.toMatch(/\[(warn|error|emerg)\]/);
  });
});

describe('caddy', () => {
  const home = (): NodeJS.ProcessEnv => ({ HOME: scratch, XDG_DATA_HOME: scratch, XDG_CONFIG_HOME: scratch });
  const args = ['--adapter', 'caddyfile', '--config', 'deploy/caddy/Caddyfile'];

  test('accepts the Caddyfile', async () => {
    const output = await run('caddy', ['validate', ...args], home());
    expect(output).toContain('Valid configuration');
    expect(output).not.toContain('"level":"warn"');
  });

  test('takes addresses from the environment', async () => {
    const env = { SITE: 'http://:18081', GATE_UPSTREAMS: 'a:1 b:2', APP_UPSTREAM: 'c:3' };
    const config = await run('caddy', ['adapt', ...args], { ...home(), ...env });
    for (const address of [':18081', 'a:1', 'b:2', 'c:3']) {
      expect(config).toContain(`"${address}"`);
    }
    expect(config).not.toContain('127.0.0.1');
  });
});

describe('haproxy', () => {
  test('accepts the configuration with its Lua, without a warning', async () => {
    const env = { GATEBELL_LUA: path.join(root, 'deploy/haproxy/gatebell.lua') };
    const output = await run('haproxy', ['-c', '-f', 'deploy/haproxy/haproxy.cfg'], env);
    expect(output).toContain('Configuration file is valid');
    expect(output).not.toMatch(/WARNING|ALERT/);
  });
});

describe('the roles of the compose file', () => {
  let database: TestDatabase;
  const roles = ['gatebell_owner', 'gatebell_replica'] as const;
  const urlFor = (role: (typeof roles)[number]): string => {
    const url = new URL(database.url);
    url.username = role;
    url.password = `${role}-secret`;
    return url.href;
  };
  const connectAs = async (role: (typeof roles)[number]): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: urlFor(role) });
    await client.connect();
    return client;
  };

  beforeAll(async () => {
    database = await createTestDatabase({ migrated: false });
    await run('psql', ['--no-psqlrc', `--dbname=${database.url}`, '--file=deploy/compose/init-roles.sql'], {
      OWNER_PASSWORD: 'gatebell_owner-secret',
      REPLICA_PASSWORD: 'gatebell_replica-secret',
    });
    const owner = await connectAs('gatebell_owner');
    await migrate(owner, 'up');
    await owner.end();
  });

  afterAll(async () => {
    // Roles belong to the server, and other tests use the server.
    for (const role of roles) {
      await database.sql(`do $$ begin
        if exists (select from pg_roles where rolname = '${role}') then
          drop owned by ${role} cascade; reassign owned by ${role} to current_user; drop role ${role};
        end if; end $$`);
    }
    await database.drop();
  });

  test('the owner is no superuser, and can migrate', async () => {
    const [row] = await database.sql(
      `select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls as powerful from pg_roles
        where rolname = 'gatebell_owner'`,
    );
    expect(row).toEqual({ powerful: false });
    expect(await database.sql('select problem from gatebell.watch_status where problem is not null')).toEqual([]);
  });

  test('the sample data can be put in twice', async () => {
    const args = [
      '--no-psqlrc',
      '--set=ON_ERROR_STOP=1',
      '--single-transaction',
      `--dbname=${urlFor('gatebell_owner')}`,
      '--file=deploy/compose/sample-data.sql',
    ];
    await run('psql', args);
    await run('psql', args);
    expect(await database.sql('select host from gatebell.apps')).toEqual([{ host: 'whoami.localhost' }]);
    expect(await database.sql('select role from gatebell.grants')).toEqual([{ role: 'admin' }]);
  });

  test('a replica can read, listen and send fences, and change nothing', async () => {
    const replica = await connectAs('gatebell_replica');
    try {
      const heard = new Promise<string | undefined>(resolve => {
        replica.once('notification', message => {
          resolve(message.payload);
        });
      });
      await replica.query('listen gatebell');
      await replica.query('select gatebell.fence(null)');
      expect(await heard).toMatch(/^{"v" : 1, "f" : \d+, "n" : \d+, "i" : "/);
      await replica.query('select id, name, enabled from gatebell.users');
      await replica.query('select user_id, app_id, role, expires_at from gatebell.grants');
      for (const statement of [
        `insert into gatebell.users (name) values ('mallory')`,
        `update gatebell.grants set role = 'admin'`,
        'delete from gatebell.credentials',
        `update gatebell.credentials set revoked_at = null`,
        'create table public.anything ()',
        `select gatebell.set_channel('other')`,
      ]) {
        await expect(replica.query(statement), statement).rejects.toMatchObject({ code: '42501' });
      }
    } finally {
      await replica.end();
    }
  });
});
