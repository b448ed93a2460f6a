/**
 * Growth: what becomes dearer when there are a thousand times as many grants. Databases of one server that differ in
 * the number of their grants only, each measured from processes that remember some of them as a replica does; they take
 * turns, round by round.
 *
 * And what memory costs: bytes for each grant, and the way back when all of it was forgotten while questions come.
 */
import pg from 'pg';
import { createPostgresServer, type PostgresServer } from '../../src/dev/postgres.js';
import { factCaches } from '../../src/auth/facts.js';
import { migrate } from '../../src/postgres/migrate.js';
import { readingStatement } from '../../src/postgres/reads.js';
import { atMost } from '../bar.js';
import { medianRatio, seriesOf, type Effort, type Experiment, type Findings } from '../experiment.js';
import { APPS, APPS_AFTER, grantKey, USERS_AFTER } from '../support/grants.js';
import type { Break, HitCost, Memory, ProbeCommand } from '../support/probe.js';
import { buildPrograms } from '../support/program.js';
import type { Recovery } from '../support/recovery.js';
import { createSeriesLog, type SeriesLog } from '../support/series.js';
import { startWorker, type Worker } from '../support/worker.js';

const PROBE = 'support/probe';
const MISS = 'a miss, median';
const HIT = 'an answer from memory';
const HIT_PROCESSOR = 'an answer from memory, processor time';
const BYTES = 'memory of a cached grant';
const BYTES_GARBAGE = 'memory of a cached grant, garbage included';
const FILLED = 'filled once';
const REPLACED = 'filled, and all replaced by others';
const RECOVERED = 'time to 99 % from memory';
const BREAKS: readonly Break[] = ['malformed message', 'listener terminated'];
/** Keys of one load: a single miss, and a full batch. */
const BATCHES = [1, 500];
/** Where there are fewer rows for each key that is asked for, to read them all is right. */
const ROWS_A_KEY_MIN = 100;
/** Before the first that counts: connections are made, code is compiled. */
const WARM_UP_MISSES = 200;
const HELD = 10_000;
/** Grants that are in memory before those that are weighed, with all that is there once. */
const WEIGHED_AFTER = 1_000;

interface Sizes {
  /** The smallest first; the ratios are to that one. */
  readonly grants: readonly number[];
  readonly rounds: number;
  readonly misses: number;
  readonly asks: number;
  readonly weighed: number;
  readonly recoveries: number;
  readonly users: number;
  readonly asksPerSecond: number;
}

const FULL: Sizes = {
  grants: [10_000, 1_000_000, 10_000_000],
  rounds: 9,
  misses: 500,
  asks: 500_000,
  weighed: 100_000,
  recoveries: 5,
  users: 20_000,
  asksPerSecond: 40_000,
};
const QUICK: Sizes = {
  ...FULL,
  grants: [10_000, 300_000],
  rounds: 3,
  misses: 200,
  asks: 200_000,
  weighed: 30_000,
  recoveries: 1,
  users: 10_000,
};

const grantsOf = (count: number): string => `${count.toLocaleString('en')} grants`;

/** A database with that many grants. */
interface Town {
  readonly grants: number;
  readonly url: string;
}

async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * Tables, indexes and triggers are those of the migrations; while the rows are made, nobody watches, and no foreign key
 * is checked row by row.
 */
async function createTown(server: PostgresServer, grants: number): Promise<Town> {
  const database = `grants_${grants}`;
  await withClient(server.url('postgres'), client => client.query(`create database ${database}`));
  const url = server.url(database);
  const users = `${USERS_AFTER + 1}, ${USERS_AFTER + grants / APPS}`;
  const apps = `${APPS_AFTER + 1}, ${APPS_AFTER + APPS}`;
  await withClient(url, async client => {
    await migrate(client, 'up');
    const { rows: foreignKeys } = await client.query<{ drop: string; add: string }>(`
      select format('alter table gatebell.grants drop constraint %I', conname) as drop,
        format('alter table gatebell.grants add constraint %I %s', conname, pg_get_constraintdef(oid)) as add
      from pg_constraint where conrelid = 'gatebell.grants'::regclass and contype = 'f'`);
    const statements = [
      'set synchronous_commit = off',
      `select gatebell.unwatch('gatebell.users', 'user'), gatebell.unwatch('gatebell.grants', 'grant')`,
      ...foreignKeys.map(({ drop }) => drop),
      `insert into gatebell.users (id, name) select n, 'user-' || n from generate_series(${users}) as n`,
      `insert into gatebell.apps (id, name, host) select n, 'app-' || n, 'app-' || n || '.test'
        from generate_series(${apps}) as n`,
      `insert into gatebell.grants (user_id, app_id)
       select u.n, a.n from generate_series(${users}) as u (n), generate_series(${apps}) as a (n)`,
      ...foreignKeys.map(({ add }) => add),
      `select gatebell.watch('gatebell.users', 'user', '{id}', '{name,email,display_name,groups,enabled}'),
         gatebell.watch('gatebell.grants', 'grant', '{user_id,app_id}', '{role,expires_at}')`,
      'vacuum analyze',
      'checkpoint',
    ];
    for (const statement of statements) {
      await client.query(statement);
    }
  });
  return { grants, url };
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly Plans?: readonly PlanNode[];
}

/** How the grants are read in a plan: `Index Scan with grants_pkey`. */
function readsOfGrants(node: PlanNode): string[] {
  const own =
    node['Relation Name'] === 'grants' ? [`${node['Node Type']} with ${node['Index Name'] ?? 'no index'}`] : [];
  return [...own, ...(node.Plans ?? []).flatMap(readsOfGrants)];
}

/** Asks Postgres how it reads the grants of one batch. @throws if it is not by an index, and not for want of rows */
async function explain({ url, grants }: Town, keys: number): Promise<string> {
  const { text } = factCaches(() => undefined).grant.load;
  const asked = Array.from({ length: keys }, (_, index) => grantKey(grants, index));
  const plan = await withClient(url, async client => {
    const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
      `explain (format json) ${readingStatement(text)}`,
      [0, 1].map(part => asked.map(key => key[part])),
    );
    return rows[0]!['QUERY PLAN'][0].Plan;
  });
  const reads = readsOfGrants(plan);
  const isByIndex = reads.length > 0 && reads.every(read => /^Index (Only )?Scan /.test(read));
  if (!isByIndex && grants >= keys * ROWS_A_KEY_MIN) {
    throw new Error(`a load of ${keys} from ${grantsOf(grants)} reads them so: ${JSON.stringify(plan, null, 1)}`);
  }
  return reads.join(', ');
}

/** A process that remembers at most `entriesMax` of the grants. */
function startProbe({ url, grants }: Town, entriesMax: number): Worker<ProbeCommand> {
  const env = { DATABASE_URL: url, PROBE_GRANTS: String(grants), PROBE_ENTRIES_MAX: String(entriesMax) };
  return startWorker(PROBE, env, ['--expose-gc']);
}

/** Misses, then answers from memory, of a process of its own: no two are compiled, and placed in memory, alike. */
async function measureTown(town: Town, round: number, { misses, asks }: Sizes, series: SeriesLog): Promise<void> {
  const variant = grantsOf(town.grants);
  const probe = startProbe(town, HELD);
  try {
    await probe.ask({ do: 'miss', from: 0, count: WARM_UP_MISSES });
    // Others each time: Postgres has those of the round before at hand.
    const from = WARM_UP_MISSES + round * misses;
    const missMs = await probe.ask<number>({ do: 'miss', from, count: misses });
    series.add({ variant, scenario: '', metric: MISS, unit: 'ms' }, missMs);
    await probe.ask({ do: 'load', from: 0, count: HELD });
    await probe.ask({ do: 'hit', from: 0, count: HELD, asks });
    const hit = await probe.ask<HitCost>({ do: 'hit', from: 0, count: HELD, asks });
    series.add({ variant, scenario: '', metric: HIT, unit: 'ns' }, hit.elapsedNs);
    series.add({ variant, scenario: '', metric: HIT_PROCESSOR, unit: 'ns' }, hit.processorNs);
  } finally {
    await probe.stop();
  }
}

/** All sizes in turn; each round begins with another one. */
async function compareTowns(
  towns: readonly Town[],
  sizes: Sizes,
  series: SeriesLog,
  log: Effort['log'],
): Promise<void> {
  for (let round = 0; round < sizes.rounds; round++) {
    log(`misses and answers from memory, round ${round + 1} of ${sizes.rounds}`);
    for (let index = 0; index < towns.length; index++) {
      await measureTown(towns[(index + round) % towns.length]!, round, sizes, series);
    }
  }
}

/** Fills a memory, and then fills it with others, as one that is full is in the long run. */
async function weigh(town: Town, { weighed }: Sizes, series: SeriesLog): Promise<void> {
  const variant = grantsOf(town.grants);
  const probe = startProbe(town, WEIGHED_AFTER + weighed);
  try {
    await probe.ask({ do: 'load', from: 0, count: WEIGHED_AFTER });
    const before = await probe.ask<Memory>({ do: 'weigh' });
    let from = WEIGHED_AFTER;
    for (const scenario of [FILLED, REPLACED]) {
      await probe.ask({ do: 'load', from, count: weighed });
      const after = await probe.ask<Memory>({ do: 'weigh' });
      const grants = after.grants - before.grants;
      if (grants !== weighed) {
        throw new Error(`${grants} grants are in memory, not ${weighed}`);
      }
      series.add({ variant, scenario, metric: BYTES, unit: 'bytes' }, (after.bytes - before.bytes) / grants);
      series.add(
        { variant, scenario, metric: BYTES_GARBAGE, unit: 'bytes' },
        (after.withGarbageBytes - before.bytes) / grants,
      );
      from += weighed;
    }
  } finally {
    await probe.stop();
  }
}

async function measureRecoveries(
  town: Town,
  { recoveries, users, asksPerSecond }: Sizes,
  series: SeriesLog,
  log: Effort['log'],
): Promise<void> {
  const probe = startProbe(town, users);
  try {
    for (let round = 0; round < recoveries; round++) {
      log(`recovery, round ${round + 1} of ${recoveries}`);
      for (const by of BREAKS) {
        const recovery = await probe.ask<Recovery>({ do: 'recover', by, users, asksPerSecond });
        const add = (variant: string, metric: string, unit: string, value: number): void => {
          series.add({ variant, scenario: `recovery, ${by}`, metric, unit }, value);
        };
        add('a perfect memory', RECOVERED, 'ms', recovery.perfectMs);
        add('gatebell', RECOVERED, 'ms', recovery.recoveredMs);
        add('gatebell', 'load queries', '', recovery.queries);
        add('gatebell', 'slowest answer', 'ms', recovery.slowestMs);
        add('gatebell', 'unanswered', '', recovery.failed);
      }
    }
  } finally {
    await probe.stop();
  }
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const sizes = quick ? QUICK : FULL;
  const series = createSeriesLog();
  await buildPrograms([PROBE]);
  const server = await createPostgresServer({ settings: { max_wal_size: '8GB', checkpoint_timeout: '1h' } });
  try {
    const towns: Town[] = [];
    const plans: string[] = [];
    for (const grants of sizes.grants) {
      log(`making ${grantsOf(grants)}`);
      const town = await createTown(server, grants);
      towns.push(town);
      for (const keys of BATCHES) {
        plans.push(`${grantsOf(grants)}, ${keys} asked for: ${await explain(town, keys)}`);
      }
    }
    await compareTowns(towns, sizes, series, log);
    const largest = towns.at(-1)!;
    log('weighing');
    await weigh(largest, sizes, series);
    await measureRecoveries(largest, sizes, series, log);
    return {
      series: series.all,
      notes: [
        `Tables, indexes and triggers of the migrations, ${APPS} grants a user, vacuumed and analysed; a ` +
          'database for each size on one server with its default memory settings; a process with a reader over ' +
          'users and grants for each, a new one every round.',
        `How Postgres reads the grants of one load (EXPLAIN): ${plans.join('; ')}.`,
        `A miss is a grant that nobody has asked for, one question at a time: ${sizes.misses} a round. Answers ` +
          `from memory: ${HELD.toLocaleString('en')} grants in each, ${sizes.asks.toLocaleString('en')} answers a ` +
          `round. ${sizes.rounds} rounds.`,
        'Memory of a cached grant: heap and external bytes after garbage collection, with and without ' +
          `${sizes.weighed.toLocaleString('en')} grants in a full memory, divided by their number: facts, keys, ` +
          'and all that finds, bounds and audits them. Not in it: the headers that the HTTP side remembers with a ' +
          'grant once it has allowed something.',
        `Recovery: ${sizes.asksPerSecond.toLocaleString('en')} questions per second, steadily, each for one of ` +
          `${sizes.users.toLocaleString('en')} users and a grant, drawn at random, when all is forgotten; the ` +
          'share of answers from memory is that of 2,000 questions in a row. The perfect memory has a fact as soon ' +
          'as it was asked for, from the same questions.',
        ...(quick ? ['Quick: smaller databases, fewer rounds and grants.'] : []),
      ],
    };
  } finally {
    await server.remove();
  }
}

/** The largest size beside the smallest, round by round. */
function growthOf(findings: Findings, metric: string): number | null {
  const variants = findings.series.filter(series => series.metric === metric).map(({ variant }) => variant);
  const [first, last] = [variants.at(0), variants.at(-1)];
  return first === undefined || last === undefined
    ? null
    : medianRatio(seriesOf(findings, last, '', metric), seriesOf(findings, first, '', metric));
}

function heaviest({ series }: Findings): number | null {
  const bytes = series.filter(({ metric }) => metric === BYTES).flatMap(({ rounds }) => rounds);
  return bytes.length === 0 ? null : Math.max(...bytes);
}

export const growth: Experiment = {
  name: 'growth',
  title: 'Growth',
  about:
    'What a miss and an answer from memory cost when there are a thousand times as many grants; the memory of a ' +
    'cached grant; and the way back when everything was forgotten.',
  bars: [
    atMost('growth: a miss, most grants against fewest', 1.5, findings => growthOf(findings, MISS)),
    atMost('growth: processor time of an answer from memory, most grants against fewest', 1.15, findings =>
      growthOf(findings, HIT_PROCESSOR),
    ),
    atMost('growth: bytes of a cached grant', 400, heaviest),
  ],
  run,
};
