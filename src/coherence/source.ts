/**
 * How facts are read from Postgres: what a query says, what comes back, and what it means.
 */
import { keyText, type Key } from './signal.js';

/** One row as the database driver returns it. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * How facts of one subject are read.
 *
 * `text` is one SELECT, without a semicolon at its end; `$1`, `$2`… are arrays of text, one for each part of the key, of equal
 * length. It returns one row for each fact that exists. One statement is one snapshot (P4).
 */
export interface FactQuery<V> {
  readonly text: string;
  /** The key that a row belongs to. */
  readonly key: (row: Row) => Key;
  /** The fact that a row states. If it throws, only this key fails. */
  readonly value: (row: Row) => V;
}

/** What came back, and where and when it was read (P5). */
export interface Reading {
  readonly origin: string;
  readonly inRecovery: boolean;
  readonly serverTimeMs: number;
  readonly rows: readonly Row[];
}

/** What facts are read for: to answer, or to compare with what is cached. */
export type ReadPurpose = 'load' | 'audit';

/** Facts of one subject, as part of a reading of several. */
export interface ReadPart {
  readonly subject: string;
  readonly text: string;
  readonly keys: readonly Key[];
}

/** Reads facts from Postgres; rejects when it cannot, within bounded time. */
export interface FactSource {
  read(subject: string, text: string, keys: readonly Key[], purpose: ReadPurpose): Promise<Reading>;
  /** The same for several subjects, all in one snapshot; the readings come in the order of the parts. */
  readTogether(parts: readonly ReadPart[]): Promise<readonly Reading[]>;
  /** Whether the error is about the data asked for, so that other keys may still load. */
  isDataError(error: unknown): boolean;
}

/**
 * What the rows of a reading say of each key that was asked for, by its text: null if it has no row. Throws where that
 * cannot be said.
 */
export function understand<V>(
  subject: string,
  query: FactQuery<V>,
  texts: readonly string[],
  rows: readonly Row[],
): (text: string) => V | null {
  const asked = new Set(texts);
  const found = new Map<string, Row>();
  let stray: { readonly error: unknown } | null = null;
  for (const row of rows) {
    try {
      const key = query.key(row);
      if (!asked.has(keyText(key))) {
        throw new TypeError(
          `the load of ${subject} returned a row of key ${JSON.stringify(key)}, which was not asked for`,
        );
      }
      found.set(keyText(key), row);
    } catch (error) {
      stray = { error };
    }
  }
  return text => {
    const row = found.get(text);
    if (row === undefined && stray !== null) {
      // It may be this one's row: a fact must not be called absent because its row could not be read.
      throw stray.error;
    }
    return row === undefined ? null : query.value(row);
  };
}
