/**
 * An option that is not given changes nothing: each option of each command that changes a row is given alone, on a row
 * that has everything.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { gatebell, run } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { CLI } from '../support/replica.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

/** A command that changes a row, and what each of its options changes. */
interface Changer {
  readonly words: readonly string[];
  readonly row: string;
  /** Option → its value, if it has one, and the column. */
  readonly options: Readonly<Record<string, readonly [value: string | null, column: string]>>;
}

const CHANGERS: readonly Changer[] = [
  {
    words: ['user', 'set', 'zoe'],
    row: 'select * from gatebell.users where id = 1',
    options: {
      '--email': ['new@example.test', 'email'],
      '--display-name': ['New', 'display_name'],
      '--group': ['new', 'groups'],
      '--name': ['zora', 'name'],
      '--no-email': [null, 'email'],
      '--no-display-name': [null, 'display_name'],
      '--no-group': [null, 'groups'],
    },
  },
  {
    words: ['app', 'set', 'notes'],
    row: 'select * from gatebell.apps where id = 1',
    options: {
      '--name': ['memos', 'name'],
      '--host': ['memos.test', 'host'],
      '--header': ['X-New: {{user.name}}', 'headers'],
      '--no-header': [null, 'headers'],
    },
  },
  {
    words: ['route', 'set', 'notes', '/a'],
    row: 'select * from gatebell.app_routes where app_id = 1',
    options: {
      '--access': ['authenticated', 'access'],
      '--role': ['editor', 'roles'],
      '--consistency': ['bounded', 'consistency'],
      '--preflight': [null, 'preflight'],
      '--no-preflight': [null, 'preflight'],
      '--header': ['X-New: {{user.name}}', 'headers'],
      '--no-role': [null, 'roles'],
      '--no-header': [null, 'headers'],
    },
  },
  {
    words: ['grant', 'set', 'zoe', 'notes'],
    row: 'select * from gatebell.grants where user_id = 1',
    options: { '--role': ['editor', 'role'], '--expires': ['30d', 'expires_at'] },
  },
  {
    words: ['jwt', 'revoke', 'the-jti'],
    row: 'select * from gatebell.revoked_jwts',
    options: { '--expires': ['30d', 'expires_at'] },
  },
];

const NOT_OF_THE_ROW = new Set([
  '--json',
  '--help',
  '--version',
  '--wait',
  '--yes',
  '--database-url',
  '--listen-url',
  '--channel',
  '--lease-ms',
]);

async function optionsOf(words: readonly string[]): Promise<string[]> {
  const { stdout } = await run(process.execPath, [CLI, ...words.slice(0, 2), '--help']);
  return [...stdout.matchAll(/^ +(?:-\w, )?(--[a-z-]+)/gm)]
    .map(([, name]) => name!)
    .filter(name => !NOT_OF_THE_ROW.has(name));
}

beforeEach(async () => {
  await database.sql(`
    truncate gatebell.users, gatebell.apps, gatebell.revoked_jwts cascade;
    insert into gatebell.users (id, name, email, display_name, groups) overriding system value
      values (1, 'zoe', 'zoe@example.test', 'Zoe', '{family,staff}');
    insert into gatebell.apps (id, name, host, headers) overriding system value
      values (1, 'notes', 'notes.test', '{"X-Old": "x"}');
    insert into gatebell.app_routes (app_id, path_prefix, access, roles, consistency, preflight, headers)
      values (1, '/a', 'grant', '{admin}', 'strong', true, '{"X-Old": "x"}');
    insert into gatebell.grants (user_id, app_id, role, expires_at) values (1, 1, 'admin', '2099-01-01');
    insert into gatebell.revoked_jwts (jti, expires_at) values ('the-jti', '2099-01-01');
  `);
});

const rowOf = async ({ row }: Changer): Promise<Record<string, unknown>> =>
  (await database.sql(row))[0] as Record<string, unknown>;

test('every command with the word set is looked at', async () => {
  const groups = [...(await gatebell(['--help'])).stdout.matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name!);
  const setters: string[] = [];
  for (const group of groups.filter(name => name !== 'help')) {
    const { stdout } = await gatebell([group, '--help']);
    setters.push(...[...stdout.matchAll(/^ {2}set /gm)].map(() => `${group} set`));
  }
  const looked = CHANGERS.map(({ words }) => words.slice(0, 2).join(' '));
  expect(setters.filter(name => !looked.includes(name))).toEqual([]);
});

describe.each(CHANGERS.map(changer => [changer.words.join(' '), changer] as const))('%s', (_, changer) => {
  test('has no option whose column is not known here', async () => {
    expect((await optionsOf(changer.words)).toSorted()).toEqual(Object.keys(changer.options).toSorted());
  });

  test('without an option changes nothing', async () => {
    const before = await rowOf(changer);
    await gatebell(changer.words, database.url);
    expect(await rowOf(changer)).toEqual(before);
  });

  test.each(Object.entries(changer.options))('%s changes its own column alone', async (option, [value, column]) => {
    if (option === '--preflight') {
      await database.sql('update gatebell.app_routes set preflight = false');
    }
    const before = await rowOf(changer);
    const words = [...changer.words, option, ...(value === null ? [] : [value])];
    expect(await gatebell(words, database.url)).toMatchObject({ code: 0, stderr: '' });
    const after = await rowOf(changer);
    const changed = Object.keys(after).filter(name => JSON.stringify(after[name]) !== JSON.stringify(before[name]));
    expect(changed.filter(name => name !== 'updated_at')).toEqual([column]);
  });

  test.each(Object.entries(changer.options).filter(([, [value]]) => value !== null))(
    '%s with an empty value is refused',
    async option => {
      const before = await rowOf(changer);
      for (const empty of ['', ' ']) {
        expect((await gatebell([...changer.words, option, empty], database.url)).code).toBe(2);
      }
      expect(await rowOf(changer)).toEqual(before);
    },
  );
});

test('an option that is not given means the least: role user, no expiry, no roles; access is required', async () => {
  await database.sql('delete from gatebell.grants; delete from gatebell.app_routes');
  await gatebell(['grant', 'zoe', 'notes'], database.url);
  expect(await database.sql('select role, expires_at from gatebell.grants')).toEqual([
    { role: 'user', expires_at: null },
  ]);
  const { code, stderr } = await gatebell(['route', 'set', 'notes', '/new', '--preflight'], database.url);
  expect([code, stderr]).toEqual([2, expect.stringContaining('a new one needs --access')]);
  await gatebell(['grant', 'zoe', 'notes', '--expires', '30d'], database.url);
  await gatebell(['grant', 'zoe', 'notes', '--expires', 'never'], database.url);
  expect(await database.sql('select expires_at from gatebell.grants')).toEqual([{ expires_at: null }]);
});

test('a route with roles does not become public by the way: the roles must be cleared', async () => {
  const words = ['route', 'set', 'notes', '/a', '--access', 'public'];
  const refused = await gatebell(words, database.url);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('--no-role')]);
  expect((await gatebell([...words, '--no-role'], database.url)).code).toBe(0);
});

test.each([
  '45',
  '2',
  '2030',
  '2030-1-1',
  '2030-02-30',
  '2030-13-01',
  '2030-01-01T25:00Z',
  'tomorrow',
  '1e3',
  '-5d',
  '5 d',
  '0d',
  'Jan 1 2030',
])('--expires %s is refused in our own words', async text => {
  for (const words of [
    ['grant', 'zoe', 'notes'],
    ['token', 'create', 'zoe'],
    ['jwt', 'revoke', 'x'],
  ]) {
    const { code, stderr } = await gatebell([...words, `--expires=${text}`], database.url);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`expiry ${JSON.stringify(text)} is not allowed`)]);
  }
});

test.each([
  ['nas.test:8080', 'leave the port out'],
  ['nas.test:', 'leave the port out'],
  ['*.nas.test:443', 'leave the port out'],
  ['bücher.test:443', 'leave the port out'],
  ['https://nas.test', 'is not allowed'],
  ['bü@evil.test', 'is not allowed'],
  ['bücher.test/path', 'is not allowed'],
  ['bücher.test?x', 'is not allowed'],
])('--host %s is refused: nothing of it is dropped', async (host, says) => {
  for (const words of [
    ['app', 'add', 'nas'],
    ['app', 'set', 'notes'],
  ]) {
    const { code, stderr } = await gatebell([...words, '--host', host], database.url);
    expect([code, stderr]).toEqual([2, expect.stringContaining(says)]);
  }
});
