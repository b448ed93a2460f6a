/**
 * More than one core: what a second process that decides brings, and what it costs. The load generator has to live on
 * the same cores, so on a machine of two the most that can be had is well below twice as much.
 */
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { forwardHeaders, type Replica } from '../../test/support/replica.js';
import { medianRatio, seriesOf, type Effort, type Experiment, type Findings, type Series } from '../experiment.js';
import { startGatebell } from '../support/gatebell.js';
import { describeLoadGenerator, putLoad } from '../support/load.js';
import { processorMs } from '../support/program.js';
import { createSeriesLog } from '../support/series.js';
import { createWorld } from '../support/measured-world.js';

const VARIANTS = [
  { variant: 'one process', workers: 1 },
  { variant: 'two workers', workers: 2 },
] as const;
const CONNECTIONS = [32, 256] as const;

/** Of the process and of those that it has started. */
async function treeProcessorMs({ child: { pid = 0 } }: Replica): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return [pid, ...children.split(' ').filter(Boolean).map(Number)].reduce(
    (total, one) => total + (processorMs(one) ?? 0),
    0,
  );
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const [rounds, seconds] = quick ? [3, 1] : [9, 2];
  const series = createSeriesLog();
  const world = await createWorld({ users: 1_000, apps: 10 });
  const replicas: Replica[] = [];
  try {
    const cookie = world.tokens[1]!;
    const headers = forwardHeaders({ host: world.hosts[0]!, cookie });
    for (const { workers } of VARIANTS) {
      replicas.push(await startGatebell(world.databaseUrl, { GATEBELL_WORKERS: String(workers) }));
    }
    const measure = async (index: number, connections: number, isCounted: boolean): Promise<void> => {
      const replica = replicas[index]!;
      const beforeMs = await treeProcessorMs(replica);
      const load = { url: `${replica.auth}/auth/forward`, connections, seconds, headers };
      const { requests, refused, requestsPerSecond, p50Ms, p99Ms } = await putLoad(load);
      const spentMs = (await treeProcessorMs(replica)) - beforeMs;
      if (refused > 0 || requests === 0) {
        throw new Error(`${VARIANTS[index]!.variant}: of ${requests} answers, ${refused} refused; none should`);
      }
      for (const [metric, unit, value] of [
        ['requests per second', '1/s', requestsPerSecond],
        ['p50', 'ms', p50Ms],
        ['p99', 'ms', p99Ms],
        ['processor time per request', 'µs', (spentMs * 1_000) / requests],
      ] as const) {
        if (isCounted) {
          series.add(
            { variant: VARIANTS[index]!.variant, scenario: `cookie, ${connections} connections`, metric, unit },
            value,
          );
        }
      }
    };
    for (const connections of CONNECTIONS) {
      log(`${connections} connections`);
      await measure(0, connections, false);
      await measure(1, connections, false);
      for (let round = 0; round < rounds; round++) {
        await measure(round % 2, connections, true);
        await measure(1 - (round % 2), connections, true);
      }
    }
    const findings = { series: series.all, notes: [] };
    const of = (variant: string): Series | null =>
      seriesOf(findings, variant, 'cookie, 32 connections', 'requests per second');
    const gained = medianRatio(of('two workers'), of('one process'));
    return {
      ...findings,
      notes: [
        describeLoadGenerator(),
        `${rounds} rounds of ${seconds} s on ${cpus().length} cores, which the load generator and Postgres share ` +
          'with what is measured.',
        `Two workers answer ${gained?.toFixed(2)} times as much as one process with 32 connections. Processor ` +
          'time is that of all processes of the replica.',
      ],
    };
  } finally {
    await Promise.all(replicas.map(replica => replica.stop()));
    await world.close();
  }
}

export const workers: Experiment = {
  name: 'workers',
  title: 'More than one core',
  about: '`serve --workers 2` beside one process, on the same machine as the load generator.',
  bars: [],
  run,
};
