/**
 * The story of docs/performance.md: a chapter for each experiment, with the charts and the figures that matter most. A
 * sentence gives figures and says what they are of; it does not judge them, so it stays true when they change.
 */
import type { Findings } from './experiment.js';
import { formatNumber, summarise, type Summary } from './statistics.js';

/** The figures of one experiment as texts, each with its unit; of what is counted in a second, the sentence says so. */
export interface Figures {
  /** `—` if it was not measured. */
  readonly of: (variant: string, scenario: string, metric: string) => string;
  /** The variants that were measured, in their order. */
  readonly variants: (scenario: string, metric: string) => readonly string[];
  /** The scenarios that were measured, in their order. */
  readonly scenarios: (metric: string) => readonly string[];
}

/** A chart of one metric. */
export interface StoryChart {
  readonly title: string;
  readonly metric: string;
  /** Those whose name has this in it. Default: all. */
  readonly scenarios?: string;
}

export interface Chapter {
  /** The name of the experiment. */
  readonly experiment: string;
  readonly title: string;
  readonly charts: readonly StoryChart[];
  tell(figures: Figures): string;
}

export const withUnit = (value: number, unit: string): string => `${formatNumber(value)} ${unit}`.trimEnd();

export function figuresOf(findings: Findings): Figures {
  const summaries = summarise(findings);
  const unique = (texts: readonly string[]): string[] => [...new Set(texts)];
  const found = (is: (series: Summary['series']) => boolean): Summary[] => summaries.filter(({ series }) => is(series));
  return {
    of(variant, scenario, metric) {
      const [summary] = found(
        series => series.variant === variant && series.scenario === scenario && series.metric === metric,
      );
      return summary === undefined ? '—' : withUnit(summary.median, summary.series.unit.replace('1/s', ''));
    },
    variants: (scenario, metric) =>
      unique(
        found(series => series.scenario === scenario && series.metric === metric).map(({ series }) => series.variant),
      ),
    scenarios: metric => unique(found(series => series.metric === metric).map(({ series }) => series.scenario)),
  };
}

const COOKIE = 'cookie, 32 connections';
const RATE = 'requests per second';

const hotPath: Chapter = {
  experiment: 'hot-path',
  title: 'An answer from memory',
  charts: [{ title: 'Requests per second, one process, 32 connections', metric: RATE, scenarios: COOKIE }],
  tell: ({ of }) => `\
One process answers ${of('gatebell', COOKIE, RATE)} requests per second from memory, with 32 connections on one machine
together with what asks. Half of the answers take at most ${of('gatebell', COOKIE, 'p50')}, 99 % at most
${of('gatebell', COOKIE, 'p99')}. Bare \`node:http\`, which looks at nothing, answers ${of('floor', COOKIE, RATE)}.
Others:

- *express*: Express 5 with a constant answer: ${of('express', COOKIE, RATE)}
- *before*: Express and two queries per request, without a cache: ${of('before', COOKIE, RATE)}
- *prepared*: one prepared query per request on bare \`node:http\`: ${of('prepared', COOKIE, RATE)}
- *ttl*: lru-cache that forgets after 30 s: ${of('ttl', COOKIE, RATE)}
- *redis-read*, *redis-read-write*: a session store in Redis that is read, or read and written, with each request:
  ${of('redis-read', COOKIE, RATE)} and ${of('redis-read-write', COOKIE, RATE)}
- *bento*: bentocache in memory, Redis behind it and its bus over it: ${of('bento', COOKIE, RATE)}`,
};

const FOUR = '4 replicas';

const revocation: Chapter = {
  experiment: 'revocation',
  title: 'A revocation',
  charts: [
    { title: 'From COMMIT sent to the last replica that has forgotten, p50', metric: 'forgotten, p50' },
    {
      title: 'Answers to one revocation that still allow after COMMIT was acknowledged',
      metric: 'stale allows, a revocation',
      scenarios: FOUR,
    },
  ],
  tell: ({ of }) => `\
A grant is deleted in SQL. Of four replicas the last has forgotten it ${of('gatebell', FOUR, 'forgotten, p50')} after
COMMIT was sent (99 %: ${of('gatebell', FOUR, 'forgotten, p99')}). The floor is a bare \`LISTEN\` client that only
hears of it: ${of('floor', FOUR, 'forgotten, p50')}. Browsers that ask all the time get the first denial of the last
replica after ${of('gatebell', FOUR, 'first denial, p50')}; with bentocache and its bus after
${of('bento', FOUR, 'first denial, p50')}; with a cache that forgets by time, here after one second,
${of('ttl', FOUR, 'first denial, p50')}.

The second chart counts the answers of the four replicas that still allow what COMMIT has taken away. Of
${of('gatebell', FOUR, 'decisions after delivery')} decisions that Gatebell made after a replica had heard of it,
${of('gatebell', FOUR, 'stale allows after delivery')} were by the old grant. [Races](races.md) plays the moments in
which a cache keeps an old value.`,
};

const COLD = 'cold, Postgres 2 ms away';

const firstPaint: Chapter = {
  experiment: 'first-paint',
  title: 'A page that opens',
  charts: [{ title: 'Browsers open three apps at once: until the last answer', metric: 'last answer' }],
  tell: ({ of }) => `\
A single-page app asks for hundreds of files at once, and each is a question. From a cold start, with Postgres 2 ms
away, all of them are answered after ${of('gatebell', COLD, 'last answer')} with ${of('gatebell', COLD, 'queries')}
queries, because missing facts are loaded in batches. Without a cache (*before*) it is
${of('before', COLD, 'last answer')} with ${of('before', COLD, 'queries')} queries.`,
};

const ONE_WRITER = 'durable, 1 client';
const UPDATES = 'updates per second';
const ALL_ROWS = 'all rows, a watched column';
const LISTENERS = 'durable, 1 client, 200 listeners';

const writers: Chapter = {
  experiment: 'writers',
  title: 'What writers pay',
  charts: [
    {
      title: 'Single-row updates per second, durable, by the number of listeners',
      metric: UPDATES,
      scenarios: 'listeners',
    },
  ],
  tell: ({ of }) => `\
Triggers tell the replicas, and whoever writes pays for them. One client that commits durably makes
${of('gatebell', ONE_WRITER, UPDATES)} updates per second with the triggers, and ${of('none', ONE_WRITER, UPDATES)}
without (*none*). One statement that changes every row takes
${of('gatebell', ALL_ROWS, 'time of one update of all rows')} instead of
${of('none', ALL_ROWS, 'time of one update of all rows')}, and sends ${of('gatebell', ALL_ROWS, 'notifications')}
notification. The trigger that one would write first (*naive*) sends ${of('naive', ALL_ROWS, 'notifications')}.

Postgres wakes each listening connection at each commit that notifies. With 200 of them a client makes
${of('gatebell', LISTENERS, UPDATES)} updates per second, with the naive trigger ${of('naive', LISTENERS, UPDATES)}. So
a replica has one such connection, and the workers of one replica share it.`,
};

const MISS = 'a miss, median';
const REPLACED = 'filled, and all replaced by others';
const GRANT_BYTES = 'memory of a cached grant';

const growth: Chapter = {
  experiment: 'growth',
  title: 'When there is more of everything',
  charts: [{ title: 'A fact that is not in memory, median', metric: MISS }],
  tell({ of, variants }) {
    const sizes = variants('', MISS);
    const misses = sizes.map(size => `${of(size, '', MISS)} with ${size}`);
    const hits = sizes.map(size => `${of(size, '', 'an answer from memory')} with ${size}`);
    const bytes = variants(REPLACED, GRANT_BYTES).map(size => of(size, REPLACED, GRANT_BYTES));
    return `\
A fact that is not in memory is read from Postgres by its key: ${misses.join(', ')}. An answer from memory takes the
reader ${hits.join(', ')}. A cached grant takes ${bytes.join(', ')} of memory.`;
  },
};

const FENCES = 'fences per second';

const fleet: Chapter = {
  experiment: 'fleet',
  title: 'Many replicas',
  charts: [{ title: 'Fences per second', metric: FENCES }],
  tell({ of, scenarios }) {
    const most = scenarios(FENCES).at(-1) ?? '';
    const postgres = 'processor time of Postgres per second';
    return `\
Replicas prove to themselves that they have heard everything. A fence proves all of them, so with ${most} there are
${of('gatebell', most, FENCES)} fences per second; with one for each there are ${of('a fence each', most, FENCES)}. Each
replica still asks Postgres for the state of its triggers. That takes ${of('gatebell', most, postgres)} of processor
time in each second; a fence each, which does nothing else, ${of('a fence each', most, postgres)}.`;
  },
};

const workers: Chapter = {
  experiment: 'workers',
  title: 'More than one core',
  charts: [{ title: 'Requests per second', metric: RATE }],
  tell: ({ of }) => `\
\`serve --workers 2\` answers ${of('two workers', COOKIE, RATE)} requests per second with 32 connections, and one
process ${of('one process', COOKIE, RATE)}, on a machine whose cores also make the load.`,
};

const unixSocket: Chapter = {
  experiment: 'unix-socket',
  title: 'A Unix socket',
  charts: [{ title: 'Processor time per request', metric: 'processor time per request', scenarios: COOKIE }],
  tell: ({ of }) => `\
A proxy on the same machine can ask over a Unix socket ([how](proxies.md#over-a-unix-socket)). An answer then takes
${of('Unix socket', COOKIE, 'processor time per request')} of the replica's processor time, and
${of('port', COOKIE, 'processor time per request')} over a port. With 32 connections a process answers
${of('Unix socket', COOKIE, RATE)} requests per second over the socket, and ${of('port', COOKIE, RATE)} over the port.`,
};

const start: Chapter = {
  experiment: 'start',
  title: 'Start and rest',
  charts: [{ title: 'From the start of the process to ready', metric: 'process start to ready' }],
  tell: ({ of }) => `\
A process is ready ${of('gatebell', '', 'process start to ready')} after its start, and takes
${of('gatebell', '', 'memory at rest')} of memory at rest. Bare \`node:http\` takes
${of('floor', '', 'process start to ready')} and ${of('floor', '', 'memory at rest')}.`,
};

const KNOWN = 'known users';
const TOKENS = 'beside made-up tokens, 2,000 per second';
const DEAREST = 'beside the dearest request, 2,000 per second';

const oneClient: Chapter = {
  experiment: 'one-client',
  title: 'One client against the others',
  charts: [{ title: 'How long users wait whom the replica knows, p99', metric: 'p99', scenarios: KNOWN }],
  tell: ({ of }) => `\
One client floods the gate with what it makes up, and others go on asking. Users whom the replica knows wait
${of('alone', KNOWN, 'p50')} (99 %: ${of('alone', KNOWN, 'p99')}) when they are alone, and ${of(TOKENS, KNOWN, 'p50')}
(${of(TOKENS, KNOWN, 'p99')}) beside 2,000 made-up tokens per second. A search looks for the request that costs most.
Beside 2,000 per second of the dearest that it found they wait ${of(DEAREST, KNOWN, 'p50')}
(${of(DEAREST, KNOWN, 'p99')}): what helps there is a limit at the proxy. The gate and all who ask share one machine
here.`,
};

/** In the order of the page. */
export const CHAPTERS: readonly Chapter[] = [
  hotPath,
  revocation,
  firstPaint,
  writers,
  growth,
  fleet,
  workers,
  unixSocket,
  start,
  oneClient,
];
