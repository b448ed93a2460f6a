/**
 * The hot path: what one answer from memory costs, beside the floor of the runtime and what people would use instead.
 * Every program is a process of its own with the same questions and the same answers, which is checked before anything
 * is measured.
 *
 * The programs take turns: in each round each of them is measured once, and each round begins with another one.
 */
import { isDeepStrictEqual } from 'node:util';
import { Redis } from 'ioredis';
import {
  AUDIENCE,
  createSigningKey,
  goodClaims,
  issue,
  ISSUER,
  type SigningKey,
} from '../../test/support/jwt-issuer.js';
import { fetchAnswer, forwardHeaders, type Replica } from '../../test/support/replica.js';
import { atLeast, atMost } from '../bar.js';
import { medianRatio, seriesOf, type Bar, type Effort, type Experiment, type Findings } from '../experiment.js';
import type { Identity } from '../peers/peer.js';
import { SESSION_SECONDS, sessionKey, type Session } from '../peers/sessions.js';
import { readLoads, startGatebell } from '../support/gatebell.js';
import {
  askForAll,
  describeLoadGenerator,
  putLoad,
  type Load,
  type LoadResult,
  type Rotation,
} from '../support/load.js';
import { buildPrograms, processorMs, startProgram, type Program } from '../support/program.js';
import { startRedis } from '../support/redis.js';
import { createSeriesLog, type SeriesLog } from '../support/series.js';
import { createWorld, type World } from '../support/measured-world.js';

const GATEBELL = 'gatebell';
const PEERS = ['express', 'before', 'prepared', 'ttl', 'redis-read', 'redis-read-write', 'bento'] as const;
const FLOOR = 'floor';
const EVERYBODY = [GATEBELL, FLOOR, ...PEERS];
const WITH_BARS = [GATEBELL, FLOOR, 'express', 'before', 'redis-read', 'redis-read-write'];
/** A user with one grant, as most are; the first has a grant for every app. */
const ORDINARY = 1;
const SESSION_BYTES = 1_024;
const LONG_TOKEN_CHARACTERS = 1_200;

interface Sizes {
  readonly users: number;
  readonly apps: number;
  /**
   * Seconds of load before the first round, in as many runs: a program is compiled for good when it has seen
   * connections come and go.
   */
  readonly warmUps: number;
  readonly rounds: number;
  readonly seconds: number;
}

const FULL: Sizes = { users: 100_000, apps: 10_000, warmUps: 10, rounds: 9, seconds: 1 };
const QUICK: Sizes = { users: 10_000, apps: 1_000, warmUps: 4, rounds: 3, seconds: 1 };

interface Scenario {
  readonly name: string;
  readonly connections: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly rotation?: Rotation;
  /** Whether all answers must refuse; else none may. */
  readonly refused: boolean;
  /** Who is measured. */
  readonly variants: readonly string[];
}

/** A process under load. */
interface Target {
  readonly variant: string;
  readonly url: string;
  readonly pid: number;
}

/** Everything that runs during the experiment. */
interface Bench {
  readonly world: World;
  /** Signs JWTs that Gatebell accepts. */
  readonly key: SigningKey;
  readonly gatebell: Replica;
  /** By variant, and the floor of public answers under its own name. */
  readonly targets: ReadonlyMap<string, Target>;
  close(): Promise<void>;
}

const PUBLIC_FLOOR = 'floor of public answers';
const MAIN = 'cookie, 32 connections';

/** Headers of an answer as they came, without those that say when. */
async function answerHeaders(url: string, headers: Readonly<Record<string, string>>): Promise<Record<string, string>> {
  const { headers: sent } = await fetchAnswer(`${url}/auth/forward`, headers);
  return Object.fromEntries(
    Object.entries(sent)
      .filter(([name]) => name !== 'date')
      .map(([name, value]) => [name, String(value)]),
  );
}

/** Headers as a server sets them: those that Node adds are not among them. */
function floorHeaders(headers: Readonly<Record<string, string>>): string {
  const added = new Set(['connection', 'keep-alive']);
  return JSON.stringify(Object.entries(headers).flatMap(([name, value]) => (added.has(name) ? [] : [name, value])));
}

/** The user's number as names have it. */
const numberOf = (user: number): string => String(user).padStart(6, '0');

function sessionOf(user: number): string {
  const name = numberOf(user);
  const session: Session = {
    user: `user-${name}`,
    name: `User ${name}`,
    email: `user-${name}@example.test`,
    groups: ['family'],
    role: 'user',
    lastActivityMs: Date.now(),
    accessToken: '',
  };
  const accessToken = 'x'.repeat(SESSION_BYTES - JSON.stringify(session).length);
  return JSON.stringify({ ...session, accessToken });
}

/** Puts a session for each token into Redis, as signing in would have. */
async function storeSessions(port: number, tokens: readonly string[]): Promise<void> {
  const redis = new Redis({ host: '127.0.0.1', port });
  const batchSize = 1_000;
  for (let first = 0; first < tokens.length; first += batchSize) {
    const pipeline = redis.pipeline();
    tokens.slice(first, first + batchSize).forEach((token, index) => {
      pipeline.set(sessionKey(token), sessionOf(first + index + 1), 'EX', 24 * SESSION_SECONDS);
    });
    await pipeline.exec();
  }
  redis.disconnect();
}

/** Starts everything. */
async function setUp({ users, apps }: Sizes, log: Effort['log']): Promise<Bench> {
  const cleanups: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const cleanup of cleanups.toReversed()) {
      await cleanup();
    }
  };
  try {
    log(`${users} users, ${apps} apps`);
    await buildPrograms([FLOOR, ...PEERS].map(name => `peers/${name}`));
    const world = await createWorld({ users, apps });
    cleanups.push(() => world.close());
    const redis = await startRedis();
    cleanups.push(() => redis.stop());
    await storeSessions(redis.port, world.tokens);
    const key = createSigningKey('ES256');
    const gatebell = await startGatebell(world.databaseUrl, {
      GATEBELL_JWT_ISSUER: ISSUER,
      GATEBELL_JWT_AUDIENCE: AUDIENCE,
      GATEBELL_JWT_KEY: key.text,
    });
    cleanups.push(() => gatebell.stop());

    const ask = { host: world.hosts[0]!, cookie: world.tokens[ORDINARY]! };
    await gatebell.askUntil('granted', ask);
    const granted = await answerHeaders(gatebell.auth, forwardHeaders(ask));
    const open = await answerHeaders(gatebell.auth, forwardHeaders({ ...ask, uri: '/public/logo.png' }));
    const identity: Identity = {
      user: granted['remote-user']!,
      name: granted['remote-name']!,
      email: granted['remote-email']!,
      groups: granted['remote-groups']!,
      app: granted['x-gatebell-app']!,
      role: granted['x-gatebell-role']!,
    };
    const env = {
      DATABASE_URL: world.databaseUrl,
      REDIS_PORT: String(redis.port),
      PEER_HEADERS: floorHeaders(granted),
      PEER_IDENTITY: JSON.stringify(identity),
    };
    const targets = new Map<string, Target>();
    const add = (variant: string, program: Pick<Program, 'url' | 'pid'>): void => {
      targets.set(variant, { variant, url: `${program.url}/auth/forward`, pid: program.pid });
    };
    const start = async (variant: string, name: string, more: Readonly<Record<string, string>> = {}): Promise<void> => {
      const program = await startProgram(`peers/${name}`, { ...env, ...more });
      cleanups.push(() => program.stop());
      add(variant, program);
      const expected = variant === PUBLIC_FLOOR ? open : granted;
      const given = await answerHeaders(program.url, forwardHeaders(ask));
      if (!isDeepStrictEqual(given, expected)) {
        throw new Error(
          `${variant} does not answer as Gatebell does: ${JSON.stringify(given)}, not ${JSON.stringify(expected)}`,
        );
      }
    };
    add(GATEBELL, { url: gatebell.auth, pid: gatebell.child.pid! });
    await start(PUBLIC_FLOOR, FLOOR, { PEER_HEADERS: floorHeaders(open) });
    for (const name of [FLOOR, ...PEERS]) {
      await start(name, name);
    }
    return { world, key, gatebell, targets, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What is measured, and on whom: everybody on the question that the bars are about. */
function scenariosOf({ world: { tokens, hosts }, key }: Bench, quick: boolean): Scenario[] {
  const host = hosts[0]!;
  const cookie = tokens[ORDINARY]!;
  const few = [GATEBELL, FLOOR];
  const some = [...few, 'express', 'redis-read'];
  const caches = quick ? few : [...few, 'prepared', 'ttl', 'redis-read', 'bento'];
  const common = { connections: 32, refused: false };
  const cookies = (connections: number, variants: readonly string[]): Scenario => ({
    ...common,
    name: `cookie, ${connections} ${connections === 1 ? 'connection' : 'connections'}`,
    connections,
    headers: forwardHeaders({ host, cookie }),
    variants,
  });
  const main = cookies(32, quick ? WITH_BARS : EVERYBODY);
  const users: Scenario = {
    ...common,
    name: `${tokens.length.toLocaleString('en')} users`,
    headers: forwardHeaders({ host }),
    rotation: { header: 'Cookie', values: tokens.map(token => `gatebell=${token}`), order: 'random' },
    variants: caches,
  };
  const jwt: Scenario = {
    ...common,
    name: 'JWT',
    headers: forwardHeaders({
      host,
      token: issue(key, { ...goodClaims(Date.now()), sub: `user-${numberOf(ORDINARY + 1)}` }),
    }),
    variants: few,
  };
  if (quick) {
    return [main, jwt, users];
  }
  return [
    main,
    cookies(1, some),
    cookies(256, some),
    {
      ...common,
      name: 'public',
      headers: forwardHeaders({ host, uri: '/public/logo.png' }),
      variants: [GATEBELL, PUBLIC_FLOOR],
    },
    {
      ...common,
      name: 'bearer',
      headers: forwardHeaders({ host, token: cookie }),
      variants: [...few, 'ttl', 'redis-read'],
    },
    jwt,
    {
      ...common,
      name: 'foreign bearer of 1,200 characters, refused',
      headers: forwardHeaders({ host, token: `eyJ${'x'.repeat(LONG_TOKEN_CHARACTERS - 3)}` }),
      refused: true,
      variants: [GATEBELL],
    },
    {
      ...common,
      name: `${hosts.length.toLocaleString('en')} apps`,
      headers: forwardHeaders({ cookie: tokens[0]! }),
      rotation: { header: 'X-Forwarded-Host', values: hosts, order: 'random' },
      variants: caches,
    },
    users,
  ];
}

const loadOf = (scenario: Scenario, target: Target, seconds: number): Load => ({
  url: target.url,
  connections: scenario.connections,
  seconds,
  headers: scenario.headers,
  ...(scenario.rotation === undefined ? {} : { rotation: scenario.rotation }),
});

/**
 * Measures one variant once.
 * @throws when answers were not what the scenario expects: the figures would mean something else
 */
async function measure(
  bench: Bench,
  scenario: Scenario,
  target: Target,
  seconds: number,
  series: SeriesLog,
): Promise<Mishaps> {
  // A program that others have taken turns with comes back to its speed first.
  await putLoad(loadOf(scenario, target, 1));
  const isGatebell = target.variant === GATEBELL;
  const loadsBefore = isGatebell ? (await readLoads(bench.gatebell)).queries : 0;
  const processorBeforeMs = processorMs(target.pid);
  const result = await putLoad(loadOf(scenario, target, seconds));
  const processorAfterMs = processorMs(target.pid);

  const variant = target.variant === PUBLIC_FLOOR ? FLOOR : target.variant;
  const add = (metric: string, unit: string, value: number): void => {
    series.add({ variant, scenario: scenario.name, metric, unit }, value);
  };
  add('requests per second', '1/s', result.requestsPerSecond);
  add('p50', 'ms', result.p50Ms);
  add('p99', 'ms', result.p99Ms);
  add('p99.9', 'ms', result.p999Ms);
  if (processorBeforeMs !== null && processorAfterMs !== null) {
    add('processor time per request', 'µs', ((processorAfterMs - processorBeforeMs) * 1_000) / result.requests);
  }
  if (isGatebell) {
    add('load queries', '', (await readLoads(bench.gatebell)).queries - loadsBefore);
  }
  return { broken: result.failed, wrong: countWrong(scenario, target, result) };
}

/** What went wrong in a measurement. */
interface Mishaps {
  readonly broken: number;
  readonly wrong: number;
}

/** A few answers of a peer may be wrong (one of bento's 14,070 was, once); none of Gatebell's. */
const WRONG_SHARE_MAX = 0.001;

function countWrong(
  { name, refused }: Scenario,
  { variant }: Target,
  { requests, refused: denied }: LoadResult,
): number {
  const wrong = refused ? requests - denied : denied;
  if (requests === 0 || wrong > (variant === GATEBELL ? 0 : requests * WRONG_SHARE_MAX)) {
    throw new Error(
      `${variant}, ${name}: of ${requests} answers, ${denied} refused; ${refused ? 'all' : 'none'} should`,
    );
  }
  return wrong;
}

/** Makes a variant ready to be measured: code compiled, what can be in memory there. */
async function warmUp(scenario: Scenario, target: Target, warmUps: number): Promise<void> {
  const load = loadOf(scenario, target, 1);
  if (scenario.rotation !== undefined) {
    await askForAll(load, scenario.rotation);
  } else {
    for (let times = 0; times < warmUps; times++) {
      await putLoad(load);
    }
  }
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const sizes = quick ? QUICK : FULL;
  const series = createSeriesLog();
  const notes = [
    `${sizes.rounds} rounds of ${sizes.seconds} s, each after a second of the same load that is not counted; ` +
      `${sizes.users.toLocaleString('en')} users, ${sizes.apps.toLocaleString('en')} apps. 32 connections where ` +
      'nothing else is said.',
    'All programs answer with the same headers as Gatebell does; this was compared before measuring.',
    'Processor time is that of the answering process alone, not of Postgres or Redis.',
    describeLoadGenerator(),
    'ioredis with its auto-pipelining: commands of one turn are sent together. Sessions in Redis are not ' +
      'encrypted, as those of oauth2-proxy are.',
  ];
  if (quick) {
    notes.push(
      'Quick: fewer rounds than the bars ask for, fewer users and apps, three scenarios only, and only the peers ' +
        'that bars are about, in the others only the floor.',
    );
  }
  const bench = await setUp(sizes, log);
  try {
    let broken = 0;
    let wrong = 0;
    const warm = new Set<Target>();
    for (const scenario of scenariosOf(bench, quick)) {
      const targets = scenario.variants.map(variant => bench.targets.get(variant)!);
      log(`${scenario.name}: ${targets.length} programs`);
      for (const target of targets) {
        await warmUp(scenario, target, warm.has(target) ? 0 : sizes.warmUps);
        warm.add(target);
      }
      for (let round = 0; round < sizes.rounds; round++) {
        const first = round % targets.length;
        for (const target of [...targets.slice(first), ...targets.slice(0, first)]) {
          const mishaps = await measure(bench, scenario, target, sizes.seconds, series);
          broken += mishaps.broken;
          wrong += mishaps.wrong;
        }
      }
    }
    notes.push(
      `Connections that broke, and answers that took longer than 2 s, in all: ${broken}. Wrong answers, all of ` +
        `them of peers: ${wrong}.`,
    );
    return { series: series.all, notes };
  } finally {
    await bench.close();
  }
}

const against = (variant: string, least: number): Bar =>
  atLeast(`hot path, ${MAIN}: requests per second, Gatebell against ${variant}`, least, findings =>
    medianRatio(
      seriesOf(findings, GATEBELL, MAIN, 'requests per second'),
      seriesOf(findings, variant, MAIN, 'requests per second'),
    ),
  );

export const hotPath: Experiment = {
  name: 'hot-path',
  title: 'Hot path',
  about:
    'What one answer from memory costs, against the floor (bare `node:http` that answers the same and looks at ' +
    'nothing) and what people would use instead.',
  bars: [
    against(FLOOR, 0.8),
    against('express', 3.5),
    against('before', 10),
    against('redis-read', 1.2),
    against('redis-read-write', 1.7),
    atMost(`hot path, ${MAIN}: p99, Gatebell against floor`, 2, findings =>
      medianRatio(seriesOf(findings, GATEBELL, MAIN, 'p99'), seriesOf(findings, FLOOR, MAIN, 'p99')),
    ),
  ],
  run,
};
