/** What the schema does for sign-in: sessions begin and end through two functions, and only for whoever has role gatebell_sign_in. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hashToken } from '../../src/auth/token.js';
import { createSessions } from '../../src/sign-in/sessions.js';
import { createDatabase, type Database } from '../../src/store/pool.js';
import { gatebell } from '../support/command.js';
import { createSignalDatabase, type SignalDatabase } from '../support/signals.js';

const SUFFIX = randomBytes(6).toString('hex');
const REPLICA = `replica_${SUFFIX}`;
const SIGNING = `signing_${SUFFIX}`;
const SIGN_IN = `select * from gatebell.sign_in('ada', decode(repeat('0a', 32), 'hex'), '1 hour', 'test')`;
const SIGN_OUT = `select gatebell.sign_out(decode(repeat('0a', 32), 'hex'))`;

let database: SignalDatabase;
let replica: pg.Client;
let signing: pg.Client;
let pool: Database;

const urlOf = (role: string): string => {
  const url = new URL(database.url);
  url.username = role;
  url.password = 'x';
  return url.href;
};

async function connect(role: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: urlOf(role) });
  await client.connect();
  return client;
}

beforeAll(async () => {
  database = await createSignalDatabase();
  await database.sql(`
    create role ${REPLICA} login password 'x' in role gatebell_daemon;
    create role ${SIGNING} login password 'x' in role gatebell_daemon, gatebell_sign_in;
    insert into gatebell.users (id, name, enabled) values (1, 'ada', true), (2, 'eve', false)`);
  replica = await connect(REPLICA);
  signing = await connect(SIGNING);
  pool = createDatabase({ connectionString: urlOf(SIGNING) });
});

beforeEach(() => database.sql('delete from gatebell.credentials'));

afterAll(async () => {
  await Promise.all([replica.end(), signing.end(), pool.close()]);
  await database.sql(`drop role ${REPLICA}; drop role ${SIGNING}`);
  await database.drop();
});

const credentials = (): Promise<pg.QueryResultRow[]> =>
  database.sql(
    `select id::text, user_id::text, kind, encode(token_hash, 'hex') as hash, label, revoked_at is not null as revoked,
       extract(epoch from expires_at - created_at)::integer as seconds from gatebell.credentials order by id`,
  );

describe('sign_in', () => {
  test('begins a session of an enabled user, which ends when it was asked to', async () => {
    const session = await createSessions(pool, 24).begin('ada');
    expect(session).not.toBeNull();
    expect(await credentials()).toEqual([
      {
        id: session!.credentialId,
        user_id: '1',
        kind: 'session',
        hash: hashToken(session!.token),
        label: 'sign-in',
        revoked: false,
        seconds: 24 * 3600,
      },
    ]);
    expect(session!.userId).toBe('1');
  });

  test.each(['eve', 'nobody', 'ADA', ''])('begins none for %j, who is disabled or not there', async name => {
    expect(await createSessions(pool, 24).begin(name)).toBeNull();
    expect(await credentials()).toEqual([]);
  });

  test.each(['0', '-1 hour', '367 days', 'infinity', null])('refuses a session of %s', async lifetime => {
    // Before 17 Postgres has no infinite interval.
    const statement = `select * from gatebell.sign_in('ada', decode(repeat('0a', 32), 'hex'), $1, 'test')`;
    await expect(signing.query(statement, [lifetime])).rejects.toMatchObject({
      code: lifetime === 'infinity' ? expect.stringMatching(/^22(023|007)$/) : '22023',
    });
  });

  test('takes one hash once', async () => {
    await signing.query(SIGN_IN);
    await expect(signing.query(SIGN_IN)).rejects.toMatchObject({ code: '23505' });
  });

  test('takes away what ended long ago, of this user alone, and neither tokens nor what lives', async () => {
    await database.sql(`
      insert into gatebell.users (id, name) values (3, 'bob');
      insert into gatebell.credentials (user_id, kind, token_hash, label, expires_at, revoked_at)
      select user_id, kind, decode(md5(label) || md5(label || 'x'), 'hex'), label, expires_at, revoked_at from (values
        (1, 'session', 'expired long ago', now() - interval '31 days', null::timestamptz),
        (1, 'session', 'revoked long ago', now() + interval '1 day', now() - interval '31 days'),
        (1, 'session', 'expired lately', now() - interval '29 days', null),
        (1, 'session', 'lives for ever', null, null),
        (1, 'token', 'a token', now() - interval '31 days', null),
        (3, 'session', 'of bob', now() - interval '31 days', null)) v (user_id, kind, label, expires_at, revoked_at)`);
    await signing.query(SIGN_IN);
    expect(new Set((await credentials()).map(row => row['label'] as unknown))).toEqual(
      new Set(['a token', 'expired lately', 'lives for ever', 'of bob', 'test']),
    );
    await database.sql('delete from gatebell.users where id = 3');
  });

  test('is signalled, so that every replica knows', async () => {
    const heard = await database.heard(SIGN_IN, signing);
    expect(heard).toEqual({ credential: [['0a'.repeat(32)]] });
  });
});

describe('sign_out', () => {
  test('ends that session, once, and is signalled', async () => {
    const sessions = createSessions(pool, 24);
    const [one, other] = [await sessions.begin('ada'), await sessions.begin('ada')];
    let ended: unknown;
    const heard = await database.heard(async () => {
      ended = await sessions.end(one!.token);
    });
    expect(ended).toBe(one!.credentialId);
    expect(heard).toEqual({ credential: [[hashToken(one!.token)]] });
    expect(await sessions.end(one!.token)).toBeNull();
    expect((await credentials()).map(row => [row['id'], row['revoked']])).toEqual([
      [one!.credentialId, true],
      [other!.credentialId, false],
    ]);
  });

  test('ends no token of a program', async () => {
    await database.sql(
      `insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'token', decode(repeat('0a', 32), 'hex'))`,
    );
    const { rows } = await signing.query<{ sign_out: string | null }>(SIGN_OUT);
    expect(rows).toEqual([{ sign_out: null }]);
    expect((await credentials()).map(row => row['revoked'] as unknown)).toEqual([false]);
  });
});

describe('role gatebell_sign_in', () => {
  test('is needed for both: a replica without it can begin and end no session', async () => {
    for (const statement of [SIGN_IN, SIGN_OUT]) {
      await expect(replica.query(statement), statement).rejects.toMatchObject({ code: '42501' });
    }
  });

  test('gives nothing else', async () => {
    for (const statement of [
      `insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'session', decode(repeat('0a', 32), 'hex'))`,
      `update gatebell.credentials set revoked_at = null`,
      `delete from gatebell.credentials`,
      `insert into gatebell.users (name) values ('mallory')`,
      `update gatebell.users set enabled = true`,
      `insert into gatebell.grants (user_id, app_id) values (1, 1)`,
    ]) {
      await expect(signing.query(statement), statement).rejects.toMatchObject({ code: '42501' });
    }
    const functions = await database.sql(`
      select p.oid::regprocedure::text as name
      from pg_proc p cross join aclexplode(p.proacl) as a
      where p.pronamespace = 'gatebell'::regnamespace and a.grantee = 'gatebell_sign_in'::regrole order by 1`);
    expect(functions.map(row => row['name'] as unknown)).toEqual([
      'gatebell.sign_in(text,bytea,interval,text)',
      'gatebell.sign_out(bytea)',
    ]);
  });

  test('a table or function that the caller has put in the way is not used', async () => {
    await signing.query(`create temp table credentials (id bigint); set search_path = pg_temp, gatebell, public`);
    expect((await signing.query(SIGN_IN)).rowCount).toBe(1);
    await signing.query('reset search_path; drop table pg_temp.credentials');
    expect(await credentials()).toHaveLength(1);
  });

  test('doctor says when it is lacking, if people sign in', async () => {
    const env = {
      GATEBELL_OIDC_ISSUER: 'https://id.example.test',
      GATEBELL_OIDC_CLIENT_ID: 'gate',
      GATEBELL_OIDC_CLIENT_SECRET: 'not-really-a-secret',
    };
    const lacking = await gatebell(['doctor'], urlOf(REPLICA), env);
    expect(lacking.code).toBe(1);
    expect(lacking.stdout).toContain('GRANT gatebell_sign_in TO this role');
    expect((await gatebell(['doctor'], urlOf(REPLICA))).code).toBe(0);
    const there = await gatebell(['doctor'], urlOf(SIGNING), env);
    expect(there.stdout).toContain('ok      rights to sign people in');
    expect(there.code).toBe(0);
  });
});
