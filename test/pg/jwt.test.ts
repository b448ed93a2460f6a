/**
 * JWTs on a real replica, with a key set over HTTP: allowed from memory, and forgotten as soon as Postgres or the
 * issuer says so.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { AUDIENCE, createSigningKey, goodClaims, issue, ISSUER, type SigningKey } from '../support/jwt-issuer.js';
import { startReplica, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

const ONE = createSigningKey('ES256', 'one');
const TWO = createSigningKey('RS256', 'two');
const SECRET = createSigningKey('HS256');

/** The issuer's key set; null: it answers 500. */
let published: readonly SigningKey[] | null = [ONE];
let issuer: Server;
let issuerUrl: string;
let database: TestDatabase;
let world: World;
let env: NodeJS.ProcessEnv;
let replica: Replica;
const replicas: Replica[] = [];

beforeAll(async () => {
  issuer = createServer((_, response) => {
    if (published === null) {
      response.writeHead(500).end();
    } else {
      response.end(JSON.stringify({ keys: published.map(({ jwk }) => jwk) }));
    }
  });
  await new Promise<void>(resolve => issuer.listen(0, '127.0.0.1', resolve));
  issuerUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`;
  env = {
    GATEBELL_JWT_ISSUER: ISSUER,
    GATEBELL_JWT_AUDIENCE: AUDIENCE,
    GATEBELL_JWT_JWKS_URL: issuerUrl,
    GATEBELL_JWT_JWKS_REFRESH_SECONDS: '1',
  };
  database = await createTestDatabase();
  world = await createWorld(database);
  await database.sql(
    `insert into gatebell.app_routes (app_id, path_prefix, access, consistency) select id, '/strong', 'grant', 'strong'
      from gatebell.apps where name = 'photos'`,
  );
  replica = await start(env);
});

afterAll(async () => {
  await Promise.all(replicas.map(each => each.stop()));
  await new Promise(resolve => {
    issuer.close(resolve);
    issuer.closeAllConnections();
  });
  await database.drop();
});

/** Each test has users of its own name. */
let number = 0;
let user = '';

beforeEach(async () => {
  user = `user-${++number}`;
  published = [ONE];
  await database.sql(`insert into gatebell.users (name, email) values ($1, $1 || '@example.test')`, [user]);
  await database.sql(
    `insert into gatebell.grants (user_id, app_id) select u.id, a.id from gatebell.users u, gatebell.apps a
      where u.name = $1 and a.name = 'photos'`,
    [user],
  );
});

afterEach(() => {
  published = [ONE];
});

async function start(settings: NodeJS.ProcessEnv): Promise<Replica> {
  const started = await startReplica(database.url, { env: settings, name: `jwt-${replicas.length}` });
  replicas.push(started);
  return started;
}

const claimsOf = (name: string): Record<string, unknown> => ({
  ...goodClaims(Date.now()),
  sub: name,
  jti: `jti-of-${name}`,
});
const tokenOf = (name = user, key = ONE, more: Readonly<Record<string, unknown>> = {}): string =>
  issue(key, { ...claimsOf(name), ...more });
const reasonOf = async (token: string, uri = '/strong', from = replica): Promise<string> =>
  (await from.ask({ token, uri })).reason;
const hasNewKeys = (from: Replica, since: number): Promise<unknown> =>
  from.waitFor(line => line.event === 'jwks_refreshed' && line['changed'] === true, since);

test('a JWT is its user: identity, role, and what the user may', async () => {
  await hasNewKeys(replica, 0);
  const answer = await replica.ask({ token: tokenOf() });
  expect(answer).toMatchObject({ status: 200, reason: 'granted' });
  expect(answer.headers).toMatchObject({
    'remote-user': user,
    'remote-email': `${user}@example.test`,
    'x-gatebell-app': 'photos',
    'x-gatebell-role': 'user',
  });
  expect(await reasonOf(tokenOf(), '/admin')).toBe('role_required');
  expect(await reasonOf(tokenOf('bob'))).toBe('no_grant');
  expect(await reasonOf(tokenOf('carol'))).toBe('disabled_user');
  expect(await reasonOf(tokenOf('nobody'))).toBe('bad_credential');
  expect(await reasonOf(tokenOf(user, ONE, { exp: 1_000 }))).toBe('expired_credential');
  expect(await reasonOf(tokenOf(user, TWO))).toBe('bad_credential');
  expect(await reasonOf(world.alice), 'tokens of our own work as before').toBe('granted');
});

test('one is verified once', async () => {
  const token = tokenOf();
  const series = 'gatebell_jwt_verifications_total{result="valid"}';
  const before = await replica.metric(series);
  await Promise.all(Array.from({ length: 50 }, () => replica.ask({ token })));
  expect(await replica.metric(series)).toBe(before + 1);
});

describe('what is committed is seen by the next request:', () => {
  test.each<[what: string, statement: string, values: () => readonly unknown[], reason: string]>([
    [
      'its id revoked',
      'insert into gatebell.revoked_jwts (jti) values ($1)',
      () => [`jti-of-${user}`],
      'bad_credential',
    ],
    ['the user disabled', 'update gatebell.users set enabled = false where name = $1', () => [user], 'disabled_user'],
    ['the user deleted', 'delete from gatebell.users where name = $1', () => [user], 'bad_credential'],
    [
      'the subject made nobody',
      'update gatebell.identities set user_id = null where subject = $1',
      () => [user],
      'bad_credential',
    ],
    [
      'the subject made somebody else',
      `update gatebell.identities i set user_id = u.id from gatebell.users u where i.subject = $1 and u.name = 'carol'`,
      () => [user],
      'disabled_user',
    ],
    [
      'the user signed out everywhere',
      `update gatebell.users set jwt_not_before = now() where name = $1`,
      () => [user],
      'bad_credential',
    ],
    [
      'the grant deleted',
      'delete from gatebell.grants g using gatebell.users u where u.id = g.user_id and u.name = $1',
      () => [user],
      'no_grant',
    ],
  ])('%s', async (_, statement, values, reason) => {
    const token = tokenOf();
    expect([await reasonOf(token), await reasonOf(token, '/')]).toEqual(['granted', 'granted']);
    await database.sql(statement, values());
    expect(await reasonOf(token)).toBe(reason);
    await replica.askUntil(reason, { token });
  });

  test('a user with another name is the same user, and who has the name now is not', async () => {
    const token = tokenOf();
    expect(await reasonOf(token)).toBe('granted');
    await database.sql(`update gatebell.users set name = name || '-old' where name = $1`, [user]);
    await database.sql(`insert into gatebell.users (name, email) values ($1, 'other@example.test')`, [user]);
    expect(await reasonOf(token)).toBe('granted');
    const answer = await replica.askUntil('authenticated', { token, host: 'wiki.test' });
    expect(answer.headers).toMatchObject({ 'remote-user': `${user}-old`, 'remote-email': `${user}@example.test` });
  });

  test('a name that somebody else was given revives no JWT, seen before or not', async () => {
    const [seen, unseen] = [tokenOf(), tokenOf(user, ONE, { sub: `other-${user}`, preferred_username: user })];
    expect(await reasonOf(seen)).toBe('granted');
    await database.sql('delete from gatebell.users where name = $1', [user]);
    await database.sql('insert into gatebell.users (name) values ($1)', [user]);
    expect([await reasonOf(seen), await reasonOf(unseen)]).toEqual(['bad_credential', 'bad_credential']);
  });

  test('an id that is taken off the list counts again, and so do JWTs issued after', async () => {
    const token = tokenOf();
    await database.sql('insert into gatebell.revoked_jwts (jti) values ($1)', [`jti-of-${user}`]);
    expect(await reasonOf(token)).toBe('bad_credential');
    await database.sql('delete from gatebell.revoked_jwts');
    expect(await reasonOf(token)).toBe('granted');
    await database.sql(`update gatebell.users set jwt_not_before = now() - interval '10 seconds' where name = $1`, [
      user,
    ]);
    // The issuer's clock may be ahead by the leeway: one that claims to be of now may be older.
    const seconds = Math.floor(Date.now() / 1_000);
    expect(await reasonOf(tokenOf(user, ONE, { iat: seconds }))).toBe('bad_credential');
    expect(await reasonOf(tokenOf(user, ONE, { iat: seconds + 25 }))).toBe('granted');
  });
});

describe('a subject', () => {
  const identitiesOf = (subject: string): Promise<unknown[]> =>
    database.sql(
      `select i.issuer, u.name from gatebell.identities i left join gatebell.users u on u.id = i.user_id
        where i.subject = $1`,
      [subject],
    );

  test('is bound when it is seen first, and costs no query from then on', async () => {
    const token = tokenOf();
    expect(await reasonOf(token, '/')).toBe('granted');
    expect(await identitiesOf(user)).toEqual([{ issuer: ISSUER, name: user }]);
    // A strong answer comes after the signal of the binding, however slow the machine is.
    expect(await reasonOf(token)).toBe('granted');
    const series = 'gatebell_db_queries_total{query="bind_identity"}';
    const before = await replica.metric(series);
    expect(before).toBeGreaterThan(0);
    for (let turn = 0; turn < 20; turn++) {
      expect(await reasonOf(token, '/')).toBe('granted');
    }
    expect(await replica.metric(series)).toBe(before);
  });

  test('is bound by no JWT that is refused', async () => {
    for (const token of [
      tokenOf(user, TWO),
      tokenOf(user, ONE, { exp: 1_000 }),
      tokenOf(user, ONE, { aud: 'others' }),
    ]) {
      expect(await reasonOf(token)).not.toBe('granted');
    }
    expect(await identitiesOf(user)).toEqual([]);
  });

  test('is nobody where the replica may not bind it, until somebody does; and all goes on', async () => {
    const role = `reading_${randomBytes(6).toString('hex')}`;
    await database.sql(`create role ${role} login password 'x' in role gatebell_daemon`);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'x';
    const reading = await startReplica(url.href, { env, name: 'reading' });
    await hasNewKeys(reading, 0);
    const token = tokenOf();
    expect(await reasonOf(token, '/', reading)).toBe('bad_credential');
    expect(await identitiesOf(user)).toEqual([]);
    const bound = await gatebell(['user', 'bind', user, '--subject', user], database.url, env);
    expect(bound).toMatchObject({ code: 0, stderr: '', stdout: `subject "${user}" is ${user} now\n` });
    expect(await reasonOf(token, '/strong', reading)).toBe('granted');
    expect((await gatebell(['user', 'identities', user], database.url)).stdout).toContain(ISSUER);

    const unbound = await gatebell(['user', 'unbind', '--issuer', ISSUER, '--subject', user, '--wait'], database.url);
    expect(unbound.stdout).toMatch(/is nobody until it is bound again\n(?:.*\n)+denied on (\d+) of \1 replicas/);
    expect([await reasonOf(token, '/', reading), await reasonOf(token, '/')]).toEqual([
      'bad_credential',
      'bad_credential',
    ]);
    await reading.stop();
    await database.sql(`drop role ${role}`);
  });

  test.each([
    [['user', 'bind', 'nobody', '--issuer', 'i', '--subject', 's'], 1, 'there is no user "nobody"'],
    [['user', 'bind', 'alice', '--subject', 's'], 2, 'give --issuer'],
    [['user', 'unbind', '--issuer', 'i', '--subject', 's'], 1, 'was never bound'],
  ])('of %j: %i', async (words, code, says) => {
    const said = await gatebell(words, database.url);
    expect(said.stderr).toContain(says);
    expect(said.code).toBe(code);
  });
});

describe('the command', () => {
  test('revokes one, and says when every replica denies it', async () => {
    const token = tokenOf();
    expect(await reasonOf(token, '/')).toBe('granted');
    const { stdout, stderr } = await gatebell(
      ['jwt', 'revoke', `jti-of-${user}`, '--expires', '1h', '--wait'],
      database.url,
    );
    expect(stderr).toBe('');
    expect(stdout).toContain(`the JWT with jti "jti-of-${user}" was revoked\n`);
    expect(stdout).toMatch(/^denied on (\d+) of \1 replicas/m);
    expect(await reasonOf(token, '/')).toBe('bad_credential');
    expect((await gatebell(['jwt', 'list'], database.url)).stdout).toContain(`jti-of-${user}`);
  });

  test('revokes all of a user', async () => {
    const token = tokenOf();
    expect(await reasonOf(token, '/')).toBe('granted');
    const { stdout } = await gatebell(['jwt', 'revoke-all', user, '--wait'], database.url);
    expect(stdout).toContain(`all JWTs of ${user} that were issued until now were revoked\n`);
    expect(stdout).toMatch(/^denied on (\d+) of \1 replicas/m);
    expect(await reasonOf(token, '/')).toBe('bad_credential');
  });

  test('forgets ids whose JWTs have expired long ago, and no others', async () => {
    await database.sql(`truncate gatebell.revoked_jwts`);
    await database.sql(`
      insert into gatebell.revoked_jwts (jti, expires_at) values
        ('old', now() - interval '2 days'), ('late', now() - interval '1 hour'), ('never', null)`);
    await gatebell(['jwt', 'revoke', 'new'], database.url);
    const rows = await database.sql('select jti from gatebell.revoked_jwts order by jti');
    expect(rows.map(row => String(row['jti']))).toEqual(['late', 'never', 'new']);
  });

  test.each([
    [['jwt', 'revoke', 'x'.repeat(256)], 'the id (jti) of a JWT is 1 to 255 printable ASCII characters', 2],
    [['jwt', 'revoke-all', 'nobody'], 'there is no user "nobody"', 1],
  ])('refuses %j', async (words, says, exitCode) => {
    const { code, stderr } = await gatebell(words, database.url);
    expect(stderr).toContain(says);
    expect(code).toBe(exitCode);
  });
});

test('doctor looks at the key set', async () => {
  const well = await gatebell(['doctor'], database.url, env);
  expect(well.stdout).toContain('ok      JWT key set: 1 public keys');
  published = null;
  const ill = await gatebell(['doctor'], database.url, env);
  expect(ill.stdout).toContain('FAILED  JWT key set: the key set was answered with status 500: until');
  expect(ill.code).toBe(1);
});

describe('keys', () => {
  test('come and go without a restart', async () => {
    const [one, two] = [tokenOf(), tokenOf(user, TWO)];
    expect([await reasonOf(one), await reasonOf(two)]).toEqual(['granted', 'bad_credential']);
    let since = replica.lines.length;
    published = [ONE, TWO];
    await hasNewKeys(replica, since);
    expect([await reasonOf(one), await reasonOf(two)]).toEqual(['granted', 'granted']);
    since = replica.lines.length;
    published = [TWO];
    await hasNewKeys(replica, since);
    expect([await reasonOf(one), await reasonOf(two)]).toEqual(['bad_credential', 'granted']);
    since = replica.lines.length;
    published = [ONE];
    await hasNewKeys(replica, since);
  });

  test('stay when the issuer is down, and are waited for by nobody when it never was up', async () => {
    const token = tokenOf();
    published = null;
    await replica.waitFor(line => line.event === 'jwks_failed');
    expect(await reasonOf(token)).toBe('granted');

    const late = await start(env);
    await late.waitFor(line => line.event === 'jwks_failed', 0);
    expect(await late.ask({ token })).toMatchObject({ status: 503, reason: 'unavailable' });
    expect(await reasonOf(world.alice, '/', late), 'tokens need no issuer').toBe('granted');
    expect((await late.ask({ token, uri: '/share/x' })).reason).toBe('public');
    expect((await late.get('/readyz')).status).toBe(200);
    published = [ONE];
    await hasNewKeys(late, 0);
    expect(await reasonOf(token, '/', late)).toBe('granted');
    expect(await late.metric('gatebell_jwks_refreshes_total{result="failed"}')).toBeGreaterThan(0);
  });

  test('may be a shared secret, which is shown nowhere; nor is any token', async () => {
    const { GATEBELL_JWT_JWKS_URL: _, ...rest } = env;
    const withSecret = await start({
      ...rest,
      GATEBELL_JWT_ALGORITHMS: 'HS256',
      GATEBELL_JWT_KEY: SECRET.text,
      GATEBELL_LOG_LEVEL: 'debug',
    });
    const [token, forgery] = [tokenOf(user, SECRET), tokenOf(user, createSigningKey('HS256'))];
    expect(await reasonOf(token, '/', withSecret)).toBe('granted');
    expect(await reasonOf(forgery, '/', withSecret)).toBe('bad_credential');
    const pages = await Promise.all(['/metrics', '/status', '/readyz'].map(path => withSecret.get(path)));
    const said = [JSON.stringify(withSecret.lines), ...pages.map(({ body }) => body)].join('\n');
    expect(said).toContain('jwt_verified');
    for (const secret of [SECRET.text, ...token.split('.'), ...forgery.split('.'), `jti-of-${user}`]) {
      expect(said).not.toContain(secret);
    }
  });
});

test('with workers, each verifies for itself and all forget', async () => {
  const several = await start({ ...env, GATEBELL_WORKERS: '2', GATEBELL_POOL_MAX: '6' });
  const token = tokenOf();
  await several.askUntil('granted', { token });
  await database.sql('insert into gatebell.revoked_jwts (jti) values ($1)', [`jti-of-${user}`]);
  expect(await reasonOf(token, '/strong', several)).toBe('bad_credential');
});
