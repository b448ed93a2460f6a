/**
 * The options of `createGatebell` and of its caches: what each means, what is allowed, and what is said about a value
 * that is not. Programs pass them from settings of their own, so a misspelled name or a wrong unit is refused when it
 * is given, not found later.
 */
import { isTopic, type Key } from '../coherence/signal.js';
import type { Row } from '../coherence/facts/source.js';
import type { CoherenceObservation } from '../coherence/observation.js';
import type { StoreObservation } from './pool.js';
import type { ReadFunction } from './reads.js';
import { isReplicaName } from './replica-name.js';

/** Something that happened: in the coherence (a connection, a proof, a signal, a load) or in the pool. */
export type GatebellObservation = CoherenceObservation | StoreObservation;

/** Options of `createGatebell`. All times are whole milliseconds. */
export interface GatebellOptions {
  /** How to reach Postgres: `postgres://user@host/database`. Default: libpq's `PG*` variables. */
  readonly connectionString?: string | undefined;
  /** A direct connection for LISTEN, where `connectionString` goes through a pooler. Default: `connectionString`. */
  readonly listenConnectionString?: string | undefined;
  /**
   * Name of this process in `pg_stat_activity` and in barriers: 1 to 48 printable ASCII characters. Default: host name
   * and process id.
   */
  readonly replica?: string | undefined;
  /** The channel that the triggers signal on: what `gatebell.channel()` returns in SQL. Default `gatebell`. */
  readonly signalChannel?: string | undefined;
  /** Connections besides the listening one, 2 to 100; one of them is kept for fences. Default 4. */
  readonly poolMax?: number | undefined;
  /** Bound of connecting, and of one statement, 100 to 600,000. Default 2,000. */
  readonly timeoutMs?: number | undefined;
  /** How stale an answer may be when Postgres cannot be reached, 100 to 600,000. Default 3,000. */
  readonly leaseMs?: number | undefined;
  /**
   * From one fence to the next, 20 to 300,000, at most half of the lease. Default 1,000, or a third of a shorter lease.
   */
  readonly fenceIntervalMs?: number | undefined;
  /** From one audit of cached facts to the next, on average, 100 to 3,600,000; 0: never. Default 10,000. */
  readonly auditIntervalMs?: number | undefined;
  /** Receives everything that happens, for logs and metrics. Must not throw. Default: nobody does. */
  readonly observe?: ((observation: GatebellObservation) => void) | undefined;
}

/**
 * A key as programs write it: the text of its one column, or the texts of its columns in the order in which the table
 * is watched.
 */
export type CacheKey = string | Key;

/** How the facts of a topic are read with SQL. */
export interface SqlLoad<V, R extends object = Row> {
  /**
   * One SELECT, without a semicolon at its end. `$1`, `$2`… are arrays of text, one for each column of the key, of
   * equal length. It returns one row for each key that exists.
   */
  readonly text: string;
  /** The key that a row belongs to, as Postgres prints it: `row.id` of an integer must be cast to text in SQL. */
  readonly key: (row: R) => CacheKey;
  /** What is cached of a row; anything but null and undefined. If it throws, only this key fails. */
  readonly value: (row: R) => V;
}

/**
 * How the facts of a topic are read with a function: for query builders such as Drizzle and Kysely, which run on a
 * connection of `pg`.
 *
 * What it reads on the connection that it is given is as good as what SQL reads: it runs in a transaction of one
 * snapshot, read only, and which server answers is asked in the same one. Its conditions: it reads there and nowhere
 * else, ends no transaction, changes no settings of the connection, remembers nothing from one call to the next, and
 * ends within `timeoutMs`. Nobody can check the first and the fourth: what it reads elsewhere (a pool or a cache of its
 * own, Prisma's engine) may be stale for as long as nothing changes, and no audit is sure to find it.
 */
export interface FunctionLoad<V, R extends object> {
  /**
   * Reads the rows of these keys: one for each that exists, in any order. May be called again for the same keys, and
   * for fewer of them.
   *
   * @param client a connection of the pool, taken back when the promise settles: do not keep or release it
   */
  readonly read: ReadFunction<R>;
  /** The key that a row belongs to, as Postgres prints it. */
  readonly key: (row: R) => CacheKey;
  /** What is cached of a row; anything but null and undefined. If it throws, only this key fails. */
  readonly value: (row: R) => V;
}

/** Options of `gatebell.cache`. */
export interface CacheOptions<V, R extends object = Row> {
  /** The topic that the table is watched under: `gatebell.watch('prices', 'price', …)` in SQL. */
  readonly topic: string;
  /** How its facts are read. */
  readonly load: SqlLoad<V, R> | FunctionLoad<V, R>;
  /** Facts that are kept, 1 to 10,000,000. Default 100,000. */
  readonly entriesMax?: number | undefined;
  /** Negative entries that are kept: keys without a row, 1 to 10,000,000. Default 10,000. */
  readonly negativeEntriesMax?: number | undefined;
  /**
   * Age past which a fact is loaded again even if nothing changed, 1 to 2,147,483,647 milliseconds. Default 3,600,000,
   * one hour.
   */
  readonly maxAgeMs?: number | undefined;
}

const CHANNEL_BYTES_MAX = 63;

type Check = readonly [isAllowed: (value: unknown) => boolean, allowed: string];

const wholeNumber = (min: number, max: number): Check => [
  value => Number.isInteger(value) && Number(value) >= min && Number(value) <= max,
  `a whole number from ${min} to ${max}`,
];
const POSTGRES_URL: Check = [value => typeof value === 'string' && value !== '', 'a connection string'];
const FUNCTION: Check = [value => typeof value === 'function', 'a function'];

const CHANNEL: Check = [
  value =>
    typeof value === 'string' && value !== '' && !value.includes('\0') && Buffer.byteLength(value) <= CHANNEL_BYTES_MAX,
  `a name of 1 to ${CHANNEL_BYTES_MAX} bytes`,
];
const TOPIC: Check = [
  value => typeof value === 'string' && isTopic(value),
  'a small letter, then at most 39 small letters, digits and underscores',
];

const GATEBELL_OPTIONS: Readonly<Record<keyof GatebellOptions, Check>> = {
  connectionString: POSTGRES_URL,
  listenConnectionString: POSTGRES_URL,
  replica: [
    value => typeof value === 'string' && isReplicaName(value),
    '1 to 48 printable ASCII characters, not ending in /pool',
  ],
  signalChannel: CHANNEL,
  poolMax: wholeNumber(2, 100),
  timeoutMs: wholeNumber(100, 600_000),
  leaseMs: wholeNumber(100, 600_000),
  fenceIntervalMs: wholeNumber(20, 300_000),
  auditIntervalMs: [
    value => value === 0 || wholeNumber(100, 3_600_000)[0](value),
    '0, or a whole number from 100 to 3600000',
  ],
  observe: FUNCTION,
};

const CACHE_OPTIONS: Readonly<Record<Exclude<keyof CacheOptions<unknown>, 'load'>, Check>> = {
  topic: TOPIC,
  entriesMax: wholeNumber(1, 10_000_000),
  negativeEntriesMax: wholeNumber(1, 10_000_000),
  maxAgeMs: wholeNumber(1, 2_147_483_647),
};

/** A connection string may hold a password, and must not stand in a message. */
const SECRET = new Set(['connectionString', 'listenConnectionString']);

function refuse(name: string, value: unknown, allowed: string): TypeError {
  const shown = SECRET.has(name) ? '' : ` ${typeof value === 'string' ? JSON.stringify(value) : String(value)}`;
  return new TypeError(`${name}${shown} is not allowed: it must be ${allowed}`);
}

function check(name: string, value: unknown, [isAllowed, allowed]: Check): void {
  if (!isAllowed(value)) {
    throw refuse(name, value, allowed);
  }
}

/** Checks every option that is given. @throws TypeError with what is allowed */
function checkAll(what: string, options: object, checks: Readonly<Record<string, Check>>): void {
  for (const [name, value] of Object.entries(options)) {
    const known = checks[name];
    if (known === undefined) {
      throw new TypeError(`${name} is no option of ${what}: there are ${Object.keys(checks).join(', ')}`);
    }
    if (value !== undefined) {
      check(name, value, known);
    }
  }
}

/** The same object without the options that are undefined. */
export function withoutUndefined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** @throws TypeError with what is allowed */
export function checkGatebellOptions(options: GatebellOptions): void {
  checkAll('createGatebell', options, GATEBELL_OPTIONS);
  const { leaseMs = 3_000, fenceIntervalMs } = options;
  if (fenceIntervalMs !== undefined && fenceIntervalMs > leaseMs / 2) {
    throw refuse('fenceIntervalMs', fenceIntervalMs, `at most half of leaseMs, which is ${leaseMs}`);
  }
}

/** @throws TypeError with what is allowed */
export function checkCacheOptions<V, R extends object>({ load, ...options }: CacheOptions<V, R>): void {
  checkAll('cache', options, CACHE_OPTIONS);
  checkTopic(options.topic);
  check('load', load, [
    value => typeof value === 'object' && value !== null,
    'an object with text or read, key and value',
  ]);
  check('load.text', 'read' in load ? '$1' : load.text, [
    value => typeof value === 'string' && /\$1(?!\d)/.test(value) && !/;\s*$/.test(value),
    'one SELECT with the parameter $1, without a semicolon at its end',
  ]);
  if ('read' in load) {
    check('load.read', load.read, FUNCTION);
    check('load', load, [() => !('text' in load), 'either by text or by read, not both']);
  }
  check('load.key', load.key, FUNCTION);
  check('load.value', load.value, FUNCTION);
}

/** @throws TypeError with what is allowed */
export function checkTopic(topic: unknown): void {
  check('topic', topic, TOPIC);
}

/** @throws TypeError with what is allowed */
export function checkChannel(name: unknown): void {
  check('channel', name, CHANNEL);
}

/** A key in its one form. @throws TypeError with what is allowed */
export function readKey(key: CacheKey): Key {
  const parts: readonly unknown[] = Array.isArray(key) ? key : [key];
  if (parts.length === 0 || !parts.every(part => typeof part === 'string')) {
    throw refuse('key', JSON.stringify(key) ?? key, 'a string, or an array of strings, as Postgres prints the columns');
  }
  return parts;
}
