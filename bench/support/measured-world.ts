/**
 * The data to measure on: a real Postgres with users, apps, grants and sessions, as many as asked for, all of one form.
 */
import pg from 'pg';
import { createToken, hashToken } from '../../src/auth/token.js';
import { createPostgresServer, type PostgresServer } from '../../src/dev/postgres.js';
import { migrate } from '../../src/postgres/migrate.js';

export interface World {
  readonly server: PostgresServer;
  readonly databaseUrl: string;
  /** One session each; the first user's comes first. */
  readonly tokens: readonly string[];
  /** The first app is the one that every user has a grant for. */
  readonly hosts: readonly string[];
  query<R extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<R[]>;
  close(): Promise<void>;
}

const USERS = `
  insert into gatebell.users (id, name, email, display_name, groups)
  select n, 'user-' || to_char(n, 'FM000000'), 'user-' || to_char(n, 'FM000000') || '@example.test',
    'User ' || to_char(n, 'FM000000'), '{family}'
  from generate_series(1, $1::int) as n`;
const APPS = `
  insert into gatebell.apps (id, name, host)
  select n, 'app-' || to_char(n, 'FM00000'), 'app-' || to_char(n, 'FM00000') || '.example.test'
  from generate_series(1, $1::int) as n
  returning host`;
const ROUTES = `
  insert into gatebell.app_routes (app_id, path_prefix, access, roles)
  select a.id, r.path_prefix, r.access, r.roles
  from gatebell.apps a,
    (values ('/public', 'public', '{}'::text[]), ('/admin', 'authenticated', '{admin}'))
      as r (path_prefix, access, roles)`;
/** The first user may use every app; everyone may use the first. */
const GRANTS = `
  insert into gatebell.grants (user_id, app_id)
  select u.id, 1 from gatebell.users u union select 1, a.id from gatebell.apps a`;
const SESSIONS = `
  insert into gatebell.credentials (user_id, kind, token_hash)
  select t.n, 'session', decode(t.hash, 'hex') from unnest($1::text[]) with ordinality as t (hash, n)`;

/** Writes the data into an empty schema. */
async function fill(client: pg.Client, users: number, apps: number): Promise<Pick<World, 'tokens' | 'hosts'>> {
  const tokens = Array.from({ length: users }, createToken);
  await client.query(USERS, [users]);
  const { rows } = await client.query<{ host: string }>(APPS, [apps]);
  await client.query(ROUTES);
  await client.query(GRANTS);
  await client.query(SESSIONS, [tokens.map(hashToken)]);
  await client.query('vacuum analyze');
  return { tokens, hosts: rows.map(({ host }) => host).toSorted() };
}

/** Creates the server and its data. @param sizes `settings` are the server's */
export async function createWorld({
  users,
  apps,
  settings = {},
  applyMigrations = client => migrate(client, 'up'),
}: {
  readonly users: number;
  readonly apps: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** Creates the schema; that of another commit to compare with. */
  readonly applyMigrations?: (client: pg.Client, databaseUrl: string) => Promise<unknown>;
}): Promise<World> {
  const server = await createPostgresServer({ settings });
  const client = new pg.Client({ connectionString: server.url('postgres') });
  client.on('error', () => undefined);
  const close = async (): Promise<void> => {
    await client.end();
    await server.remove();
  };
  try {
    await client.connect();
    await applyMigrations(client, server.url('postgres'));
    const { tokens, hosts } = await fill(client, users, apps);
    return {
      server,
      databaseUrl: server.url('postgres'),
      tokens,
      hosts,
      async query<R extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<R[]> {
        return (await client.query<R>(text, [...values])).rows;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
