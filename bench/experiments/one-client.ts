/**
 * What one client can do to the others. Its dearest request is bred against the gate in this process, and then weighed
 * at the built program: processor time beside an ordinary request. Then it floods, while users whom the replica knows,
 * and some whom it does not know yet, ask as they do alone.
 *
 * All share the machine: load generators, Postgres, the gate. So a flood has a rate that leaves processors idle, and
 * beside it stands the same rate of ordinary requests; what a client can take that is held back by nothing is measured
 * for comparison.
 */
import { createToken, hashToken } from '../../src/auth/token.js';
import { ORDINARY, JWT_ISSUER, type Genome } from '../../test/security/cost/genome.js';
import { KNOWN_DEAR } from '../../test/security/cost/known.js';
import { searchDearest } from '../../test/security/cost/search.js';
import { APP_HOSTS, LOGIN_URL, OPEN_HOST, USER_TOKENS } from '../../test/security/fuzz/fuzzed-apps.js';
import { createSigningKey } from '../../test/support/jwt-issuer.js';
import type { Ask, Replica } from '../../test/support/replica.js';
import { atMost } from '../bar.js';
import { medianRatio, seriesOf, type Bar, type Effort, type Experiment, type Findings } from '../experiment.js';
import type { Body, ClientsCommand, Questions, Stream, StreamResult } from '../support/clients.js';
import { readLoads, startGatebell } from '../support/gatebell.js';
import { buildPrograms, processorMs } from '../support/program.js';
import { createSeriesLog, type SeriesLog } from '../support/series.js';
import { startWorker, type Worker } from '../support/worker.js';
import { createWorld, type World } from '../support/measured-world.js';

const PROGRAM = 'support/clients';

const COST = 'one request';
const COST_OF_BODY = 'one request, its body passed on to the gate';
const PROCESSOR = 'processor time per request';
const ORDINARY_REQUEST = 'an ordinary request';
const ALONE = 'alone';
const KNOWN = 'known users';
const NEW = 'new users';
const FLOOD = 'the flood';
const FLOODS = { tokens: 'made-up tokens', hosts: 'made-up hosts', dearest: 'the dearest request' } as const;
const WRONG = 'users refused, or not answered';
/** What the name of a variant ends with whose one client asks at a rate. */
const AT_A_RATE = ' per second';
const RIGHT = '200 granted';
const BESIDE_ORDINARY = 'ordinary requests';

/** Of the one client, in a second. */
const FLOOD_PER_SECOND = 2_000;
/** Of its dearest request, for comparison. */
const FEWER_PER_SECOND = 500;
const FLOOD_CONNECTIONS = 32;
/** As a proxy tells of it. */
const CLIENT = '192.0.2.66';
/** So many different requests of a kind: more than are remembered of any. */
const VARIETY = 2_000;
const MADE_UP = 20_000;

const KNOWN_USERS = 500;
const KNOWN_STREAM: Stream = { questions: KNOWN, connections: 32, perSecond: 1_000 };
const NEW_STREAM: Stream = { questions: NEW, connections: 64, perSecond: 100 };

const BODIES: Readonly<Record<string, Body>> = {
  'a body of 16 kB': { bytes: 16_384, chunk: null },
  'a body of 1 kB in chunks of one byte': { bytes: 1_024, chunk: 1 },
};

interface Sizes {
  readonly users: number;
  readonly rounds: number;
  /** Of a measurement of the users. */
  readonly seconds: number;
  /** Of the weighing of one request. */
  readonly weighingSeconds: number;
  /** Searches, each with dice of its own, and the requests that each breeds. */
  readonly searches: number;
  readonly bred: number;
  readonly isSaturating: boolean;
}

const FULL: Sizes = {
  users: 50_000,
  rounds: 9,
  seconds: 2,
  weighingSeconds: 0.5,
  searches: 3,
  bred: 6_000,
  isSaturating: true,
};
const QUICK: Sizes = {
  users: 5_000,
  rounds: 3,
  seconds: 2,
  weighingSeconds: 0.3,
  searches: 1,
  bred: 2_000,
  isSaturating: false,
};

interface Bench {
  readonly world: World;
  readonly gatebell: Replica;
  readonly users: Worker<ClientsCommand>;
  readonly client: Worker<ClientsCommand>;
  readonly port: number;
  close(): Promise<void>;
}

const FUZZ_WORLD = `
  with user_of_all as (insert into gatebell.users (id, name) values (1000001, 'user-of-all') returning id),
    fresh as (insert into gatebell.apps (id, name, host) select 1000000 + n, 'fuzz-' || n, host
      from unnest($1::text[]) with ordinality as t (host, n) returning id, host),
    rules as (insert into gatebell.app_routes (app_id, path_prefix, access)
      select id, '/me', 'authenticated' from fresh
      union all select id, path_prefix, access
        from fresh, (values ('/pub', 'public'), ('/pub/admin', 'grant')) as r (path_prefix, access) where host = $2),
    granted as (insert into gatebell.grants (user_id, app_id) select u.id, f.id from user_of_all u, fresh f)
  insert into gatebell.credentials (user_id, kind, token_hash) select id, 'session', decode($3, 'hex')
    from user_of_all`;

/** Starts everything. */
async function setUp({ users }: Sizes): Promise<Bench> {
  const cleanups: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const cleanup of cleanups.toReversed()) {
      await cleanup();
    }
  };
  try {
    await buildPrograms([PROGRAM]);
    const world = await createWorld({ users, apps: 100 });
    cleanups.push(() => world.close());
    // What requests are bred for.
    await world.query(FUZZ_WORLD, [APP_HOSTS, OPEN_HOST, hashToken(USER_TOKENS[0]!)]);
    const gatebell = await startGatebell(world.databaseUrl, {
      GATEBELL_JWT_ISSUER: JWT_ISSUER,
      GATEBELL_JWT_AUDIENCE: 'gatebell.test',
      GATEBELL_JWT_KEY: createSigningKey('HS256').text,
      GATEBELL_JWT_ALGORITHMS: 'HS256',
      GATEBELL_LOGIN_URL: LOGIN_URL,
      GATEBELL_STRIP_CREDENTIALS: 'true',
    });
    cleanups.push(() => gatebell.stop());
    const start = (): Worker<ClientsCommand> => {
      const worker = startWorker<ClientsCommand>(PROGRAM, {});
      cleanups.push(() => worker.stop());
      return worker;
    };
    return { world, gatebell, users: start(), client: start(), port: Number(new URL(gatebell.auth).port), close };
  } catch (error) {
    await close();
    throw error;
  }
}

const prepare = (worker: Worker<ClientsCommand>, name: string, questions: Questions): Promise<unknown> =>
  worker.ask({ do: 'prepare', name, questions });

const ask = ({ port }: Bench, worker: Worker<ClientsCommand>, streams: readonly Stream[], seconds: number) =>
  worker.ask<StreamResult[]>({ do: 'ask', port, streams, seconds });

const asOneClient = (genome: Genome, body?: Body): Questions => ({
  genome,
  session: USER_TOKENS[0]!,
  address: CLIENT,
  times: VARIETY,
  ...(body === undefined ? {} : { body }),
});

/** Weighs requests in turns. */
async function weigh(
  bench: Bench,
  scenario: string,
  candidates: ReadonlyMap<string, Questions>,
  { rounds, weighingSeconds }: Sizes,
  series: SeriesLog,
): Promise<void> {
  const { client, gatebell } = bench;
  for (const [name, questions] of candidates) {
    await prepare(client, name, questions);
  }
  const stream = { connections: FLOOD_CONNECTIONS, perSecond: null };
  const names = [...candidates.keys()];
  // Until its code is compiled.
  await ask(bench, client, [{ ...stream, questions: ORDINARY_REQUEST }], 2);
  for (let round = -1; round < rounds; round++) {
    const first = (round + names.length) % names.length;
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      const beforeMs = processorMs(gatebell.child.pid!) ?? NaN;
      const [result] = await ask(bench, client, [{ ...stream, questions: name }], weighingSeconds);
      const spentMs = (processorMs(gatebell.child.pid!) ?? NaN) - beforeMs;
      if (round >= 0) {
        series.add({ variant: name, scenario, metric: PROCESSOR, unit: 'µs' }, (spentMs * 1_000) / result!.answers);
      }
    }
  }
}

/** The dearest request, and how many ordinary ones it costs. */
function dearestOf(findings: Findings): { readonly name: string; readonly ratio: number } | undefined {
  const ordinary = seriesOf(findings, ORDINARY_REQUEST, COST, PROCESSOR);
  return findings.series
    .filter(one => one.scenario === COST && one !== ordinary)
    .map(one => ({ name: one.variant, ratio: medianRatio(one, ordinary) ?? NaN }))
    .toSorted((one, other) => other.ratio - one.ratio)[0];
}

/** What is beside the users. */
interface Situation {
  readonly name: string;
  readonly flood: Stream | null;
}

const atRate = (name: string, perSecond = FLOOD_PER_SECOND): string =>
  `beside ${name}, ${perSecond.toLocaleString('en')}${AT_A_RATE}`;
const saturating = (name: string): string => `beside ${name}, as many as are answered`;

function situationsOf({ isSaturating }: Sizes): Situation[] {
  const kinds = [BESIDE_ORDINARY, ...Object.values(FLOODS)];
  const flood = (questions: string, perSecond: number | null): Stream => ({
    questions,
    connections: FLOOD_CONNECTIONS,
    perSecond,
  });
  return [
    { name: ALONE, flood: null },
    ...kinds.map(kind => ({ name: atRate(kind), flood: flood(kind, FLOOD_PER_SECOND) })),
    { name: atRate(FLOODS.dearest, FEWER_PER_SECOND), flood: flood(FLOODS.dearest, FEWER_PER_SECOND) },
    ...(isSaturating ? kinds.map(kind => ({ name: saturating(kind), flood: flood(kind, null) })) : []),
  ];
}

/** Who asks what, from where. */
async function prepareAll({ world: { tokens, hosts }, users, client }: Bench, dearest: Questions): Promise<void> {
  const host = hosts[0]!;
  const asUser = (token: string, user: number): Ask => ({
    host,
    uri: `/photos/${user}`,
    cookie: token,
    headers: { 'X-Forwarded-For': `198.18.${user >> 8}.${user & 255}` },
  });
  await prepare(users, KNOWN, { asks: tokens.slice(0, KNOWN_USERS).map(asUser) });
  await prepare(users, NEW, { asks: tokens.slice(KNOWN_USERS).map(asUser) });
  const headers = { 'X-Forwarded-For': CLIENT };
  const many = Array.from({ length: MADE_UP }, (_, at) => at);
  await prepare(client, FLOODS.tokens, { asks: many.map(() => ({ host, cookie: createToken(), headers })) });
  await prepare(client, FLOODS.hosts, { asks: many.map(at => ({ host: `h${at}.made-up.test`, headers })) });
  await prepare(client, FLOODS.dearest, dearest);
  await prepare(client, BESIDE_ORDINARY, asOneClient(ORDINARY));
}

/** Users ask, beside a flood or not. */
async function measureUsers(
  bench: Bench,
  { name, flood }: Situation,
  seconds: number,
  series: SeriesLog | null,
): Promise<void> {
  const { users, client, gatebell } = bench;
  const loadsBefore = (await readLoads(gatebell)).queries;
  const beforeMs = processorMs(gatebell.child.pid!) ?? NaN;
  const startedMs = performance.now();
  const [[known, fresh], flooded] = await Promise.all([
    ask(bench, users, [KNOWN_STREAM, NEW_STREAM], seconds),
    flood === null ? null : ask(bench, client, [flood], seconds),
  ]);
  const tookMs = performance.now() - startedMs;
  const busy = ((processorMs(gatebell.child.pid!) ?? NaN) - beforeMs) / tookMs;
  const loads = (await readLoads(gatebell)).queries - loadsBefore;
  const add = (scenario: string, metric: string, unit: string, value: number): void =>
    series?.add({ variant: name, scenario, metric, unit }, value);
  for (const [scenario, { p50Ms, p99Ms, said }] of [
    [KNOWN, known!],
    [NEW, fresh!],
  ] as const) {
    add(scenario, 'p50', 'ms', p50Ms);
    add(scenario, 'p99', 'ms', p99Ms);
    const wrong = Object.entries(said).filter(([answer]) => answer !== RIGHT);
    add(
      scenario,
      WRONG,
      '',
      wrong.reduce((sum, [, times]) => sum + times, 0),
    );
  }
  add(FLOOD, 'answers per second', '1/s', flooded?.[0]!.perSecond ?? 0);
  add(FLOOD, 'processors that the gate used', '', busy);
  add(FLOOD, 'load queries per second', '1/s', (loads * 1_000) / tookMs);
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const sizes = quick ? QUICK : FULL;
  const series = createSeriesLog();
  const candidates = new Map<string, Questions>([[ORDINARY_REQUEST, asOneClient(ORDINARY)]]);
  for (const [name, genome] of Object.entries(KNOWN_DEAR)) {
    candidates.set(name, asOneClient(genome));
  }
  for (let seed = 1; seed <= sizes.searches; seed++) {
    const begin = Object.values(KNOWN_DEAR);
    const { genome, ratio, status } = await searchDearest({ seed, requests: sizes.bred, begin });
    log(`search ${seed}: ${ratio.toFixed(1)} ordinary requests in this process, status ${status}`);
    candidates.set(`found by search ${seed}`, asOneClient(genome));
  }
  const bodies = new Map<string, Questions>([[ORDINARY_REQUEST, asOneClient(ORDINARY)]]);
  for (const [name, body] of Object.entries(BODIES)) {
    bodies.set(name, asOneClient(ORDINARY, body));
  }
  const bench = await setUp(sizes);
  try {
    log(`${candidates.size} requests are weighed`);
    await weigh(bench, COST, candidates, sizes, series);
    const { name: dearest, ratio } = dearestOf({ series: series.all, notes: [] })!;
    log(`the dearest: ${dearest}, ${ratio.toFixed(1)} ordinary requests at the built program`);
    await weigh(bench, COST_OF_BODY, bodies, sizes, series);
    await prepareAll(bench, candidates.get(dearest)!);
    const situations = situationsOf(sizes);
    for (const situation of situations) {
      await measureUsers(bench, situation, 1, null);
    }
    for (let round = 0; round < sizes.rounds; round++) {
      log(`round ${round + 1} of ${sizes.rounds}`);
      const first = round % situations.length;
      for (const situation of [...situations.slice(first), ...situations.slice(0, first)]) {
        await measureUsers(bench, situation, sizes.seconds, series);
      }
    }
    return { series: series.all, notes: notesOf(sizes, dearest, quick) };
  } finally {
    await bench.close();
  }
}

const UNBOUNDED_FLOOD =
  ' *As many as are answered*: each connection asks again at once; no bar is about that, because the one event loop, ' +
  'and the processors that the load generators need themselves, are then taken by the client that asks most: what ' +
  'helps there is a limit at the proxy.';

function notesOf(
  { rounds, seconds, weighingSeconds, searches, bred }: Sizes,
  dearest: string,
  quick: boolean,
): string[] {
  return [
    `One request: ${searches} ${searches === 1 ? 'search' : 'searches'} of ${bred.toLocaleString('en')} bred ` +
      `requests each, in the process of the bench, then ${rounds} rounds of ${weighingSeconds} s at the built ` +
      `program, ${FLOOD_CONNECTIONS} connections; processor time of all its threads, that of the kernel for it ` +
      `included. The dearest was: ${dearest}.`,
    'Bodies are told apart: the proxies that `deploy/` sets up keep them to ' +
      'themselves, so no client can send one to the gate. Node calls back for each chunk ' +
      'of one; where a proxy is told to pass bodies on, it bounds them.',
    `Users: ${KNOWN_STREAM.perSecond?.toLocaleString('en')} requests per second of ${KNOWN_USERS} users whom the ` +
      `replica knows, over ${KNOWN_STREAM.connections} connections, and ${NEW_STREAM.perSecond} per second of users ` +
      `whom it does not know, each once, over ${NEW_STREAM.connections}; every user has an address. ${rounds} ` +
      `rounds of ${seconds} s. A time counts from when the request was due.`,
    `The one client: one address behind the proxy, ${FLOOD_CONNECTIONS} connections, ` +
      `${FLOOD_PER_SECOND.toLocaleString('en')} requests per second, where nothing else is said.` +
      (quick ? '' : UNBOUNDED_FLOOD),
    'Load generators, Postgres and the gate share the processors of this machine, so a time beside a flood is ' +
      'also one beside the program that floods.',
  ].concat(quick ? ['Quick: fewer rounds than the bars ask for, a shorter search, and no flood beyond the rate.'] : []);
}

const calm = (users: string, flood: string): Bar =>
  atMost(
    `one client, ${FLOOD_PER_SECOND.toLocaleString('en')} per second of ` +
      `${flood}: p99 of ${users}, beside it against alone`,
    2,
    findings => medianRatio(seriesOf(findings, atRate(flood), users, 'p99'), seriesOf(findings, ALONE, users, 'p99')),
  );

/** Users who were not answered as they must be, beside floods that have a rate. */
function mostWrong({ series }: Findings): number | null {
  const counts = series.filter(({ metric, variant }) => metric === WRONG && variant.endsWith(AT_A_RATE));
  return counts.length === 0 ? null : Math.max(...counts.flatMap(({ rounds }) => rounds));
}

export const oneClient: Experiment = {
  name: 'one-client',
  title: 'One client against the others',
  about:
    'What the dearest request costs that a search finds, against an ordinary one; and how long others wait while ' +
    'one client floods the gate with what it makes up.',
  bars: [
    atMost(
      'one client, the dearest request: processor time, against an ordinary one',
      20,
      findings => dearestOf(findings)?.ratio ?? null,
    ),
    atMost('one client, at any of these rates: users refused, in any round', 0, mostWrong),
    ...Object.values(FLOODS).flatMap(flood => [calm(KNOWN, flood), calm(NEW, flood)]),
  ],
  run,
};
