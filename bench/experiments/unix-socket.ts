/**
 * The auth endpoints on a Unix socket beside those on a port: the same program, the same questions, the same load, in
 * turns. The load comes from a program that writes and reads bytes, which costs less than what it measures.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { forwardHeaders, type Replica } from '../../test/support/replica.js';
import { atLeast } from '../bar.js';
import { medianRatio, seriesOf, type Effort, type Experiment, type Findings } from '../experiment.js';
import { startGatebell } from '../support/gatebell.js';
import { putPlainLoad } from '../support/load.js';
import { createWorld } from '../support/measured-world.js';
import { processorMs } from '../support/program.js';
import { createSeriesLog } from '../support/series.js';

const SOCKET = 'Unix socket';
const PORT = 'port';
const VARIANTS = [SOCKET, PORT] as const;
const RATE = 'requests per second';
const COST = 'processor time per request';
const CONNECTIONS = [1, 32] as const;
const WARM_UPS = 3;

const scenarioOf = (connections: number): string =>
  `cookie, ${connections} ${connections === 1 ? 'connection' : 'connections'}`;

async function run({ quick, log }: Effort): Promise<Findings> {
  const [rounds, seconds] = quick ? [5, 1] : [9, 2];
  const series = createSeriesLog();
  const folder = await mkdtemp(path.join(tmpdir(), 'gatebell-bench-'));
  const world = await createWorld({ users: 1_000, apps: 10 });
  const replicas: Replica[] = [];
  try {
    const headers = forwardHeaders({ host: world.hosts[0]!, cookie: world.tokens[1]! });
    const socket = { GATEBELL_LISTEN: `unix:${path.join(folder, 'auth.sock')}`, GATEBELL_PORT: '' };
    for (const variant of VARIANTS) {
      replicas.push(await startGatebell(world.databaseUrl, variant === SOCKET ? socket : {}));
    }
    const measure = async (index: number, connections: number, isCounted: boolean): Promise<void> => {
      const replica = replicas[index]!;
      const variant = VARIANTS[index]!;
      const beforeMs = processorMs(replica.child.pid!) ?? 0;
      const load = { server: replica.auth, path: '/auth/forward', connections, seconds, headers };
      const { requests, refused, failed, requestsPerSecond, p50Ms, p99Ms } = await putPlainLoad(load);
      const spentMs = (processorMs(replica.child.pid!) ?? 0) - beforeMs;
      if (refused + failed > 0 || requests === 0) {
        throw new Error(`${variant}: of ${requests} answers, ${refused} refused, and ${failed} connections failed`);
      }
      for (const [metric, unit, value] of [
        [RATE, '1/s', requestsPerSecond],
        ['p50', 'ms', p50Ms],
        ['p99', 'ms', p99Ms],
        [COST, 'µs', (spentMs * 1_000) / requests],
      ] as const) {
        if (isCounted) {
          series.add({ variant, scenario: scenarioOf(connections), metric, unit }, value);
        }
      }
    };
    for (const connections of CONNECTIONS) {
      log(scenarioOf(connections));
      for (let times = 0; times < WARM_UPS; times++) {
        await measure(0, connections, false);
        await measure(1, connections, false);
      }
      for (let round = 0; round < rounds; round++) {
        await measure(round % 2, connections, true);
        await measure(1 - (round % 2), connections, true);
      }
    }
    return {
      series: series.all,
      notes: [
        `${rounds} rounds of ${seconds} s each. Both are measured in each; which is first changes from round to round.`,
        'The load comes from a program of our own, one thread in a process of its own: it writes bytes and looks for ' +
          'the end of each answer, over ports and over sockets alike.',
        'Processor time is that of the answering process, of its own code and of the kernel for it.',
      ],
    };
  } finally {
    await Promise.all(replicas.map(replica => replica.stop()));
    await world.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const ratioOf = (findings: Findings): number | null => {
  const of = (variant: string): ReturnType<typeof seriesOf> => seriesOf(findings, variant, scenarioOf(32), RATE);
  return medianRatio(of(SOCKET), of(PORT));
};

export const unixSocket: Experiment = {
  name: 'unix-socket',
  title: 'A Unix socket',
  about: 'Auth endpoints on a Unix socket beside the same on a port of the same machine.',
  bars: [atLeast('Unix socket, cookie, 32 connections: requests per second against a port', 1.15, ratioOf)],
  run,
};
