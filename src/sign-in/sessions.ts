/**
 * Sessions in Postgres. A session is a row of `gatebell.credentials`, so revoking it is one statement, by anybody.
 * Replicas write none themselves: two functions of the schema do, for roles that have gatebell_sign_in.
 */
import { createToken, hashToken } from '../auth/token.js';
import type { WriteListened } from '../postgres/listened-writes.js';

/** Who has signed in, as the provider says. */
export interface Identity {
  readonly issuer: string;
  /** Stays the same person's. */
  readonly subject: string;
  /** The name of a user; asked only when the subject is seen for the first time. */
  readonly name: string;
}

/** A session that has begun. */
export interface Session {
  /** Goes into the cookie, and nowhere else. */
  readonly token: string;
  readonly credentialId: string;
  readonly userId: string;
}

/**
 * Sessions begin and end. Both reject with UnavailableError, and change nothing, when the server that is listened to
 * cannot be written to.
 */
export interface Sessions {
  /**
   * Begins a session of the user whom the identity means, or says why there is none.
   * @param appId the one app that it is for; null: all of them
   * @param ends tokens of the sessions that the browser had before: they end in the same transaction
   */
  begin(
    identity: Identity,
    appId: string | null,
    ends: readonly string[],
  ): Promise<Session | { readonly problem: string }>;
  /** Ends the session with this token; its id, null if there was none. */
  end(token: string): Promise<string | null>;
}

const LABEL = 'sign-in';
const SIGN_IN = `
  select s.credential_id::text, s.user_id::text, s.problem
  from gatebell.sign_in($1, $2, $3, $4, $5::bigint, decode($6, 'hex'), make_interval(hours => $7), $8,
    array(select decode(e, 'hex') from unnest($9::text[]) e)) s`;

interface SignInRow {
  readonly credential_id: string;
  readonly user_id: string;
  readonly problem: string | null;
}

/** @param hours how long a session lasts */
export function createSessions(write: WriteListened, hours: number): Sessions {
  return {
    async begin({ issuer, subject, name }, appId, ends) {
      const token = createToken();
      const values = [issuer, subject, name, appId, hashToken(token), hours, LABEL, ends.map(hashToken)];
      const [row] = await write<SignInRow>('sign_in', SIGN_IN, values);
      if (row === undefined) {
        throw new Error('gatebell.sign_in returned no row');
      }
      return row.problem === null
        ? { token, credentialId: row.credential_id, userId: row.user_id }
        : { problem: row.problem };
    },
    async end(token) {
      const text = `select gatebell.sign_out($1, decode($2, 'hex'))::text as id`;
      const [row] = await write<{ id: string | null }>('sign_out', text, [hashToken(token)]);
      return row?.id ?? null;
    },
  };
}
