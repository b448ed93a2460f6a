/**
 * Postgres as the loader sees it: a table of facts a topic. A read takes its snapshot when it is sent; while `hold` is
 * on, its answer waits until the test lets it go.
 */
import type { FactQuery, FactSource, QueryResult, ReadPart } from '../../src/coherence/facts/source.js';
import { keyText, type Key } from '../../src/coherence/signal.js';
import { SERVER_ID } from './fake-fences.js';

export interface HeldRead {
  readonly topic: string;
  readonly keys: readonly Key[];
  /** Answers with the rows as they were when the read was sent. */
  answer(reading?: Partial<QueryResult>): void;
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
  server: Omit<QueryResult, 'rows'>;
  /** Called before a read that is not held is answered; what it throws is what the read rejects with. */
  fault: (keys: readonly Key[]) => void;
  set(topic: string, key: Key, value: unknown): void;
  remove(topic: string, key: Key): void;
}

export function createFakeSource(): FakeSource {
  const tables = new Map<string, Map<string, { readonly key: Key; readonly value: unknown }>>();
  const table = (topic: string): Map<string, { readonly key: Key; readonly value: unknown }> => {
    const found = tables.get(topic) ?? new Map<string, { readonly key: Key; readonly value: unknown }>();
    tables.set(topic, found);
    return found;
  };
  const reads: HeldRead[] = [];
  const snapshots: (readonly ReadPart[])[] = [];
  const source: FakeSource = {
    reads,
    snapshots,
    hold: false,
    server: { serverId: SERVER_ID, inRecovery: false, serverTimeMs: 5_000 },
    fault: () => undefined,
    get newest() {
      const newest = reads.at(-1);
      if (newest === undefined) {
        throw new Error('nothing was read yet');
      }
      return newest;
    },
    set(topic, key, value) {
      table(topic).set(keyText(key), { key, value });
    },
    remove(topic, key) {
      table(topic).delete(keyText(key));
    },
    isDataError: error => error instanceof DataError,
    readTogether: parts => {
      snapshots.push(parts);
      return Promise.all(parts.map(({ topic, text, keys }) => source.read(topic, text, keys, 'load')));
    },
    read: (topic, _text, keys) =>
      new Promise((resolve, reject) => {
        const rows = keys.flatMap(key => table(topic).get(keyText(key)) ?? []);
        const read: HeldRead = {
          topic,
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
