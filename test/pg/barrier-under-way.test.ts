/**
 * A barrier and requests that are under way: they have read facts that are revoked meanwhile, and still wait for
 * others. No request is allowed by them after the barrier was passed, however the request waits, and whatever the
 * barrier says of the replica.
 */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseMessage } from '../../src/coherence/signal.js';
import { createPostgresCoherence } from '../../src/postgres/coherence.js';
import { barrier, type BarrierResult } from '../../src/postgres/barrier.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { AUDIENCE, createSigningKey, goodClaims, issue, ISSUER } from '../support/jwt-issuer.js';
import { forwardHeaders, startReplica, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

/** Shorter than a statement may take, so that requests can outlive it. */
const LEASE_MS = 700;
const WORKERS = 2;
const KEY = createSigningKey('HS256');

let database: TestDatabase;
let world: World;
let replica: Replica;
/** Listens; in a transaction it would hear nothing. */
let listening: pg.Client;
/** Locks. */
let client: pg.Client;

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  await database.sql(`insert into gatebell.app_routes (app_id, path_prefix, access, consistency)
    select id, '/strong', 'grant', 'strong' from gatebell.apps where name = 'photos'`);
  client = await database.connect();
  listening = await database.connect();
  await listening.query('listen gatebell');
});

afterAll(() => database.drop());

/** Over a connection of its own: workers get connections in turn. */
async function ask(uri: string, token: string): Promise<string> {
  const request = httpRequest(`${replica.auth}/auth/forward`, {
    agent: false,
    headers: forwardHeaders({ uri, token }),
  });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  return String(response.headers['x-gatebell-reason']);
}

/** Resolves when a barrier was announced so often. */
function announced(times: number): Promise<void> {
  return new Promise(resolve => {
    let heard = 0;
    const hear = ({ payload = '' }: pg.Notification): void => {
      heard += Number(parseMessage(payload).type === 'barrier');
      if (heard === times) {
        listening.off('notification', hear);
        resolve();
      }
    };
    listening.on('notification', hear);
  });
}

async function locksAwaited(count: number): Promise<void> {
  for (;;) {
    const [row] = await database.sql(
      `select count(*)::int as waiting from pg_stat_activity
       where wait_event_type = 'Lock' and query like '%gatebell_found%' and application_name like 'gatebell/%'
         and datname = current_database()`,
    );
    if (Number(row?.['waiting']) >= count) {
      return;
    }
  }
}

/** Revokes while requests wait for a locked table; returns what came in which order. */
async function revokeMeanwhile(
  begin: () => readonly Promise<string>[],
  {
    locked,
    until,
    waiting,
  }: { readonly locked: string; readonly until: 'announced again' | 'passed'; readonly waiting: number },
): Promise<{ readonly order: readonly string[]; readonly passed: BarrierResult }> {
  const order: string[] = [];
  await client.query('begin');
  await client.query(`lock table ${locked} in access exclusive mode`);
  const answers = begin().map(async answer => {
    order.push(await answer);
  });
  await locksAwaited(waiting);
  await database.sql('delete from gatebell.grants');
  const passing = barrier({ connectionString: database.url, leaseMs: LEASE_MS }).then(async result => {
    // Answers that had arrived before are read first: this process may see both in one turn.
    for (let turn = 0; turn < 10; turn++) {
      await new Promise(resolve => {
        setImmediate(resolve);
      });
    }
    order.push('passed');
    return result;
  });
  await Promise.race(until === 'passed' ? [passing] : [passing, announced(2)]);
  await client.query('commit');
  const passed = await passing;
  await Promise.all(answers);
  return { order, passed };
}

const isTrue = (order: readonly string[]): boolean => !order.slice(order.indexOf('passed')).includes('granted');

beforeEach(async () => {
  await database.sql(`insert into gatebell.grants (user_id, app_id)
    select u.id, a.id from gatebell.users u, gatebell.apps a where u.name = 'alice' and a.name = 'photos'
    on conflict do nothing`);
});

describe.each([
  ['one process', {}],
  ['several workers', { GATEBELL_WORKERS: String(WORKERS) }],
])('of %s', (_, env) => {
  beforeAll(async () => {
    replica = await startReplica(database.url, {
      env: {
        GATEBELL_LEASE_MS: String(LEASE_MS),
        GATEBELL_JWT_ISSUER: ISSUER,
        GATEBELL_JWT_AUDIENCE: AUDIENCE,
        GATEBELL_JWT_KEY: KEY.text,
        GATEBELL_JWT_ALGORITHMS: 'HS256',
        ...env,
      },
    });
  });
  afterAll(() => replica.stop());

  beforeEach(async () => {
    // What cannot be understood empties the caches; a barrier says when it has.
    await database.sql(`select pg_notify('gatebell', '?')`);
    await barrier({ connectionString: database.url, leaseMs: LEASE_MS });
  });

  const someJwt = (): string => issue(KEY, { ...goodClaims(Date.now()), jti: crypto.randomUUID() });
  const cases = (['announced again', 'passed'] as const).flatMap(until =>
    (['gatebell.app_routes', 'gatebell.users'] as const).flatMap(locked =>
      (['token', 'jwt'] as const).flatMap(kind =>
        (locked === 'gatebell.users' ? ['/'] : ['/', '/strong']).map(uri => ({ until, locked, uri, kind })),
      ),
    ),
  );

  test.each(cases)(
    '$locked locked until the barrier is $until, a $kind, $uri',
    async ({ until, locked, uri, kind }) => {
      const askOnce = (): Promise<string> => ask(uri, kind === 'token' ? world.alice : someJwt());
      const { order } = await revokeMeanwhile(() => Array.from({ length: 2 * WORKERS }, askOnce), {
        locked,
        until,
        waiting: 1,
      });
      expect(order).toHaveLength(2 * WORKERS + 1);
      expect(isTrue(order), order.join(', ')).toBe(true);
    },
  );

  test('is passed without the lease as soon as they are answered', async () => {
    const { order, passed } = await revokeMeanwhile(() => [ask('/', world.alice)], {
      locked: 'gatebell.app_routes',
      until: 'announced again',
      waiting: 1,
    });
    expect(order.at(-1)).toBe('passed');
    expect(passed.waitedForLease).toBe(false);
  });

  test('is not held up when nobody waits', async () => {
    await ask('/', world.alice);
    expect(await barrier({ connectionString: database.url, leaseMs: LEASE_MS })).toMatchObject({
      waitedForLease: false,
    });
  });
});

test('a program that reads several facts through the library', async () => {
  await database.sql(`create table prices (sku text primary key, cents int not null);
    create table stock (sku text primary key, pieces int not null);
    select gatebell.watch('prices', 'price', '{sku}'), gatebell.watch('stock', 'stock', '{sku}');
    insert into prices values ('apple', 30); insert into stock values ('apple', 5)`);
  const coherence = createPostgresCoherence({ connectionString: database.url, leaseMs: LEASE_MS, replica: 'shop' });
  const load = (table: string, column: string) => ({
    text: `select sku, ${column} as value from ${table} where sku = any ($1::text[])`,
    key: (row: Readonly<Record<string, unknown>>) => [String(row['sku'])],
    value: (row: Readonly<Record<string, unknown>>) => Number(row['value']),
  });
  const caches = {
    price: coherence.coherentCache<number>({ topic: 'price', load: load('prices', 'cents') }),
    stock: coherence.coherentCache<number>({ topic: 'stock', load: load('stock', 'pieces') }),
  };
  const reader = coherence.reader<{ price: number; stock: number }>(caches);
  coherence.start();
  try {
    await client.query('begin');
    await client.query('lock table stock in access exclusive mode');
    const order: string[] = [];
    const reading = Promise.resolve(
      reader.read(facts => {
        const lacks = (['price', 'stock'] as const).filter(topic => facts.get(topic, ['apple']) === undefined);
        return lacks.length > 0
          ? { lacks: lacks.map(topic => ({ topic, key: ['apple'] })) }
          : { answer: facts.get('price', ['apple']), strong: false };
      }),
    ).then(cents => order.push(String(cents)));
    await locksAwaited(1);
    await database.sql(`update prices set cents = 99`);
    const passing = barrier({ connectionString: database.url, leaseMs: LEASE_MS }).then(() => order.push('passed'));
    await Promise.race([passing, announced(2)]);
    await client.query('commit');
    await Promise.all([reading, passing]);
    expect(order.slice(order.indexOf('passed'))).not.toContain('30');
  } finally {
    await coherence.stop();
  }
});
