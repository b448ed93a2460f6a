/**
 * The fleet: what it costs the database that N replicas prove their caches, when nothing else happens. Every
 * notification wakes every listener, so if each replica sent fences of its own, N replicas would cost N² wake-ups.
 *
 * - gatebell: replicas as they are: each asks for a fence, and one that any of them had sent proves all;
 * - a fence each: as many listeners that each send one of their own in the same interval, over the connection that
 *   listens.
 *
 * The two take turns, and only the one whose turn it is is connected.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { atMost } from '../bar.js';
import { median, type Effort, type Experiment, type Findings, type Series } from '../experiment.js';
import type { FleetCounts } from '../peers/members.js';
import { buildPrograms, exactProcessorMs, startProgram, type Program } from '../support/program.js';
import { createSeriesLog, type SeriesLog } from '../support/series.js';
import { createWorld, type World } from '../support/measured-world.js';

const GATEBELL = 'gatebell';
const EACH = 'a fence each';
const PROGRAMS = { [GATEBELL]: 'peers/fleet', [EACH]: 'peers/fence-each' } as const;
type Variant = keyof typeof PROGRAMS;
const FENCES = 'fences per second';
/** Processes that the replicas are spread over. */
const PROCESSES = 2;
/** The fleet that others are compared with. */
const SMALL = 10;

interface Sizes {
  readonly replicas: readonly number[];
  readonly rounds: number;
  /**
   * From the last replica that is proven to the measurement: all have begun at the same time, which they do not in
   * life.
   */
  readonly settleMs: number;
  readonly measureMs: number;
}

const FULL: Sizes = { replicas: [1, 10, 50, 100, 200], rounds: 5, settleMs: 3_000, measureMs: 8_000 };
const QUICK: Sizes = { replicas: [1, 10, 50], rounds: 1, settleMs: 500, measureMs: 2_000 };

const scenarioOf = (replicas: number): string => `${replicas} ${replicas === 1 ? 'replica' : 'replicas'}`;

async function fencesSoFar(world: World): Promise<number> {
  const [row] = await world.query<{ fences: number }>(
    'select case when is_called then last_value else 0 end::double precision as fences from gatebell.fence_number',
  );
  return row!.fences;
}

/** Processor time of each of the server's processes by its id; null where it cannot be known. */
async function postgresMs(world: World): Promise<Map<number, number> | null> {
  const rows = await world.query<{ pid: number }>('select pid from pg_stat_activity');
  const times = rows.map(({ pid }) => [pid, exactProcessorMs(pid)] as const);
  const known = times.filter((time): time is readonly [number, number] => time[1] !== null);
  return known.length === 0 ? null : new Map(known);
}

/** Milliseconds used in between, of those that were there at the end. */
function usedMs(before: Map<number, number>, after: Map<number, number>): number {
  return [...after].reduce((sum, [pid, ms]) => sum + ms - (before.get(pid) ?? 0), 0);
}

async function readCounts(programs: readonly Program[]): Promise<FleetCounts> {
  const all = (await Promise.all(programs.map(program => program.command('read')))) as FleetCounts[];
  const sum = (key: keyof FleetCounts): number => all.reduce((total, counts) => total + counts[key], 0);
  return {
    questions: sum('questions'),
    delivered: sum('delivered'),
    worstBoundMs: Math.max(...all.map(counts => counts.worstBoundMs)),
    looks: sum('looks'),
    unproven: sum('unproven'),
  };
}

/** Counts for a while. */
async function measure(
  world: World,
  variant: Variant,
  replicas: number,
  { measureMs }: Sizes,
  programs: readonly Program[],
  series: SeriesLog,
): Promise<void> {
  const fencesBefore = await fencesSoFar(world);
  const processorBefore = await postgresMs(world);
  await readCounts(programs);
  const startedMs = performance.now();
  await sleep(measureMs);
  const counts = await readCounts(programs);
  const seconds = (performance.now() - startedMs) / 1_000;
  const processorAfter = await postgresMs(world);
  const fences = variant === GATEBELL ? (await fencesSoFar(world)) - fencesBefore : counts.questions;
  const add = (metric: string, unit: string, value: number): void => {
    series.add({ variant, scenario: scenarioOf(replicas), metric, unit }, value);
  };
  add(FENCES, '1/s', fences / seconds);
  add('questions per second', '1/s', counts.questions / seconds);
  add('notifications delivered per second', '1/s', counts.delivered / seconds);
  if (processorBefore !== null && processorAfter !== null) {
    add('processor time of Postgres per second', 'ms', usedMs(processorBefore, processorAfter) / seconds);
  }
  add('worst bound of staleness', 'ms', counts.worstBoundMs);
  add('unproven', '%', (100 * counts.unproven) / counts.looks);
}

async function takeTurn(
  world: World,
  variant: Variant,
  replicas: number,
  sizes: Sizes,
  programs: readonly Program[],
  series: SeriesLog,
): Promise<void> {
  const busy = programs.slice(0, replicas);
  await Promise.all(
    busy.map((program, index) => program.command('start', Math.ceil((replicas - index) / busy.length))),
  );
  await sleep(sizes.settleMs);
  await measure(world, variant, replicas, sizes, busy, series);
  await Promise.all(busy.map(program => program.command('stop')));
}

async function startPrograms(variant: Variant, { databaseUrl }: World): Promise<Program[]> {
  return Promise.all(
    Array.from({ length: PROCESSES }, () => startProgram(PROGRAMS[variant], { DATABASE_URL: databaseUrl })),
  );
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const sizes = quick ? QUICK : FULL;
  const series = createSeriesLog();
  await buildPrograms(Object.values(PROGRAMS));
  // A listening connection and a pool of two for each replica.
  const settings = { max_connections: String(50 + 3 * Math.max(...sizes.replicas)) };
  const world = await createWorld({ users: 1, apps: 1, settings });
  try {
    const programs = { [GATEBELL]: await startPrograms(GATEBELL, world), [EACH]: await startPrograms(EACH, world) };
    const variants: readonly Variant[] = [GATEBELL, EACH];
    for (let round = 0; round < sizes.rounds; round++) {
      for (const replicas of sizes.replicas) {
        log(`round ${round + 1} of ${sizes.rounds}, ${scenarioOf(replicas)}`);
        for (const variant of round % 2 === 0 ? variants : variants.toReversed()) {
          await takeTurn(world, variant, replicas, sizes, programs[variant], series);
        }
      }
    }
    await Promise.all(Object.values(programs).flatMap(all => all.map(program => program.stop())));
  } finally {
    await world.close();
  }
  return {
    series: series.all,
    notes: [
      `${sizes.rounds} ${sizes.rounds === 1 ? 'round' : 'rounds'} of ${sizes.measureMs / 1_000} s each, replicas ` +
        `spread over up to ${PROCESSES} processes, lease 3 s, interval 1 s; nothing else happens in the database.`,
      'A replica of Gatebell reads which server answers and the state of all triggers with every question, and ' +
        'asks once more when it waits for a fence; a fence each does nothing but NOTIFY. Each of the former sends ' +
        'over a pool, each of the latter over the connection that listens.',
      'Processor time is that of all processes of the server. The bound of staleness is what the most doubtful ' +
        'replica would say of its own cache, looked at every 50 ms; unproven is the share of looks that found a ' +
        'cache past its lease.',
    ],
  };
}

/** Median of the fences per second of the largest fleet against that of ten replicas; null if there are not both. */
function growth({ series }: Findings): number | null {
  const ofGatebell = series.filter(({ variant, metric }) => variant === GATEBELL && metric === FENCES);
  const replicasOf = ({ scenario }: Series): number => Number.parseInt(scenario, 10);
  const small = ofGatebell.find(one => replicasOf(one) === SMALL);
  const large = ofGatebell.toSorted((a, b) => replicasOf(b) - replicasOf(a))[0];
  return small === undefined || large === undefined ? null : median(large.rounds) / median(small.rounds);
}

export const fleet: Experiment = {
  name: 'fleet',
  title: 'Fleet',
  about:
    'What it costs Postgres that N replicas prove that they have heard everything: questions, fences and ' +
    'wake-ups per second, with fences that prove all of them, and with a fence for each.',
  bars: [atMost('fleet: fences per second with the most replicas measured (200; quick: 50) against 10', 1.5, growth)],
  run,
};
