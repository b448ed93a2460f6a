/** Warm answers cost no query: counted in Postgres itself, for each kind of identity. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createToken } from '../../src/auth/token.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { AUDIENCE, createSigningKey, goodClaims, issue, ISSUER } from '../support/jwt-issuer.js';
import { startReplica, type Ask, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

const KEY = createSigningKey('ES256');
const jwtOf = (user: string): string => issue(KEY, { ...goodClaims(Date.now()), sub: user });
const REQUESTS = 5_000;
const AT_ONCE = 32;
const FENCE_INTERVAL_MS = 500;

let database: TestDatabase;
let replica: Replica;
let world: World;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.sql('create extension pg_stat_statements');
  world = await createWorld(database);
  await database.sql(`
    with preview as (insert into gatebell.apps (name, host) values ('previews', '*.preview.test') returning id)
    insert into gatebell.app_routes (app_id, path_prefix, access, preflight)
    select id, '/', 'authenticated', false from preview union all select id, '/api', 'grant', true from preview`);
  // A subject that is seen for the first time is bound, which is a change.
  await database.sql(
    `insert into gatebell.identities (issuer, subject, user_id) select $1, name, id from gatebell.users
      where name = 'alice'`,
    [ISSUER],
  );
  replica = await startReplica(database.url, {
    env: {
      GATEBELL_FENCE_INTERVAL_MS: String(FENCE_INTERVAL_MS),
      // Audits read what loads read; they are counted below.
      GATEBELL_AUDIT_INTERVAL_MS: '0',
      GATEBELL_JWT_ISSUER: ISSUER,
      GATEBELL_JWT_AUDIENCE: AUDIENCE,
      GATEBELL_JWT_KEY: KEY.text,
    },
  });
});

afterAll(async () => {
  await replica.stop();
  await database.drop();
});

/** Statements of the replica since the last reset, by their text. */
async function statements(): Promise<{ readonly query: string; readonly calls: number }[]> {
  const rows = await database.sql(
    `select s.query, s.calls::int as calls from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where d.datname = current_database() and s.toplevel and s.query not like '%pg_stat_statements%'`,
  );
  return rows.map(row => ({ query: String(row['query']), calls: Number(row['calls']) }));
}

const resetStatements = (): Promise<unknown> => database.sql('select pg_stat_statements_reset()');

const KINDS: readonly { readonly kind: string; readonly reason: string; readonly ask: () => Ask }[] = [
  { kind: 'anonymous on a public route', reason: 'public', ask: () => ({ uri: '/share/x' }) },
  { kind: 'anonymous elsewhere', reason: 'no_credential', ask: () => ({}) },
  { kind: 'session cookie', reason: 'granted', ask: () => ({ cookie: world.session }) },
  { kind: 'bearer token', reason: 'granted', ask: () => ({ token: world.alice }) },
  {
    kind: 'bearer token on an authenticated route',
    reason: 'authenticated',
    ask: () => ({ host: 'wiki.test', token: world.bob }),
  },
  { kind: 'JWT', reason: 'granted', ask: () => ({ token: jwtOf('alice') }) },
  { kind: 'JWT of nobody', reason: 'bad_credential', ask: () => ({ token: jwtOf('nobody') }) },
  { kind: 'forged JWT', reason: 'bad_credential', ask: () => ({ token: jwtOf('alice').slice(0, -8) }) },
  { kind: 'unknown token', reason: 'bad_credential', ask: () => ({ token: UNKNOWN }) },
  { kind: 'user without a grant', reason: 'no_grant', ask: () => ({ token: world.bob }) },
  { kind: 'disabled user', reason: 'disabled_user', ask: () => ({ token: world.carol }) },
  {
    kind: 'host below a wildcard',
    reason: 'authenticated',
    ask: () => ({ host: 'a.b.c.preview.test', token: world.bob }),
  },
  {
    kind: 'CORS preflight',
    reason: 'public',
    ask: () => ({
      host: 'a.preview.test',
      uri: '/api/x',
      method: 'OPTIONS',
      headers: { Origin: 'https://b.preview.test', 'Access-Control-Request-Method': 'PUT' },
    }),
  },
  { kind: 'unknown host below no wildcard', reason: 'unknown_app', ask: () => ({ host: 'a.b.c.nowhere.test' }) },
  { kind: 'unknown host', reason: 'unknown_app', ask: () => ({ host: 'nowhere.test', token: world.alice }) },
];
const UNKNOWN = createToken();

test.each(KINDS)('$kind: one warming request, then 5,000 without a query', async ({ reason, ask }) => {
  const asked = ask();
  expect((await replica.ask(asked)).reason).toBe(reason);

  await resetStatements();
  const startedMs = performance.now();
  let left = REQUESTS;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (left-- > 0) {
        expect((await replica.ask(asked)).reason).toBe(reason);
      }
    }),
  );
  const found = await statements();
  const elapsedMs = performance.now() - startedMs;

  // What is left is the idle rate: one question for a fence an interval, and one more if none came in time.
  expect(found.filter(({ query }) => !query.includes('gatebell.fence('))).toEqual([]);
  const fences = found.reduce((sum, { calls }) => sum + calls, 0);
  expect(fences).toBeLessThanOrEqual((2 * elapsedMs) / FENCE_INTERVAL_MS + 2);
});

test('audits read by the clock, never by the request, and only they read what is cached', async () => {
  const intervalMs = 200;
  const audited = await startReplica(database.url, {
    name: 'audited',
    env: {
      GATEBELL_FENCE_INTERVAL_MS: String(FENCE_INTERVAL_MS),
      GATEBELL_AUDIT_INTERVAL_MS: String(intervalMs),
    },
  });
  try {
    const queries = async (purpose: string): Promise<number> => {
      const counts = ['credential', 'user', 'app', 'route', 'grant'].map(topic =>
        audited.metric(`gatebell_db_queries_total{query="${purpose}_${topic}"}`),
      );
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
    };
    const asked = { token: world.alice };
    expect((await audited.ask(asked)).reason).toBe('granted');
    const startedMs = performance.now();
    const [loads, before] = [await queries('load'), await queries('audit')];
    let audits = before;
    while (audits < before + 5) {
      expect((await audited.ask(asked)).reason).toBe('granted');
      audits = await queries('audit');
    }
    expect(await queries('load')).toBe(loads);
    // Intervals are jittered by half.
    expect(audits - before).toBeLessThanOrEqual((performance.now() - startedMs) / (intervalMs / 2) + 1);
    for (const topic of ['credential', 'user', 'app', 'route', 'grant']) {
      expect(await audited.metric(`gatebell_audit_stale_facts_total{topic="${topic}"}`)).toBe(0);
    }
    const { body } = await audited.get('/metrics');
    expect(body).toMatch(/gatebell_audit_stale_facts_total\{topic="credential"\} 0/);
    expect(body).toMatch(/gatebell_audit_stale_age_seconds\{topic="credential"\} 0/);
    const { audits: totals } = JSON.parse((await audited.get('/status')).body) as { audits: { facts: number }[] };
    expect(totals.reduce((sum, { facts }) => sum + facts, 0)).toBeGreaterThanOrEqual(5);
  } finally {
    await audited.stop();
  }
});

test('the count would show a query: a cold request does', async () => {
  await resetStatements();
  await replica.ask({ host: 'colder.test' });
  expect((await statements()).some(({ query }) => query.includes('gatebell.apps'))).toBe(true);
});
