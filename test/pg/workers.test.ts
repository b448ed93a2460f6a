/** A replica of several processes: one port, one listening connection, and the promises of one process. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { openBarrier } from '../../src/postgres/barrier.js';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { becomesLive, forwardHeaders, startReplica, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

const WORKERS = 2;
const LEASE_MS = 1_500;
const ENV = { GATEBELL_WORKERS: String(WORKERS), GATEBELL_LEASE_MS: String(LEASE_MS) };

let database: TestDatabase;
let world: World;
let replica: Replica;

interface StatusBody {
  readonly ready: boolean;
  readonly workers: readonly {
    readonly state: string;
    readonly caches: readonly { readonly topic: string; readonly entries: number }[];
  }[];
}

/** Over a connection of its own: the host gives connections to its workers in turn. */
async function askAnew(): Promise<string> {
  const request = httpRequest(`${replica.auth}/auth/forward`, {
    agent: false,
    headers: forwardHeaders({ token: world.alice }),
  });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  return String(response.headers['x-gatebell-reason']);
}

const askAll = (): Promise<string[]> => Promise.all(Array.from({ length: 4 * WORKERS }, askAnew));

const readStatus = async (): Promise<StatusBody> => JSON.parse((await replica.get('/status')).body) as StatusBody;

async function becomesReady(): Promise<void> {
  for (;;) {
    const { ready, workers } = await readStatus();
    if (ready && workers.length === WORKERS) {
      return;
    }
  }
}

/** By their names, a mark behind it apart. */
const backends = (name: string): Promise<Record<string, unknown>[]> =>
  database.sql(
    `select pid from pg_stat_activity
     where regexp_replace(application_name, '#.{5}$', '') = $1 and datname = current_database()`,
    [name],
  );

const workerIds = async (): Promise<number[]> => {
  const { readFile } = await import('node:fs/promises');
  const children = await readFile(`/proc/${replica.child.pid}/task/${replica.child.pid}/children`, 'utf8');
  return children.trim().split(' ').map(Number);
};

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
});

beforeEach(async () => {
  await database.sql(`insert into gatebell.grants (user_id, app_id)
    select u.id, a.id from gatebell.users u, gatebell.apps a where u.name = 'alice' and a.name = 'photos'
    on conflict do nothing`);
  replica = await startReplica(database.url, { env: ENV });
  await becomesReady();
});

afterEach(() => replica.stop());
afterAll(() => database.drop());

/** Facts that nobody asks for here. */
const OF_JWTS = ['identity', 'user_name', 'revoked_jwt'];

/** Every worker has the facts in memory. */
async function warm(): Promise<void> {
  for (;;) {
    await askAll();
    const { workers } = await readStatus();
    if (workers.every(({ caches }) => caches.every(({ topic, entries }) => entries > 0 || OF_JWTS.includes(topic)))) {
      return;
    }
  }
}

test('the workers share a port, a listening connection and the connections of the pool', async () => {
  await warm();
  expect(new Set(await askAll())).toEqual(new Set(['granted']));
  expect(await backends('gatebell/test')).toHaveLength(1);
  expect((await backends('gatebell/test/pool')).length).toBeLessThanOrEqual(4);
});

test('their counts are reported as one', async () => {
  await warm();
  const before = await replica.metric('gatebell_decisions_total{decision="allow",reason="granted"}');
  await askAll();
  expect(await replica.metric('gatebell_decisions_total{decision="allow",reason="granted"}')).toBe(
    before + 4 * WORKERS,
  );
  expect(await replica.metric('gatebell_workers')).toBe(WORKERS);
  expect(await replica.metric('gatebell_listener_state{state="live"}')).toBe(WORKERS);
  const bound = await replica.metric('gatebell_staleness_bound_seconds');
  expect(bound).toBeGreaterThan(0);
  expect(bound).toBeLessThanOrEqual(LEASE_MS / 1_000);
});

test('after a barrier none of them allows what was revoked before', async () => {
  await warm();
  await database.sql('delete from gatebell.grants');
  const { stdout } = await gatebell(['barrier'], database.url, ENV);
  expect(stdout).toMatch(/applied on 1 of 1 replicas/);
  expect(new Set(await askAll())).toEqual(new Set(['no_grant']));
});

test('a stopped worker holds the barrier up for the lease, and serves nothing old when it goes on', async () => {
  await warm();
  const [still = 0] = await workerIds();
  process.kill(still, 'SIGSTOP');
  const asked = askAll();
  try {
    await database.sql('delete from gatebell.grants');
    const startedMs = performance.now();
    const { stdout } = await gatebell(['barrier'], database.url, ENV);
    expect(stdout).toMatch(/lease/);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(LEASE_MS);
  } finally {
    process.kill(still, 'SIGCONT');
  }
  await asked;
  expect(new Set(await askAll())).toEqual(new Set(['no_grant']));
});

test('a worker that was killed is replaced, and what it had counted still counts', async () => {
  await warm();
  const counted = await replica.metric('gatebell_decisions_total{decision="allow",reason="granted"}');
  const [killed = 0] = await workerIds();
  const since = replica.lines.length;
  const ended = replica.waitFor(line => line.event === 'worker_ended', since);
  const started = replica.waitFor(line => line.event === 'worker_started', since);
  process.kill(killed, 'SIGKILL');
  expect(await ended).toMatchObject({ reason: 'exit code SIGKILL' });
  await started;
  await becomesReady();
  expect(await workerIds()).not.toContain(killed);
  await warm();
  expect(await replica.metric('gatebell_decisions_total{decision="allow",reason="granted"}')).toBeGreaterThan(counted);
  expect(await backends('gatebell/test')).toHaveLength(1);
});

test('when the listening connection is killed all forget, and one new connection serves them all', async () => {
  await warm();
  const since = replica.lines.length;
  const live = becomesLive(replica, since);
  await database.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'gatebell/test#%'
      and datname = current_database()`,
  );
  await live;
  await becomesReady();
  const { workers } = await readStatus();
  expect(workers.flatMap(({ caches }) => caches.map(({ entries }) => entries)).every(count => count === 0)).toBe(true);
  expect(await backends('gatebell/test')).toHaveLength(1);
  await warm();
  expect(new Set(await askAll())).toEqual(new Set(['granted']));
});

const hasEnded = (id: number): boolean => {
  try {
    process.kill(id, 0);
    return false;
  } catch {
    return true;
  }
};

test('no worker outlives a host that was killed, and nothing of it stays connected', async () => {
  const ids = await workerIds();
  expect(ids).toHaveLength(WORKERS);
  replica.child.kill('SIGKILL');
  await replica.exited;
  while (!ids.every(hasEnded)) {
    // Each looks at the clock itself, and ends within its drain.
    await nextTurn();
  }
  while ((await backends('gatebell/test')).length + (await backends('gatebell/test/pool')).length > 0) {
    await nextTurn();
  }
});

test('while it drains its workers still hear: a barrier is answered, and what was revoked is denied', async () => {
  await warm();
  const opened = await openBarrier({ connectionString: database.url, leaseMs: LEASE_MS });
  replica.child.kill('SIGTERM');
  await replica.waitFor(({ event }) => event === 'stopping', 0);
  await database.sql('delete from gatebell.grants');
  const { replicas } = await opened.pass();
  expect(replicas).toHaveLength(1);
  expect(replicas[0]?.ms).not.toBeNull();
  await opened.close();
  expect(await replica.exited).toBe(0);
});

test('it stops as a whole', async () => {
  const ids = await workerIds();
  expect(ids).toHaveLength(WORKERS);
  expect(await replica.stop()).toBe(0);
  for (const id of ids) {
    expect(() => process.kill(id, 0)).toThrow();
  }
  expect(await backends('gatebell/test')).toEqual([]);
});

test('a port that is taken ends it, and it says so', async () => {
  const taken = createServer();
  taken.listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  try {
    await expect(startReplica(database.url, { env: { ...ENV, GATEBELL_PORT: String(port) } })).rejects.toThrow(
      /exit code 1.*EADDRINUSE/s,
    );
  } finally {
    taken.close();
  }
});
