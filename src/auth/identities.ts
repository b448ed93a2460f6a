/**
 * Subjects of JWTs are bound to users when they are seen first, by a function of the schema, for whoever has role
 * gatebell_sign_in.
 */
import type { WriteListened } from '../postgres/listened-writes.js';
import { sqlState } from '../postgres/sql-errors.js';

/** A subject that is seen for the first time, with what the issuer says of it. */
export interface UnboundSubject {
  readonly issuer: string;
  readonly subject: string;
  /** The name of a user. */
  readonly name: string;
  /** When the issuer said so, in milliseconds since 1970; null: it is not known. */
  readonly issuedAtMs: number | null;
}

/**
 * Binds the subject to the user whom it names, if nothing speaks against that. Resolves with the id of the user whom
 * the subject means from now on; null: it means nobody.
 * @throws UnavailableError when that cannot be done now
 */
export type BindIdentity = (subject: UnboundSubject) => Promise<string | null>;

const INSUFFICIENT_PRIVILEGE = '42501';
const BIND = `
  select gatebell.bind_identity($1, $2, $3, $4, to_timestamp($5::double precision / 1000))::text as user_id`;

/** Creates it. Where the role of the replica may bind nobody, a subject that is not bound means nobody. */
export function createIdentityBinder(write: WriteListened): BindIdentity {
  return async ({ issuer, subject, name, issuedAtMs }) => {
    try {
      const [row] = await write<{ user_id: string | null }>('bind_identity', BIND, [issuer, subject, name, issuedAtMs]);
      return row?.user_id ?? null;
    } catch (error) {
      if (sqlState(error) === INSUFFICIENT_PRIVILEGE) {
        return null;
      }
      throw error;
    }
  };
}
