/**
 * The listening connection is lost, Postgres restarts, Postgres is gone: on a Postgres of its own, with real replicas.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPostgresServer, type PostgresServer } from '../../src/dev/postgres.js';
import { migrate } from '../../src/postgres/migrate.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { becomesLive, startReplica, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

let server: PostgresServer;
let database: TestDatabase;
let replica: Replica;
let world: World;

const connect = async (): Promise<pg.Client> => {
  const client = new pg.Client({ connectionString: database.url });
  client.on('error', () => undefined);
  await client.connect();
  return client;
};

beforeAll(async () => {
  server = await createPostgresServer({
    binDirectory: process.env['GATEBELL_TEST_PG_BIN'],
    settings: { fsync: 'off' },
  });
  database = await createTestDatabase({ migrated: false, server: server.url('postgres') });
  await migrate(database.client, 'up');
  world = await createWorld(database);
  replica = await startReplica(database.url);
});

afterAll(async () => {
  await replica.stop();
  await server.remove();
});

const setAlice = (enabled: boolean): string => `update gatebell.users set enabled = ${enabled} where name = 'alice'`;
const ALICE = (): { token: string } => ({ token: world.alice });

/** Restores alice and waits for it. */
async function reset(client: pg.Client): Promise<void> {
  await client.query(setAlice(true));
  await replica.askUntil('granted', ALICE());
}

test('the listening backend is killed: not trusted at once, reconnected, flushed, the change is seen', async () => {
  const client = await connect();
  await reset(client);
  const since = replica.lines.length;
  const flushes = await replica.metric('gatebell_flushes_total{cause="down"}');

  // The change commits while nobody listens: the backend that listened is gone before the transaction ends.
  await client.query(`begin; ${setAlice(false)}`);
  const { rows } = await client.query<{ pid: number }>(
    `select pid from pg_stat_activity where application_name like 'gatebell/test#%' and datname = current_database()`,
  );
  expect(rows).toHaveLength(1);
  await client.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
  const lost = await replica.waitFor(line => line.event === 'connection_closed', since);
  expect(lost['cause']).toBe('connection_lost');
  await client.query('commit');

  // Whatever it answers from now on is not from before: Postgres directly, or a cache that is younger than the new
  // LISTEN.
  expect((await replica.ask(ALICE())).reason).toBe('disabled_user');
  await becomesLive(replica, since);
  expect((await replica.ask(ALICE())).reason).toBe('disabled_user');
  expect(await replica.metric('gatebell_flushes_total{cause="down"}')).toBe(flushes + 1);
  expect(await replica.metric('gatebell_listener_connections_total')).toBe(2);

  const listeners = await client.query(`select from pg_stat_activity where application_name like 'gatebell/test#%'`);
  expect(listeners.rowCount).toBe(1);
  await reset(client);
  await client.end();
});

test('restart of Postgres: the same', async () => {
  const client = await connect();
  await reset(client);
  const since = replica.lines.length;
  await client.query(setAlice(false));
  await replica.askUntil('disabled_user', ALICE());
  await client.end();

  await server.stop('fast');
  await server.start();
  await becomesLive(replica, since);
  expect((await replica.ask(ALICE())).reason).toBe('disabled_user');

  const again = await connect();
  await again.query(setAlice(true));
  await replica.askUntil('granted', ALICE());
  await again.end();
});

test.each(['fast', 'immediate', 'kill'] as const)(
  'Postgres gone (%s): 503, not ready but alive; it comes back by itself',
  async mode => {
    const client = await connect();
    await reset(client);
    await client.end();
    const since = replica.lines.length;

    await server.stop(mode);
    await replica.waitFor(line => line.event === 'connection_closed', since);
    const denied = await replica.ask(ALICE());
    expect(denied).toMatchObject({ status: 503, reason: 'unavailable' });
    expect(denied.headers['retry-after']).toBe('1');
    expect((await replica.ask({ ...ALICE(), uri: '/share/x' })).status).toBe(503);
    expect((await replica.get('/readyz')).status).toBe(503);
    expect((await replica.get('/livez')).status).toBe(200);

    const before = replica.lines.length;
    await server.start();
    await becomesLive(replica, before);
    expect((await replica.get('/readyz')).status).toBe(200);
    expect((await replica.ask(ALICE())).reason).toBe('granted');
  },
);

test('a replica that starts while Postgres is gone says so, and serves when it is there', async () => {
  await server.stop('fast');
  const early = await startReplica(database.url, { live: false, name: 'early' });
  try {
    expect((await early.ask(ALICE())).status).toBe(503);
    await server.start();
    await becomesLive(early, 0);
    expect((await early.ask(ALICE())).reason).toBe('granted');
  } finally {
    await early.stop();
  }
});
