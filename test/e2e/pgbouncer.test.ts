/** A transaction-mode pooler in between: notifications cannot come through it, and that must be noticed, not trusted. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startPgBouncer as startOn } from '../support/pgbouncer.js';
import { startReplica } from '../support/replica.js';
import { createWorld, type World } from '../support/world.js';

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
