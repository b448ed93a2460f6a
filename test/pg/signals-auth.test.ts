/** What statements on the auth tables signal: every writer, every way of writing, and nothing more. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSignalDatabase, type Heard, type SignalDatabase } from '../support/signals.js';

const HASH = { ada: '11'.repeat(32), ben: '22'.repeat(32), new: '33'.repeat(32) };

let database: SignalDatabase;

beforeAll(async () => {
  database = await createSignalDatabase();
});

beforeEach(async () => {
  await database.sql(`
    truncate gatebell.users, gatebell.apps, gatebell.revoked_jwts restart identity cascade;
    insert into gatebell.revoked_jwts (jti) values ('ab-1'), ('ab-2');
    insert into gatebell.users (id, name) values (1, 'ada'), (2, 'ben'), (3, 'cyd');
    insert into gatebell.identities (issuer, subject, user_id) values ('https://id.test', 'ben-1', 2);
    insert into gatebell.apps (id, name, host) values (1, 'wiki', 'wiki.test'), (2, 'mail', 'mail.test'),
      (3, 'chat', 'chat.test');
    insert into gatebell.app_routes (app_id, path_prefix, access) values (1, '/', 'grant'), (1, '/open', 'public'),
      (2, '/', 'grant');
    insert into gatebell.grants (user_id, app_id) values (1, 1), (1, 2), (2, 1);
    insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'token', '\\x${HASH.ada}'),
      (2, 'session', '\\x${HASH.ben}')`);
});

afterAll(() => database.drop());

const insertCredential = (hash: string): string =>
  `insert into gatebell.credentials (user_id, kind, token_hash) values (3, 'token', '\\x${hash}')`;

describe('signals the keys of the changed rows', () => {
  test.each<[statement: string, heard: Heard]>([
    [
      `insert into gatebell.users (id, name) values (8, 'h'), (9, 'i')`,
      { user: [['8'], ['9']], user_name: [['h'], ['i']] },
    ],
    [
      `update gatebell.users set name = name || '!' where id < 3`,
      { user: [['1'], ['2']], user_name: [['ada'], ['ada!'], ['ben'], ['ben!']] },
    ],
    [`update gatebell.users set id = 9 where id = 3`, { user: [['3'], ['9']], user_name: [['cyd']] }],
    [`delete from gatebell.users where id = 3`, { user: [['3']], user_name: [['cyd']] }],
    [
      `insert into gatebell.identities (issuer, subject, user_id) values ('https://id.test', '"', 3),
        ('i', 'ben-1', 2)`,
      {
        identity: [
          ['https://id.test', '"'],
          ['i', 'ben-1'],
        ],
      },
    ],
    [`delete from gatebell.identities`, { identity: [['https://id.test', 'ben-1']] }],
    [`truncate gatebell.identities`, { identity: 'all' }],
    [
      `truncate gatebell.users cascade`,
      { user: 'all', user_name: 'all', identity: 'all', grant: 'all', credential: 'all' },
    ],

    [`insert into gatebell.revoked_jwts (jti) values ('ab-3'), ('"')`, { revoked_jwt: [['"'], ['ab-3']] }],
    [`delete from gatebell.revoked_jwts where jti = 'ab-1'`, { revoked_jwt: [['ab-1']] }],
    [`update gatebell.revoked_jwts set jti = 'ab-3' where jti = 'ab-2'`, { revoked_jwt: [['ab-2'], ['ab-3']] }],
    [`truncate gatebell.revoked_jwts`, { revoked_jwt: 'all' }],

    [`insert into gatebell.apps (id, name, host) values (9, 'new', 'new.test')`, { app: [['new.test']] }],
    [`update gatebell.apps set host = 'talk.test' where id = 3`, { app: [['chat.test'], ['talk.test']] }],
    [`update gatebell.apps set id = 9 where id = 3`, { app: [['chat.test']] }],
    [`delete from gatebell.apps where id = 3`, { app: [['chat.test']] }],
    [`truncate gatebell.apps cascade`, { app: 'all', route: 'all', grant: 'all', credential: 'all' }],

    [
      `insert into gatebell.app_routes (app_id, path_prefix, access) values (3, '/a', 'public'), (3, '/b', 'public')`,
      { route: [['3']] },
    ],
    [`update gatebell.app_routes set path_prefix = '/shut' where path_prefix = '/open'`, { route: [['1']] }],
    [`update gatebell.app_routes set app_id = 3 where app_id = 2`, { route: [['2'], ['3']] }],
    [`delete from gatebell.app_routes`, { route: [['1'], ['2']] }],
    [`truncate gatebell.app_routes`, { route: 'all' }],

    [
      `insert into gatebell.grants (user_id, app_id) values (3, 3), (2, 3)`,
      {
        grant: [
          ['2', '3'],
          ['3', '3'],
        ],
      },
    ],
    [
      `update gatebell.grants set role = 'admin' where user_id = 1`,
      {
        grant: [
          ['1', '1'],
          ['1', '2'],
        ],
      },
    ],
    [
      `update gatebell.grants set app_id = 3 where app_id = 2`,
      {
        grant: [
          ['1', '2'],
          ['1', '3'],
        ],
      },
    ],
    [`delete from gatebell.grants where user_id = 2`, { grant: [['2', '1']] }],
    [`truncate gatebell.grants`, { grant: 'all' }],

    [insertCredential(HASH.new), { credential: [[HASH.new]] }],
    [`update gatebell.credentials set revoked_at = now() where user_id = 1`, { credential: [[HASH.ada]] }],
    [
      `update gatebell.credentials set token_hash = '\\x${HASH.new}' where user_id = 2`,
      { credential: [[HASH.ben], [HASH.new]] },
    ],
    [`delete from gatebell.credentials`, { credential: [[HASH.ada], [HASH.ben]] }],
    [`truncate gatebell.credentials`, { credential: 'all' }],
  ])('%s', async (statement, heard) => {
    expect(await database.heard(statement)).toEqual(heard);
  });
});

describe('cascades to what hangs on the row', () => {
  test.each<[statement: string, heard: Heard]>([
    [
      'delete from gatebell.users where id = 1',
      {
        user: [['1']],
        user_name: [['ada']],
        grant: [
          ['1', '1'],
          ['1', '2'],
        ],
        credential: [[HASH.ada]],
      },
    ],
    [
      'delete from gatebell.users',
      {
        user: [['1'], ['2'], ['3']],
        user_name: [['ada'], ['ben'], ['cyd']],
        identity: [['https://id.test', 'ben-1']],
        grant: [
          ['1', '1'],
          ['1', '2'],
          ['2', '1'],
        ],
        credential: [[HASH.ada], [HASH.ben]],
      },
    ],
    [
      'delete from gatebell.apps where id = 1',
      {
        app: [['wiki.test']],
        route: [['1']],
        grant: [
          ['1', '1'],
          ['2', '1'],
        ],
      },
    ],
  ])('%s', async (statement, heard) => {
    expect(await database.heard(statement)).toEqual(heard);
  });
});

/** A new value for every column, other than the seed's. */
const CHANGES: Readonly<Record<string, string>> = {
  'users.name': `'eve'`,
  'users.email': `'e@x.test'`,
  'users.display_name': `'Eve'`,
  'users.groups': `'{a}'`,
  'users.enabled': 'false',
  'users.created_at': `'2020-01-01'`,
  'users.jwt_not_before': `'2020-01-01'`,
  'identities.user_id': '1',
  'identities.created_at': `'2020-01-01'`,
  'apps.name': `'new'`,
  'apps.enabled': 'false',
  'apps.headers': `'{"X-A": "b"}'`,
  'apps.id': '99',
  'app_routes.path_prefix': `'/new'`,
  'app_routes.access': `'authenticated'`,
  'app_routes.roles': `'{admin}'`,
  'app_routes.consistency': `'strong'`,
  'app_routes.headers': `'{"X-A": "b"}'`,
  'app_routes.preflight': 'true',
  'revoked_jwts.revoked_at': `'2020-01-01'`,
  'revoked_jwts.expires_at': `'2020-01-01'`,
  'grants.role': `'admin'`,
  'grants.expires_at': `'infinity'`,
  'credentials.user_id': '3',
  'credentials.app_id': '3',
  'credentials.expires_at': 'now()',
  'credentials.revoked_at': 'now()',
  'credentials.kind': `'session'`,
  'credentials.label': `'phone'`,
  'credentials.created_at': `'2020-01-01'`,
  'credentials.last_seen_at': 'now()',
  'credentials.id': '99',
};

/** Rows that no foreign key keeps from changing. */
const ROWS: Readonly<Record<string, readonly [where: string, heard: Heard]>> = {
  users: ['id = 3', { user: [['3']] }],
  identities: [`subject = 'ben-1'`, { identity: [['https://id.test', 'ben-1']] }],
  apps: ['id = 3', { app: [['chat.test']] }],
  app_routes: [`app_id = 2`, { route: [['2']] }],
  revoked_jwts: [`jti = 'ab-1'`, { revoked_jwt: [['ab-1']] }],
  grants: ['user_id = 2', { grant: [['2', '1']] }],
  credentials: ['user_id = 1', { credential: [[HASH.ada]] }],
};

/** What no decision depends on. (A new `credentials.id` does signal: another primary key is another row.) */
const UNWATCHED = [
  'users.created_at',
  'identities.created_at',
  'revoked_jwts.revoked_at',
  'revoked_jwts.expires_at',
  'credentials.kind',
  'credentials.label',
  'credentials.created_at',
  'credentials.last_seen_at',
];

test('the next tests name every column that is not part of a key', async () => {
  const columns = await database.sql(`
    select c.table_name || '.' || c.column_name as name
    from information_schema.columns c join gatebell.watches w on w.target = ('gatebell.' || c.table_name)::regclass
    where c.table_schema = 'gatebell' and w.topic <> 'user_name' and not c.column_name = any (w.key_columns)`);
  expect(columns.map(row => String(row['name'])).sort()).toEqual(Object.keys(CHANGES).sort());
});

test.each(Object.entries(CHANGES))(
  'a change of %s to %s signals only if a decision depends on it',
  async (column, value) => {
    const [table = '', name = ''] = column.split('.');
    const [where, heard] = ROWS[table] ?? ['', {}];
    const statement = `update gatebell.${table} set ${name} = ${value} where ${where}`;
    expect(await database.heard(statement)).toEqual(
      UNWATCHED.includes(column)
        ? {}
        : { ...heard, ...(column === 'users.name' ? { user_name: [['cyd'], ['eve']] } : {}) },
    );
    if (!value.includes('now()')) {
      expect(await database.heard(statement), 'the same again changes nothing').toEqual({});
    }
  },
);

test.each(['users', 'apps', 'app_routes', 'grants', 'credentials', 'identities', 'revoked_jwts'])(
  'writing nothing new to %s is silent',
  async table => {
    const columns = await database.sql(
      'select column_name as name from information_schema.columns where table_schema = $1 and table_name = $2',
      ['gatebell', table],
    );
    const assignments = columns.map(row => `${String(row['name'])} = ${String(row['name'])}`).join(', ');
    expect(await database.heard(`update gatebell.${table} set ${assignments}`)).toEqual({});
    expect(await database.heard(`delete from gatebell.${table} where false`)).toEqual({});
    expect(await database.heard(`update gatebell.${table} set ${assignments} where false`)).toEqual({});
    expect(await database.heard(`insert into gatebell.${table} select * from gatebell.${table} where false`)).toEqual(
      {},
    );
  },
);

test('one statement may signal several topics', async () => {
  const statement = `
    with person as (insert into gatebell.users (id, name) values (10, 'zoe') returning id),
         app as (update gatebell.apps set enabled = false where id = 2 returning id)
    insert into gatebell.grants (user_id, app_id) select person.id, app.id from person, app`;
  expect(await database.heard(statement)).toEqual({
    user: [['10']],
    user_name: [['zoe']],
    app: [['mail.test']],
    grant: [['10', '2']],
  });
});
