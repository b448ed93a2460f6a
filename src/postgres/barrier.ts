/**
 * A barrier: returns when every replica has applied all that was committed before it was passed (P20).
 *
 * It is a message on the channel that the triggers use, behind all of those commits. A replica that hears it has
 * applied them; it sends a fence of its own, which also sees triggers that were switched off, waits for the requests
 * that were under way, and then answers over its listening connection. So an answer names a backend, and backends are
 * what is counted: names of replicas may repeat.
 *
 * A replica that does not answer is waited for until the longest lease has run out: by then it serves nothing older
 * (G1), and no request that is under way there is decided by what it read before. So is a replica that has connections
 * here and does not listen, and so is everybody if Postgres was started less than a lease ago: a replica may not have
 * noticed yet that its connection is gone. What no server can see: a replica *all* of whose connections were ended a
 * moment ago without its noticing. After a failover, wait one lease.
 */
import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { parseMessage } from '../coherence/signal.js';
import { LISTENER_NAMES, replicaOf } from './replica-name.js';

/** How to reach Postgres, and how long replicas may hold on. All times in milliseconds. */
export interface BarrierOptions {
  /** A direct connection (not through a transaction-mode pooler); without one libpq's `PG*` variables are used. */
  readonly connectionString?: string | undefined;
  /** The longest lease of any replica. Default 3,000. */
  readonly leaseMs?: number;
  /** Bound of connecting, and of one statement. Default 5,000. */
  readonly timeoutMs?: number;
}

/** One replica, as far as a barrier knows it. */
export interface BarrierReplica {
  readonly replica: string;
  /** The backend that serves its listening connection; null if it does not listen. */
  readonly processId: number | null;
  /** When it had applied everything, in milliseconds from the start of the pass; null if it did not say. */
  readonly ms: number | null;
}

/** How a barrier was passed. */
export interface BarrierResult {
  readonly replicas: readonly BarrierReplica[];
  /** How long the pass took. */
  readonly ms: number;
  /** Whether the lease had to run out, because somebody did not answer or could not be asked. */
  readonly waitedForLease: boolean;
}

/** A connection that is ready to pass barriers. */
export interface Barrier {
  /**
   * Resolves when every replica has applied everything that was committed before this call. Rejects when Postgres
   * cannot be asked; then nothing is known.
   */
  pass(): Promise<BarrierResult>;
  close(): Promise<void>;
}

const LEASE_MS = 3_000;
const TIMEOUT_MS = 5_000;
/** The message is repeated, for a replica that was between two connections or whose fence failed. */
const REPEAT_MS = 250;

/** Which replicas are there; and the message, which is sent when this has committed. */
const SEND = `
  select a.pid, a.application_name as name, sent.*
  from (select pg_notify(gatebell.channel(), $1) as notified,
          extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8 * 1000 as server_age_ms) sent
  left join pg_stat_activity a on a.datname = current_database() and a.application_name like $2`;

interface SeenRow extends pg.QueryResultRow {
  pid: number | null;
  name: string | null;
  server_age_ms: number;
}

/** Opens the connection. @throws what `pg` throws, when it cannot */
export async function openBarrier(options: BarrierOptions = {}): Promise<Barrier> {
  const { connectionString, leaseMs = LEASE_MS, timeoutMs = TIMEOUT_MS } = options;
  const client = new pg.Client({
    ...(connectionString === undefined ? {} : { connectionString }),
    application_name: 'gatebell-barrier',
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
  });
  // A query then, or later, rejects: so it is noticed.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<{ listen: string }>(`select format('listen %I', gatebell.channel()) as listen`);
    await client.query(rows[0]?.listen ?? '');
  } catch (error) {
    await client.end();
    throw error;
  }

  const pass = async (): Promise<BarrierResult> => {
    const startedMs = performance.now();
    const elapsedMs = (): number => performance.now() - startedMs;
    const id = randomUUID();
    const send = async (): Promise<SeenRow[]> =>
      (await client.query<SeenRow>(SEND, [JSON.stringify({ v: 1, b: id }), LISTENER_NAMES])).rows;
    const answers = new Map<number, number>();
    let onAnswer: () => void = () => undefined;
    const hear = ({ payload = '', processId }: pg.Notification): void => {
      const message = parseMessage(payload);
      if (message.type === 'acknowledgement' && message.id === id && !answers.has(processId)) {
        answers.set(processId, elapsedMs());
        onAnswer();
      }
    };
    client.on('notification', hear);
    let timer: NodeJS.Timeout | undefined;
    try {
      const seen = await send();
      const { listening, silent } = sortOut(seen);
      const isNew = seen.some(({ server_age_ms: ageMs }) => ageMs < leaseMs);
      const isComplete = (): boolean =>
        !isNew && silent.length === 0 && listening.every(({ processId }) => answers.has(processId));
      const answered = new Promise<void>((resolve, reject) => {
        onAnswer = () => {
          if (isComplete()) {
            resolve();
          }
        };
        onAnswer();
        let repeating = false;
        timer = setInterval(
          () => {
            if (elapsedMs() >= leaseMs) {
              resolve();
            } else if (!repeating) {
              repeating = true;
              send()
                .catch(reject)
                .finally(() => {
                  repeating = false;
                });
            }
          },
          Math.min(REPEAT_MS, leaseMs),
        );
      });
      await answered;
      return {
        replicas: [
          ...listening.map(({ replica, processId }) => ({ replica, processId, ms: answers.get(processId) ?? null })),
          ...silent.map(replica => ({ replica, processId: null, ms: null })),
        ],
        ms: elapsedMs(),
        waitedForLease: !isComplete(),
      };
    } finally {
      clearInterval(timer);
      client.off('notification', hear);
    }
  };

  return {
    pass,
    async close() {
      await client.end();
    },
  };
}

/** Backends that listen, and replicas of which only other connections are there. */
function sortOut(seen: readonly SeenRow[]): {
  readonly listening: readonly { readonly replica: string; readonly processId: number }[];
  readonly silent: readonly string[];
} {
  const listening: { replica: string; processId: number }[] = [];
  const pools = new Set<string>();
  for (const { pid, name } of seen) {
    if (pid !== null && name !== null) {
      const { replica, isPool } = replicaOf(name);
      if (isPool) {
        pools.add(replica);
      } else {
        listening.push({ replica, processId: pid });
      }
    }
  }
  const silent = [...pools].filter(pool => !listening.some(({ replica }) => replica === pool));
  return { listening: listening.sort((one, other) => one.replica.localeCompare(other.replica)), silent };
}

/**
 * Passes one barrier.
 *
 * @example
 * await client.query('delete from gatebell.grants where user_id = 7');
 * const { replicas } = await barrier({ connectionString: process.env.DATABASE_URL });
 * // No replica lets user 7 pass by that grant any more.
 */
export async function barrier(options: BarrierOptions = {}): Promise<BarrierResult> {
  const opened = await openBarrier(options);
  try {
    return await opened.pass();
  } finally {
    await opened.close();
  }
}
