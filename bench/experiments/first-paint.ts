/**
 * First paint: browsers open three single-page apps at once, and every asset is a question. Cold, nothing is in memory:
 * all was forgotten by a signal just before. Warm is the same once more. Beside it, *before*: two queries a question
 * through as many pooled connections.
 *
 * Postgres is next door, or behind a proxy that delays each way by half of the distance.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Replica } from '../../test/support/replica.js';
import { startTcpProxy } from '../../test/support/tcp-proxy.js';
import { atLeast, atMost } from '../bar.js';
import { median, medianRatio, seriesOf, type Effort, type Experiment, type Findings } from '../experiment.js';
import { openApps } from '../support/browsers.js';
import type { Browser, BurstResult } from '../support/burst.js';
import { hasForgotten, readLoads, startGatebell } from '../support/gatebell.js';
import { buildPrograms, startProgram } from '../support/program.js';
import { createSeriesLog, type SeriesLog } from '../support/series.js';
import { createWorld, type World } from '../support/measured-world.js';

/** How many requests each app fires when it is opened. */
const BURSTS = [300, 120, 40] as const;
/** Between the proxy and the gate, for each browser. */
const CONNECTIONS = 8;
const FULL = { browsers: 30, rounds: 5 };
const QUICK = { browsers: 4, rounds: 3 };
/** Distinct users of the burst that queries are counted of: each asks once, all at the same time. */
const USERS = 300;
const NEAR_MS = 2;
const FAR_MS = 20;
const FAR = `${USERS} users at once, cold, Postgres ${FAR_MS} ms away`;
const TOPICS = ['user', 'app', 'route', 'grant', 'credential'];

const scenarioName = (temperature: 'cold' | 'warm', distanceMs: number): string =>
  `${temperature}, Postgres ${distanceMs === 0 ? 'next door' : `${distanceMs} ms away`}`;

/** Both programs at one distance from Postgres. */
interface Site {
  readonly distanceMs: number;
  readonly gatebell: Replica;
  readonly ports: Readonly<Record<'gatebell' | 'before', number>>;
  /** Median of some round trips to Postgres. */
  readonly roundTripMs: number;
  close(): Promise<void>;
}

const portOf = (url: string): number => Number(new URL(url).port);
/** Name of each program's connections in Postgres. */
const applicationOf = (program: 'gatebell' | 'before', distanceMs: number): string =>
  program === 'gatebell' ? `gatebell/paint-${distanceMs}` : `before-${distanceMs}`;

async function measureRoundTrip(connectionString: string): Promise<number> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  const times: number[] = [];
  for (let index = 0; index < 21; index++) {
    const startedMs = performance.now();
    await client.query('select 1');
    times.push(performance.now() - startedMs);
  }
  await client.end();
  return median(times);
}

async function startSite(world: World, distanceMs: number): Promise<Site> {
  const cleanups: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const cleanup of cleanups.toReversed()) {
      await cleanup();
    }
  };
  try {
    const url = new URL(world.databaseUrl);
    if (distanceMs > 0) {
      const proxy = await startTcpProxy(world.server.port, { delayMs: distanceMs / 2 });
      cleanups.push(() => proxy.close());
      url.port = String(proxy.port);
    }
    const gatebell = await startGatebell(url.href, { GATEBELL_REPLICA: `paint-${distanceMs}` });
    cleanups.push(() => gatebell.stop());
    const before = await startProgram('peers/before', {
      DATABASE_URL: url.href,
      PGAPPNAME: applicationOf('before', distanceMs),
    });
    cleanups.push(() => before.stop());
    return {
      distanceMs,
      gatebell,
      ports: { gatebell: portOf(gatebell.auth), before: portOf(before.url) },
      roundTripMs: await measureRoundTrip(url.href),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Makes the replica forget everything, by signals as any writer could send them. */
async function forget(world: World, replica: Replica): Promise<void> {
  for (const topic of TOPICS) {
    await world.query('select pg_notify(gatebell.channel(), $1)', [JSON.stringify({ v: 1, s: topic })]);
  }
  while (!(await hasForgotten(replica))) {
    await sleep(1);
  }
}

/** One opening of the apps by all browsers, and what it took. */
async function paint(
  world: World,
  site: Site,
  variant: 'gatebell' | 'before',
  scenarios: readonly string[],
  browsers: readonly Browser[],
  series: SeriesLog,
): Promise<void> {
  const loadsBefore = await readLoads(site.gatebell);
  const result: BurstResult = await openApps({ port: site.ports[variant], connections: CONNECTIONS, browsers }).catch(
    (cause: unknown) => {
      throw new Error(`${variant}: ${scenarios.join('; ')}`, { cause });
    },
  );
  const loads = await readLoads(site.gatebell);
  const [row] = await world.query<{ connections: number }>(
    'select count(*)::int as connections from pg_stat_activity where application_name like $1',
    [`${applicationOf(variant, site.distanceMs)}%`],
  );
  for (const scenario of scenarios) {
    const add = (metric: string, unit: string, value: number): void => {
      series.add({ variant, scenario, metric, unit }, value);
    };
    add('last answer', 'ms', result.lastAnswerMs);
    add('queries', '', variant === 'gatebell' ? loads.queries - loadsBefore.queries : 2 * result.answers);
    add('connections', '', row!.connections);
    if (variant === 'gatebell') {
      add('batches of more than 500', '', loads.largerThan500 - loadsBefore.largerThan500);
    }
  }
}

/** The three apps are for everyone. */
async function grantApps(world: World): Promise<void> {
  await world.query(
    `insert into gatebell.grants (user_id, app_id)
     select u.id, a.id from gatebell.users u, gatebell.apps a where a.id <= $1 on conflict do nothing`,
    [BURSTS.length],
  );
}

const browserOf = (cookie: string, hosts: readonly string[], bursts: readonly number[]): Browser => ({
  cookie,
  apps: bursts.map((requests, index) => ({ host: hosts[index]!, requests })),
});

async function runRounds(
  world: World,
  sites: readonly Site[],
  far: Site,
  effort: Effort,
  series: SeriesLog,
): Promise<void> {
  const { browsers: count, rounds } = effort.quick ? QUICK : FULL;
  const [, ...tokens] = world.tokens;
  const browsers = tokens.slice(0, count).map(token => browserOf(token, world.hosts, BURSTS));
  const crowd = tokens.slice(0, USERS).map(token => browserOf(token, world.hosts, [1]));
  const round = async (log: SeriesLog): Promise<void> => {
    for (const site of sites) {
      const cold = scenarioName('cold', site.distanceMs);
      const warm = scenarioName('warm', site.distanceMs);
      await forget(world, site.gatebell);
      await paint(world, site, 'gatebell', [cold], browsers, log);
      await paint(world, site, 'gatebell', [warm], browsers, log);
      // It keeps nothing: cold or warm is the same to it.
      await paint(world, site, 'before', [cold, warm], browsers, log);
    }
    await forget(world, far.gatebell);
    await paint(world, far, 'gatebell', [FAR], crowd, log);
    await paint(world, far, 'before', [FAR], crowd, log);
  };
  effort.log('warming up');
  await round(createSeriesLog());
  for (let index = 0; index < rounds; index++) {
    effort.log(`round ${index + 1} of ${rounds}`);
    await round(series);
  }
}

async function run(effort: Effort): Promise<Findings> {
  const { browsers, rounds } = effort.quick ? QUICK : FULL;
  const series = createSeriesLog();
  const sites: Site[] = [];
  await buildPrograms(['peers/before', 'support/burst']);
  // The first user has grants for all apps, and is left out.
  const world = await createWorld({ users: USERS + 1, apps: 10 });
  try {
    await grantApps(world);
    for (const distanceMs of [0, NEAR_MS, FAR_MS]) {
      sites.push(await startSite(world, distanceMs));
    }
    const [nextDoor, near, far] = sites as [Site, Site, Site];
    await runRounds(world, [nextDoor, near], far, effort, series);
    const roundTrips = sites.map(site => `${site.roundTripMs.toFixed(2)} ms`).join(', ');
    return {
      series: series.all,
      notes: [
        `${rounds} rounds of ${browsers} browsers, each with its own user and ${CONNECTIONS} connections, that ` +
          `open three apps of ${BURSTS.join(', ')} requests at once: ` +
          `${browsers * BURSTS.reduce((sum, one) => sum + one, 0)} questions. The clock runs from the first ` +
          'question to the last answer.',
        `Round trips to Postgres as measured (next door, ${NEAR_MS} ms, ${FAR_MS} ms): ${roundTrips}.`,
        'Queries of Gatebell are loads of facts, by its own metrics; its fences and ' +
          'audits are not for these questions. *Before* sends two a question, and keeps ' +
          'nothing: its figures for cold and warm are the same.',
        'Connections: those in pg_stat_activity after the last answer, the listening one included.',
        ...(effort.quick ? ['Quick: fewer rounds and browsers.'] : []),
      ],
    };
  } finally {
    for (const site of sites) {
      await site.close();
    }
    await world.close();
  }
}

/** The largest value of any round; null if it was not measured. */
function largest(findings: Findings, scenario: string, metric: string): number | null {
  const rounds = seriesOf(findings, 'gatebell', scenario, metric)?.rounds ?? [];
  return rounds.length === 0 ? null : Math.max(...rounds);
}

const sooner = (findings: Findings, scenario: string): number | null =>
  medianRatio(
    seriesOf(findings, 'before', scenario, 'last answer'),
    seriesOf(findings, 'gatebell', scenario, 'last answer'),
  );

const WARM_NEAR = scenarioName('warm', NEAR_MS);
const COLD_NEAR = scenarioName('cold', NEAR_MS);

export const firstPaint: Experiment = {
  name: 'first-paint',
  title: 'First paint',
  about:
    'Browsers open three single-page apps at once: until when all is answered, with how many queries and connections.',
  bars: [
    atMost(`first paint, ${scenarioName('warm', 0)}: queries, in any round`, 0, findings =>
      largest(findings, scenarioName('warm', 0), 'queries'),
    ),
    atMost(`first paint, ${WARM_NEAR}: queries, in any round`, 0, findings => largest(findings, WARM_NEAR, 'queries')),
    atMost(`first paint, ${FAR}: queries, in any round`, 24, findings => largest(findings, FAR, 'queries')),
    atMost(`first paint, ${FAR}: batches of more than 500, in any round`, 0, findings =>
      largest(findings, FAR, 'batches of more than 500'),
    ),
    atLeast(`first paint, ${WARM_NEAR}: last answer, before against Gatebell`, 10, findings =>
      sooner(findings, WARM_NEAR),
    ),
    atLeast(`first paint, ${COLD_NEAR}: last answer, before against Gatebell`, 5, findings =>
      sooner(findings, COLD_NEAR),
    ),
  ],
  run,
};
