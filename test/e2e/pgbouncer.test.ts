/**
 * A transaction-mode pooler in between: notifications cannot come through it, and that must be noticed, not trusted.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startPgBouncer as startOn } from '../support/pgbouncer.js';
import { startReplica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

let database: TestDatabase;
let world: World;
const stops: (() => Promise<void>)[] = [];

async function startPgBouncer(ignoreOptions: boolean): Promise<string> {
  const { url, stop } = await startOn(database.url, ignoreOptions);
  stops.push(stop);
  return url;
}

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
});

afterAll(async () => {
  await Promise.all(stops.map(stop => stop()));
  await database.drop();
});

test('it refuses start-up options: doctor and the replica name GATEBELL_LISTEN_URL; nothing is allowed', async () => {
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

test('it swallows LISTEN: the cache is not trusted, answers are right, and the reason is reported', async () => {
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
    expect(ready.status, 'it can decide').toBe(200);
    expect(JSON.parse(ready.body)).toMatchObject({ ready: true, fromMemory: false });
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

describe('migrate', () => {
  test('works through it, again and again, several at once, and leaves no lock behind', async () => {
    const empty = await createTestDatabase({ migrated: false });
    const { url, stop } = await startOn(empty.url, false);
    try {
      expect((await gatebell(['migrate', 'up'], url)).stdout).toContain('applied 001_signals');
      for (const words of [['migrate', 'up'], ['migrate', 'up'], ['repair']]) {
        expect(await gatebell(words, url)).toMatchObject({ code: 0, stderr: '' });
      }
      expect((await gatebell(['migrate', 'down', '--yes'], url)).code).toBe(0);
      const several = await Promise.all([1, 2, 3].map(() => gatebell(['migrate', 'up'], url)));
      expect(several.map(({ code }) => code)).toEqual([0, 0, 0]);
      expect(several.filter(({ stdout }) => stdout.includes('applied'))).toHaveLength(1);
      expect(await empty.sql(`select from pg_locks where locktype = 'advisory'`)).toEqual([]);
    } finally {
      await stop();
      await empty.drop();
    }
  });

  test('goes over GATEBELL_LISTEN_URL where that is set', async () => {
    const empty = await createTestDatabase({ migrated: false });
    try {
      const nowhere = 'postgres://someone:hidden@127.0.0.1:1/none';
      const env = { GATEBELL_LISTEN_URL: empty.url };
      expect(await gatebell(['migrate', 'up'], nowhere, env)).toMatchObject({ code: 0, stderr: '' });
      expect((await gatebell(['migrate', 'status'], nowhere, env)).stdout).toMatch(/^applied/);
      expect(await gatebell(['repair'], nowhere, env)).toMatchObject({ code: 0, stdout: 'nothing to repair\n' });
      expect((await gatebell(['migrate', 'down', '--yes'], nowhere, env)).stdout).toMatch(/^took back/);
    } finally {
      await empty.drop();
    }
  });
});

// A session of the pool is another client's the next moment: what a command leaves on it would be that client's.
test('no command leaves anything on the connections of the pool: no lock, no setting, no LISTEN', async () => {
  const { url, stop } = await startOn(database.url, true);
  const env = { GATEBELL_LISTEN_URL: database.url };
  try {
    for (const words of [['user', 'list'], ['app', 'list'], ['doctor'], ['migrate', 'up'], ['barrier']]) {
      await gatebell(words, url, env);
    }
    const pooled = new pg.Client({ connectionString: url });
    await pooled.connect();
    const [left] = (
      await pooled.query(`
        select (select count(*)::integer from pg_listening_channels()) as channels,
          (select count(*)::integer from pg_locks where pid = pg_backend_pid() and locktype = 'advisory') as locks,
          (select count(*)::integer from pg_prepared_statements) as prepared,
          (select coalesce(array_agg(name), '{}') from pg_settings where source = 'session' and name not in
            ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings',
              'extra_float_digits')) as settings`)
    ).rows as unknown[];
    expect(left).toEqual({ channels: 0, locks: 0, prepared: 0, settings: [] });
    await pooled.end();
  } finally {
    await stop();
  }
});
