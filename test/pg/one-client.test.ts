/**
 * What one client makes up is in nobody's way: however much it sends, it holds no place in a queue and no connection to
 * Postgres. Told by counts and by order, not by time: while Postgres answers nothing, users whom the replica knows are
 * answered, and of all that the client sends next to nothing waits.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createToken } from '../../src/auth/token.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startReplica, type Answer, type Ask, type Replica } from '../support/replica.js';
import { addCredential, createWorld, type World } from '../support/gate-rows.js';

/** Misses that one client may have at once, and a second; see src/auth/client-rate-limiter.ts. */
const BURST = 200;
const PER_SECOND = 20;
const FLOOD = 1_000;

let database: TestDatabase;
let replica: Replica;
let world: World;

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  replica = await startReplica(database.url);
});

afterAll(async () => {
  await replica.stop();
  await database.drop();
});

const CLIENT = { 'X-Forwarded-For': '192.0.2.66' };
let number = 0;
/** Another each time: what is known not to exist is answered from memory. */
const madeUp = (): Ask => {
  number += 1;
  return number % 2 === 0
    ? { token: createToken(), headers: CLIENT }
    : { host: `h${number}.made-up.test`, headers: CLIENT };
};

const waiting = (): Promise<number> => replica.metric('gatebell_requests_waiting');
const limited = (): Promise<number> => replica.metric('gatebell_requests_limited_total');
const loads = async (): Promise<number> =>
  (await replica.metric('gatebell_db_queries_total{query="load_credential"}')) +
  (await replica.metric('gatebell_db_queries_total{query="load_app"}'));

/** Asks for what does not exist, as often as the client may. */
async function exhaust(): Promise<void> {
  while ((await replica.ask(madeUp())).status !== 503) {
    // Each is a miss.
  }
}

test("while Postgres stands still, one client's flood waits nowhere, and known users do not notice", async () => {
  const known: Ask = { token: world.alice, headers: { 'X-Forwarded-For': '198.51.100.1' } };
  expect(await replica.ask(known)).toMatchObject({ status: 200 });
  const fresh = await addCredential(database, 'alice');
  const startedMs = performance.now();
  await exhaust();
  const loadsBefore = await loads();
  const limitedBefore = await limited();
  const exhaustedMs = performance.now();

  const blocker = await database.connect();
  await blocker.query('begin; lock table gatebell.credentials, gatebell.apps in access exclusive mode');
  const flood: Promise<Answer>[] = [];
  let answered = 0;
  for (let at = 0; at < FLOOD; at += 1) {
    flood.push(
      replica.ask(madeUp()).finally(() => {
        answered += 1;
      }),
    );
    if (at % 50 === 0) {
      // Between them, answered from memory, without Postgres.
      expect(await replica.ask(known)).toMatchObject({ status: 200, reason: 'granted' });
    }
  }
  // Each one that waits has reserved a token before; what is left of the bucket has been refilled since.
  const mayWait = (): number => 2 + Math.ceil((PER_SECOND * (performance.now() - exhaustedMs)) / 1_000);
  while (answered < FLOOD - mayWait()) {
    expect(await replica.ask(known)).toMatchObject({ status: 200, reason: 'granted' });
  }
  expect(await waiting()).toBeLessThanOrEqual(mayWait());
  expect((await limited()) - limitedBefore).toBeGreaterThanOrEqual(FLOOD - mayWait());
  // One whom the replica does not know waits for Postgres, and for nobody else.
  const newcomer = replica.ask({ token: fresh, headers: { 'X-Forwarded-For': '198.51.100.2' } });
  while ((await waiting()) === 0) {
    // It has arrived when it is counted.
  }
  await blocker.query('commit');
  await blocker.end();
  expect(await newcomer).toMatchObject({ status: 200, reason: 'granted' });

  const statuses = (await Promise.all(flood)).map(({ status }) => status);
  const inVain = statuses.filter(status => status !== 503).length;
  expect(inVain).toBeLessThanOrEqual(mayWait());
  // Each that waited may have been a query of its own, and the newcomer's credential was one.
  expect((await loads()) - loadsBefore).toBeLessThanOrEqual(mayWait() + 1);
  expect(loadsBefore).toBeLessThanOrEqual(2 + BURST + 2 + Math.ceil((PER_SECOND * (exhaustedMs - startedMs)) / 1_000));
});
