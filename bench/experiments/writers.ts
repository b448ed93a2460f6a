/**
 * What the signals cost those who write: the same updates of tables that differ in their triggers only, round by round.
 *
 * - none: a table like `gatebell.grants`, with its indexes and constraints, and one more column that nobody watches;
 * - gatebell: the same, watched with `gatebell.watch()`;
 * - naive: the same, with the trigger that one would write first: NOTIFY with the row as JSON, once a row.
 */
import { once } from 'node:events';
import pg from 'pg';
import { createPostgresServer, type PostgresServer } from '../../src/dev/postgres.js';
import { migrate } from '../../src/store/migrate.js';
import {
  medianRatio,
  seriesOf,
  type Bar,
  type Effort,
  type Experiment,
  type Findings,
  type Series,
} from '../experiment.js';

const VARIANTS = ['none', 'gatebell', 'naive'] as const;
type Variant = (typeof VARIANTS)[number];

/** Rows that single-row updates are spread over. */
const SMALL_ROWS = 10_000;
const RATE = 'updates a second';
const TIME = 'time of one update of all rows';
const NOTIFICATIONS = 'notifications';
const DURABLE_ONE = 'durable, 1 client';

/** How much is measured. */
interface Sizes {
  readonly rounds: number;
  readonly rateMs: number;
  readonly bigRows: number;
  readonly bigRounds: number;
  readonly listeners: readonly number[];
}

const sizesOf = (quick: boolean): Sizes =>
  quick
    ? { rounds: 3, rateMs: 400, bigRows: 50_000, bigRounds: 3, listeners: [0, 50] }
    : { rounds: 9, rateMs: 2_000, bigRows: 1_000_000, bigRounds: 5, listeners: [0, 10, 50, 200] };

/** Collects values by series. */
class Collector {
  readonly #rounds = new Map<string, Series & { readonly rounds: number[] }>();

  add(variant: string, scenario: string, metric: string, unit: string, value: number): void {
    const name = [variant, scenario, metric].join('\n');
    const series = this.#rounds.get(name) ?? { variant, scenario, metric, unit, rounds: [] };
    series.rounds.push(value);
    this.#rounds.set(name, series);
  }

  series(): Series[] {
    return [...this.#rounds.values()];
  }
}

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

/** Single-row updates a second of some clients at once, each over rows of its own. */
async function measureRate(clients: readonly pg.Client[], variant: Variant, durationMs: number): Promise<number> {
  const startedMs = performance.now();
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
  const seconds = (performance.now() - startedMs) / 1000;
  return counts.reduce((sum, count) => sum + count, 0) / seconds;
}

async function vacuum(client: pg.Client, prefix: string): Promise<void> {
  for (const variant of VARIANTS) {
    await client.query(`vacuum bench.${prefix}_${variant}`);
  }
}

/** All variants once each, beginning with another one every round: who comes first has the emptiest server. */
function inTurn(round: number): Variant[] {
  return VARIANTS.map((_, index) => VARIANTS[(index + round) % VARIANTS.length]!);
}

async function measureRates(server: PostgresServer, admin: pg.Client, sizes: Sizes, out: Collector): Promise<void> {
  for (const [durability, setting] of [
    ['durable', 'on'],
    ['synchronous_commit = off', 'off'],
  ] as const) {
    const clients = await Promise.all(
      Array.from({ length: 8 }, () => connect(server, `set synchronous_commit = ${setting}`)),
    );
    for (let round = 0; round < sizes.rounds; round++) {
      for (const count of [1, 8]) {
        const scenario = `${durability}, ${count} ${count === 1 ? 'client' : 'clients'}`;
        for (const variant of inTurn(round)) {
          out.add(variant, scenario, RATE, '1/s', await measureRate(clients.slice(0, count), variant, sizes.rateMs));
        }
      }
      await vacuum(admin, 'small');
    }
    await Promise.all(clients.map(client => client.end()));
  }
}

/** One client's rate, durable, while others listen to the channels that are signalled on. */
async function measureListeners(server: PostgresServer, admin: pg.Client, sizes: Sizes, out: Collector): Promise<void> {
  const writer = await connect(server, 'set synchronous_commit = on');
  const listeners: pg.Client[] = [];
  for (const count of sizes.listeners) {
    while (listeners.length < count) {
      listeners.push(await connect(server, 'listen gatebell; listen naive'));
    }
    for (let round = 0; round < sizes.rounds; round++) {
      for (const variant of inTurn(round)) {
        const rate = await measureRate([writer], variant, sizes.rateMs);
        out.add(variant, `${DURABLE_ONE}, ${count} listeners`, RATE, '1/s', rate);
      }
    }
    await vacuum(admin, 'small');
  }
  await Promise.all([writer, ...listeners].map(client => client.end()));
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

async function measureBig(server: PostgresServer, sizes: Sizes, out: Collector, log: Effort['log']): Promise<void> {
  const writer = await connect(server);
  const listener = await connect(server, 'listen gatebell; listen naive; listen mark');
  await createTables(writer, 'big', sizes.bigRows);
  for (const [scenario, column] of [
    ['a watched column', 'expires_at'],
    ['a column that is not watched', 'seen_at'],
  ] as const) {
    for (let round = 0; round < sizes.bigRounds; round++) {
      for (const variant of inTurn(round)) {
        const table = `bench.big_${variant}`;
        let ms = 0;
        const notifications = await countNotifications(listener, writer, async () => {
          const startedMs = performance.now();
          await writer.query(`update ${table} set ${column} = clock_timestamp()`);
          ms = performance.now() - startedMs;
        });
        out.add(variant, scenario, TIME, 'ms', ms);
        out.add(variant, scenario, NOTIFICATIONS, '', notifications);
        await writer.query(`vacuum ${table}`);
      }
      log(`writers: ${scenario}, round ${round + 1} of ${sizes.bigRounds}`);
    }
  }
  await Promise.all([writer.end(), listener.end()]);
}

async function run({ quick, log }: Effort): Promise<Findings> {
  const sizes = sizesOf(quick);
  const out = new Collector();
  const server = await createPostgresServer({
    settings: { fsync: 'on', max_connections: '250', max_wal_size: '8GB', checkpoint_timeout: '1h' },
  });
  try {
    const admin = await connect(server);
    await createSchema(admin);
    await createTables(admin, 'small', SMALL_ROWS);
    await measureRates(server, admin, sizes, out);
    log('writers: rates done');
    await measureListeners(server, admin, sizes, out);
    log('writers: listeners done');
    await measureBig(server, sizes, out, log);
    const version = (await admin.query<{ server_version: string }>('show server_version')).rows[0]?.server_version;
    await admin.end();
    return {
      series: out.series(),
      notes: [
        `PostgreSQL ${version ?? ''}, fsync on; durable is synchronous_commit = on.`,
        `Single rows: ${SMALL_ROWS} rows, ${sizes.rateMs} ms a variant and round. All rows: ${sizes.bigRows} rows, each variant vacuumed after its turn.`,
        'The tables are like gatebell.grants, with its indexes and constraints, and a column that nobody watches.',
      ],
    };
  } finally {
    await server.remove();
  }
}

/** How gatebell compares with no trigger, in one scenario. */
function ratioBar(name: string, scenario: string, metric: string, limit: number, atLeast: boolean): Bar {
  return {
    name,
    target: `${atLeast ? '≥' : '≤'} ${limit.toFixed(2)}`,
    measure: findings => {
      const value = medianRatio(
        seriesOf(findings, 'gatebell', scenario, metric),
        seriesOf(findings, 'none', scenario, metric),
      );
      return value === null ? null : { value, met: atLeast ? value >= limit : value <= limit };
    },
  };
}

/** The most notifications that any update of all rows made. */
const oneNotification: Bar = {
  name: 'writers: notifications of an update of all rows',
  target: '≤ 1',
  measure: findings => {
    const counts = findings.series
      .filter(series => series.variant === 'gatebell' && series.metric === NOTIFICATIONS)
      .flatMap(series => series.rounds);
    const value = Math.max(...counts);
    return counts.length === 0 ? null : { value, met: value <= 1 };
  },
};

export const writers: Experiment = {
  name: 'writers',
  title: "Writers' cost",
  about:
    'What the triggers take from those who write: single-row updates a second, and the time of one update of very many rows, beside a table without triggers and one with a naive trigger that sends each row as JSON.',
  bars: [
    ratioBar(
      'writers: single rows, durable, one client: updates a second against no trigger',
      DURABLE_ONE,
      RATE,
      0.7,
      true,
    ),
    ratioBar('writers: all rows, a watched column: time against no trigger', 'a watched column', TIME, 1.3, false),
    ratioBar(
      'writers: all rows, a column that is not watched: time against no trigger',
      'a column that is not watched',
      TIME,
      1.3,
      false,
    ),
    oneNotification,
  ],
  run,
};
