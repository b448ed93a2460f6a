/**
 * How facts are read from Postgres: what a query says, what comes back, and what it means.
 */
import { keyText, type Key } from '../signal.js';

/** One row as the database driver returns it. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * How facts of one topic are read.
 *
 * `text` is one SELECT, without a semicolon at its end; `$1`, `$2`… are arrays of text, one for each part of the key,
 * of equal length. It returns one row for each fact that exists. One statement is one snapshot (P4).
 */
export interface FactQuery<V> {
  readonly text: string;
  /** The key that a row belongs to. */
  readonly key: (row: Row) => Key;
  /** The fact that a row states. If it throws, only this key fails. */
  readonly value: (row: Row) => V;
  /**
   * Whether every key is asked for as Postgres prints it: 7, never 007. A key without a row then has no fact. Otherwise
   * a row of the same batch may be its own under another spelling, so the key is asked for once more. Default: whether
   * `text` compares keys as text.
   */
  readonly keysAsPrinted?: boolean;
}

/** What came back, and where and when it was read (P5). */
export interface QueryResult {
  readonly serverId: string;
  readonly inRecovery: boolean;
  readonly serverTimeMs: number;
  readonly rows: readonly Row[];
}

/** Why facts are read: to answer, or to compare with what is cached. */
export type ReadPurpose = 'load' | 'audit';

/** Facts of one topic, as one part of a query for several topics. */
export interface ReadPart {
  readonly topic: string;
  readonly text: string;
  readonly keys: readonly Key[];
}

/** Reads facts from Postgres; rejects when it cannot, within bounded time. */
export interface FactSource {
  read(topic: string, text: string, keys: readonly Key[], purpose: ReadPurpose): Promise<QueryResult>;
  /** The same for several topics, all in one snapshot; the results come in the order of the parts. */
  readTogether(parts: readonly ReadPart[]): Promise<readonly QueryResult[]>;
  /** Whether the error is about the data asked for, so that other keys may still load. */
  isDataError(error: unknown): boolean;
}

/**
 * A key has no row, but a row of the same batch may be its own under another spelling. Asked for alone, the key has a
 * sure answer.
 */
export class StrayRowError extends Error {}

/**
 * Where keys are compared as text, two spellings are two keys; `any ($1::text[]::integer[])` takes 7 and 007 for one.
 */
const comparesText = (text: string): boolean =>
  !/\$\d/.test(text.replaceAll(/\bany\s*\(\s*\$\d+::text\[\]\s*\)/gi, ''));

/**
 * A text for a load that is not SQL, by which the source knows it. It does not tell how keys are compared, so each of
 * two spellings is asked for alone; nor how many parts a key has. The quoted parameter says both, see the functions
 * around.
 */
export const textOfFunction = (topic: string, number: number): string => `load function ${number} of ${topic}: '$1'`;

/**
 * Why a key cannot be asked for with this query, or null: it must have one part for each parameter. Postgres would
 * refuse the whole batch.
 * @param query its parameters are counted outside of quoted text
 */
export function keyProblem(topic: string, query: Pick<FactQuery<unknown>, 'text'>, key: Key): TypeError | null {
  const parameters = query.text.replaceAll(/'[^']*'/g, '').matchAll(/\$(\d+)/g);
  const parts = Math.max(0, ...Array.from(parameters, ([, number]) => Number(number)));
  return parts === 0 || key.length === parts
    ? null
    : new TypeError(
        `key ${JSON.stringify(key)} of ${topic} must have as many parts as its load has parameters: ${parts}`,
      );
}

/**
 * Matches the rows of a result with the keys that were asked for. Returns a function from a key's text to its fact,
 * null if the key has no row. (An audit asks for keys that were loaded before, so no two of them are spellings of one
 * key.)
 *
 * @throws StrayRowError from that function, if a row of the result may belong to the key under another spelling
 */
export function matchRows<V>(
  topic: string,
  query: FactQuery<V>,
  texts: readonly string[],
  rows: readonly Row[],
  purpose: ReadPurpose,
): (text: string) => V | null {
  const asked = new Set(texts);
  const found = new Map<string, Row>();
  let stray: StrayRowError | null = null;
  for (const row of rows) {
    try {
      const key = query.key(row);
      if (!asked.has(keyText(key))) {
        throw new TypeError(
          `the load of ${topic} returned a row of key ${JSON.stringify(key)}, which was not asked for: ask for keys ` +
            'as Postgres prints them',
        );
      }
      found.set(keyText(key), row);
    } catch (error) {
      stray = new StrayRowError(error instanceof Error ? error.message : 'a row has no key', { cause: error });
    }
  }
  if (
    purpose === 'load' &&
    found.size > 0 &&
    found.size < asked.size &&
    !(query.keysAsPrinted ?? comparesText(query.text))
  ) {
    stray ??= new StrayRowError('it may be another spelling of a key that has a row');
  }
  return text => {
    const row = found.get(text);
    if (row === undefined && stray !== null) {
      // A fact must not be called absent because its row could not be read.
      throw stray;
    }
    return row === undefined ? null : query.value(row);
  };
}
