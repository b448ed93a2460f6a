/**
 * The soak: replicas under churn, whose listening connections are broken every few seconds, throughout. After each
 * round everything pauses, each replica collects garbage, and what it holds is read: memory, handles, files,
 * connections, cached facts, series. None may grow.
 *
 * Samples are taken just after a reconnect, with the caches empty: what is left then is what a cache is not. That the
 * caches are bounded is the business of their own tests.
 */
import { readdir, readlink } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createPostgresServer } from '../../src/dev/postgres.js';
import { migrate } from '../../src/postgres/migrate.js';
import { becomesLive, startReplica, type Replica } from '../support/replica.js';
import { createChurn, type Churn } from './churn.js';
import { fitSlope, type Sample, type Slope } from './slope.js';

/** What is measured on each replica, and how fast it may grow: per second, in its unit. Null: reported, not judged. */
export const MEASURES = {
  /**
   * A leak of 100 bytes per request would be some 20,000 per second at the rate of this load, one of 20 kB per
   * reconnect 8,000. Code that is still being compiled shows as one or two thousand per second in two minutes, and as
   * next to nothing in twenty.
   */
  heapBytes: { limit: 8_000, describes: 'heap after garbage collection' },
  externalBytes: { limit: 8_000, describes: 'memory outside of the heap' },
  rssBytes: { limit: null, describes: 'resident memory, whatever the allocator keeps included' },
  /** There is a reconnect every two to three seconds: a tenth of what one leak in each would be. */
  handles: { limit: 0.03, describes: 'active handles and requests of Node' },
  files: { limit: 0.03, describes: 'open file descriptors' },
  sockets: { limit: 0.03, describes: 'open sockets' },
  backends: { limit: 0.03, describes: 'connections that Postgres has with it' },
  cacheEntries: { limit: 0.5, describes: 'facts in its caches just after a reconnect' },
  series: { limit: 0.03, describes: 'series on /metrics' },
} as const satisfies Readonly<Record<string, { readonly limit: number | null; readonly describes: string }>>;
export type Measure = keyof typeof MEASURES;

export interface Finding extends Slope {
  readonly replica: string;
  readonly measure: Measure;
  readonly limit: number | null;
  readonly first: number;
  readonly last: number;
  readonly ok: boolean;
}

export interface Soak {
  readonly seconds: number;
  readonly samples: number;
  readonly requests: number;
  readonly changes: number;
  readonly reconnects: number;
  readonly findings: readonly Finding[];
}

export interface SoakOptions {
  readonly seconds: number;
  readonly replicas: number;
  readonly signal: AbortSignal;
  readonly onSample: (text: string) => void;
}

const ROUND_MS = 2_000;
/** Share of the time that is not judged: code is compiled, pools and agents fill. */
const WARM_UP_SHARE = 0.25;
const PROBE = fileURLToPath(new URL('memory-probe.mjs', import.meta.url));

type QueryResult = Readonly<Record<Measure, number>>;

async function readReplica(replica: Replica, client: pg.Client): Promise<QueryResult> {
  const since = replica.lines.length;
  const measured = replica.waitFor(line => line.event === 'memory', since);
  replica.child.kill('SIGUSR2');
  const memory = await measured;
  const folder = `/proc/${replica.child.pid}/fd`;
  const files = await readdir(folder);
  const targets = await Promise.all(files.map(file => readlink(`${folder}/${file}`).catch(() => '')));
  const { rows } = await client.query<{ backends: number }>(
    `select count(*)::int as backends from pg_stat_activity where application_name like $1 || '#%'
      or application_name = $1 || '/pool'`,
    [`gatebell/${replica.name}`],
  );
  const metrics = (await replica.get('/metrics')).body.split('\n').filter(line => line !== '' && !line.startsWith('#'));
  const entries = metrics
    .filter(line => line.startsWith('gatebell_cache_entries{'))
    .map(line => Number(line.split(' ').at(-1)));
  return {
    heapBytes: Number(memory['heapUsed']),
    externalBytes: Number(memory['external']),
    rssBytes: Number(memory['rss']),
    handles: Number(memory['handles']),
    files: files.length,
    sockets: targets.filter(target => target.startsWith('socket:')).length,
    backends: rows[0]?.backends ?? 0,
    cacheEntries: entries.reduce((total, count) => total + count, 0),
    // Node's are there from the first collection of each of four kinds on, which may come late.
    series: metrics.filter(line => !line.startsWith('nodejs_gc_duration_seconds')).length,
  };
}

/** Breaks the listening connections, and waits until new ones have proven themselves. */
async function reconnect(replicas: readonly Replica[], client: pg.Client): Promise<void> {
  const live = replicas.map(replica => becomesLive(replica, replica.lines.length));
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'gatebell/%'
      and application_name not like '%/pool'`,
  );
  await Promise.all(live);
}

async function soak(
  replicas: readonly Replica[],
  churn: Churn,
  client: pg.Client,
  options: SoakOptions,
): Promise<Soak> {
  const startedMs = performance.now();
  const elapsed = (): number => (performance.now() - startedMs) / 1_000;
  const readings: { readonly atSeconds: number; readonly read: readonly QueryResult[] }[] = [];
  let reconnects = 0;
  while (elapsed() < options.seconds) {
    churn.resume();
    await sleep(ROUND_MS, undefined, { signal: options.signal });
    await churn.pause();
    await reconnect(replicas, client);
    reconnects += 1;
    const read = await Promise.all(replicas.map(replica => readReplica(replica, client)));
    readings.push({ atSeconds: elapsed(), read });
    options.onSample(
      `${elapsed().toFixed(0)} s: ` +
        read.map(({ heapBytes, files }) => `${(heapBytes / 1e6).toFixed(2)} MB, ${files} files`).join('; '),
    );
  }
  const judged = readings.filter(({ atSeconds }) => atSeconds > options.seconds * WARM_UP_SHARE);
  const findings = replicas.flatMap(({ name }, index) =>
    (Object.keys(MEASURES) as Measure[]).map((measure): Finding => {
      const samples = judged.map(({ atSeconds, read }): Sample => ({ atSeconds, value: read[index]![measure] }));
      const fitted = fitSlope(samples);
      const { limit } = MEASURES[measure];
      return {
        replica: name,
        measure,
        ...fitted,
        limit,
        first: samples[0]!.value,
        last: samples.at(-1)!.value,
        ok: limit === null || fitted.lowerBound <= limit,
      };
    }),
  );
  return {
    seconds: elapsed(),
    samples: judged.length,
    requests: churn.requests,
    changes: churn.changes,
    reconnects,
    findings,
  };
}

/** Runs it from an empty Postgres to the end; leaves nothing behind. */
export async function runSoak(options: SoakOptions): Promise<Soak> {
  const server = await createPostgresServer({ settings: { fsync: 'off' } });
  const clients: pg.Client[] = [];
  const replicas: Replica[] = [];
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: server.url('postgres') });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  };
  try {
    const client = await connect();
    await migrate(client, 'up');
    for (let index = 1; index <= options.replicas; index++) {
      replicas.push(
        await startReplica(server.url('postgres'), {
          name: `replica-${index}`,
          nodeArgs: ['--expose-gc', '--import', PROBE],
        }),
      );
    }
    const churn = createChurn(await connect(), replicas);
    try {
      return await soak(replicas, churn, client, options);
    } finally {
      await churn.pause().catch(() => undefined);
      churn.close();
    }
  } finally {
    for (const replica of replicas) {
      replica.child.kill('SIGKILL');
    }
    await Promise.all(replicas.map(({ exited }) => exited));
    await Promise.all(clients.map(client => client.end().catch(() => undefined)));
    await server.remove();
  }
}
