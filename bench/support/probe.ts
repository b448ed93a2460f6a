/**
 * The memory of a replica as a program of its own: a coherence and a reader over the users and grants of one database,
 * and nothing of HTTP. It does what it is told, see {@link ProbeCommand}.
 */
import { setImmediate as turn } from 'node:timers/promises';
import pg from 'pg';
import type { Question, Reader } from '../../src/coherence/facts/reader.js';
import type { Key } from '../../src/coherence/signal.js';
import { createPostgresCoherence } from '../../src/postgres/coherence.js';
import { factCaches, type FactTypes } from '../../src/auth/facts.js';
import { applicationNameOf } from '../../src/postgres/replica-name.js';
import { median } from '../experiment.js';
import { performCommands } from './commands.js';
import { APP_IDS, grantKey, userId } from './grants.js';
import { measureRecovery, type Recovery } from './recovery.js';

/** How everything is made to be forgotten. */
export type Break = 'malformed message' | 'listener terminated';

/** Grants, counted as `grantKey` does. */
interface Range {
  readonly from: number;
  readonly count: number;
}

/** What a probe does. */
export type ProbeCommand =
  /** Asks for grants that are not in memory, one after the other; answers with the median in milliseconds. */
  | ({ readonly do: 'miss' } & Range)
  /** Asks for all of these grants, many at once. */
  | ({ readonly do: 'load' } & Range)
  /**
   * Asks for grants that are in memory, again and again, `asks` times in all or a few more. Answers with {@link
   * HitCost}.
   */
  | ({ readonly do: 'hit'; readonly asks: number } & Range)
  /** Answers with {@link Memory}. */
  | { readonly do: 'weigh' }
  /** Answers with {@link Recovery}. */
  | { readonly do: 'recover'; readonly by: Break; readonly users: number; readonly asksPerSecond: number };

/** Of one answer from memory, in nanoseconds. */
export interface HitCost {
  readonly elapsedNs: number;
  readonly processorNs: number;
}

/** Bytes on the heap and beside it. */
export interface Memory {
  readonly bytes: number;
  /** Before garbage was collected. */
  readonly withGarbageBytes: number;
  /** In memory. */
  readonly grants: number;
}

type Facts = Pick<FactTypes, 'user' | 'grant'>;
type GrantQuestion = Question<boolean, Facts>;

const AT_ONCE = 2_000;
const REPLICA = 'probe';
const grants = Number(process.env['PROBE_GRANTS']);
const connectionString = process.env['DATABASE_URL'];

let loadQueries = 0;
let onForgotten = (): void => undefined;
const coherence = createPostgresCoherence({
  connectionString,
  replica: REPLICA,
  observe(observation) {
    if (observation.event === 'query' && observation.query.startsWith('load_')) {
      loadQueries += 1;
    } else if (observation.event === 'flush') {
      onForgotten();
    }
  },
});
const facts = factCaches(({ problem }) => {
  throw new Error(problem);
});
const userCache = coherence.coherentCache(facts.user);
const grantCache = coherence.coherentCache({ ...facts.grant, entriesMax: Number(process.env['PROBE_ENTRIES_MAX']) });
const reader: Reader<Facts> = coherence.reader({ user: userCache, grant: grantCache });

function askGrant(key: Key): GrantQuestion {
  return known => {
    const grant = known.get('grant', key);
    return grant === undefined ? { lacks: [{ topic: 'grant', key }] } : { answer: grant !== null, strong: false };
  };
}

/** As when a user who is signed in opens an app. */
function askUserAndGrant(id: string): GrantQuestion {
  const lacks = [
    { topic: 'user', key: [id] },
    { topic: 'grant', key: [id, APP_IDS[0]!] },
  ] as const;
  return known => {
    const user = known.get('user', lacks[0].key);
    const grant = known.get('grant', lacks[1].key);
    return user === undefined || grant === undefined
      ? { lacks }
      : { answer: user !== null && grant !== null, strong: false };
  };
}

const questionsOf = ({ from, count }: Range): GrantQuestion[] =>
  Array.from({ length: count }, (_, index) => askGrant(grantKey(grants, from + index)));

/** @throws if what must be there is not */
async function ask(question: GrantQuestion): Promise<void> {
  if (!(await reader.read(question))) {
    throw new Error('a fact is not there');
  }
}

async function load(count: number, questionOf: (index: number) => GrantQuestion): Promise<void> {
  for (let first = 0; first < count; first += AT_ONCE) {
    const length = Math.min(AT_ONCE, count - first);
    await Promise.all(Array.from({ length }, (_, index) => ask(questionOf(first + index))));
  }
}

async function measureMisses(range: Range): Promise<number> {
  const times: number[] = [];
  const queriesBefore = loadQueries;
  for (const question of questionsOf(range)) {
    const startedMs = performance.now();
    await ask(question);
    times.push(performance.now() - startedMs);
  }
  if (loadQueries - queriesBefore !== range.count) {
    throw new Error(`${loadQueries - queriesBefore} loads for ${range.count} misses`);
  }
  return median(times);
}

function measureHits(range: Range, asks: number): HitCost {
  const questions = questionsOf(range);
  const processor = process.cpuUsage();
  const startedMs = performance.now();
  let asked = 0;
  while (asked < asks) {
    for (const question of questions) {
      if (reader.read(question) !== true) {
        throw new Error('an answer did not come from memory');
      }
    }
    asked += questions.length;
  }
  const elapsedMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(processor);
  return { elapsedNs: (elapsedMs * 1e6) / asked, processorNs: ((user + system) * 1e3) / asked };
}

async function weigh(): Promise<Memory> {
  const used = (): number => {
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const withGarbageBytes = used();
  for (let round = 0; round < 3; round++) {
    await turn();
    globalThis.gc!();
  }
  return { bytes: used(), withGarbageBytes, grants: grantCache.size };
}

async function breakMemory(by: Break): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query(
    by === 'malformed message'
      ? `select pg_notify(gatebell.channel(), 'not a message')`
      : `select pg_terminate_backend(pid) from pg_stat_activity
         where application_name like '${applicationNameOf(REPLICA)}#%' and datname = current_database()`,
  );
  await client.end();
}

async function recover(command: Extract<ProbeCommand, { do: 'recover' }>): Promise<Recovery> {
  const questions = Array.from({ length: command.users }, (_, index) => askUserAndGrant(userId(index)));
  await load(questions.length, index => questions[index]!);
  return measureRecovery({
    users: command.users,
    asksPerSecond: command.asksPerSecond,
    ask: user => reader.read(questions[user]!),
    queries: () => loadQueries,
    breakMemory: () => breakMemory(command.by),
    onForgotten(handler) {
      onForgotten = handler;
    },
  });
}

async function perform(command: ProbeCommand): Promise<unknown> {
  switch (command.do) {
    case 'miss':
      return measureMisses(command);
    case 'load':
      return load(command.count, index => askGrant(grantKey(grants, command.from + index)));
    case 'hit':
      return measureHits(command, command.asks);
    case 'weigh':
      return weigh();
    case 'recover':
      return recover(command);
  }
}

coherence.start();
performCommands(async (command: ProbeCommand) => {
  while (coherence.state !== 'live') {
    await turn();
  }
  return perform(command);
});
