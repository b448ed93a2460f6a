/**
 * The one way in which a replica writes. What it writes goes to the server that it listens to, and nowhere else: after
 * a failover the pool may still lead to the old primary, which takes a change that no replica will ever see. The
 * statement itself makes sure of the server (`gatebell.require_server`), since the pool may have changed its mind since
 * anybody looked (P29).
 */
import type pg from 'pg';
import { UnavailableError } from '../coherence/errors.js';
import type { Database } from './pool.js';
import { sqlState } from './sql-errors.js';

/**
 * Runs a statement that writes, on the server that is listened to.
 *
 * @param text passes `$1`, the server, on to a function that begins with `gatebell.require_server`
 * @param values `$2` and those after it
 * @throws UnavailableError if that server is not known now or the pool leads to another one: then nothing was written
 */
export type WriteListened = <R extends pg.QueryResultRow>(
  name: string,
  text: string,
  values: readonly unknown[],
) => Promise<R[]>;

/** Writes that may wait for their turn. */
const WAITING_MAX = 64;
/** Raised by `gatebell.require_server`. */
const OTHER_SERVER = 'GB001';

/**
 * Creates the way. Writes go one after the other: the few connections of the pool are for decisions.
 *
 * @param listenedServer the server that is listened to, as `gatebell.server` names it; null while that is not proven
 */
export function createListenedWrites(
  database: Pick<Database, 'query'>,
  listenedServer: () => string | null,
): WriteListened {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;

  const write: WriteListened = async (name, text, values) => {
    const server = listenedServer();
    if (server === null) {
      throw new UnavailableError('foreign_reading', 'which server is listened to is not known now');
    }
    try {
      return await database.query(name, text, [server, ...values]);
    } catch (error) {
      if (sqlState(error) === OTHER_SERVER) {
        throw new UnavailableError('foreign_reading', 'the pool leads to another server than the listener', error);
      }
      throw error;
    }
  };

  return (name, text, values) => {
    if (waiting >= WAITING_MAX) {
      return Promise.reject(new UnavailableError('queue_full', 'too many writes wait for their turn'));
    }
    waiting += 1;
    const done = last
      .then(() => write<never>(name, text, values))
      .finally(() => {
        waiting -= 1;
      });
    last = done.catch(() => undefined);
    return done;
  };
}
