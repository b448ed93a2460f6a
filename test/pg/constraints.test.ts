/** What the auth tables accept. A fact's key has one spelling, and nothing gets in that a header cannot carry. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeError } from '../../src/commands/errors.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.sql(`
    insert into gatebell.users (name) values ('ada');
    insert into gatebell.apps (name, host) values ('wiki', 'wiki.test')`);
});

afterAll(() => database.drop());

/**
 * Inserts in a transaction that is taken back; gives the violated constraint, the error's code, or null if all was
 * well.
 */
async function attempt(text: string, values: readonly unknown[]): Promise<string | null> {
  await database.sql('begin');
  try {
    await database.sql(text, values);
    return null;
  } catch (error) {
    const { constraint, code } = error as { readonly constraint?: string; readonly code?: string };
    return constraint ?? code ?? 'failed';
  } finally {
    await database.sql('rollback');
  }
}

interface Column {
  readonly insert: string;
  readonly constraint: string;
  readonly allowed: readonly unknown[];
  readonly refused: readonly unknown[];
}

/** In the middle and at the ends: nothing with one of them is one line. */
const CONTROLS = [
  'a\nb',
  'a\tb',
  'a\r',
  '\n',
  'a\u007f',
  '\u0001',
  '\u001fb',
  'a\u0080b',
  '\u0085',
  'a\u009f',
  'ä\u001b[31m',
];

const LABELS = {
  allowed: ['a', 'Ada Lovelace', 'Zoë 日本 🔔', 'x'.repeat(200), '🔔'.repeat(200), `it's "quoted" \\ <b>`, 'a,b'],
  refused: ['', ' ', ' a', 'a ', 'x'.repeat(201), ...CONTROLS],
};

const COLUMNS: Readonly<Record<string, Column>> = {
  'apps.host': {
    insert: `insert into gatebell.apps (name, host) values ('new', $1)`,
    constraint: 'apps_host_canonical',
    allowed: [
      'localhost',
      'a',
      'a.b',
      'wiki.example.test',
      'xn--bcher-kva.test',
      '127.0.0.1',
      'a-b.c--d',
      '_dmarc.test',
      '*.test',
      '*.preview.wiki.test',
      `*.${'x'.repeat(63)}.test`,
      'my_app.test',
      '1.2',
      `${'x'.repeat(63)}.test`,
      `${`${'x'.repeat(62)}.`.repeat(4)}y`,
      '[::1]',
      '[2001:db8::1]',
      '[2001:db8:0:1:1:1:1:1]',
      '[1::]',
    ],
    refused: [
      '',
      'Wiki.test',
      'wiki.test.',
      '.wiki.test',
      'wiki..test',
      'wiki.test:443',
      '-a.test',
      'a-.test',
      'a.-b',
      'bücher.test',
      'wiki test',
      'wiki.test\n',
      '\nwiki.test',
      'a/b',
      'a@b',
      '*',
      '*.',
      '**.test',
      '*.*.test',
      `*.${`${'x'.repeat(62)}.`.repeat(4)}`,
      'a.*.test',
      '*test',
      'wiki.*',
      '[0:0:0:0:0:0:0:1]',
      '[2001:DB8::1]',
      '[::ffff:1.2.3.4]',
      '[::ffff:102:304]',
      '[:::]',
      '[1.2.3.4]',
      '[::1]:80',
      '[::1',
      '*.[::1]',
      '::1',
      'a\\b',
      'a%2eb',
      'wiki.test ',
      'wiki。test',
      'wıki.test',
      'ＷＩＫＩ.test',
      `${'x'.repeat(64)}.test`,
      `${`${'x'.repeat(62)}.`.repeat(4)}yz`,
      'a'.repeat(10_000),
    ],
  },
  'app_routes.path_prefix': {
    insert: `insert into gatebell.app_routes (app_id, path_prefix, access) values (1, $1, 'public')`,
    constraint: 'app_routes_path_prefix_canonical',
    allowed: [
      '/',
      '/a',
      '/a/b.c',
      '/.well-known',
      '/a..b',
      '/..a',
      '/~ada',
      `/a-b_c~d!$&'()+,=:@`,
      `/${'x'.repeat(1023)}`,
    ],
    refused: [
      '/admin/*',
      '/admin*',
      '/(.*)',
      '/users/:id',
      '/admin$',
      '/a.',
      '/a./b',
      '/...',
      '',
      'a',
      '//',
      '/a/',
      '/a//b',
      '//a',
      '/.',
      '/..',
      '/a/..',
      '/a/../b',
      '/./a',
      '/a/.',
      '/a b',
      '/a%20b',
      '/a%2fb',
      '/a?b',
      '/a#b',
      '/a;b',
      '/a\\b',
      '/é',
      '/a\n',
      '\n/a',
      '/a*b|c',
      '/<',
      `/"`,
      `/${'x'.repeat(1024)}`,
    ],
  },
  'app_routes.access': {
    insert: `insert into gatebell.app_routes (app_id, path_prefix, access) values (1, '/', $1)`,
    constraint: 'app_routes_access_known',
    allowed: ['public', 'authenticated', 'grant'],
    refused: ['', 'Public', 'none', 'public '],
  },
  'app_routes.consistency': {
    insert: `insert into gatebell.app_routes (app_id, path_prefix, access, consistency) values (1, '/', 'public', $1)`,
    constraint: 'app_routes_consistency_known',
    allowed: ['bounded', 'strong'],
    refused: ['', 'Strong', 'weak'],
  },
  'app_routes.roles': {
    insert: `insert into gatebell.app_routes (app_id, path_prefix, access, roles) values (1, '/', 'grant', $1)`,
    constraint: 'app_routes_roles_form',
    allowed: [[], ['admin'], ['a', 'b', 'A']],
    refused: [['admin', null], ['a', 'b', 'a'], [''], [' a'], ...CONTROLS.map(text => ['admin', text])],
  },
  'app_routes.public': {
    insert: `insert into gatebell.app_routes (app_id, path_prefix, access, roles) values (1, '/', 'public', $1)`,
    constraint: 'app_routes_public_without_roles',
    allowed: [[]],
    refused: [['admin'], ['a', 'b']],
  },
  'app_routes.headers': {
    insert: `insert into gatebell.app_routes (app_id, path_prefix, access, headers) values (1, '/', 'grant', $1)`,
    constraint: 'app_routes_headers_object',
    allowed: ['{}', '{"X-User": "{{user.name}}"}'],
    refused: ['[]', '"x"', '1', 'null'],
  },
  'apps.headers': {
    insert: `insert into gatebell.apps (name, host, headers) values ('new', 'new.test', $1)`,
    constraint: 'apps_headers_object',
    allowed: ['{}', '{"X-User": "{{user.name}}"}'],
    refused: ['[]', '"x"', '1', 'null'],
  },
  'apps.name': {
    insert: `insert into gatebell.apps (name, host) values ($1, 'new.test')`,
    constraint: 'apps_name_form',
    ...LABELS,
  },
  'revoked_jwts.jti': {
    insert: `insert into gatebell.revoked_jwts (jti) values ($1)`,
    constraint: 'revoked_jwts_jti_form',
    allowed: ['a', ' ', 'a b', '"\\', '~', 'x'.repeat(255), '7f1c7f5e-8a0b-4a0e-9f43-6f7f0d1d7a11'],
    refused: ['', 'x'.repeat(256), 'a\nb', 'a\n', '\n', '\u007f', 'é', '\u0001'],
  },
  'users.name': { insert: `insert into gatebell.users (name) values ($1)`, constraint: 'users_name_form', ...LABELS },
  'grants.role': {
    insert: `insert into gatebell.grants (user_id, app_id, role) values (1, 1, $1)`,
    constraint: 'grants_role_form',
    ...LABELS,
  },
  'users.groups': {
    insert: `insert into gatebell.users (name, groups) values ('new', $1)`,
    constraint: 'users_groups_form',
    allowed: [[], ['staff'], ['a b', 'Zoë', `it's`], Array.from({ length: 500 }, (_, index) => `group${index}`)],
    refused: [['a,b'], ['a', ','], ['a', null], ...CONTROLS.map(text => ['staff', text])],
  },
  'users.email': {
    insert: `insert into gatebell.users (name, email) values ('new', $1)`,
    constraint: 'users_email_form',
    allowed: [null, 'ada@example.test', 'ädä@bücher.test', 'x'.repeat(320)],
    refused: ['x'.repeat(321), ...CONTROLS],
  },
  'users.display_name': {
    insert: `insert into gatebell.users (name, display_name) values ('new', $1)`,
    constraint: 'users_display_name_form',
    allowed: [null, '', 'Ada 🔔', 'Zoë\u00a0À', 'x'.repeat(200)],
    refused: ['x'.repeat(201), ...CONTROLS],
  },
  'credentials.token_hash': {
    insert: `insert into gatebell.credentials (user_id, kind, token_hash) values (1, 'token', $1)`,
    constraint: 'credentials_token_hash_sha256',
    allowed: [Buffer.alloc(32), Buffer.alloc(32, 0xff)],
    refused: [Buffer.alloc(0), Buffer.alloc(31), Buffer.alloc(33), Buffer.from('ab'.repeat(32))],
  },
  'credentials.kind': {
    insert: `insert into gatebell.credentials (user_id, kind, token_hash) values (1, $1, '\\x${'00'.repeat(32)}')`,
    constraint: 'credentials_kind_known',
    allowed: ['session', 'token'],
    refused: ['', 'Token', 'cookie'],
  },
  'credentials.label': {
    insert: `insert into gatebell.credentials (user_id, kind, token_hash, label)
      values (1, 'token', '\\x${'00'.repeat(32)}', $1)`,
    constraint: 'credentials_label_form',
    allowed: [null, '', 'phone'],
    refused: ['x'.repeat(201)],
  },
};

const cases = (kind: 'allowed' | 'refused'): [column: string, value: unknown][] =>
  Object.entries(COLUMNS).flatMap(([column, { [kind]: values }]) =>
    values.map((value): [string, unknown] => [column, value]),
  );

test.each(cases('allowed'))('%s may be %j', async (column, value) => {
  expect(await attempt(COLUMNS[column]?.insert ?? '', [value])).toBeNull();
});

test.each(cases('refused'))('%s may not be %j', async (column, value) => {
  expect(await attempt(COLUMNS[column]?.insert ?? '', [value])).toBe(COLUMNS[column]?.constraint);
});

test('every CHECK of the tables has a case above', async () => {
  const rows = await database.sql(`
    select conname::text as name from pg_constraint
    where contype = 'c' and connamespace = 'gatebell'::regnamespace and conrelid <> 'gatebell.watches'::regclass
      order by 1`);
  expect(rows.map(row => row['name'] as unknown)).toEqual(
    // The last two are of the table that sign-in fills.
    [
      ...Object.values(COLUMNS).map(({ constraint }) => constraint),
      'identities_issuer_form',
      'identities_subject_form',
    ].sort(),
  );
});

test('what every constraint refuses is said in our own words', async () => {
  const rows = await database.sql(`
    select conname::text as name, conrelid::regclass::text as table from pg_constraint
    where connamespace = 'gatebell'::regnamespace and contype in ('c', 'f', 'u')
    union select i.relname, x.indrelid::regclass::text from pg_index x join pg_class i on i.oid = x.indexrelid
    where i.relnamespace = 'gatebell'::regnamespace and x.indisunique and not x.indisprimary`);
  expect(rows.length).toBeGreaterThan(20);
  for (const { name, table } of rows as { name: string; table: string }[]) {
    const raw = Object.assign(new pg.DatabaseError('a message of Postgres', 1, 'error'), {
      code: '23514',
      constraint: name,
      table,
      detail: 'Failing row contains (secret).',
    });
    expect(describeError(raw).message, `src/commands/errors.ts says nothing of ${name}`).not.toMatch(
      /of Postgres|secret/,
    );
  }
});

describe('a row', () => {
  test.each<[what: string, insert: string, violated: string]>([
    ['two users of one name', `insert into gatebell.users (name) values ('ada')`, 'users_name_key'],
    ['two apps of one host', `insert into gatebell.apps (name, host) values ('new', 'wiki.test')`, 'apps_host_key'],
    ['two apps of one name', `insert into gatebell.apps (name, host) values ('wiki', 'new.test')`, 'apps_name_key'],
    ['a grant of nobody', 'insert into gatebell.grants (user_id, app_id) values (99, 1)', 'grants_user_id_fkey'],
    ['a grant to nothing', 'insert into gatebell.grants (user_id, app_id) values (1, 99)', 'grants_app_id_fkey'],
    [
      'two prefixes that differ in case alone',
      `insert into gatebell.app_routes (app_id, path_prefix, access) values (1, '/Docs/x', 'public'),
        (1, '/docs/X', 'grant')`,
      'app_routes_path_prefix_any_case',
    ],
    [
      'a route of nothing',
      `insert into gatebell.app_routes (app_id, path_prefix, access) values (99, '/', 'public')`,
      'app_routes_app_id_fkey',
    ],
    ['one grant twice', 'insert into gatebell.grants (user_id, app_id) values (1, 1), (1, 1)', 'grants_pkey'],
    [
      'one token twice',
      `insert into gatebell.credentials (user_id, kind, token_hash) values
        (1, 'token', decode(repeat('00', 32), 'hex')), (1, 'session', decode(repeat('00', 32), 'hex'))`,
      'credentials_token_hash_key',
    ],
    ['groups in two dimensions', `insert into gatebell.users (name, groups) values ('new', '{{a,b},{c,d}}')`, '0A000'],
    [
      'roles in two dimensions',
      `insert into gatebell.app_routes (app_id, path_prefix, access, roles) values (1, '/', 'grant', '{{a}}')`,
      'app_routes_roles_form',
    ],
  ])('is refused: %s', async (_, insert, violated) => {
    expect(await attempt(insert, [])).toBe(violated);
  });

  test('needs the columns that the design names, and no other', async () => {
    const rows = await database.sql(`
      select c.relname || '.' || a.attname as name
      from pg_attribute a join pg_class c on c.oid = a.attrelid
      where c.relnamespace = 'gatebell'::regnamespace and c.relkind = 'r' and c.relname not in ('watches', 'fence_key')
        and a.attnum > 0
        and a.attnotnull and not a.atthasdef and a.attidentity = '' order by 1`);
    expect(rows.map(row => row['name'] as unknown)).toEqual([
      'app_routes.access',
      'app_routes.app_id',
      'app_routes.path_prefix',
      'apps.host',
      'apps.name',
      'credentials.kind',
      'credentials.token_hash',
      'credentials.user_id',
      'former_names.name',
      'former_names.until',
      'grants.app_id',
      'grants.user_id',
      'identities.issuer',
      'identities.subject',
      'revoked_jwts.jti',
      'users.name',
    ]);
  });
});
