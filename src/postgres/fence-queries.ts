/**
 * The two statements that a proof begins with: which server answers, and the same with a request for a fence and the
 * state of the triggers (P5, P11, P22).
 */
import type pg from 'pg';
import type { AskFence, FenceReceipt, SendFence } from '../coherence/proof/fence.js';
import type { AskServer, ServerReceipt } from '../coherence/proof/server.js';
import type { Query } from './reads.js';

/** Which server answers, and whether the backend of process id $1, with the mark $2, is on it, in the same database. */
const SERVER = `
  s.server_id, s.in_recovery, pg_backend_pid() as process_id, coalesce((
    select case when position($2::text in a.application_name) > 0 then 'seen' else 'unsure' end
    from pg_stat_get_activity($1::integer) a
    where a.datid = (select d.oid from pg_database d where d.datname = current_database())
  ), 'absent') as listener`;

const ASK_SERVER = `select ${SERVER} from gatebell.server s`;

const FENCE = `
  select ${SERVER}, s.server_time_ms, gatebell.channel() as channel, pg_notification_queue_usage() as queue_usage,
    f.bound::double precision as bound, f.newest::double precision as newest, f.sent, encode(f.key, 'hex') as key,
    (select coalesce(json_agg(json_build_object('topic', w.topic, 'problem', w.problem, 'fingerprint', w.fingerprint,
       'writers', case when w.problem is not null or w.fingerprint = any ($4::text[]) then '{}'
         else gatebell.open_writers(w.target, pg_current_snapshot()) end)
       order by w.topic, w.target::oid), '[]') from gatebell.watch_status w) as watches
  from gatebell.server s, gatebell.fence($3) f`;

/**
 * Planning it costs Postgres more than running it, so it is prepared, but only when a fence has come back before: then
 * no transaction-mode pooler is in between, for which a prepared statement is on another connection the next time.
 */
const PREPARED_FENCE = 'gatebell_fence';

interface ServerRow extends pg.QueryResultRow {
  server_id: string;
  in_recovery: boolean;
  process_id: number;
  listener: ServerReceipt['listener'];
}

interface FenceRow extends ServerRow {
  server_time_ms: number;
  bound: number;
  newest: number;
  sent: boolean;
  key: string;
  channel: string;
  queue_usage: number;
  watches: FenceReceipt['watches'];
}

/** As `gatebell.fence` takes it. */
function unlessAfter(send: SendFence): number | null {
  switch (send) {
    case 'always':
      return null;
    case 'never':
      return -1;
    default:
      return send.unlessAfter;
  }
}

/** Runs some statements on one connection of the pool. */
export type OnConnection = <T>(work: (run: Query, client: pg.PoolClient) => Promise<T>) => Promise<T>;

/** @param isDirect whether no pooler is in between */
export function createFenceQueries(
  onConnection: OnConnection,
  isDirect: boolean,
): { readonly askServer: AskServer; readonly askFence: AskFence } {
  /** One row, and what it says about the server. */
  const askAbout = <R extends ServerRow>(
    name: string,
    text: string,
    values: readonly unknown[],
    prepared: string | null = null,
  ): Promise<R & ServerReceipt> =>
    onConnection(async (run, client) => {
      const [row] = await run<R>(name, text, values, prepared);
      if (row === undefined) {
        throw new Error('the view gatebell.server returned no row');
      }
      // The driver keeps it and does not declare it: the process that the connection began with.
      const { processID: begunWith } = client as { readonly processID?: unknown };
      return { ...row, serverId: row.server_id, inRecovery: row.in_recovery, isPooled: row.process_id !== begunWith };
    });

  return {
    askServer: async ({ processId, mark }) => askAbout<ServerRow>('server', ASK_SERVER, [processId, mark]),
    async askFence(send, { processId, mark }, isProven, trusted = []) {
      const prepared = isDirect && isProven ? PREPARED_FENCE : null;
      const row = await askAbout<FenceRow>('fence', FENCE, [processId, mark, unlessAfter(send), trusted], prepared);
      return {
        serverId: row.server_id,
        inRecovery: row.inRecovery,
        listener: row.listener,
        isPooled: row.isPooled,
        serverTimeMs: row.server_time_ms,
        bound: row.bound,
        newest: row.newest,
        sent: row.sent,
        key: row.key,
        channel: row.channel,
        queueUsage: row.queue_usage,
        watches: row.watches,
      };
    },
  };
}
