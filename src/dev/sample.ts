/** Sample data for `gatebell dev`: three users, two apps, some grants, and a token each. */
import type pg from 'pg';
import { createToken, hashToken } from '../auth/token.js';

/** What can be tried with the sample data. */
export interface Sample {
  readonly tokens: { readonly alice: string; readonly bob: string; readonly carol: string };
  readonly host: string;
}

const FACTS = `
  insert into gatebell.users (name, email, display_name, groups, enabled) values
    ('alice', 'alice@example.test', 'Alice Ängström', '{family,admins}', true),
    ('bob', 'bob@example.test', 'Bob', '{family}', true),
    ('carol', 'carol@example.test', 'Carol', '{}', false);
  insert into gatebell.apps (name, host) values
    ('photos', 'photos.example.test'),
    ('wiki', 'wiki.example.test');
  insert into gatebell.app_routes (app_id, path_prefix, access, roles, consistency)
  select a.id, r.path_prefix, r.access, r.roles, r.consistency
  from gatebell.apps a
  join (values
    ('photos', '/share', 'public', '{}'::text[], 'bounded'),
    ('photos', '/admin', 'grant', '{admin}', 'strong'),
    ('wiki', '/', 'authenticated', '{}', 'bounded'),
    ('wiki', '/edit', 'grant', '{}', 'bounded')
  ) as r (app, path_prefix, access, roles, consistency) on r.app = a.name;
  insert into gatebell.grants (user_id, app_id, role)
  select u.id, a.id, g.role
  from (values ('alice', 'photos', 'admin'), ('alice', 'wiki', 'user'), ('carol', 'photos', 'user'))
    as g (name, app, role)
  join gatebell.users u on u.name = g.name
  join gatebell.apps a on a.name = g.app;
`;

/** Loads the sample into an empty, migrated database. */
export async function loadSample(client: pg.ClientBase): Promise<Sample> {
  await client.query(FACTS);
  const tokens = { alice: createToken(), bob: createToken(), carol: createToken() };
  for (const [name, token] of Object.entries(tokens)) {
    await client.query(
      `insert into gatebell.credentials (user_id, kind, token_hash, label)
       select id, 'token', decode($2, 'hex'), 'sample' from gatebell.users where name = $1`,
      [name, hashToken(token)],
    );
  }
  return { tokens, host: 'photos.example.test' };
}
