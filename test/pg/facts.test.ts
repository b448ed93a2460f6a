/**
 * The load queries: the same key text as the triggers (P2), one bad value harms one fact (P6), one indexed query each.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Key } from '../../src/coherence/signal.js';
import { factCaches, type BadRow, type FactTypes } from '../../src/auth/facts.js';
import { createDatabase, type Database } from '../../src/postgres/pool.js';
import { createSignalDatabase, sortedKeys, type SignalDatabase } from '../support/signals.js';

type Topic = keyof FactTypes;
const TOPICS: readonly Topic[] = [
  'user',
  'identity',
  'user_name',
  'revoked_jwt',
  'app',
  'route',
  'grant',
  'credential',
];

const badRows: BadRow[] = [];
const caches = factCaches(row => badRows.push(row));

let signals: SignalDatabase;
let database: Database;

beforeAll(async () => {
  signals = await createSignalDatabase();
  database = createDatabase({ connectionString: signals.url });
});

beforeEach(async () => {
  badRows.length = 0;
  await signals.sql(`
    truncate gatebell.users, gatebell.apps, gatebell.revoked_jwts cascade;
    insert into gatebell.revoked_jwts (jti) values ('ab-1'), ('it''s "quoted"');
    insert into gatebell.users (id, name, email, display_name, groups, enabled) values
      (1, 'ada', 'ada@x.test', 'Ada 🔔', '{staff,"a b","q\\"uote"}', true), (2, 'ben', null, null, '{}', false);
    insert into gatebell.apps (id, name, host, headers) values
      (1, 'wiki', 'wiki.test', '{"X-User": "{{user.name}}"}'), (2, 'mail', 'mail.test', '{}');
    insert into gatebell.app_routes (app_id, path_prefix, access, roles, consistency, headers) values
      (1, '/', 'grant', '{}', 'bounded', '{}'), (1, '/open', 'public', '{}', 'bounded', '{}'),
      (1, '/open/door', 'grant', '{admin,owner}', 'strong', '{"X-Role": "{{grant.role}}"}'),
      (1, '/else', 'authenticated', '{}', 'bounded', '{}');
    insert into gatebell.grants (user_id, app_id, role, expires_at) values (1, 1, 'admin', '2100-01-01 00:00:00.25+00'),
      (2, 1, 'user', null);
    insert into gatebell.identities (issuer, subject, user_id) values
      ('https://id.test', 'sub "1"', 1), ('https://id.test', 'gone', null), ('https://other.test', 'sub "1"', 2);
    insert into gatebell.credentials (user_id, app_id, kind, token_hash, expires_at, revoked_at) values
      (1, 2, 'token', decode(repeat('00ff', 16), 'hex'), null, null),
      (2, null, 'session', decode(repeat('5c27', 16), 'hex'), null, now())`);
});

afterAll(async () => {
  await database.close();
  await signals.drop();
});

/** What the load of these keys says: the rows' keys and facts. */
async function load<S extends Topic>(topic: S, keys: readonly Key[]): Promise<{ key: Key; fact: FactTypes[S] }[]> {
  const { load: query } = caches[topic];
  const { rows } = await database.source.read(topic, query.text, keys, 'load');
  return rows.map(row => ({ key: query.key(row), fact: query.value(row) }));
}

const loadOne = async <S extends Topic>(topic: S, ...key: Key): Promise<FactTypes[S] | undefined> =>
  (await load(topic, [key]))[0]?.fact;

describe('what is loaded', () => {
  test('a user', async () => {
    expect(await loadOne('user', '1')).toEqual({
      id: '1',
      name: 'ada',
      email: 'ada@x.test',
      displayName: 'Ada 🔔',
      groups: ['staff', 'a b', 'q"uote'],
      enabled: true,
      jwtNotBeforeMs: null,
    });
    expect(await loadOne('user', '2')).toEqual({
      id: '2',
      name: 'ben',
      email: '',
      displayName: '',
      groups: [],
      enabled: false,
      jwtNotBeforeMs: null,
    });
  });

  test('who has a name', async () => {
    expect(await loadOne('user_name', 'ben')).toEqual({ userId: '2' });
  });

  test('which user a subject of an issuer is', async () => {
    expect(await loadOne('identity', 'https://id.test', 'sub "1"')).toEqual({ userId: '1' });
    expect(await loadOne('identity', 'https://other.test', 'sub "1"')).toEqual({ userId: '2' });
    expect(await loadOne('identity', 'https://id.test', 'gone')).toEqual({ userId: null });
  });

  test('a revoked JWT', async () => {
    expect(await loadOne('revoked_jwt', 'it\'s "quoted"')).toEqual({ jti: 'it\'s "quoted"' });
  });

  test.each<[notBefore: string, ms: number]>([
    ['2024-02-29 12:00:00.5+00', 1_709_208_000_500],
    ['infinity', Infinity],
    ['-infinity', -Infinity],
  ])('of a user whose JWTs count from %s on', async (notBefore, ms) => {
    await signals.sql('update gatebell.users set jwt_not_before = $1 where id = 2', [notBefore]);
    expect((await loadOne('user', '2'))?.jwtNotBeforeMs).toBe(ms);
  });

  test('an app', async () => {
    expect(await loadOne('app', 'wiki.test')).toEqual({
      id: '1',
      name: 'wiki',
      host: 'wiki.test',
      enabled: true,
      problem: null,
      headers: [{ name: 'X-User', parts: [{ variable: 'user.name' }] }],
    });
  });

  test('the routes of an app, the longest prefix first', async () => {
    const fact = await loadOne('route', '1');
    expect(fact?.problem).toBeNull();
    expect(fact?.routes.map(route => route.pathPrefix)).toEqual(['/open/door', '/else', '/open', '/']);
    expect(fact?.routes[0]).toEqual({
      pathPrefix: '/open/door',
      access: 'grant',
      roles: ['admin', 'owner'],
      strong: true,
      preflight: false,
      headers: [{ name: 'X-Role', parts: [{ variable: 'grant.role' }] }],
    });
    expect(fact?.routes[1]).toEqual({
      pathPrefix: '/else',
      access: 'authenticated',
      roles: [],
      strong: false,
      preflight: false,
      headers: [],
    });
  });

  test('a grant', async () => {
    expect(await loadOne('grant', '1', '1')).toEqual({
      role: 'admin',
      expiresAtMs: Date.parse('2100-01-01T00:00:00.250Z'),
    });
    expect(await loadOne('grant', '2', '1')).toEqual({ role: 'user', expiresAtMs: null });
  });

  test('a credential', async () => {
    expect(await loadOne('credential', '00ff'.repeat(16))).toEqual({
      userId: '1',
      appId: '2',
      revoked: false,
      expiresAtMs: null,
    });
    expect(await loadOne('credential', '5c27'.repeat(16))).toEqual({
      userId: '2',
      appId: null,
      revoked: true,
      expiresAtMs: null,
    });
  });

  test.each<[topic: Topic, absent: Key]>([
    ['user', ['3']],
    ['user', ['-1']],
    ['identity', ['https://id.test', 'sub "2"']],
    ['identity', ['https://id.tes', 'sub "1"']],
    ['identity', ['', '']],
    ['user_name', ['eve']],
    ['user_name', ['ADA']],
    ['user_name', ['']],
    ['revoked_jwt', ['ab-2']],
    ['app', ['none.test']],
    ['app', ['WIKI.test']],
    ['app', ['']],
    ['app', [`' or true --`]],
    ['route', ['2']],
    ['route', ['3']],
    ['grant', ['1', '2']],
    ['grant', ['3', '3']],
    ['credential', ['00'.repeat(32)]],
    ['credential', ['00']],
  ])('%s %j is absent, and does not hide its neighbours', async (topic, absent) => {
    const present = {
      user: ['1'],
      identity: ['https://id.test', 'sub "1"'],
      user_name: ['ada'],
      revoked_jwt: ['ab-1'],
      app: ['wiki.test'],
      route: ['1'],
      grant: ['1', '1'],
      credential: ['00ff'.repeat(16)],
    }[topic];
    expect((await load(topic, [absent, present, absent])).map(({ key }) => key)).toEqual([present]);
  });
});

describe('an expiry', () => {
  test.each<[expiresAt: string | null, expiresAtMs: number | null]>([
    [null, null],
    ['infinity', null],
    ['-infinity', 0],
    ['1970-01-01 00:00:00+00', 0],
    ['1969-12-31 23:59:59+00', -1_000],
    ['4713-01-01 00:00:00+00 BC', -210_863_520_000_000],
    ['294276-12-31 23:59:59+00', 9_224_318_015_999_000],
    ['2024-02-29 12:00:00.123456+00', 1_709_208_000_123.456],
  ])('of %s is %d', async (expiresAt, expiresAtMs) => {
    await signals.sql('update gatebell.grants set expires_at = $1', [expiresAt]);
    await signals.sql('update gatebell.credentials set expires_at = $1', [expiresAt]);
    expect(await loadOne('grant', '1', '1')).toMatchObject({ expiresAtMs });
    expect(await loadOne('credential', '00ff'.repeat(16))).toMatchObject({ expiresAtMs });
  });
});

describe('headers that cannot be used are a problem of their own row', () => {
  test.each([
    '{"X-A": "{{user.nam}}"}',
    '{"X-A": 1}',
    '{"X-A": null}',
    '{"X-A": {"b": "c"}}',
    '{"Remote-User": "root"}',
    '{"X A": "b"}',
    '{"": "b"}',
    '{"X-A": "{{user.name"}',
    '{"X-A": "line\\nend"}',
    '{"X-A": "Zoë"}',
    `{"X-A": "${'x'.repeat(1025)}"}`,
    JSON.stringify(Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`X-${index}`, 'a']))),
  ])('%s', async headers => {
    await signals.sql(`update gatebell.apps set headers = $1 where id = 1`, [headers]);
    await signals.sql(
      `insert into gatebell.app_routes (app_id, path_prefix, access, headers) values (2, '/a', 'public', $1),
        (2, '/b', 'public', '{}')`,
      [headers],
    );

    const apps = await load('app', [['wiki.test'], ['mail.test']]);
    const byHost = new Map(apps.map(({ key, fact }) => [key[0], fact]));
    expect(byHost.get('wiki.test')).toMatchObject({ headers: [], problem: expect.any(String) as unknown });
    expect(byHost.get('mail.test')).toMatchObject({ problem: null });

    const routes = await load('route', [['1'], ['2']]);
    const byApp = new Map(routes.map(({ key, fact }) => [key[0], fact]));
    expect(byApp.get('2')).toMatchObject({ routes: [], problem: expect.any(String) as unknown });
    expect(byApp.get('1')).toMatchObject({ problem: null });

    const problem: unknown = byHost.get('wiki.test')?.problem;
    expect(badRows).toEqual([
      { topic: 'app', key: 'wiki.test', problem },
      { topic: 'route', key: '2', problem },
    ]);
  });
});

describe('a key that cannot be a key of the table', () => {
  test.each<[topic: Topic, key: Key]>([
    ['user', ['x']],
    ['user', ['']],
    ['user', ['9223372036854775808']],
    ['route', ['1.5']],
    ['grant', ['1', 'x']],
    ['credential', ['xyz']],
    ['credential', ['abc']],
    ['app', ['a\0b']],
    ['identity', ['a', 'a\0b']],
    ['user_name', ['a\0b']],
    ['revoked_jwt', ['a\0b']],
  ])('%s %j is an error about the data, so that the others are tried one by one', async (topic, key) => {
    const error: unknown = await load(topic, [key]).catch((caught: unknown) => caught);
    expect(database.source.isDataError(error)).toBe(true);
  });
});

/** Statements that change every kind of fact, by writers with settings of their own. */
test('the triggers name a key by the same text as its load', async () => {
  const settings = `set bytea_output = escape; set datestyle = 'German'; set timezone = 'Asia/Tokyo';
    set extra_float_digits = -5`;
  const writer = await signals.connect();
  await writer.query(settings);
  const heard = await signals.heard(
    `
    insert into gatebell.users (id, name) values (9223372036854775807, 'last'), (-5, 'negative');
    insert into gatebell.revoked_jwts (jti) values ('x-1'), (' '), ('"');
    insert into gatebell.identities (issuer, subject, user_id) values ('"', '\\ "🔔"', -5), ('x', '["y"]', null);
    insert into gatebell.apps (id, name, host) values (77, 'new', 'xn--bcher-kva.test'), (78, 'ip', '127.0.0.1');
    insert into gatebell.app_routes (app_id, path_prefix, access) values (77, '/', 'public');
    insert into gatebell.grants (user_id, app_id, expires_at) values (9223372036854775807, 77, 'infinity'),
      (-5, 78, now());
    insert into gatebell.credentials (user_id, kind, token_hash) select 1, 'token', sha256(g::text::bytea)
      from generate_series(1, 50) g`,
    writer,
  );
  await database.query('settings', 'select 1');

  for (const topic of TOPICS) {
    const keys = heard[topic];
    expect(keys, topic).toBeInstanceOf(Array);
    const loaded = await load(topic, keys as readonly Key[]);
    expect(sortedKeys(loaded.map(({ key }) => key)), topic).toEqual(keys);
  }
  const hash = createHash('sha256').update('7').digest('hex');
  expect(heard['credential']).toContainEqual([hash]);
});

test('the columns that a load reads are all watched', async () => {
  for (const topic of TOPICS) {
    const text = caches[topic].load.text.replace(/\$\d/g, `'{}'`);
    await signals.sql(`create temporary view v_${topic} as ${text}`);
    const unwatched = await signals.sql(
      `select d.refobjsubid, a.attname from pg_rewrite r join pg_depend d on d.objid = r.oid and d.refobjsubid > 0
       join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
       join gatebell.watches w on w.target = d.refobjid
       where r.ev_class = 'v_${topic}'::regclass and w.topic = '${topic}'
         and not a.attname = any (w.key_columns || w.watched_columns)`,
    );
    expect(unwatched, topic).toEqual([]);
    await signals.sql(`drop view v_${topic}`);
  }
});

describe('a batch of 500 keys', () => {
  const numbers = Array.from({ length: 500 }, (_, index) => index + 1);
  const hash = (number: number): string => createHash('sha256').update(String(number)).digest('hex');
  const KEYS: Readonly<Record<Topic, readonly Key[]>> = {
    user: numbers.map(number => [String(number)]),
    identity: numbers.map(number => [`https://${number % 2}.test`, `sub${number}`]),
    user_name: numbers.map(number => [`user${number}`]),
    revoked_jwt: numbers.map(number => [`jti${number}`]),
    app: numbers.map(number => [`app${number}.test`]),
    route: numbers.map(number => [String(number)]),
    grant: numbers.map(number => [String(number), String(501 - number)]),
    credential: numbers.map(number => [hash(number)]),
  };

  beforeEach(async () => {
    await signals.sql(`
      truncate gatebell.users, gatebell.apps, gatebell.revoked_jwts cascade;
      insert into gatebell.revoked_jwts (jti) select 'jti' || g from generate_series(1, 2000) g;
      insert into gatebell.users (id, name) select g, 'user' || g from generate_series(1, 2000) g;
      insert into gatebell.identities (issuer, subject, user_id) select 'https://' || g % 2 || '.test', 'sub' || g, g
        from generate_series(1, 2000) g;
      insert into gatebell.apps (id, name, host) select g, 'app' || g, 'app' || g || '.test'
        from generate_series(1, 2000) g;
      insert into gatebell.app_routes (app_id, path_prefix, access) select g, p, 'public'
        from generate_series(1, 2000) g, unnest('{/,/a,/b}'::text[]) p;
      insert into gatebell.grants (user_id, app_id) select g, 501 - g from generate_series(1, 500) g;
      insert into gatebell.grants (user_id, app_id) select g, g from generate_series(501, 2000) g;
      insert into gatebell.credentials (user_id, kind, token_hash) select g, 'token', sha256(g::text::bytea)
        from generate_series(1, 2000) g`);
    await signals.sql(
      `analyze gatebell.revoked_jwts, gatebell.users, gatebell.identities, gatebell.apps, gatebell.app_routes,
        gatebell.grants, gatebell.credentials`,
    );
  });

  test.each(TOPICS)('of %s is one query, with one row for each, through an index', async topic => {
    const keys = KEYS[topic];
    const loaded = await load(topic, keys);
    expect(loaded).toHaveLength(500);
    expect(sortedKeys(loaded.map(({ key }) => key))).toEqual(sortedKeys(keys));

    await signals.sql('set enable_seqscan = off');
    const [parts] = [(keys[0] ?? []).map((_, part) => keys.map(key => key[part]))];
    const plan = await signals.sql(`explain (format json) ${caches[topic].load.text}`, parts);
    await signals.sql('reset enable_seqscan');
    const text = JSON.stringify(plan);
    expect(text).toMatch(/"Node Type":"(?:Index Scan|Index Only Scan|Bitmap Index Scan)"/);
    expect(text).not.toContain('"Node Type":"Seq Scan"');
  });
});
