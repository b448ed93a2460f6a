/** Nemeses of processes: paused, killed. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../cluster.js';
import { everywhere, isEvent, LEASE_MS, repeatedly, type Nemesis, type Stop } from '../nemesis.js';

/** Longer than the lease, and than a fence that is sent meanwhile may take. */
const PAUSE_MS = LEASE_MS + 1_500;
const AWAKE_MS = 700;

export const pauseReplica: Nemesis = {
  name: 'pause-replica',
  does:
    'Stops every replica, or one of its processes, (SIGSTOP) for longer than the lease and lets it go on, again ' +
    'and again; questions wait meanwhile.',
  start: cluster =>
    Promise.resolve(
      repeatedly(AWAKE_MS, () =>
        everywhere(cluster, async ({ process }) => {
          const all = await processesOf(process.child.pid);
          const paused = Math.random() < 0.5 ? all : [all[Math.floor(Math.random() * all.length)]!];
          for (const pid of paused) {
            signal(pid, 'SIGSTOP');
          }
          await sleep(PAUSE_MS);
          for (const pid of paused) {
            signal(pid, 'SIGCONT');
          }
        }),
      ),
    ),
};

/** The process and its workers. */
async function processesOf(pid = 0): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return [pid, ...children.split(' ').filter(Boolean).map(Number)];
}

export const killReplica: Nemesis = {
  name: 'kill-replica',
  does: 'Kills the replicas (SIGKILL), one after the other, and starts each again.',
  start(cluster) {
    let next = 0;
    return Promise.resolve(
      repeatedly(300, async () => {
        const member = cluster.members[next++ % cluster.members.length]!;
        await member.kill();
        await member.start();
      }),
    );
  },
  leaves: isEvent('listening'),
};

export const pauseListenerBackend: Nemesis = {
  name: 'pause-listener-backend',
  does:
    'Stops the Postgres processes that serve the listening connections ' +
    '(SIGSTOP) for longer than the lease, again and again.',
  start: cluster =>
    Promise.resolve(
      repeatedly(AWAKE_MS, async () => {
        const proceed = await stopListeners(cluster);
        await sleep(PAUSE_MS);
        await proceed();
      }),
    ),
  leaves: isEvent('fence_failed'),
};

/** Stops the processes that serve the listening connections now. Returns what lets them go on. */
export async function stopListeners(cluster: Cluster): Promise<Stop> {
  const rows = await cluster.sql(
    `select pid from pg_stat_activity where application_name like 'gatebell/%' and application_name not like '%/pool'`,
  );
  const stopped = new Set((rows as { pid: number }[]).map(({ pid }) => pid));
  const proceed = (): Promise<void> => {
    for (const pid of stopped) {
      signal(pid, 'SIGCONT');
    }
    stopped.clear();
    return Promise.resolve();
  };
  cluster.onStop(proceed);
  for (const pid of stopped) {
    signal(pid, 'SIGSTOP');
  }
  return proceed;
}

/** It may have ended meanwhile. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) {
      throw error;
    }
  }
}
