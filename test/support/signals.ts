/**
 * Hears what statements signal, on a LISTEN connection. After the act a fence is sent; since Postgres delivers in
 * commit order, everything that the act signalled has arrived when the fence's echo does: no test sleeps, and silence
 * is proven.
 */
import { once } from 'node:events';
import type pg from 'pg';
import { parseMessage, type Key } from '../../src/coherence/signal.js';
import { createTestDatabase, type TestDatabase } from './database.js';

/** Postgres refuses a payload of 8000 bytes or more. */
const PAYLOAD_BYTES_LIMIT = 8_000;

/**
 * What was signalled, by topic: its keys, each once and sorted, or all of them. A topic that is not here was silent.
 */
export type Heard = Readonly<Record<string, readonly Key[] | 'all'>>;

/** A statement, or more than one by other means. */
export type Act = string | (() => Promise<unknown>);

export interface SignalDatabase extends TestDatabase {
  readonly listener: pg.Client;
  /** Payloads that the act sent, in order. A statement is run by `writer`, by default the owner. */
  payloads(act: Act, writer?: pg.Client): Promise<string[]>;
  /** What the act signalled. Fails if a payload does not parse, or is too long. */
  heard(act: Act, writer?: pg.Client): Promise<Heard>;
}

/** Keys in one order, each once. */
export function sortedKeys(keys: Iterable<Key>): Key[] {
  const byText = new Map([...keys].map(key => [key.join('\0'), key]));
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, key]) => key);
}

function matchRows(payloads: readonly string[]): Heard {
  const heard: Record<string, readonly Key[] | 'all'> = {};
  for (const payload of payloads) {
    const message = parseMessage(payload);
    if (message.type !== 'change' || Buffer.byteLength(payload) >= PAYLOAD_BYTES_LIMIT) {
      throw new Error(`not a change, or too long: ${payload}`);
    }
    const before = heard[message.topic] ?? [];
    heard[message.topic] = before === 'all' || message.keys === null ? 'all' : sortedKeys([...before, ...message.keys]);
  }
  return heard;
}

/** A database of a test file's own, with ears. */
export async function createSignalDatabase(): Promise<SignalDatabase> {
  const database = await createTestDatabase();
  const listener = await database.connect();
  await listener.query('listen gatebell');

  /** Everything that arrives until the echo of a fence that is sent after `act`. */
  const until = async (act: () => Promise<unknown>): Promise<string[]> => {
    let after = Infinity;
    let last = 0;
    const received: string[] = [];
    const echo = new AbortController();
    const hear = ({ payload = '' }: pg.Notification): void => {
      const message = parseMessage(payload);
      if (message.type === 'fence') {
        last = message.number;
        look();
      } else {
        received.push(payload);
      }
    };
    const look = (): void => {
      if (last > after) {
        echo.abort();
      }
    };
    listener.on('notification', hear);
    try {
      const echoed = once(echo.signal, 'abort');
      await act();
      const { rows } = await database.client.query<{ newest: string }>('select newest from gatebell.fence(null)');
      after = Number(rows[0]!.newest);
      look();
      await echoed;
    } finally {
      listener.off('notification', hear);
    }
    return received;
  };

  const payloads = async (act: Act, writer: pg.Client = database.client): Promise<string[]> => {
    // What was signalled before is not the act's.
    await until(() => Promise.resolve());
    return until(() => (typeof act === 'string' ? writer.query(act) : act()));
  };

  return {
    ...database,
    listener,
    payloads,
    heard: async (act, writer) => matchRows(await payloads(act, writer)),
  };
}
