/**
 * What the signals cost those who write: the same updates of tables that differ in their triggers only, round by round.
 *
 * - none: a table like `gatebell.grants`, with its indexes and constraints, and one more column that nobody watches;
 * - gatebell: the same, watched with `gatebell.watch()`;
 * - naive: the same, with the trigger that one would write first: NOTIFY with the row as JSON, once per row.
 */
import { once } from 'node:events';
import pg from 'pg';
import { createPostgresServer, type PostgresServer } from '../../src/dev/postgres.js';
import { migrate } from '../../src/postgres/migrate.js';
import { atLeast, atMost } from '../bar.js';
import { medianRatio, seriesOf, type Effort, type Experiment, type Findings } from '../experiment.js';
import type { Listen } from '../support/listeners.js';
import { buildPrograms } from '../support/program.js';
import { createSeriesLog, type SeriesLog } from '../support/series.js';
import { startWorker } from '../support/worker.js';
import { formatNumber } from '../statistics.js';

const VARIANTS = ['none', 'gatebell', 'naive'] as const;
type Variant = (typeof VARIANTS)[number];

/** Rows that single-row updates are spread over. */
const SMALL_ROWS = 10_000;
const LISTENERS = 'support/listeners';
const RATE = 'updates per second';
const TIME = 'time of one update of all rows';
const NOTIFICATIONS = 'notifications';
const DURABLE_ONE = 'durable, 1 client';
const WATCHED = 'all rows, a watched column';
const NOT_WATCHED = 'all rows, a column that is not watched';

/** How much is measured. */
interface Sizes {
  readonly rounds: number;
  readonly rateMs: number;
  readonly bigRows: number;
  readonly bigRounds: number;
  readonly listeners: readonly number[];
}

const FULL: Sizes = {
  rounds: 9,
  rateMs: 1_000,
  bigRows: 1_000_000,
  bigRounds: 3,
  listeners: [0, 10, 50, 200],
};
const QUICK: Sizes = { rounds: 3, rateMs: 150, bigRows: 80_000, bigRounds: 1, listeners: [0, 50] };

/** Connects, hears the errors of a server that stops, and runs the statement that sets the session up. */
async function connect(server: PostgresServer, statement = ''): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.url('postgres') });
  client.on('error', () => undefined);
  await client.connect();
  await client.query(statement);
  return client;
}

/** Tables `bench.<prefix>_<variant>` that differ in their triggers only. */
async function createTables(client: pg.Client, prefix: string, rows: number): Promise<void> {
  for (const variant of VARIANTS) {
    const table = `bench.${prefix}_${variant}`;
    // No vacuum of its own accord in the middle of a round.
    await client.query(`
      create table ${table} (like gatebell.grants including all, seen_at timestamptz) with (autovacuum_enabled = off);
      insert into ${table} (user_id, app_id) select n, n % 50 from generate_series(1, ${rows}) n;
      analyze ${table}`);
  }
  await client.query(`
    select gatebell.watch('bench.${prefix}_gatebell', '${prefix}', '{user_id,app_id}', '{role,expires_at}');
    create trigger naive after insert or update or delete on bench.${prefix}_naive
      for each row execute function bench.naive()`);
}

async function createSchema(client: pg.Client): Promise<void> {
  await migrate(client, 'up');
  await client.query(`
    create schema bench;
    create function bench.naive() returns trigger language plpgsql as $$
    begin
      perform pg_notify('naive', json_build_object(
        'table', tg_table_name, 'operation', tg_op, 'row', row_to_json(coalesce(new, old)))::text);
      return null;
    end $$`);
}

/** What came of single-row updates. */
interface Rate {
  readonly perSecond: number;
  /** How much of one core the process of the clients has used, from 0 to 1: near 1 it would be what is measured. */
  readonly clientsShare: number;
}

/** Single-row updates by some clients at once, each over rows of its own. */
async function updateRows(clients: readonly pg.Client[], variant: Variant, durationMs: number): Promise<Rate> {
  const startedMs = performance.now();
  const processor = process.cpuUsage();
  const share = Math.floor(SMALL_ROWS / clients.length);
  const counts = await Promise.all(
    clients.map(async (client, index) => {
      let count = 0;
      while (performance.now() - startedMs < durationMs) {
        await client.query({
          name: variant,
          text: `update bench.small_${variant} set role = $1 where user_id = $2`,
          // Another value each time: an update that changes nothing would be silent.
          values: [`role ${startedMs} ${count}`, 1 + index * share + ((count * 7919) % share)],
        });
        count++;
      }
      return count;
    }),
  );
  const elapsedMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(processor);
  return {
    perSecond: counts.reduce((sum, count) => sum + count, 0) / (elapsedMs / 1_000),
    clientsShare: (user + system) / 1_000 / elapsedMs,
  };
}

/** All variants once each, beginning with another one every round. */
function inTurn(round: number): Variant[] {
  return VARIANTS.map((_, index) => VARIANTS[(index + round) % VARIANTS.length]!);
}

/** One turn of every variant; returns the largest share of a core that the clients used. */
async function measureRates(
  clients: readonly pg.Client[],
  scenario: string,
  round: number,
  { rateMs }: Sizes,
  series: SeriesLog,
): Promise<number> {
  let largest = 0;
  for (const variant of inTurn(round)) {
    const { perSecond, clientsShare } = await updateRows(clients, variant, rateMs);
    series.add({ variant, scenario, metric: RATE, unit: '1/s' }, perSecond);
    largest = Math.max(largest, clientsShare);
  }
  return largest;
}

/** The server keeps plans, and the triggers' code, for each connection. */
async function warmUp(clients: readonly pg.Client[]): Promise<void> {
  for (const variant of VARIANTS) {
    await updateRows(clients, variant, 100);
  }
}

async function vacuum(admin: pg.Client): Promise<void> {
  for (const variant of VARIANTS) {
    await admin.query(`vacuum bench.small_${variant}`);
  }
}

/**
 * Rates of 1 and 8 clients, durable and not, while nobody listens; returns the largest share of a core that the clients
 * used.
 */
async function measureSingleRows(
  server: PostgresServer,
  admin: pg.Client,
  sizes: Sizes,
  series: SeriesLog,
  log: Effort['log'],
): Promise<number> {
  const connectAll = (setting: string): Promise<pg.Client[]> =>
    Promise.all(Array.from({ length: 8 }, () => connect(server, `set synchronous_commit = ${setting}`)));
  const kinds = [
    ['durable', await connectAll('on')],
    ['synchronous_commit = off', await connectAll('off')],
  ] as const;
  let largest = 0;
  for (const [, clients] of kinds) {
    await warmUp(clients);
  }
  for (let round = 0; round < sizes.rounds; round++) {
    log(`single rows, round ${round + 1} of ${sizes.rounds}`);
    for (const [name, clients] of kinds) {
      const one = await measureRates(clients.slice(0, 1), `${name}, 1 client`, round, sizes, series);
      const all = await measureRates(clients, `${name}, 8 clients`, round, sizes, series);
      largest = Math.max(largest, one, all);
    }
    await vacuum(admin);
  }
  await Promise.all(kinds.flatMap(([, clients]) => clients.map(client => client.end())));
  return largest;
}

/** The rate of one client, durable, while some listen. */
async function measureListeners(
  server: PostgresServer,
  admin: pg.Client,
  sizes: Sizes,
  series: SeriesLog,
  log: Effort['log'],
): Promise<void> {
  const writer = await connect(server, 'set synchronous_commit = on');
  const worker = startWorker<Listen>(LISTENERS, { DATABASE_URL: server.url('postgres') });
  try {
    const listen = (count: number): Promise<null> => worker.ask({ count, channels: ['gatebell', 'naive'] });
    await listen(Math.max(...sizes.listeners));
    await warmUp([writer]);
    for (let round = 0; round < sizes.rounds; round++) {
      log(`listeners, round ${round + 1} of ${sizes.rounds}`);
      for (const count of sizes.listeners) {
        await listen(count);
        await measureRates([writer], `${DURABLE_ONE}, ${count} listeners`, round, sizes, series);
      }
      await vacuum(admin);
    }
  } finally {
    await worker.stop();
  }
  await writer.end();
}

/** Counts what arrives on both channels until the mark that is sent after the act. */
async function countNotifications(listener: pg.Client, writer: pg.Client, act: () => Promise<void>): Promise<number> {
  let count = 0;
  const marked = new AbortController();
  const hear = ({ channel }: pg.Notification): void => {
    if (channel === 'mark') {
      marked.abort();
    } else {
      count++;
    }
  };
  listener.on('notification', hear);
  const arrived = once(marked.signal, 'abort');
  await act();
  await writer.query('notify mark');
  await arrived;
  listener.off('notification', hear);
  return count;
}

/** One update of all rows of every variant. */
async function updateAll(
  writer: pg.Client,
  listener: pg.Client,
  scenario: string,
  round: number,
  series: SeriesLog,
): Promise<void> {
  const column = scenario === WATCHED ? 'expires_at' : 'seen_at';
  for (const variant of inTurn(round)) {
    const table = `bench.big_${variant}`;
    let ms = 0;
    const notifications = await countNotifications(listener, writer, async () => {
      const startedMs = performance.now();
      await writer.query(`update ${table} set ${column} = clock_timestamp()`);
      ms = performance.now() - startedMs;
    });
    series.add({ variant, scenario, metric: TIME, unit: 'ms' }, ms);
    series.add({ variant, scenario, metric: NOTIFICATIONS, unit: '' }, notifications);
    // Each update finds the same: no dead rows, and nothing left to write but its own.
    await writer.query(`vacuum ${table}`);
    await writer.query('checkpoint');
  }
}

async function measureAllRows(
  server: PostgresServer,
  sizes: Sizes,
  series: SeriesLog,
  log: Effort['log'],
): Promise<void> {
  const writer = await connect(server);
  const listener = await connect(server, 'listen gatebell; listen naive; listen mark');
  await createTables(writer, 'big', sizes.bigRows);
  // The first update makes the tables larger: that is not measured.
  await updateAll(writer, listener, WATCHED, 0, createSeriesLog());
  for (let round = 0; round < sizes.bigRounds; round++) {
    log(`all rows, round ${round + 1} of ${sizes.bigRounds}`);
    for (const scenario of [WATCHED, NOT_WATCHED]) {
      await updateAll(writer, listener, scenario, round, series);
    }
  }
  await Promise.all([writer.end(), listener.end()]);
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const sizes = quick ? QUICK : FULL;
  const series = createSeriesLog();
  await buildPrograms([LISTENERS]);
  const server = await createPostgresServer({
    settings: { fsync: 'on', max_connections: '250', max_wal_size: '8GB', checkpoint_timeout: '1h' },
  });
  try {
    const admin = await connect(server);
    await createSchema(admin);
    await createTables(admin, 'small', SMALL_ROWS);
    const clientsShare = await measureSingleRows(server, admin, sizes, series, log);
    await measureListeners(server, admin, sizes, series, log);
    await measureAllRows(server, sizes, series, log);
    const { rows } = await admin.query<{ server_version: string }>('show server_version');
    await admin.end();
    return {
      series: series.all,
      notes: [
        `PostgreSQL ${rows[0]!.server_version}, fsync on; durable is synchronous_commit = on.`,
        'The tables have the columns, indexes and checks of gatebell.grants and one column more that nobody ' +
          'watches; no foreign keys, which these updates would not touch.',
        `Single rows: the role, which is watched and not indexed, of one of ${SMALL_ROWS.toLocaleString('en')} ` +
          `rows; ${sizes.rateMs} ms a variant and round, ${sizes.rounds} rounds. All clients are in one process; ` +
          `the most that it took was ${formatNumber(clientsShare)} of one core, of which 1 would bound the rates.`,
        `All rows: one statement that changes ${sizes.bigRows.toLocaleString('en')} rows, durable, one listener; ` +
          `expires_at is watched, the other column is not; neither is indexed. ${sizes.bigRounds} rounds, the ` +
          'table vacuumed and a checkpoint done after each update.',
        'Listeners are plain LISTEN connections in a process of their own; all are connected throughout, and as ' +
          'many listen as is said. Without that, nobody listens.',
        ...(quick ? ['Quick: fewer rounds, rows and listeners.'] : []),
      ],
    };
  } finally {
    await server.remove();
  }
}

/** No trigger beside ours, round by round. */
const compared = (findings: Findings, scenario: string, metric: string): number | null =>
  medianRatio(seriesOf(findings, 'gatebell', scenario, metric), seriesOf(findings, 'none', scenario, metric));

/** The most notifications that any update of all rows made. */
function mostNotifications({ series }: Findings): number | null {
  const counts = series
    .filter(({ variant, metric }) => variant === 'gatebell' && metric === NOTIFICATIONS)
    .flatMap(({ rounds }) => rounds);
  return counts.length === 0 ? null : Math.max(...counts);
}

export const writers: Experiment = {
  name: 'writers',
  title: "Writers' cost",
  about:
    'What the triggers take from those who write: single-row updates per second, and the time of one update of ' +
    'very many rows, beside a table without triggers and one with a naive trigger that sends each row as JSON.',
  bars: [
    atLeast(`writers, ${DURABLE_ONE}: updates per second, Gatebell against no trigger`, 0.7, findings =>
      compared(findings, DURABLE_ONE, RATE),
    ),
    ...[WATCHED, NOT_WATCHED].map(scenario =>
      atMost(`writers, ${scenario}: time, Gatebell against no trigger`, 1.3, findings =>
        compared(findings, scenario, TIME),
      ),
    ),
    atMost('writers, all rows: notifications of one update, in any round', 1, mostNotifications),
  ],
  run,
};
