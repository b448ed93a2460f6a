/**
 * Start and rest: how long a replica takes from the start of its process to ready (listening, its cache proven), and
 * what memory it takes when nothing is asked of it. Beside it, what a bare server and Express take on the same runtime,
 * which nothing on it can undercut.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchAnswer, startReplica } from '../../test/support/replica.js';
import type { Effort, Experiment, Findings } from '../experiment.js';
import type { Identity } from '../peers/peer.js';
import { buildPrograms, endWithUs, residentBytes, startProgram } from '../support/program.js';
import { createSeriesLog } from '../support/series.js';
import { createWorld, type World } from '../support/measured-world.js';

const ROUNDS = 9;
const QUICK_ROUNDS = 3;
/** How long a process rests before its memory is looked at. */
const REST_MS = 1_000;
/** Between two looks at `/readyz`: what the figure may be too large by. */
const POLL_MS = 2;
const PEERS = ['floor', 'express'];
const NOBODY: Identity = { user: '', name: '', email: '', groups: '', app: '', role: '' };

/** What one start has shown. */
interface Start {
  readonly startMs: number;
  readonly restingBytes: number | null;
}

async function startGatebell({ databaseUrl }: World): Promise<Start> {
  const startedMs = performance.now();
  const replica = await startReplica(databaseUrl, { env: { NODE_ENV: 'production' }, live: false });
  endWithUs(replica.child);
  try {
    while (!(await replica.get('/readyz')).body.includes('"fromMemory":true')) {
      await sleep(POLL_MS);
    }
    const startMs = performance.now() - startedMs;
    await sleep(REST_MS);
    return { startMs, restingBytes: residentBytes(replica.child.pid!) };
  } finally {
    await replica.stop();
  }
}

async function startPeer(name: string): Promise<Start> {
  const startedMs = performance.now();
  const program = await startProgram(`peers/${name}`, { PEER_HEADERS: '[]', PEER_IDENTITY: JSON.stringify(NOBODY) });
  try {
    await fetchAnswer(`${program.url}/auth/forward`);
    const startMs = performance.now() - startedMs;
    await sleep(REST_MS);
    return { startMs, restingBytes: residentBytes(program.pid) };
  } finally {
    await program.stop();
  }
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const rounds = quick ? QUICK_ROUNDS : ROUNDS;
  const series = createSeriesLog();
  await buildPrograms(PEERS.map(name => `peers/${name}`));
  const world = await createWorld({ users: 100, apps: 10 });
  try {
    for (let round = 0; round < rounds; round++) {
      log(`round ${round + 1} of ${rounds}`);
      for (const variant of ['gatebell', ...PEERS]) {
        const { startMs, restingBytes } =
          variant === 'gatebell' ? await startGatebell(world) : await startPeer(variant);
        series.add({ variant, scenario: '', metric: 'process start to ready', unit: 'ms' }, startMs);
        if (restingBytes !== null) {
          series.add({ variant, scenario: '', metric: 'memory at rest', unit: 'MiB' }, restingBytes / 2 ** 20);
        }
      }
    }
  } finally {
    await world.close();
  }
  return {
    series: series.all,
    notes: [
      'Ready is the first time that `/readyz` tells `fromMemory`: LISTEN in place and a fence proven. For the ' +
        'others, the first answer.',
      `Memory at rest is the resident memory of the process ${REST_MS / 1_000} s after that, before any question.`,
      `${rounds} rounds.`,
    ],
  };
}

export const start: Experiment = {
  name: 'start',
  title: 'Start and rest',
  about: 'From the start of the process to ready, and memory at rest.',
  bars: [],
  run,
};
