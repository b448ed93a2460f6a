/** Reads of Postgres as people write them by hand: indexed, and each only what it needs. */
import { hash } from 'node:crypto';
import pg from 'pg';
import { setting, type Identity, type Question } from './peer.js';

/** As many connections as Gatebell may open by default. */
const POOL_MAX = 4;

interface UserRow {
  readonly id: string;
  readonly name: string;
  readonly display_name: string;
  readonly email: string;
  readonly groups: readonly string[];
}

interface GrantRow {
  readonly app: string;
  readonly role: string;
}

const SESSION = `c.token_hash = $1 and c.revoked_at is null
  and (c.expires_at is null or c.expires_at > now()) and u.enabled`;
const GRANT = `a.enabled and (g.expires_at is null or g.expires_at > now())`;

const USER_OF_SESSION = `
  select u.id, u.name, u.display_name, u.email, u.groups
  from gatebell.credentials c join gatebell.users u on u.id = c.user_id
  where ${SESSION}`;
const GRANT_OF_USER = `
  select a.name as app, g.role
  from gatebell.apps a join gatebell.grants g on g.app_id = a.id
  where a.host = $1 and g.user_id = $2 and ${GRANT}`;
/** The app is found first: a user with a thousand grants is then as fast as one with a single one. */
const BOTH = `
  select u.id, u.name, u.display_name, u.email, u.groups, a.name as app, g.role
  from gatebell.credentials c
  join gatebell.users u on u.id = c.user_id
  join gatebell.grants g on g.user_id = u.id and g.app_id = (select id from gatebell.apps where host = $2)
  join gatebell.apps a on a.id = g.app_id
  where ${SESSION} and ${GRANT}`;

function identityOf(user: UserRow, grant: GrantRow): Identity {
  return {
    user: user.name,
    name: user.display_name,
    email: user.email,
    groups: user.groups.join(','),
    app: grant.app,
    role: grant.role,
  };
}

/** The pool: on the database of `DATABASE_URL`. */
export function createPool(): pg.Pool {
  const pool = new pg.Pool({ connectionString: setting('DATABASE_URL'), max: POOL_MAX, idleTimeoutMillis: 0 });
  pool.on('error', () => undefined);
  return pool;
}

/** Two queries, one after the other, neither prepared. */
export async function askTwice(pool: pg.Pool, { token, host }: Question): Promise<Identity | null> {
  const users = await pool.query<UserRow>(USER_OF_SESSION, [hash('sha256', token, 'buffer')]);
  const user = users.rows[0];
  if (user === undefined) {
    return null;
  }
  const grants = await pool.query<GrantRow>(GRANT_OF_USER, [host, user.id]);
  const grant = grants.rows[0];
  return grant === undefined ? null : identityOf(user, grant);
}

/** One query, prepared once on each connection. */
export async function askPrepared(pool: pg.Pool, { token, host }: Question): Promise<Identity | null> {
  const { rows } = await pool.query<UserRow & GrantRow>({
    name: 'allow',
    text: BOTH,
    values: [hash('sha256', token, 'buffer'), host],
  });
  const row = rows[0];
  return row === undefined ? null : identityOf(row, row);
}
