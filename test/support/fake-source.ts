/**
 * Postgres as the loader sees it: a table of facts a subject. A read takes its snapshot when it is sent; while `hold` is
 * on, its answer waits until the test lets it go.
 */
import type { FactQuery, FactSource, Reading, ReadPart } from '../../src/coherence/facts/source.js';
import { keyText, type Key } from '../../src/coherence/signal.js';
import { ORIGIN } from './fake-fences.js';

export interface HeldRead {
  readonly subject: string;
  readonly keys: readonly Key[];
  /** Answers with the rows as they were when the read was sent. */
  answer(reading?: Partial<Reading>): void;
  fail(error: unknown): void;
}

export class DataError extends Error {}

export interface FakeSource extends FactSource {
  /** All reads, oldest first. */
  readonly reads: readonly HeldRead[];
  readonly newest: HeldRead;
  /** What was read together, oldest first; its parts are among the reads. */
  readonly snapshots: readonly (readonly ReadPart[])[];
  /** Whether reads wait for the test. */
  hold: boolean;
  /** What a reading says of its server; may be changed while a test runs. */
  server: Omit<Reading, 'rows'>;
  /** Called before a read that is not held is answered; what it throws is what the read rejects with. */
  fault: (keys: readonly Key[]) => void;
  set(subject: string, key: Key, value: unknown): void;
  remove(subject: string, key: Key): void;
}

export function createFakeSource(): FakeSource {
  const tables = new Map<string, Map<string, { readonly key: Key; readonly value: unknown }>>();
  const table = (subject: string): Map<string, { readonly key: Key; readonly value: unknown }> => {
    const found = tables.get(subject) ?? new Map<string, { readonly key: Key; readonly value: unknown }>();
    tables.set(subject, found);
    return found;
  };
  const reads: HeldRead[] = [];
  const snapshots: (readonly ReadPart[])[] = [];
  const source: FakeSource = {
    reads,
    snapshots,
    hold: false,
    server: { origin: ORIGIN, inRecovery: false, serverTimeMs: 5_000 },
    fault: () => undefined,
    get newest() {
      const newest = reads.at(-1);
      if (newest === undefined) {
        throw new Error('nothing was read yet');
      }
      return newest;
    },
    set(subject, key, value) {
      table(subject).set(keyText(key), { key, value });
    },
    remove(subject, key) {
      table(subject).delete(keyText(key));
    },
    isDataError: error => error instanceof DataError,
    readTogether: parts => {
      snapshots.push(parts);
      return Promise.all(parts.map(({ subject, text, keys }) => source.read(subject, text, keys, 'load')));
    },
    read: (subject, _text, keys) =>
      new Promise((resolve, reject) => {
        const rows = keys.flatMap(key => table(subject).get(keyText(key)) ?? []);
        const read: HeldRead = {
          subject,
          keys,
          answer(reading = {}) {
            resolve({ ...source.server, rows, ...reading });
          },
          fail: reject,
        };
        reads.push(read);
        if (!source.hold) {
          try {
            source.fault(keys);
            read.answer();
          } catch (error) {
            reject(error);
          }
        }
      }),
  };
  return source;
}

/** How the tables of a fake source are read. */
export function fakeQuery(value: (stored: unknown) => string = String): FactQuery<string> {
  return { text: 'select', key: row => row['key'] as Key, value: row => value(row['value']) };
}
