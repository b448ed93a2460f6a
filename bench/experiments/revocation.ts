/**
 * Revocation: how long after COMMIT was sent the last of N processes has forgotten, and how long after it the last of
 * them denies. Each revocation deletes the grant of a user of its own, in a transaction whose COMMIT is timed.
 *
 * - gatebell: N processes with Gatebell as a library; the time is taken when the caches have forgotten;
 * - floor: N processes with one bare `pg` client each that LISTENs to the same triggers and only takes the time;
 * - bento: N processes with bentocache; who revokes deletes the key when COMMIT is acknowledged, as an application with
 *   it would. Here the time begins when COMMIT is sent, too;
 * - ttl: N processes with a cache that forgets by time; nobody tells it anything.
 *
 * The groups take turns, and only the one whose turn it is listens. Notifications wake every listener one after the
 * other: two groups that hear the same commit would each be measured with the wake-ups of the other before or between
 * its own, and on two cores the one that Postgres signals first would win. So the processes of all groups run
 * throughout, but the others rest: they have no listening connection, nobody asks them anything, and what they have
 * heard is collected after a turn, not during it. Each round has a turn of every group, and begins with another one.
 *
 * Who forgets is measured without questions, which would take processor time from it. Who denies is measured in turns
 * of its own: nobody asks until COMMIT is acknowledged, then every process is asked again and again, over one
 * kept-alive connection, until it has denied.
 */
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { forwardHeaders } from '../../test/support/replica.js';
import { atMost } from '../bar.js';
import { medianRatio, seriesOf, type Effort, type Experiment, type Findings } from '../experiment.js';
import { bentoKey, openBento } from '../peers/bento-cache.js';
import type { Times } from '../peers/commands.js';
import type { Seen } from '../peers/library.js';
import { quantile } from '../statistics.js';
import { hostNowMs } from '../support/host-clock.js';
import { buildPrograms, startProgram, type Program } from '../support/program.js';
import { startRedis, type RedisServer } from '../support/redis.js';
import { createSeriesLog, type SeriesLog } from '../support/series.js';
import { createWorld, type World } from '../support/measured-world.js';

const GATEBELL = 'gatebell';
const FLOOR = 'floor';
const BENTO = 'bento';
const TTL = 'ttl';
/** The program of each. */
const PROGRAMS = { [GATEBELL]: 'library', [FLOOR]: 'listen', [BENTO]: 'bento', [TTL]: 'ttl' } as const;
type Variant = keyof typeof PROGRAMS;
/** Who tells when it has forgotten, and who answers questions. */
const FORGETTERS: readonly Variant[] = [GATEBELL, FLOOR, BENTO];
const DENIERS: readonly Variant[] = [GATEBELL, BENTO, TTL];

interface Sizes {
  readonly replicas: readonly number[];
  readonly rounds: number;
  /**
   * Revocations a turn: of those that are only heard, of those that are asked about, and of the latter if a cache
   * forgets by time.
   */
  readonly heard: number;
  readonly asked: number;
  readonly askedTtl: number;
}

const FULL: Sizes = { replicas: [1, 4, 16], rounds: 9, heard: 100, asked: 30, askedTtl: 3 };
const QUICK: Sizes = { replicas: [4], rounds: 3, heard: 30, asked: 8, askedTtl: 1 };
/**
 * Revocations before those that are measured, in each turn: who has rested runs cold code, and does not do so in life.
 */
const WARM_UP = 20;
/** How long the cache by time remembers. People set 30 s; the measurement would take as long for every revocation. */
const TTL_MS = 1_000;
/** Between two revocations. */
const PAUSE_MS = 10;
/** Between an answer and the next question, to each process. */
const ASK_PAUSE_MS = 1;
/** How many times more a process is asked after it has denied. */
const DENIALS = 3;
/** What takes longer has failed. */
const PATIENCE_MS = 10_000;
const MAIN = '4 replicas';

/** The processes of one variant. */
interface Group {
  readonly variant: Variant;
  readonly programs: readonly Program[];
  /** One connection to each. */
  readonly agents: readonly Agent[];
}

/** Everything that runs during the experiment. */
interface Bench {
  readonly world: World;
  readonly redis: RedisServer;
  /** The writer's own end of bentocache. */
  readonly bento: ReturnType<typeof openBento>;
  readonly writer: pg.Client;
  /** Users whose grant is still there; each is revoked once. */
  readonly users: number[];
}

/** One revocation. */
interface Commit {
  readonly sentMs: number;
  readonly acknowledgedMs: number;
}

/** What asking one process has come to. */
interface Asked {
  readonly deniedMs: number;
  /** Allows among the answers to questions that were sent after COMMIT was acknowledged. */
  readonly stale: number;
  readonly answersMs: readonly number[];
}

const scenarioOf = (replicas: number): string => `${replicas} ${replicas === 1 ? 'replica' : 'replicas'}`;

/** Takes users whose grant is still there. */
function takeUsers({ users }: Bench, count: number): number[] {
  if (users.length < count) {
    throw new Error('there are too few users for so many revocations');
  }
  return users.splice(0, count);
}

/** What the user is cached under in bentocache. */
const keyOf = ({ world }: Bench, user: number): string =>
  bentoKey({ host: world.hosts[0]!, token: world.tokens[user - 1]! });

async function ask({ world }: Bench, { programs, agents }: Group, index: number, user: number): Promise<number> {
  const request = httpRequest(`${programs[index]!.url}/auth/forward`, {
    agent: agents[index]!,
    headers: forwardHeaders({ host: world.hosts[0]!, cookie: world.tokens[user - 1]! }),
  });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  return response.statusCode ?? 0;
}

/**
 * Has every process remember the users, one process after the other: with bentocache, who loads makes all others
 * forget.
 */
async function remember(bench: Bench, group: Group, users: readonly number[]): Promise<void> {
  for (const index of group.programs.keys()) {
    for (const user of users) {
      const status = await ask(bench, group, index, user);
      if (status !== 200) {
        throw new Error(`${group.variant} answered ${status} to user ${user}, who has a grant`);
      }
    }
  }
}

/** Deletes the user's grant. The DELETE is done when the clock starts: what is timed is COMMIT. */
async function revoke({ writer }: Bench, user: number): Promise<Commit> {
  await writer.query('begin');
  await writer.query('delete from gatebell.grants where user_id = $1', [user]);
  const sentMs = hostNowMs();
  await writer.query('commit');
  return { sentMs, acknowledgedMs: hostNowMs() };
}

/** Tells the others what the writer knows, where they hear it from nobody else. */
async function tell(bench: Bench, { variant }: Group, user: number): Promise<void> {
  if (variant === BENTO) {
    await bench.bento.delete({ key: keyOf(bench, user) });
  }
}

async function commandAll({ programs }: Group, name: string): Promise<unknown[]> {
  return Promise.all(programs.map(program => program.command(name)));
}

/** Has those who can listen do so while the work is done. */
async function whileListening(group: Group, work: () => Promise<void>): Promise<void> {
  const listens = group.variant === GATEBELL || group.variant === FLOOR;
  if (listens) {
    await commandAll(group, 'listen');
  }
  await work();
  if (listens) {
    await commandAll(group, 'rest');
  }
}

/** When the last process has forgotten each of the names. */
async function collectTimes(group: Group, names: readonly string[]): Promise<number[]> {
  const last = new Map<string, number>();
  const missing = group.programs.map(() => names.length);
  const deadlineMs = hostNowMs() + PATIENCE_MS;
  for (;;) {
    const replies = await commandAll(group, 'collect');
    for (const [index, reply] of replies.entries()) {
      const times = group.variant === GATEBELL ? (reply as Seen).times : (reply as Times);
      for (const name of names) {
        const atMs = times[name];
        if (atMs !== undefined) {
          last.set(name, Math.max(last.get(name) ?? 0, atMs));
          missing[index]!--;
        }
      }
    }
    if (missing.every(count => count === 0)) {
      return names.map(name => last.get(name)!);
    }
    if (hostNowMs() > deadlineMs) {
      throw new Error(`${group.variant}: not every process has forgotten: ${missing.join(', ')} are missing`);
    }
    await sleep(PAUSE_MS);
  }
}

function addQuantiles(series: SeriesLog, variant: string, scenario: string, what: string, values: number[]): void {
  for (const [name, q] of [
    ['p50', 0.5],
    ['p99', 0.99],
    ['max', 1],
  ] as const) {
    series.add({ variant, scenario, metric: `${what}, ${name}`, unit: 'ms' }, quantile(values, q));
  }
}

/** One turn: from COMMIT sent to the last process that has forgotten. */
async function measureForgetting(bench: Bench, group: Group, count: number, series: SeriesLog): Promise<void> {
  const users = takeUsers(bench, WARM_UP + count);
  const commits: Commit[] = [];
  await whileListening(group, async () => {
    if (group.variant !== FLOOR) {
      await remember(bench, group, users);
    }
    for (const user of users) {
      commits.push(await revoke(bench, user));
      await tell(bench, group, user);
      await sleep(PAUSE_MS);
    }
    const names = users.map(user => (group.variant === BENTO ? keyOf(bench, user) : String(user)));
    const times = await collectTimes(group, names);
    const forgotten = times.map((atMs, index) => atMs - commits[index]!.sentMs);
    addQuantiles(series, group.variant, scenarioOf(group.programs.length), 'forgotten', forgotten.slice(WARM_UP));
  });
}

/** Asks one process until it has denied some times in a row. */
async function askUntilDenied(bench: Bench, group: Group, index: number, user: number): Promise<Asked> {
  const answersMs: number[] = [];
  const deadlineMs = hostNowMs() + PATIENCE_MS;
  let deniedMs = 0;
  let stale = 0;
  for (let denials = 0; denials < DENIALS;) {
    const askedMs = hostNowMs();
    const status = await ask(bench, group, index, user);
    const answeredMs = hostNowMs();
    answersMs.push(answeredMs - askedMs);
    if (status === 403) {
      denials++;
      deniedMs = denials === 1 ? answeredMs : deniedMs;
    } else if (status === 200 && answeredMs < deadlineMs) {
      stale++;
      denials = 0;
    } else {
      throw new Error(`${group.variant} answered ${status} to user ${user}, who was revoked`);
    }
    // A moment between two questions, or those who ask starve what is measured.
    await sleep(ASK_PAUSE_MS);
  }
  return { deniedMs, stale, answersMs };
}

/** One turn: from COMMIT sent to the first denial of the last process, and what was allowed until then. */
async function measureDenials(bench: Bench, group: Group, count: number, series: SeriesLog): Promise<void> {
  const users = takeUsers(bench, count);
  const deniedMs: number[] = [];
  const answersMs: number[] = [];
  let stale = 0;
  const { variant } = group;
  const scenario = scenarioOf(group.programs.length);
  await whileListening(group, async () => {
    for (const user of users) {
      await remember(bench, group, [user]);
      const { sentMs } = await revoke(bench, user);
      const [asked] = await Promise.all([
        Promise.all(group.programs.map((_, index) => askUntilDenied(bench, group, index, user))),
        tell(bench, group, user),
      ]);
      deniedMs.push(Math.max(...asked.map(one => one.deniedMs)) - sentMs);
      stale += asked.reduce((sum, one) => sum + one.stale, 0);
      answersMs.push(...asked.flatMap(one => one.answersMs));
    }
    if (variant === GATEBELL) {
      const seen = (await commandAll(group, 'collect')) as Seen[];
      const sum = (key: 'looksAfter' | 'staleAfter'): number => seen.reduce((total, one) => total + one[key], 0);
      series.add({ variant, scenario, metric: 'decisions after delivery', unit: '' }, sum('looksAfter'));
      series.add({ variant, scenario, metric: 'stale allows after delivery', unit: '' }, sum('staleAfter'));
    }
  });
  addQuantiles(series, variant, scenario, 'first denial', deniedMs);
  series.add({ variant, scenario, metric: 'stale allows, a revocation', unit: '' }, stale / count);
  series.add({ variant, scenario, metric: 'one answer, p50', unit: 'ms' }, quantile(answersMs, 0.5));
}

async function startGroup({ world, redis }: Bench, variant: Variant, replicas: number): Promise<Group> {
  const env = {
    DATABASE_URL: world.databaseUrl,
    REDIS_PORT: String(redis.port),
    PEER_SHARED: 'yes',
    PEER_TTL_MS: String(TTL_MS),
  };
  const programs = await Promise.all(
    Array.from({ length: replicas }, () => startProgram(`peers/${PROGRAMS[variant]}`, env)),
  );
  return { variant, programs, agents: programs.map(() => new Agent({ keepAlive: true, maxSockets: 1 })) };
}

async function stopGroup({ programs, agents }: Group): Promise<void> {
  for (const agent of agents) {
    agent.destroy();
  }
  await Promise.all(programs.map(program => program.stop()));
}

/** The groups, beginning with another one every round. */
function inTurn(groups: readonly Group[], variants: readonly Variant[], round: number): Group[] {
  const taking = groups.filter(({ variant }) => variants.includes(variant));
  return taking.map((_, index) => taking[(index + round) % taking.length]!);
}

async function measure(
  bench: Bench,
  replicas: number,
  sizes: Sizes,
  log: Effort['log'],
  series: SeriesLog,
): Promise<void> {
  const groups: Group[] = [];
  try {
    for (const variant of [GATEBELL, FLOOR, BENTO, TTL] as const) {
      groups.push(await startGroup(bench, variant, replicas));
    }
    for (let round = 0; round < sizes.rounds; round++) {
      log(`${scenarioOf(replicas)}, round ${round + 1} of ${sizes.rounds}`);
      for (const group of inTurn(groups, FORGETTERS, round)) {
        await measureForgetting(bench, group, sizes.heard, series);
      }
      for (const group of inTurn(groups, DENIERS, round)) {
        await measureDenials(bench, group, group.variant === TTL ? sizes.askedTtl : sizes.asked, series);
      }
    }
  } finally {
    await Promise.all(groups.map(stopGroup));
  }
}

/** Revocations of the whole experiment. */
function revocationsOf({ replicas, rounds, heard, asked }: Sizes): number {
  return replicas.length * rounds * (FORGETTERS.length * (WARM_UP + heard) + DENIERS.length * asked);
}

async function setUp(sizes: Sizes): Promise<Bench & { close(): Promise<void> }> {
  const programs = Object.values(PROGRAMS).map(name => `peers/${name}`);
  const [redis] = await Promise.all([startRedis(), buildPrograms(programs)]);
  const users = 1 + revocationsOf(sizes);
  // A replica and a peer with a pool of four each, for the largest group.
  const settings = { max_connections: String(50 + 16 * Math.max(...sizes.replicas)) };
  const world = await createWorld({ users, apps: 1, settings });
  const writer = new pg.Client({ connectionString: world.databaseUrl });
  writer.on('error', () => undefined);
  await writer.connect();
  const bento = openBento(redis.port, true);
  return {
    world,
    redis,
    bento,
    writer,
    users: Array.from({ length: users }, (_, index) => index + 1),
    async close() {
      await bento.disconnectAll();
      await writer.end();
      await world.close();
      await redis.stop();
    },
  };
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const sizes = quick ? QUICK : FULL;
  const series = createSeriesLog();
  const bench = await setUp(sizes);
  try {
    for (const replicas of sizes.replicas) {
      await measure(bench, replicas, sizes, log, series);
    }
  } finally {
    await bench.close();
  }
  return {
    series: series.all,
    notes: [
      `${sizes.rounds} rounds, each with ${sizes.heard} revocations a group that are only heard and ` +
        `${sizes.asked} that are asked about (ttl: ${sizes.askedTtl}).`,
      'All times begin when COMMIT is sent, and end at the last of the processes. One listens at a time: ' +
        'Gatebell, or the floor, a bare `pg` client in as many processes.',
      'bento: who revokes deletes the key when COMMIT is acknowledged; someone who writes otherwise (psql, ' +
        'another program) tells nobody.',
      'Stale allows: answers of all processes together to questions that were sent after COMMIT was ' +
        `acknowledged; each process is asked again ${ASK_PAUSE_MS} ms after its answer.`,
      `ttl: it remembers for ${TTL_MS / 1_000} s here, not for the usual 30, and every ` +
        'process has read the grant just before COMMIT: the longest that it can be ' +
        'wrong. With 30 s it is wrong 30 times as long and as often.',
      'After delivery: decisions of Gatebell that asked for a grant which its caches had forgotten before.',
    ],
  };
}

const against = (metric: string, most: number): Experiment['bars'][number] =>
  atMost(`revocation, ${MAIN}: ${metric}, Gatebell against bare LISTEN clients`, most, findings =>
    medianRatio(seriesOf(findings, GATEBELL, MAIN, metric), seriesOf(findings, FLOOR, MAIN, metric)),
  );

/** Of all rounds and all numbers of replicas; null if no decision was made that could have been stale. */
function staleAfterDelivery(findings: Findings): number | null {
  const sum = (metric: string): number =>
    findings.series
      .filter(series => series.metric === metric)
      .flatMap(({ rounds }) => rounds)
      .reduce((total, value) => total + value, 0);
  return sum('decisions after delivery') === 0 ? null : sum('stale allows after delivery');
}

export const revocation: Experiment = {
  name: 'revocation',
  title: 'Revocation',
  about:
    'From COMMIT sent to the last of N processes that has forgotten, beside bare LISTEN clients that only hear ' +
    'it; and to the first denial of the last of them, beside a cache that forgets by time and one with a bus.',
  bars: [
    against('forgotten, p50', 1.5),
    against('forgotten, p99', 2),
    atMost('revocation: stale allows after delivery', 0, staleAfterDelivery),
  ],
  run,
};
