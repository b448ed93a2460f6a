/** Users, apps, grants and credentials to test with. */
import { createToken, hashToken } from '../../src/auth/token.js';
import type { TestDatabase } from './database.js';

export interface World {
  /** alice is granted `photos` as user; bob is not; carol is, and disabled. */
  readonly alice: string;
  readonly bob: string;
  readonly carol: string;
  /** alice's session, for the cookie. */
  readonly session: string;
}

/** A credential of a user. */
export async function addCredential(
  database: TestDatabase,
  user: string,
  kind: 'token' | 'session' = 'token',
): Promise<string> {
  const token = createToken();
  await database.sql(
    `insert into gatebell.credentials (user_id, kind, token_hash) select id, $2, decode($3, 'hex') from gatebell.users
      where name = $1`,
    [user, kind, hashToken(token)],
  );
  return token;
}

/**
 * Fills an empty database. `photos.test` has a public `/share`; `/admin` there needs role admin; everything else is
 * granted.
 */
export async function createWorld(database: TestDatabase): Promise<World> {
  await database.sql(`
    insert into gatebell.users (name, email, display_name, groups, enabled) values
      ('alice', 'alice@example.test', 'Alice', '{family,staff}', true), ('bob', 'bob@example.test', 'Bob', '{}', true),
      ('carol', null, null, '{}', false);
    insert into gatebell.apps (name, host) values ('photos', 'photos.test'), ('wiki', 'wiki.test');
    insert into gatebell.app_routes (app_id, path_prefix, access, roles)
      select id, '/share', 'public', '{}'::text[] from gatebell.apps where name = 'photos' union all
      select id, '/admin', 'grant', '{admin}' from gatebell.apps where name = 'photos' union all
      select id, '/', 'authenticated', '{}' from gatebell.apps where name = 'wiki';
    insert into gatebell.grants (user_id, app_id)
      select u.id, a.id from gatebell.users u, gatebell.apps a where u.name in ('alice', 'carol') and a.name = 'photos';
  `);
  return {
    alice: await addCredential(database, 'alice'),
    bob: await addCredential(database, 'bob'),
    carol: await addCredential(database, 'carol'),
    session: await addCredential(database, 'alice', 'session'),
  };
}
