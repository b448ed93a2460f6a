/**
 * Who is asked about. Every fact of a person tells its version: the grant in its role, the user in the email; so an
 * answer says what it was decided by.
 *
 * Some people change all the time, so that answers and changes meet; others less often than the lease is long, because
 * a change that was missed shows only while no later one covers it.
 */
import type pg from 'pg';
import { createToken, hashToken } from '../../src/auth/token.js';

export interface Person {
  readonly name: string;
  readonly token: string;
  /** From one change of a fact to the next, in milliseconds, at least and at most. */
  readonly changesMs: readonly [number, number];
}

/** What is true of a person now, in the words of the history. */
export interface PersonFacts {
  readonly grant: string;
  readonly email: string;
  readonly enabled: string;
  readonly credential: string;
}

export const TOPICS = ['grant', 'email', 'enabled', 'credential'] as const;
export type Topic = (typeof TOPICS)[number];

export const APP = 'chaos';
export const HOST = 'chaos.test';

/**
 * What is asked for: the default rule needs a grant; `/me` does not; `/strong` sees every commit acknowledged before.
 */
export const ROUTES = { granted: '/', authenticated: '/me', strong: '/strong' } as const;
export type Route = keyof typeof ROUTES;

/** More than a notification names one by one, so that a change of everybody signals the whole topic. */
const BYSTANDERS = 350;

export const PEOPLE: readonly Person[] = [
  ...['fast-1', 'fast-2'].map(name => ({ name, token: createToken(), changesMs: [30, 90] as const })),
  ...['slow-1', 'slow-2', 'slow-3', 'slow-4'].map(name => ({
    name,
    token: createToken(),
    changesMs: [3_500, 8_000] as const,
  })),
];

export const emailOf = (version: string): string => `${version}@chaos.test`;
export const versionOfEmail = (email: string): string => email.replace(/@chaos\.test$/, '');

/** Fills an empty, migrated database: everybody is enabled, has a good credential and a grant, all of version v0. */
export async function addPeople(client: pg.Client): Promise<void> {
  await client.query(
    `insert into gatebell.users (name, email) select name, $2 from unnest($1::text[]) as p (name)
     union all select 'bystander-' || n, $2 from generate_series(1, ${BYSTANDERS}) as n`,
    [PEOPLE.map(({ name }) => name), emailOf('v0')],
  );
  await client.query(
    `insert into gatebell.credentials (user_id, kind, token_hash)
     select u.id, 'token', decode(p.hash, 'hex') from unnest($1::text[], $2::text[]) as p (name, hash)
       join gatebell.users u using (name)`,
    [PEOPLE.map(({ name }) => name), PEOPLE.map(({ token }) => hashToken(token))],
  );
  await client.query(`insert into gatebell.apps (name, host) values ('${APP}', '${HOST}')`);
  await client.query(
    `insert into gatebell.app_routes (app_id, path_prefix, access, consistency)
     select id, '${ROUTES.authenticated}', 'authenticated', 'bounded' from gatebell.apps
     union all select id, '${ROUTES.strong}', 'grant', 'strong' from gatebell.apps`,
  );
  await client.query(
    `insert into gatebell.grants (user_id, app_id, role) select u.id, a.id, 'v0'
      from gatebell.users u, gatebell.apps a`,
  );
}

/** The facts of everybody, as the tables have them. */
export async function readPeople(client: pg.Client): Promise<ReadonlyMap<string, PersonFacts>> {
  const { rows } = await client.query<{
    name: string;
    role: string | null;
    email: string;
    enabled: boolean;
    revoked: boolean;
  }>(
    `select u.name, g.role, u.email, u.enabled, c.revoked_at is not null as revoked
     from gatebell.users u join gatebell.credentials c on c.user_id = u.id
       left join gatebell.grants g on g.user_id = u.id`,
  );
  return new Map(
    rows.map(({ name, role, email, enabled, revoked }) => [
      name,
      {
        grant: role ?? 'absent',
        email: versionOfEmail(email),
        enabled: String(enabled),
        credential: revoked ? 'revoked' : 'good',
      },
    ]),
  );
}
