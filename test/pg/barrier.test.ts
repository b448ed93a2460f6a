/** A barrier returns when every replica has applied what was committed before, and not sooner (P20). */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createPostgresServer } from '../../src/dev/postgres.js';
import { barrier, openBarrier } from '../../src/postgres/barrier.js';
import { migrate } from '../../src/postgres/migrate.js';
import { gatebell, type Outcome } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startReplica, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

/** Long enough for a busy machine; what waits for it waits that long. */
const LEASE_MS = 1_500;

let database: TestDatabase;
let world: World;
let replicas: Replica[];

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  replicas = await Promise.all(
    ['one', 'two', 'twin', 'twin'].map(name =>
      startReplica(database.url, { name, env: { GATEBELL_LEASE_MS: String(LEASE_MS) } }),
    ),
  );
});

afterAll(async () => {
  await Promise.all(replicas.map(replica => replica.stop()));
  await database.drop();
});

const call = (...words: string[]): Promise<Outcome> =>
  gatebell(words, database.url, { GATEBELL_LEASE_MS: String(LEASE_MS) });
const options = (): { connectionString: string; leaseMs: number } => ({
  connectionString: database.url,
  leaseMs: LEASE_MS,
});
const askAll = (): Promise<string[]> =>
  Promise.all(replicas.map(async replica => (await replica.ask({ token: world.alice })).reason));

beforeEach(async () => {
  await database.sql(`insert into gatebell.grants (user_id, app_id)
    select u.id, a.id from gatebell.users u, gatebell.apps a where u.name = 'alice' and a.name = 'photos'
    on conflict do nothing`);
  await Promise.all(replicas.map(replica => replica.askUntil('granted', { token: world.alice })));
});

describe('gatebell barrier', () => {
  test('names each replica and its time; names may repeat', async () => {
    const { stdout, code } = await call('barrier');
    expect(code).toBe(0);
    expect(stdout.replaceAll(/\d+ ms/g, '… ms').split('\n')).toEqual([
      '  one   applied in … ms',
      '  twin  applied in … ms',
      '  twin  applied in … ms',
      '  two   applied in … ms',
      'applied on 4 of 4 replicas in … ms',
      '',
    ]);
  });

  test('tells programs the same', async () => {
    const { stdout } = await call('barrier', '--json');
    const passed = JSON.parse(stdout) as Awaited<ReturnType<typeof barrier>>;
    expect(passed.replicas.map(({ replica }) => replica)).toEqual(['one', 'twin', 'twin', 'two']);
    expect(new Set(passed.replicas.map(({ processId }) => processId)).size).toBe(4);
    expect(passed.replicas.every(({ ms }) => ms !== null && ms <= passed.ms)).toBe(true);
    expect(passed.waitedForLease).toBe(false);
  });

  test('says when there is no database, or none that answers', async () => {
    expect((await gatebell(['barrier'])).code).toBe(2);
    const { code, stderr } = await gatebell(['barrier'], 'postgres://127.0.0.1:1/nowhere');
    expect(code).toBe(1);
    expect(stderr).toContain('cannot reach Postgres');
  });
});

describe('--wait', () => {
  test('revoke returns when every replica denies', async () => {
    const { stdout, code } = await call('revoke', 'alice', 'photos', '--wait');
    expect(await askAll()).toEqual(['no_grant', 'no_grant', 'no_grant', 'no_grant']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^alice may not reach photos any more\n/);
    expect(stdout).toMatch(/denied on 4 of 4 replicas in [\d,]+ ms\n$/);
  });

  test('so does whatever else takes rights away', async () => {
    await call('user', 'disable', 'alice', '--wait');
    expect(new Set(await askAll())).toEqual(new Set(['disabled_user']));
    await call('user', 'enable', 'alice');
    await call('app', 'disable', 'photos', '--wait');
    expect(new Set(await askAll())).toEqual(new Set(['disabled_app']));
    await call('app', 'enable', 'photos');
  });

  test('with --json the barrier is part of the answer', async () => {
    const { stdout } = await call('revoke', 'alice', 'photos', '--wait', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ role: 'user', barrier: { waitedForLease: false } });
  });

  test('without it nothing is waited for', async () => {
    const { stdout } = await call('revoke', 'alice', 'photos');
    expect(stdout).toBe('alice may not reach photos any more\n');
  });
});

describe('a barrier', () => {
  test('covers what no trigger has told: the replicas look at their triggers first', async () => {
    const client = await database.connect();
    await client.query('alter table gatebell.grants disable trigger all');
    await client.query('delete from gatebell.grants');
    const passed = await barrier(options());
    expect(await askAll()).toEqual(['no_grant', 'no_grant', 'no_grant', 'no_grant']);
    expect(passed.waitedForLease).toBe(false);
    await client.query('alter table gatebell.grants enable trigger all');
  });

  test('waits for the lease of a replica that does not answer, and then it is true', async () => {
    const paused = replicas[0]!;
    paused.child.kill('SIGSTOP');
    try {
      await database.sql('delete from gatebell.grants');
      const passed = await barrier(options());
      expect(passed.waitedForLease).toBe(true);
      expect(passed.ms).toBeGreaterThanOrEqual(LEASE_MS);
      expect(passed.replicas.filter(({ ms }) => ms === null)).toMatchObject([{ replica: 'one' }]);
    } finally {
      paused.child.kill('SIGCONT');
    }
    expect((await paused.ask({ token: world.alice })).reason).not.toBe('granted');
  });

  test('waits for the lease of a replica that is connected and does not listen', async () => {
    const ghost = new pg.Client({ connectionString: database.url, application_name: 'gatebell/ghost/pool' });
    await ghost.connect();
    const passed = await barrier(options());
    await ghost.end();
    expect(passed.waitedForLease).toBe(true);
    expect(passed.replicas).toContainEqual({ replica: 'ghost', processId: null, ms: null });
  });

  test('believes no answer that comes from another backend', async () => {
    const listener = new pg.Client({ connectionString: database.url, application_name: 'gatebell/deaf' });
    await listener.connect();
    const forger = await database.connect();
    await forger.query('listen gatebell');
    forger.on('notification', ({ payload = '' }) => {
      const { b } = JSON.parse(payload) as { b?: string };
      if (b !== undefined) {
        void forger.query('select pg_notify($1, $2)', ['gatebell', JSON.stringify({ v: 1, a: b, r: 'deaf' })]);
      }
    });
    const passed = await barrier(options());
    await Promise.all([listener.end(), forger.query('unlisten *')]);
    expect(passed.replicas.find(({ replica }) => replica === 'deaf')).toMatchObject({ ms: null });
    expect(passed.waitedForLease).toBe(true);
  });

  test('can be passed again and again on one connection', async () => {
    const opened = await openBarrier(options());
    for (const _ of [1, 2, 3]) {
      expect((await opened.pass()).waitedForLease).toBe(false);
    }
    await opened.close();
  });

  test('rejects when its connection is lost, and when it cannot be made', async () => {
    const opened = await openBarrier(options());
    replicas[0]!.child.kill('SIGSTOP');
    const lost = expect(opened.pass()).rejects.toThrow();
    await database.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gatebell-barrier'
        and datname = current_database()`,
    );
    await lost;
    replicas[0]!.child.kill('SIGCONT');
    await opened.close();
    await expect(barrier({ connectionString: 'postgres://127.0.0.1:1/nowhere' })).rejects.toThrow();
  });

  test('waits for the lease when Postgres has only just been started: a replica may not have noticed', async () => {
    const server = await createPostgresServer({
      binDirectory: process.env['GATEBELL_TEST_PG_BIN'],
      settings: { fsync: 'off' },
    });
    try {
      const young = await createTestDatabase({ migrated: false, server: server.url('postgres') });
      await migrate(young.client, 'up');
      const [row] = await young.sql(
        'select extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8 * 1000 as ms',
      );
      const leaseMs = (row?.['ms'] as number) + 2_000;
      expect(await barrier({ connectionString: young.url, leaseMs })).toMatchObject({
        replicas: [],
        waitedForLease: true,
      });
      expect(await barrier({ connectionString: young.url, leaseMs: 1 })).toMatchObject({ waitedForLease: false });
      await young.drop();
    } finally {
      await server.remove();
    }
  });
});
