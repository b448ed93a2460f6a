/**
 * Sessions in Postgres. A session is a row of `gatebell.credentials`, so revoking it is one statement, by anybody. Replicas write none
 * themselves: two functions of the schema do, for whoever has role gatebell_sign_in.
 */
import { createToken, hashToken } from '../auth/token.js';
import { UnavailableError } from '../coherence/errors.js';
import type { Database } from '../store/pool.js';

/** A session that has begun. */
export interface Session {
  /** Goes into the cookie, and nowhere else. */
  readonly token: string;
  readonly credentialId: string;
  readonly userId: string;
}

/** See the head of the file. */
export interface Sessions {
  /** Begins a session of the user of this name; null if there is none who is enabled. */
  begin(userName: string): Promise<Session | null>;
  /** Ends the session with this token; its id, null if there was none. */
  end(token: string): Promise<string | null>;
}

const LABEL = 'sign-in';
/** Statements that may wait for their turn. */
const WAITING_MAX = 64;

/** @param hours how long a session lasts */
export function createSessions(database: Pick<Database, 'query'>, hours: number): Sessions {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  /** One after the other: the pool's few connections are for decisions. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    if (waiting >= WAITING_MAX) {
      return Promise.reject(new UnavailableError('queue_full', 'too many sessions begin or end at once'));
    }
    waiting += 1;
    const done = last.then(work).finally(() => {
      waiting -= 1;
    });
    last = done.catch(() => undefined);
    return done;
  };
  return {
    begin: userName =>
      inTurn(async () => {
        const token = createToken();
        const [row] = await database.query<{ credential_id: string; user_id: string }>(
          'sign_in',
          `select s.credential_id::text, s.user_id::text
           from gatebell.sign_in($1, decode($2, 'hex'), make_interval(hours => $3), $4) s`,
          [userName, hashToken(token), hours, LABEL],
        );
        return row === undefined ? null : { token, credentialId: row.credential_id, userId: row.user_id };
      }),
    end: token =>
      inTurn(async () => {
        const [row] = await database.query<{ id: string | null }>(
          'sign_out',
          `select gatebell.sign_out(decode($1, 'hex'))::text as id`,
          [hashToken(token)],
        );
        return row?.id ?? null;
      }),
  };
}
