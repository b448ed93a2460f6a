/**
 * What the schema does for sign-in: sessions begin and end through two functions, and only for roles that have
 * gatebell_sign_in.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hashToken } from '../../src/auth/token.js';
import { UnavailableError } from '../../src/coherence/errors.js';
import { createSessions, type Identity, type Session, type Sessions } from '../../src/sign-in/sessions.js';
import { createListenedWrites } from '../../src/postgres/listened-writes.js';
import { createDatabase, type Database } from '../../src/postgres/pool.js';
import { gatebell } from '../support/command.js';
import { createSignalDatabase, type SignalDatabase } from '../support/signals.js';

const SUFFIX = randomBytes(6).toString('hex');
const REPLICA = `replica_${SUFFIX}`;
const SIGNING = `signing_${SUFFIX}`;
const ISSUER = 'https://id.example.test';
const HERE = '(select server_id from gatebell.server)';
const SIGN_IN = signInStatement('ada');
const SIGN_OUT = `select gatebell.sign_out(${HERE}, decode(repeat('0a', 32), 'hex'))`;
const ADA: Identity = { issuer: ISSUER, subject: 'ada-1', name: 'ada' };

function signInStatement(name: string, server = HERE): string {
  return `select * from gatebell.sign_in(${server}, '${ISSUER}', '${name}-1', '${name}', null,
    decode(repeat('0a', 32), 'hex'), '1 hour', 'test', '{}')`;
}

let database: SignalDatabase;
let replica: pg.Client;
let signing: pg.Client;
let pool: Database;
/** The server that the replica is said to listen to. */
let listened: string | null;
let sessions: Sessions;

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
    insert into gatebell.apps (id, name, host) values (1, 'wiki', 'wiki.test');
    insert into gatebell.users (id, name, enabled) values (1, 'ada', true), (2, 'eve', false)`);
  replica = await connect(REPLICA);
  signing = await connect(SIGNING);
  pool = createDatabase({ connectionString: urlOf(SIGNING) });
  sessions = createSessions(
    createListenedWrites(pool, () => listened),
    24,
  );
});

beforeEach(async () => {
  await database.sql(`
    delete from gatebell.users where id > 2;
    delete from gatebell.credentials; delete from gatebell.identities; delete from gatebell.former_names`);
  [listened] = (await database.sql('select server_id from gatebell.server')).map(row => String(row['server_id'])) as [
    string,
  ];
});

/** @throws if no session begins */
async function begin(
  identity: Identity = ADA,
  appId: string | null = null,
  ends: readonly string[] = [],
): Promise<Session> {
  const session = await sessions.begin(identity, appId, ends);
  if ('problem' in session) {
    throw new Error(session.problem);
  }
  return session;
}

const identities = (): Promise<pg.QueryResultRow[]> =>
  database.sql('select subject, user_id::text from gatebell.identities order by subject');

afterAll(async () => {
  await Promise.all([replica.end(), signing.end(), pool.close()]);
  await database.sql(`drop role ${REPLICA}; drop role ${SIGNING}`);
  await database.drop();
});

const credentials = (): Promise<pg.QueryResultRow[]> =>
  database.sql(
    `select id::text, user_id::text, app_id::text, kind, encode(token_hash, 'hex') as hash, label,
      revoked_at is not null as revoked,
       extract(epoch from expires_at - created_at)::integer as seconds from gatebell.credentials order by id`,
  );

describe('sign_in', () => {
  test('begins a session of an enabled user, which ends when it was asked to', async () => {
    const session = await begin();
    expect(await credentials()).toEqual([
      {
        id: session.credentialId,
        user_id: '1',
        app_id: null,
        kind: 'session',
        hash: hashToken(session.token),
        label: 'sign-in',
        revoked: false,
        seconds: 24 * 3600,
      },
    ]);
    expect(session.userId).toBe('1');
  });

  test('begins one of the app that it is for, and the app takes it along', async () => {
    await database.sql(`insert into gatebell.apps (id, name, host) values (2, 'mail', 'mail.test')`);
    await begin(ADA, '2');
    expect((await credentials()).map(row => row['app_id'] as unknown)).toEqual(['2']);
    await database.sql('delete from gatebell.apps where id = 2');
    expect(await credentials()).toEqual([]);
  });

  test.each([
    ['eve', 'disabled_user'],
    ['nobody', 'unknown_user'],
    ['ADA', 'unknown_user'],
    ['', 'unknown_user'],
  ])('begins none for %j: %s', async (name, problem) => {
    expect(await sessions.begin({ ...ADA, subject: `${name}-1`, name }, null, [])).toEqual({ problem });
    expect(await credentials()).toEqual([]);
  });

  test("ends the browser's session: another user's at once, the same user's unless it just began", async () => {
    await database.sql(`insert into gatebell.users (id, name) values (3, 'bob')`);
    const before = [
      await begin({ ...ADA, subject: 'bob-1', name: 'bob' }),
      await begin(),
      await begin(),
      await begin(),
    ];
    const [planted, old, fresh, elsewhere] = before.map(({ token }) => token) as [string, string, string, string];
    await database.sql(
      `update gatebell.credentials set created_at = now() - interval '61 seconds'
        where token_hash = any (array[decode($1, 'hex'), decode($2, 'hex')])`,
      [hashToken(old), hashToken(elsewhere)],
    );
    await begin(ADA, null, [planted, old, fresh]);
    const revoked = new Map((await credentials()).map(row => [row['hash'] as unknown, row['revoked'] as unknown]));
    expect([planted, old, fresh, elsewhere].map(token => revoked.get(hashToken(token)))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  test.each(['0', '-1 hour', '367 days', 'infinity', null])('refuses a session of %s', async lifetime => {
    // Before 17 Postgres has no infinite interval.
    const statement = `select *
      from gatebell.sign_in(${HERE}, '${ISSUER}', 'ada-1', 'ada', null, decode(repeat('0a', 32), 'hex'), $1, 'test',
        '{}')`;
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
  });

  test('is signalled, so that every replica knows', async () => {
    const heard = await database.heard(SIGN_IN, signing);
    expect(heard).toEqual({ credential: [['0a'.repeat(32)]], identity: [[ISSUER, 'ada-1']] });
  });
});

describe('which user somebody is', () => {
  const signInAs = async (subject: string, name: string, issuer = ISSUER): Promise<string> => {
    const session = await sessions.begin({ issuer, subject, name }, null, []);
    return 'problem' in session ? session.problem : session.userId;
  };

  test('is settled at first sight, and the name is not asked again', async () => {
    expect(await signInAs('s-1', 'ada')).toBe('1');
    await database.sql(`insert into gatebell.users (id, name) values (3, 'bob')`);
    expect(await signInAs('s-1', 'bob')).toBe('1');
    await database.sql(`update gatebell.users set name = 'ada-2' where id = 1`);
    expect(await signInAs('s-1', 'nobody')).toBe('1');
    await database.sql(`update gatebell.users set name = 'ada' where id = 1`);
    expect(await identities()).toEqual([{ subject: 's-1', user_id: '1' }]);
  });

  test('is not a user whom another subject of the issuer already is, though the provider reuses the name', async () => {
    expect(await signInAs('s-1', 'ada')).toBe('1');
    expect(await signInAs('s-2', 'ada')).toBe('name_of_another_subject');
    expect(await signInAs('s-2', 'ada', 'https://other.example.test')).toBe('1');
    expect(await identities()).toEqual([
      { subject: 's-1', user_id: '1' },
      { subject: 's-2', user_id: '1' },
    ]);
  });

  test('is nobody once the user is deleted, also if the name is there again', async () => {
    await database.sql(`insert into gatebell.users (id, name) values (3, 'bob')`);
    expect(await signInAs('s-3', 'bob')).toBe('3');
    await database.sql(
      `delete from gatebell.users where id = 3; insert into gatebell.users (id, name) values (4, 'bob')`,
    );
    expect(await signInAs('s-3', 'bob')).toBe('deleted_user');
    expect(await signInAs('s-4', 'bob')).toBe('4');
    expect(await identities()).toEqual([
      { subject: 's-3', user_id: null },
      { subject: 's-4', user_id: '4' },
    ]);
  });

  test('stays, when two users swap their names', async () => {
    await database.sql(`insert into gatebell.users (id, name) values (3, 'bob')`);
    expect([await signInAs('s-1', 'ada'), await signInAs('s-3', 'bob')]).toEqual(['1', '3']);
    await database.sql(`
      update gatebell.users set name = 'x' where id = 1; update gatebell.users set name = 'ada' where id = 3;
      update gatebell.users set name = 'bob' where id = 1`);
    expect([await signInAs('s-1', 'ada'), await signInAs('s-3', 'bob')]).toEqual(['1', '3']);
    await database.sql(`delete from gatebell.users where id = 3; update gatebell.users set name = 'ada' where id = 1`);
  });

  test('of two subjects that claim one name at once, one is the user', async () => {
    const subjects = Array.from({ length: 8 }, (_, index) => `s-${index}`);
    const clients = await Promise.all(subjects.map(() => connect(SIGNING)));
    const found = await Promise.all(
      clients.map(async (client, index) => {
        const bind = `select gatebell.bind_identity(${HERE}, $1, $2, 'ada', now())::text as id`;
        return (await client.query<{ id: string | null }>(bind, [ISSUER, subjects[index]])).rows[0]!.id;
      }),
    );
    await Promise.all(clients.map(client => client.end()));
    expect(found.filter(id => id !== null)).toEqual(['1']);
    expect(await identities()).toHaveLength(1);
  });

  test('is the same for all who come at once with one subject', async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect(SIGNING)));
    const bind = `select gatebell.bind_identity(${HERE}, '${ISSUER}', 's-1', 'ada', now())::text as id`;
    const found = await Promise.all(
      clients.map(async client => (await client.query<{ id: string }>(bind)).rows[0]!.id),
    );
    await Promise.all(clients.map(client => client.end()));
    expect(found).toEqual(Array(8).fill('1'));
  });

  test.each<[what: string, statement: string]>([
    ['renamed', `update gatebell.users set name = 'x' where id = 3`],
    ['renamed with another id', `update gatebell.users set name = 'x', id = 5 where id = 3`],
    ['deleted', `delete from gatebell.users where id = 3`],
  ])('a JWT from before its user was %s does not mean the user who has the name afterwards', async (_, statement) => {
    await database.sql(`insert into gatebell.users (id, name) values (3, 'bob')`);
    const [row] = await database.sql('select clock_timestamp() as now');
    await database.sql(statement);
    await database.sql(`insert into gatebell.users (id, name) values (4, 'bob')`);
    const bind = async (subject: string, saidAt: unknown): Promise<unknown> =>
      (
        await signing.query(`select gatebell.bind_identity(${HERE}, '${ISSUER}', $1, 'bob', $2)::text as id`, [
          subject,
          saidAt,
        ])
      ).rows[0];
    expect(await bind('s-4', row!['now'])).toEqual({ id: null });
    expect(await bind('s-4', null)).toEqual({ id: null });
    expect(await bind('s-4', new Date(Date.now() + 60_000))).toEqual({ id: '4' });
  });

  test('a new name may be that of a JWT from long ago', async () => {
    const bind = `select gatebell.bind_identity(${HERE}, '${ISSUER}', 's-1', 'ada', '2020-01-01')::text as id`;
    expect((await signing.query(bind)).rows).toEqual([{ id: '1' }]);
  });
});

describe('what is written goes to the server that is listened to:', () => {
  const changed = (): Promise<pg.QueryResultRow[]> =>
    database.sql(`
      select 'identity' as what, subject as which, user_id::text as value from gatebell.identities union all
      select 'credential', encode(token_hash, 'hex'), (revoked_at is not null)::text from gatebell.credentials
        order by 1, 2`);

  test.each<[what: string, server: () => string | null]>([
    ['the pool leads to another one', () => 'another/1'],
    ['it is not known', () => null],
  ])('when %s nothing is written, and the caller gets an error', async (_, server) => {
    const { token } = await begin();
    const before = await changed();
    listened = server();
    for (const write of [
      () => begin(),
      () => begin({ ...ADA, subject: 'new' }, null, [token]),
      () => sessions.end(token),
    ]) {
      await expect(write()).rejects.toMatchObject({ name: 'UnavailableError', reason: 'foreign_reading' });
    }
    expect(await changed()).toEqual(before);
  });

  test('every function that changes something for a replica is told the server first, and looks', async () => {
    const functions = await database.sql(`
      select p.oid::regprocedure::text as name, p.proargnames[1] as first,
        p.prosrc ~ ('^(#variable_conflict use_column|declare|  ended bigint;|\\s)*begin\\s+'
          || 'perform gatebell.require_caller\\([^;]*\\);\\s+'
          || 'perform gatebell.require_server\\(\\w+\\.server\\);') as looks
      from pg_proc p where p.pronamespace = 'gatebell'::regnamespace
        and has_function_privilege('${SIGNING}', p.oid, 'execute') and p.prosecdef and p.provolatile = 'v'
        and p.prorettype <> 'trigger'::regtype`);
    expect(functions.length).toBeGreaterThan(2);
    for (const { name, first, looks } of functions) {
      // A fence changes nothing but its own number.
      if (name !== 'gatebell.fence(bigint)') {
        expect([name, first, looks]).toEqual([name, 'server', true]);
      }
    }
    for (const server of ['null', `''`, `'another/1'`]) {
      await expect(signing.query(signInStatement('ada', server))).rejects.toMatchObject({ code: 'GB001' });
    }
  });

  test('they take their turn, and too many are refused', async () => {
    const started = Array.from({ length: 80 }, () =>
      begin({ ...ADA, name: 'nobody', subject: 'x' }).catch((error: unknown) => error),
    );
    const ended = await Promise.all(started);
    const refused = ended.filter(error => error instanceof UnavailableError);
    expect(refused.map(error => error.reason)).toEqual(Array(16).fill('queue_full'));
    await begin();
  });
});

describe('sign_out', () => {
  test('ends that session, once, and is signalled', async () => {
    const [one, other] = [await begin(), await begin()];
    let ended: unknown;
    const heard = await database.heard(async () => {
      ended = await sessions.end(one.token);
    });
    expect(ended).toBe(one.credentialId);
    expect(heard).toEqual({ credential: [[hashToken(one.token)]] });
    expect(await sessions.end(one.token)).toBeNull();
    expect((await credentials()).map(row => [row['id'], row['revoked']])).toEqual([
      [one.credentialId, true],
      [other.credentialId, false],
    ]);
  });

  test('ends no token of a program', async () => {
    await database.sql(
      `insert into gatebell.credentials (user_id, kind, token_hash)
        values (1, 'token', decode(repeat('0a', 32), 'hex'))`,
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
      `insert into gatebell.credentials (user_id, kind, token_hash)
        values (1, 'session', decode(repeat('0a', 32), 'hex'))`,
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
      'gatebell.bind_identity(text,text,text,text,timestamp with time zone)',
      'gatebell.sign_in(text,text,text,text,bigint,bytea,interval,text,bytea[])',
      'gatebell.sign_out(text,bytea)',
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
    // Nobody has this name.
    expect(there.stdout.match(/^FAILED .*$/gm)).toEqual([expect.stringContaining('OpenID provider')]);
  });

  test('doctor says when it is given without need: nobody signs in there', async () => {
    const { code, stdout } = await gatebell(['doctor'], urlOf(SIGNING));
    expect(code).toBe(1);
    expect(stdout.match(/^FAILED .*$/gm)).toEqual([
      expect.stringContaining(`GATEBELL_OIDC_ISSUER is not set: REVOKE gatebell_sign_in FROM ${SIGNING}`),
    ]);
  });
});
