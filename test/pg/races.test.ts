/**
 * Loads that race with changes, and bursts of cold users: on real Postgres, some of it through a slow or a stubborn
 * wire.
 */
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { createToken, hashToken } from '../../src/auth/token.js';
import { decide, type Decision } from '../../src/auth/decide.js';
import { selectRoute } from '../../src/auth/request/path.js';
import type { AuthRequest } from '../../src/auth/request/request.js';
import { systemClock, systemRandom } from '../../src/time/clock.js';
import { createCoherence, type Coherence } from '../../src/coherence/coherence.js';
import type { CoherenceObservation } from '../../src/coherence/observation.js';
import type { Reader } from '../../src/coherence/facts/reader.js';
import { createSubscriptionOpener } from '../../src/postgres/listen.js';
import { createFactReader, type FactTypes } from '../../src/auth/facts.js';
import { createDatabase, type Database } from '../../src/postgres/pool.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startReplica } from '../support/replica.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { createWorld, type World } from '../support/gate-rows.js';

const USERS = 300;
const POOL_MAX = 4;

let database: TestDatabase;
let world: World;

beforeEach(async () => {
  database = await createTestDatabase();
  await database.sql('create extension if not exists pg_stat_statements');
  world = await createWorld(database);
});

afterEach(() => database.drop());

/** 300 users, each with a token and a grant for photos. */
async function addUsers(): Promise<string[]> {
  const tokens = Array.from({ length: USERS }, createToken);
  await database.sql(
    `with u as (insert into gatebell.users (name) select 'cold ' || i from generate_series(1, $2) i returning id, name),
          c as (insert into gatebell.credentials (user_id, kind, token_hash)
                select u.id, 'token', decode(h.hash, 'hex') from unnest($1::text[]) with ordinality as h (hash, i)
                  join u on u.name = 'cold ' || h.i)
     insert into gatebell.grants (user_id, app_id) select u.id, a.id from u, gatebell.apps a where a.name = 'photos'`,
    [tokens.map(hashToken), USERS],
  );
  await database.sql('select pg_stat_statements_reset()');
  return tokens;
}

/** Load queries that Postgres has seen, and how many rows they returned. */
async function loads(): Promise<{ readonly calls: number; readonly rows: number }> {
  const [row] = await database.sql(
    `select coalesce(sum(s.calls), 0)::int as calls, coalesce(sum(s.rows), 0)::int as rows
     from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where d.datname = current_database() and s.toplevel and s.query like '%gatebell_found%'
       and s.query not like '%pg_stat_statements%'`,
  );
  return { calls: Number(row?.['calls']), rows: Number(row?.['rows']) };
}

const request = (token: string, host = 'photos.test'): AuthRequest => ({
  host,
  wildcards: [],
  port: '',
  proto: 'https',
  method: 'GET',
  uri: '/',
  route: routes => selectRoute(routes, '/'),
  credential: () => ({ kind: 'token', hashes: [hashToken(token)] }),
  credentialText: () => '',
  isNavigation: () => false,
  isPreflight: () => false,
});

/** The facts of a replica in this process: the pool through a wire of the test's choice, the listener direct. */
interface Inside {
  readonly coherence: Coherence;
  readonly pool: Database;
  readonly reader: Reader<FactTypes>;
  readonly observations: CoherenceObservation[];
  /** Resolves when the observation has come, from now on. */
  next(fits: (observation: CoherenceObservation) => boolean): Promise<void>;
  stop(): Promise<void>;
}

async function startInside(poolUrl: string, listenUrl: string): Promise<Inside> {
  const observations: CoherenceObservation[] = [];
  const waiting = new Set<(observation: CoherenceObservation) => void>();
  const next = (fits: (observation: CoherenceObservation) => boolean): Promise<void> =>
    new Promise(resolve => {
      const look = (observation: CoherenceObservation): void => {
        if (fits(observation)) {
          waiting.delete(look);
          resolve();
        }
      };
      waiting.add(look);
    });
  const pool = createDatabase({ connectionString: poolUrl, listenConnectionString: listenUrl, poolMax: POOL_MAX });
  const coherence = createCoherence({
    channel: 'gatebell',
    replica: 'races',
    leaseMs: 10_000,
    fenceIntervalMs: 5_000,
    loadsMax: POOL_MAX - 1,
    clock: systemClock,
    random: systemRandom,
    observe: observation => {
      observations.push(observation);
      for (const look of waiting) {
        look(observation);
      }
    },
    openSubscription: createSubscriptionOpener(pool.listenConfig),
    askServer: pool.askServer,
    askFence: pool.askFence,
    renewPool: pool.renew,
    source: pool.source,
  });
  const reader = createFactReader(coherence, () => undefined);
  const live = next(observation => observation.event === 'listener_state' && observation.to === 'live');
  coherence.start();
  await live;
  return {
    coherence,
    pool,
    reader,
    observations,
    next,
    async stop() {
      await coherence.stop();
      await pool.close();
    },
  };
}

async function ask(reader: Reader<FactTypes>, token: string): Promise<Decision['reason']> {
  const decision = await reader.read(facts => decide(request(token), facts));
  if (!('reason' in decision)) {
    throw new Error('a token is no JWT');
  }
  return decision.reason;
}

const port = (): number => Number(new URL(inject('postgresUrl')).port);

function through(proxy: TcpProxy): string {
  const url = new URL(database.url);
  url.port = String(proxy.port);
  return url.href;
}

describe('a load that is held open across an invalidation', () => {
  let proxy: TcpProxy;
  let inside: Inside;

  beforeEach(async () => {
    proxy = await startTcpProxy(port());
    inside = await startInside(through(proxy), database.url);
  });

  afterEach(async () => {
    await inside.stop();
    await proxy.close();
  });

  test.each([
    { title: 'of its key', change: 'delete from gatebell.grants' },
    { title: 'of its whole topic', change: 'truncate gatebell.grants' },
  ])('$title never ends up in the cache, and callers after it get the new fact', async ({ change }) => {
    // All facts but the grant are warm.
    expect(await ask(inside.reader, world.alice)).toBe('granted');
    const touched = inside.next(observation => observation.event === 'invalidation');
    await database.sql(`update gatebell.grants set role = 'guest'`);
    await touched;

    const held = proxy.hold();
    const early = ask(inside.reader, world.alice);
    await held;
    const invalidated = inside.next(observation => observation.event === 'invalidation');
    await database.sql(change);
    await invalidated;
    const late = ask(inside.reader, world.alice);
    proxy.release();

    // The early one arrived before the change: the old fact is evidence for it. The late one must see the change.
    expect(await early).toBe('granted');
    expect(await late).toBe('no_grant');
    expect(await ask(inside.reader, world.alice)).toBe('no_grant');
  });
});

describe('300 cold users', () => {
  test('asked in one turn: at most 12 load queries, each fact loaded once', async () => {
    const tokens = await addUsers();
    const inside = await startInside(database.url, database.url);
    try {
      const reasons = await Promise.all(tokens.map(token => ask(inside.reader, token)));
      expect(new Set(reasons)).toEqual(new Set(['granted']));
      const { calls, rows } = await loads();
      expect(calls).toBeLessThanOrEqual(12);
      // A credential, a user and a grant each; the app and its routes once.
      expect(rows).toBe(3 * USERS + 2);
    } finally {
      await inside.stop();
    }
  });

  test('over HTTP, Postgres 20 ms away: at most 24 load queries, one per fact, and poolMax connections', async () => {
    const tokens = await addUsers();
    const proxy = await startTcpProxy(port(), { delayMs: 20 });
    const replica = await startReplica(through(proxy), { env: { GATEBELL_POOL_MAX: String(POOL_MAX) } });
    try {
      await database.sql('select pg_stat_statements_reset()');
      const answers = await Promise.all(tokens.map(token => replica.ask({ token })));
      expect(new Set(answers.map(({ reason }) => reason))).toEqual(new Set(['granted']));
      const { calls, rows } = await loads();
      expect(calls).toBeLessThanOrEqual(24);
      expect(rows).toBe(3 * USERS + 2);
      // The listening connection is the one more. (The one that checked the schema at start is closed by then.)
      expect(proxy.openMax).toBeLessThanOrEqual(POOL_MAX + 1);
      const { calls: before } = await loads();
      await Promise.all(tokens.map(token => replica.ask({ token })));
      expect((await loads()).calls).toBe(before);
    } finally {
      await replica.stop();
      await proxy.close();
    }
  });
});
