/** `gatebell barrier`, and the `--wait` of commands that take rights away. */
import { openBarrier, type Barrier, type BarrierResult } from '../postgres/barrier.js';
import { requireDatabase, type CommandContext } from './context.js';

const WAITED = '; Postgres has only just been started, so the lease was waited for';

const milliseconds = (ms: number): string => `${Math.ceil(ms).toLocaleString('en')} ms`;

/** A barrier on the database of the command. */
export function openCommandBarrier(context: CommandContext): Promise<Barrier> {
  requireDatabase(context);
  const { listenUrl, databaseUrl, leaseMs } = context.config;
  return openBarrier({ connectionString: listenUrl ?? databaseUrl ?? undefined, leaseMs });
}

/**
 * Says what came of it: a line for each replica, and `denied on 3 of 3 replicas in 4 ms`.
 * @param done what is true there now
 */
export function describeBarrier({ replicas, ms, waitedForLease }: BarrierResult, done: string): string[] {
  const width = Math.max(...replicas.map(({ replica }) => replica.length), 0);
  const lines = replicas.map(({ replica, processId, ms: applied }) => {
    const how =
      applied !== null
        ? `${done} in ${milliseconds(applied)}`
        : processId === null
          ? 'does not listen: the lease was waited for'
          : 'did not answer: its lease was waited for';
    return `  ${replica.padEnd(width)}  ${how}`;
  });
  if (replicas.length === 0) {
    return [`no replica is connected${waitedForLease ? WAITED : ''}`];
  }
  const restarted = waitedForLease && replicas.every(({ ms: applied }) => applied !== null);
  return [
    ...lines,
    `${done} on ${replicas.length} of ${replicas.length} replicas in ${milliseconds(ms)}${restarted ? WAITED : ''}`,
  ];
}

/** Returns when every replica has applied everything that was committed before. */
export async function barrier(context: CommandContext): Promise<void> {
  const opened = await openCommandBarrier(context);
  try {
    const passed = await opened.pass();
    context.print(passed, describeBarrier(passed, 'applied'));
  } finally {
    await opened.close();
  }
}
