/**
 * A flood of made-up tokens and hosts: real users keep working, those that the replica knows and those that it does not
 * know yet; memory has its bounds, and a single source soon costs Postgres nothing.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createToken } from '../../src/auth/token.js';
import { bytesOf, createConnection, type Answer } from '../support/auth-server.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { forwardHeaders, startReplica, type Ask, type Replica } from '../support/replica.js';
import { addCredential, createWorld, type World } from '../support/gate-rows.js';

const FLOOD = 200_000;
const FLOODERS = 64;
const USERS = 8;
/** Negative entries of a topic, at most. */
const NEGATIVE_ENTRIES_MAX = 10_000;
/** Misses that one client may have at once, and a second; see src/auth/client-rate-limiter.ts. */
const BURST = 200;
const PER_SECOND = 20;

let database: TestDatabase;
let replica: Replica;
let world: World;
let port: number;

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  replica = await startReplica(database.url, { nodeArgs: ['--expose-gc', '--import', PROBE] });
  port = Number(new URL(replica.auth).port);
});

afterAll(async () => {
  await replica.stop();
  await database.drop();
});

const PROBE = new URL('../soak/memory-probe.mjs', import.meta.url).href;

const bytes = (ask: Ask): string => bytesOf('/auth/forward', Object.entries(forwardHeaders(ask)), 'GET', 'keep-alive');

interface Series {
  readonly statuses: Readonly<Record<string, number>>;
  readonly latenciesMs: readonly number[];
}

/** Asks over one connection until told to stop, with what `next` says. */
async function askOn(next: () => Ask | null): Promise<Series> {
  const connection = createConnection(port);
  const statuses: Record<string, number> = {};
  const latenciesMs: number[] = [];
  for (let ask = next(); ask !== null; ask = next()) {
    const startedMs = performance.now();
    const answer = await connection.send(bytes(ask));
    latenciesMs.push(performance.now() - startedMs);
    const said = answer === null ? 'closed' : `${answer.status} ${answer.headers['x-gatebell-reason']}`;
    statuses[said] = (statuses[said] ?? 0) + 1;
  }
  connection.close();
  return { statuses, latenciesMs };
}

function join(all: readonly Series[]): Series {
  const statuses: Record<string, number> = {};
  for (const each of all) {
    for (const [said, times] of Object.entries(each.statuses)) {
      statuses[said] = (statuses[said] ?? 0) + times;
    }
  }
  return { statuses, latenciesMs: all.flatMap(each => each.latenciesMs).sort((a, b) => a - b) };
}

const quantile = ({ latenciesMs }: Series, q: number): string =>
  (latenciesMs[Math.floor(q * (latenciesMs.length - 1))] ?? NaN).toFixed(1);

const loads = async (): Promise<number> => {
  const counts = ['credential', 'app'].map(topic => replica.metric(`gatebell_db_queries_total{query="load_${topic}"}`));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
};

async function heapUsed(): Promise<number> {
  const since = replica.lines.length;
  replica.child.kill('SIGUSR2');
  return Number((await replica.waitFor(line => line.event === 'memory', since))['heapUsed']);
}

/**
 * Asks a real user's question, again and again, until the flood is over. Every third user is new each time: no replica
 * knows the token.
 */
function realUsers(isOver: () => boolean): Promise<readonly Series[]> {
  const users = Array.from({ length: USERS }, (_, index) => {
    const headers = { 'X-Forwarded-For': `198.51.100.${index}` };
    return askOn(() => (isOver() ? null : { token: index % 2 === 0 ? world.alice : world.session, headers }));
  });
  const newcomer = async (): Promise<Series> => {
    const series: Series[] = [];
    while (!isOver()) {
      const token = await addCredential(database, 'alice');
      let asked = false;
      series.push(
        await askOn(() => {
          const again = !asked;
          asked = true;
          return again ? { token, headers: { 'X-Forwarded-For': '198.51.100.99' } } : null;
        }),
      );
    }
    return join(series);
  };
  return Promise.all([Promise.all(users).then(join), newcomer()]);
}

async function flood(
  requests: number,
  ask: (index: number) => Ask,
): Promise<{ readonly flooders: Series; readonly known: Series; readonly fresh: Series }> {
  let index = 0;
  let isOver = false;
  const real = realUsers(() => isOver);
  const flooders = await Promise.all(
    Array.from({ length: FLOODERS }, () => askOn(() => (index < requests ? ask(index++) : null))),
  );
  isOver = true;
  const [known, fresh] = await real;
  return { flooders: join(flooders), known: known!, fresh: fresh! };
}

/** A token of our form that nobody has, or a host. */
const madeUp = (index: number): Ask =>
  index % 2 === 0 ? { token: createToken() } : { host: `h${index}.made-up.test`, token: world.alice };

const everyoneElse = (index: number): string => `${(index >> 16) % 200}.${(index >> 8) & 255}.${index & 255}.7`;

test('200,000 made-up tokens and hosts, from one source and from as many: real users keep working', async () => {
  await replica.ask({ token: world.alice });
  const quiet = await flood(20_000, () => ({ token: world.alice }));

  const before = { loads: await loads(), heap: await heapUsed(), atMs: performance.now() };
  const one = await flood(FLOOD / 2, index => ({ ...madeUp(index), headers: { 'X-Forwarded-For': '192.0.2.66' } }));
  const seconds = (performance.now() - before.atMs) / 1_000;
  const oneLoads = (await loads()) - before.loads;
  const many = await flood(FLOOD / 2, index => ({
    ...madeUp(index),
    headers: { 'X-Forwarded-For': everyoneElse(index) },
  }));

  const line = (name: string, { known, fresh, flooders }: typeof one): string =>
    `${name}: known users p50 ${quantile(known, 0.5)} p99 ${quantile(known, 0.99)} max ${quantile(known, 1)} ms ` +
    `(${known.latenciesMs.length}); ` +
    `new ones p50 ${quantile(fresh, 0.5)} p99 ${quantile(fresh, 0.99)} ms (${fresh.latenciesMs.length}); flood ` +
    JSON.stringify(flooders.statuses);
  process.stdout.write(
    `${[line('quiet', quiet), line('one source', one), line('100,000 sources', many)].join('\n')}\n`,
  );

  for (const { known, fresh } of [one, many]) {
    expect(Object.keys(known.statuses)).toEqual(['200 granted']);
    expect(Object.keys(fresh.statuses)).toEqual(['200 granted']);
  }
  // One client has as many misses as its burst and its rate let it have; requests that were under way when it was
  // exhausted came through.
  expect(Object.keys(one.flooders.statuses).sort()).toEqual([
    '401 bad_credential',
    '403 unknown_app',
    '503 unavailable',
  ]);
  const tokens = one.flooders.statuses['401 bad_credential'] ?? 0;
  const hosts = one.flooders.statuses['403 unknown_app'] ?? 0;
  // Those who ask for hosts show a token that is known: each user is a source of their own.
  for (const asked of [tokens, hosts]) {
    expect(asked).toBeLessThanOrEqual(BURST + PER_SECOND * seconds + 2 * FLOODERS);
  }
  const inVain = tokens + hosts;
  expect(oneLoads).toBeLessThanOrEqual(inVain + 2 * one.fresh.latenciesMs.length);
  // Nobody is limited for what others do: those with made-up tokens are never refused, the one user of all the hosts
  // is.
  expect(many.flooders.statuses['401 bad_credential']).toBe(FLOOD / 4);
  expect(Object.keys(many.flooders.statuses).sort()).toEqual([
    '401 bad_credential',
    '403 unknown_app',
    '503 unavailable',
  ]);

  const { caches } = JSON.parse((await replica.get('/status')).body) as {
    caches: { negativeEntries: number; topic: string }[];
  };
  for (const { topic, negativeEntries } of caches) {
    expect(negativeEntries, topic).toBeLessThanOrEqual(NEGATIVE_ENTRIES_MAX);
  }
  // Ten thousand negative entries of two topics, and the sources: some hundred bytes each.
  expect((await heapUsed()) - before.heap).toBeLessThan(30_000_000);
});

test('made-up cookies, each another and long, are not remembered until a small heap is full', async () => {
  const small = await startReplica(database.url, {
    nodeArgs: ['--expose-gc', '--import', PROBE, '--max-old-space-size=128'],
  });
  const connection = createConnection(Number(new URL(small.auth).port));
  const used = async (): Promise<number> => {
    const since = small.lines.length;
    small.child.kill('SIGUSR2');
    return Number((await small.waitFor(line => line.event === 'memory', since))['heapUsed']);
  };
  const ask = (n: number): Promise<Answer | null> =>
    connection.send(bytes({ headers: { Cookie: `gatebell=made-up-${n}-${'x'.repeat(9_800)}` } }));
  for (let n = 0; n < 100; n++) {
    await ask(n);
  }
  const before = await used();
  for (let n = 100; n < 20_000; n++) {
    expect((await ask(n))?.headers['x-gatebell-reason']).toBe('bad_credential');
  }
  expect((await used()) - before).toBeLessThan(10_000_000);
  connection.close();
  await small.stop();
});
