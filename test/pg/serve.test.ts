/** A replica as operators see it: probes, series, status, and how it stops. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createToken } from '../../src/auth/token.js';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { fetchAnswer, forwardHeaders, startReplica, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

let database: TestDatabase;
let world: World;
const started: Replica[] = [];

const start = async (options?: Parameters<typeof startReplica>[1]): Promise<Replica> => {
  const replica = await startReplica(database.url, options);
  started.push(replica);
  return replica;
};

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
});

afterEach(() => Promise.all(started.splice(0).map(replica => replica.stop())));
afterAll(() => database.drop());

test('the ops listener tells what it must, and no secret', async () => {
  const replica = await start();
  await replica.ask({ token: world.alice });
  expect(await replica.get('/livez')).toMatchObject({ status: 200, body: 'ok\n' });
  const ready = await replica.get('/readyz');
  expect(ready.status).toBe(200);
  expect(JSON.parse(ready.body)).toMatchObject({ ready: true, state: 'live', problem: null });
  const status = await replica.get('/status');
  expect(JSON.parse(status.body)).toMatchObject({ replica: 'test', ready: true, leaseMs: 3000, pool: { max: 4 } });
  const metrics = await replica.get('/metrics');
  for (const { body } of [status, metrics, ready]) {
    expect(body).not.toMatch(/alice|gb_|photos\.test|postgres:\/\//);
  }
  expect((await replica.get('/')).body).toContain('/readyz');
  expect((await replica.get('/nothing')).status).toBe(404);
});

test('the series have the names and labels that people build on', async () => {
  const replica = await start();
  await replica.ask({ token: world.alice });
  await replica.ask({ token: world.alice });
  await replica.ask({ host: 'nowhere.test' });
  const changed = database.sql(`update gatebell.grants set role = role || 'x'`);
  await changed;
  await replica.ask({ token: world.alice });

  expect(await replica.metric('gatebell_decisions_total{decision="allow",reason="granted"}')).toBe(3);
  expect(await replica.metric('gatebell_decisions_total{decision="deny",reason="unknown_app"}')).toBe(1);
  expect(await replica.metric('gatebell_decision_duration_seconds_count')).toBe(4);
  expect(await replica.metric('gatebell_cache_lookups_total{topic="app",result="hit"}')).toBeGreaterThan(0);
  expect(await replica.metric('gatebell_cache_entries{topic="user"}')).toBe(1);
  expect(await replica.metric('gatebell_listener_state{state="live"}')).toBe(1);
  expect(await replica.metric('gatebell_listener_state{state="down"}')).toBe(0);
  expect(await replica.metric('gatebell_listener_connections_total')).toBe(1);
  expect(await replica.metric('gatebell_fence_rtt_seconds_count')).toBeGreaterThan(0);
  expect(await replica.metric('gatebell_db_queries_total{query="load_user"}')).toBe(1);
  expect(await replica.metric('gatebell_load_batch_size_count')).toBeGreaterThan(0);
  const { body } = await replica.get('/metrics');
  for (const name of [
    'gatebell_signals_total',
    'gatebell_invalidations_total',
    'gatebell_flushes_total',
    'gatebell_listener_closures_total',
    'gatebell_staleness_bound_seconds',
    'gatebell_notify_queue_usage_ratio',
    'process_cpu_seconds_total',
    'nodejs_eventloop_lag_seconds',
  ]) {
    expect(body).toContain(`# TYPE ${name} `);
  }
});

test('a signal of a topic that nobody caches does not become a label', async () => {
  const replica = await start();
  await database.sql(`select pg_notify('gatebell', '{"v":1,"s":"made_up"}')`);
  await database.sql(`update gatebell.users set email = 'x' where name = 'bob'`);
  await replica.waitFor(line => line.event === 'listening', 0);
  while ((await replica.metric('gatebell_signals_total{topic="user"}')) === 0) {
    await replica.ask();
  }
  expect(await replica.metric('gatebell_signals_total{topic="other"}')).toBe(1);
  expect((await replica.get('/metrics')).body).not.toContain('made_up');
});

test('a notification that is not understood costs a flush and nothing else', async () => {
  const replica = await start();
  await replica.ask({ token: world.alice });
  const since = replica.lines.length;
  await database.sql(`select pg_notify('gatebell', 'hello')`);
  await replica.waitFor(line => line.event === 'message_malformed', since);
  expect(await replica.metric('gatebell_flushes_total{cause="malformed"}')).toBe(1);
  expect((await replica.ask({ token: world.alice })).reason).toBe('granted');
});

test('a read whose connection is killed under it is tried once more, on another', async () => {
  const replica = await start();
  const locker = await database.connect();
  await locker.query('begin; lock table gatebell.grants in access exclusive mode');
  const answer = replica.ask({ token: world.alice });
  let killed = 0;
  while (killed === 0) {
    const rows = await database.sql(
      `select pg_terminate_backend(pid, 1000) from pg_stat_activity
       where application_name = 'gatebell/test/pool' and datname = current_database() and wait_event_type = 'Lock'`,
    );
    killed = rows.length;
  }
  await locker.query('rollback');
  expect((await answer).reason).toBe('granted');
});

test('5,000 of them at once do not keep anyone waiting', async () => {
  const replica = await start();
  await replica.ask({ token: world.alice });
  const flooded = database.sql(
    `select count(*) from (select pg_notify('gatebell', 'garbage ' || i) from generate_series(1, 5000) i) x`,
  );
  const startedMs = performance.now();
  await flooded;
  while ((await replica.metric('gatebell_flushes_total{cause="malformed"}')) < 5_000) {
    await replica.ask({ token: world.alice });
  }
  // As many real changes are the measure: a flush of next to nothing must not cost more than they do.
  const floodMs = performance.now() - startedMs;
  const changesMs = performance.now();
  await database.sql(
    `select count(*)
      from (select pg_notify('gatebell', format('{"v":1,"s":"user","k":[["%s"]]}', i))
        from generate_series(1, 5000) i) x`,
  );
  while ((await replica.metric('gatebell_signals_total{topic="user"}')) < 5_000) {
    await replica.ask({ token: world.alice });
  }
  expect(floodMs).toBeLessThan(10 * (performance.now() - changesMs));
  expect((await replica.ask({ token: world.alice })).reason).toBe('granted');
});

test('a trigger that is disabled: its topic is read from Postgres, and the operator is told', async () => {
  const replica = await start();
  await replica.askUntil('granted', { token: world.alice });
  const since = replica.lines.length;
  await database.sql('alter table gatebell.users disable trigger gatebell_user_update');
  try {
    const told = await replica.waitFor(line => line.event === 'watch_changed', since);
    expect(told).toMatchObject({
      topic: 'user',
      problem: 'trigger gatebell_user_update on gatebell.users is not enabled as it must be',
    });
    await database.sql(`update gatebell.users set enabled = false where name = 'alice'`);
    // No signal came; the answer is right all the same.
    expect((await replica.ask({ token: world.alice })).reason).toBe('disabled_user');
    expect(JSON.parse((await replica.get('/readyz')).body)).toMatchObject({
      watchProblems: { user: expect.stringContaining('trigger') as string },
    });
  } finally {
    await database.sql('alter table gatebell.users enable trigger gatebell_user_update');
    await database.sql(`update gatebell.users set enabled = true where name = 'alice'`);
  }
  await replica.waitFor(line => line.event === 'watch_changed' && line['problem'] === null, since);
  expect((await replica.ask({ token: world.alice })).reason).toBe('granted');
});

test('SIGTERM: not ready, what is under way is finished, exit code 0', async () => {
  const replica = await start();
  const since = replica.lines.length;
  replica.child.kill('SIGTERM');
  await replica.waitFor(line => line.event === 'stopping', since);
  expect((await replica.get('/readyz')).status).toBe(503);
  const answer = await replica.ask({ token: world.alice });
  expect(answer).toMatchObject({ status: 200, headers: { connection: 'close' } });
  expect(await replica.exited).toBe(0);
  expect(replica.lines.slice(since).filter(line => ['warn', 'error'].includes(String(line['level'])))).toEqual([]);
  await expect(
    database.sql(
      `select from pg_stat_activity where application_name like 'gatebell/test%' and datname = current_database()`,
    ),
  ).resolves.toHaveLength(0);
});

test('a connection that says nothing does not keep it from stopping', async () => {
  const replica = await start();
  const { port } = new URL(replica.auth);
  const idle = connect(Number(port), '127.0.0.1');
  await once(idle, 'connect');
  idle.write('GET /auth/forward HTTP/1.1\r\n');
  expect(await replica.stop()).toBe(0);
  idle.destroy();
});

test('a port that is taken: a clear error, exit code 1', async () => {
  const squatter = createServer();
  squatter.listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  const address = squatter.address() as { port: number };
  try {
    const { code, stderr } = await gatebell(['serve', '--port', String(address.port), '--ops-port', '0'], database.url);
    expect(code).toBe(1);
    expect(stderr).toContain('a port is taken');
  } finally {
    squatter.close();
  }
});

test('a flood of hosts and tokens that nobody made fills no memory and puts nobody out', async () => {
  const replica = await start();
  expect((await replica.ask({ token: world.alice })).reason).toBe('granted');
  let left = 10_300;
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      while (left-- > 0) {
        const unknown = await replica.ask({ host: `made-up-${left}.test`, token: createToken() });
        expect(unknown).toMatchObject({ status: 403, reason: 'unknown_app' });
      }
    }),
  );
  // What exists has a room of its own: one app, one credential. What does not has 10,000 places.
  expect(await replica.metric('gatebell_cache_entries{topic="app"}')).toBeLessThanOrEqual(10_001);
  expect(await replica.metric('gatebell_cache_entries{topic="credential"}')).toBeLessThanOrEqual(10_001);
  const loads = await replica.metric('gatebell_db_queries_total{query="load_credential"}');
  expect((await replica.ask({ token: world.alice })).reason).toBe('granted');
  expect(await replica.metric('gatebell_db_queries_total{query="load_credential"}')).toBe(loads);
});

test('only trusted proxies may ask', async () => {
  const replica = await start({ env: { GATEBELL_TRUSTED_PROXIES: '192.0.2.0/24,2001:db8::/32' } });
  expect(await replica.ask({ uri: '/share' })).toMatchObject({ status: 403, reason: 'untrusted_proxy' });
});

test('the three auth paths answer, the rest of the port is Express and has nothing', async () => {
  const replica = await start();
  expect((await replica.ask({ path: '/internal/auth', uri: '/share' })).reason).toBe('public');
  expect((await replica.ask({ path: '/auth/forward?uri=/x', uri: '/share' })).reason).toBe('public');
  const nginx = await fetchAnswer(`${replica.auth}/auth/nginx`, {
    'X-Original-URL': 'https://photos.test/',
    'X-Original-Method': 'GET',
    Authorization: `Bearer ${world.alice}`,
  });
  expect(nginx).toMatchObject({ status: 200, reason: 'granted' });
  expect((await fetchAnswer(`${replica.auth}/metrics`, forwardHeaders({}))).status).toBe(404);
});
