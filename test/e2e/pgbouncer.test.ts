/** A transaction-mode pooler in between: notifications cannot come through it, and that must be noticed, not trusted. */
import { spawn } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../src/dev/postgres.js';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startReplica } from '../support/replica.js';
import { findTool } from '../support/tool.js';
import { createWorld, type World } from '../support/world.js';
import pg from 'pg';

let database: TestDatabase;
let world: World;
const stops: (() => Promise<void>)[] = [];

/** Starts PgBouncer in transaction mode in front of the database. @param ignoreOptions whether it swallows start-up options instead of refusing them */
async function startPgBouncer(ignoreOptions: boolean): Promise<string> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-pgbouncer-'));
  const port = await freePort();
  const target = new URL(database.url);
  const name = target.pathname.slice(1);
  await writeFile(
    path.join(scratch, 'pgbouncer.ini'),
    `[databases]
${name} = host=${target.hostname} port=${target.port} dbname=${name} user=${target.username} password=${target.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
logfile = ${scratch}/log
${ignoreOptions ? 'ignore_startup_parameters = options,extra_float_digits' : ''}
`,
  );
  await chmod(scratch, 0o777);
  const account =
    process.getuid?.() === 0
      ? { uid: Number(execFileSync('id', ['-u', 'nobody'])), gid: Number(execFileSync('id', ['-g', 'nobody'])) }
      : {};
  const child = spawn(findTool('pgbouncer'), [path.join(scratch, 'pgbouncer.ini')], { ...account, stdio: 'ignore' });
  const url = new URL(database.url);
  url.port = String(port);
  for (;;) {
    const client = new pg.Client({ connectionString: url.href });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      break;
    } catch (error) {
      if (child.exitCode !== null) {
        throw new Error(`pgbouncer did not start: ${await readFile(path.join(scratch, 'log'), 'utf8')}`, {
          cause: error,
        });
      }
    }
  }
  stops.push(async () => {
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    await ended;
    await rm(scratch, { recursive: true, force: true });
  });
  return url.href;
}

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
});

afterAll(async () => {
  await Promise.all(stops.map(stop => stop()));
  await database.drop();
});

test('it refuses start-up options: doctor and the replica say to set GATEBELL_LISTEN_URL, and nothing is allowed', async () => {
  const pooled = await startPgBouncer(false);
  const { code, stdout } = await gatebell(['doctor'], pooled);
  expect(code).toBe(1);
  expect(stdout).toContain('set GATEBELL_LISTEN_URL to a direct connection');

  const replica = await startReplica(pooled, { live: false });
  try {
    await replica.waitFor(line => line.event === 'connection_failed', 0);
    expect((await replica.ask({ token: world.alice })).status).toBe(503);
    expect((await replica.get('/readyz')).body).toContain('GATEBELL_LISTEN_URL');
  } finally {
    await replica.stop();
  }
});

test('it swallows them: LISTEN seems to work and delivers nothing; the cache is not trusted, answers are right, and the reason is told', async () => {
  const pooled = await startPgBouncer(true);
  const { code, stdout } = await gatebell(['doctor'], pooled);
  expect(code).toBe(1);
  expect(stdout).toMatch(/FAILED {2}LISTEN delivers what others send: .*GATEBELL_LISTEN_URL/);

  const replica = await startReplica(pooled, {
    live: false,
    env: { GATEBELL_LEASE_MS: '500', GATEBELL_FENCE_INTERVAL_MS: '100' },
  });
  try {
    await replica.waitFor(line => line.event === 'fence_failed' && line['cause'] === 'overdue', 0);
    expect((await replica.ask({ token: world.alice })).reason).toBe('granted');
    await database.sql(`update gatebell.users set enabled = false where name = 'alice'`);
    expect((await replica.ask({ token: world.alice })).reason).toBe('disabled_user');
    const ready = await replica.get('/readyz');
    expect(ready.status).toBe(503);
    expect(replica.lines.some(line => line.event === 'listener_state' && line['to'] === 'live')).toBe(false);
  } finally {
    await replica.stop();
    await database.sql(`update gatebell.users set enabled = true where name = 'alice'`);
  }
});

test('with GATEBELL_LISTEN_URL direct, the pool may go through it', async () => {
  const pooled = await startPgBouncer(false);
  const env = { GATEBELL_LISTEN_URL: database.url };
  expect((await gatebell(['doctor'], pooled, env)).stdout).toContain('All is well.');
  const replica = await startReplica(pooled, { env });
  try {
    expect((await replica.ask({ token: world.alice })).reason).toBe('granted');
    await database.sql(`update gatebell.users set enabled = false where name = 'alice'`);
    await replica.askUntil('disabled_user', { token: world.alice });
  } finally {
    await replica.stop();
  }
});
