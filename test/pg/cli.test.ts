/** The command, as people and scripts call it: words in, lines or JSON out, exit codes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatebell, type Outcome } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { CLI, startReplica } from '../support/replica.js';
import { runTool } from '../support/tool.js';
import { VERSION } from '../../src/ops/version.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

const call = (...words: readonly string[]): Promise<Outcome> => gatebell(words, database.url);

/** Runs a command that must succeed, and returns its JSON. */
async function json(...words: readonly string[]): Promise<unknown> {
  const { code, stdout, stderr } = await call(...words, '--json');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

describe('facts', () => {
  test('from nothing to an allowed request and back, with the command alone', async () => {
    await call(
      'user',
      'add',
      'zoe',
      '--email',
      'zoe@example.test',
      '--display-name',
      'Zoë',
      '--group',
      'staff',
      '--group',
      'ops',
    );
    await call('app', 'add', 'notes', '--host', 'Notes.Example.test', '--header', 'X-Webauth-User: {{user.name}}');
    await call('route', 'set', 'notes', '/admin', '--access', 'grant', '--role', 'admin', '--consistency', 'strong');
    const created = await json('token', 'create', 'zoe', '--label', 'laptop', '--expires', '30d');
    expect(created).toEqual({
      id: expect.any(Number) as number,
      token: expect.stringMatching(/^gb_[0-9A-Za-z]{49}$/) as string,
    });
    const { id, token } = created as { id: number; token: string };

    const replica = await startReplica(database.url);
    try {
      const ask = { host: 'notes.example.test', token };
      expect((await replica.ask(ask)).reason).toBe('no_grant');
      expect((await call('grant', 'zoe', 'notes')).stdout).toContain('zoe may reach notes as user');
      const allowed = await replica.askUntil('granted', ask);
      expect(allowed.headers).toMatchObject({
        'remote-user': 'zoe',
        'remote-name': 'Zo%C3%AB',
        'remote-email': 'zoe@example.test',
        'remote-groups': 'staff,ops',
        'x-gatebell-app': 'notes',
        'x-gatebell-role': 'user',
        'x-webauth-user': 'zoe',
      });
      expect((await replica.ask({ ...ask, uri: '/admin' })).reason).toBe('role_required');
      await call('grant', 'zoe', 'notes', '--role', 'admin');
      // The route is strong: the very next answer knows.
      expect((await replica.ask({ ...ask, uri: '/admin' })).reason).toBe('granted');
      await call('revoke', 'zoe', 'notes');
      expect((await replica.ask({ ...ask, uri: '/admin' })).reason).toBe('no_grant');
      await call('grant', 'zoe', 'notes');
      await call('user', 'disable', 'zoe');
      await replica.askUntil('disabled_user', ask);
      await call('user', 'enable', 'zoe');
      await call('app', 'disable', 'notes');
      await replica.askUntil('disabled_app', ask);
      await call('app', 'enable', 'notes');
      await replica.askUntil('granted', ask);
      await call('token', 'revoke', String(id));
      await replica.askUntil('bad_credential', ask);
    } finally {
      await replica.stop();
    }
  });

  test('lists never show a secret', async () => {
    const { token } = (await json('token', 'create', 'zoe', '--kind', 'session')) as { token: string };
    const { stdout } = await call('token', 'list', 'zoe', '--json');
    expect(stdout).not.toContain(token);
    expect(stdout).not.toContain('hash');
    expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ user: 'zoe', kind: 'session' }));
  });

  test('what was stored cannot speak to the terminal', async () => {
    await database.sql(`update gatebell.credentials set label = E'\\x1b[31mred\nrow'`);
    const { stdout } = await call('token', 'list');
    expect(stdout).toContain('\\x1b[31mred\\x0arow');
    expect(stdout).not.toContain('\x1b');
  });

  test('lists are tables for people and JSON for programs', async () => {
    expect(await json('user', 'list')).toContainEqual(
      expect.objectContaining({ name: 'zoe', groups: ['staff', 'ops'] }),
    );
    expect((await call('user', 'list')).stdout).toMatch(/^id +name +email/);
    await call('app', 'add', 'bare', '--host', 'bare.test');
    expect((await call('route', 'list', 'bare')).stdout).toBe('none\n');
    await call('app', 'delete', 'bare', '--yes');
    expect(await json('grant', 'list')).toEqual([{ user: 'zoe', app: 'notes', role: 'user', expires_at: null }]);
    expect(await json('route', 'list')).toHaveLength(1);
    expect(await json('app', 'list')).toHaveLength(1);
  });

  test('changes and deletes', async () => {
    await call('user', 'add', 'temp');
    expect(await json('user', 'set', 'temp', '--name', 'tmp', '--group', 'x')).toMatchObject({
      name: 'tmp',
      groups: ['x'],
    });
    expect(await json('user', 'delete', 'tmp', '--yes')).toMatchObject({ name: 'tmp' });
    await call('app', 'add', 'gone', '--host', 'gone.test');
    expect(await json('app', 'set', 'gone', '--host', 'Bücher.test')).toMatchObject({ host: 'xn--bcher-kva.test' });
    await call('route', 'set', 'gone', '/x', '--access', 'public');
    expect((await call('route', 'delete', 'gone', '/x')).code).toBe(0);
    expect(await json('app', 'delete', 'gone', '--yes')).toMatchObject({ name: 'gone' });
  });
});

describe('bad input gets a clear error', () => {
  test.each([
    { words: ['user', 'add', 'zoe'], code: 1, says: 'there is a user of this name already' },
    { words: ['user', 'add', ' zoe'], code: 2, says: 'name " zoe" is not allowed: a user name is 1 to 200' },
    {
      words: ['user', 'add', 'x', '--group', 'a,b'],
      code: 2,
      says: 'groups ["a,b"] is not allowed: a group name holds no comma',
    },
    { words: ['user', 'set', 'zoe'], code: 2, says: 'nothing to change' },
    { words: ['user', 'delete', 'nobody', '--yes'], code: 1, says: 'there is no user "nobody"' },
    { words: ['app', 'add', 'x', '--host', 'a b'], code: 2, says: 'host "a b" is not allowed' },
    { words: ['app', 'add', 'x', '--host', 'http://x.test/'], code: 2, says: 'is not allowed' },
    { words: ['app', 'add', 'x'], code: 2, says: "required option '--host" },
    {
      words: ['app', 'add', 'x', '--host', 'x.test', '--header', 'Remote-User: me'],
      code: 2,
      says: 'header name "Remote-User" is not allowed',
    },
    {
      words: ['app', 'add', 'x', '--host', 'x.test', '--header', 'X-A: {{user.nmae}}'],
      code: 2,
      says: 'allowed are user.id, user.name',
    },
    {
      words: ['route', 'set', 'notes', 'x', '--access', 'public'],
      code: 2,
      says: 'path prefix "x" is not allowed: a path prefix begins with /',
    },
    {
      words: ['route', 'set', 'notes', '/x', '--access', 'open'],
      code: 2,
      says: 'Allowed choices are public, authenticated, grant.',
    },
    { words: ['route', 'set', 'none', '/x', '--access', 'public'], code: 1, says: 'there is no app "none"' },
    { words: ['grant', 'nobody', 'notes'], code: 1, says: 'there is no user "nobody"' },
    { words: ['grant', 'zoe', 'nothing'], code: 1, says: 'there is no app "nothing"' },
    {
      words: ['grant', 'zoe', 'notes', '--expires', '2001-01-01'],
      code: 2,
      says: 'expiry "2001-01-01" is in the past',
    },
    { words: ['token', 'create', 'zoe', '--expires', '0s'], code: 2, says: 'expiry "0s" is not allowed' },
    { words: ['route', 'set', 'notes', '/x', '--access', 'public', '--role', 'a'], code: 2, says: 'it has no roles' },
    {
      words: ['grant', 'zoe', 'notes', '--expires', 'soon'],
      code: 2,
      says: 'expiry "soon" is not allowed: give a duration like',
    },
    { words: ['revoke', 'nobody', 'notes'], code: 1, says: '"nobody" has no grant for "notes"' },
    { words: ['token', 'revoke', 'abc'], code: 1, says: 'there is no credential "abc"' },
    { words: ['token', 'create', 'nobody'], code: 1, says: 'there is no user "nobody"' },
    { words: ['route', 'list', 'nothing'], code: 1, says: 'there is no app "nothing"' },
    { words: ['token', 'list', 'nobody'], code: 1, says: 'there is no user "nobody"' },
    { words: ['user', 'identities', 'nobody'], code: 1, says: 'there is no user "nobody"' },
    { words: ['sql', 'select nonsense'], code: 1, says: 'column "nonsense" does not exist' },
    { words: ['frobnicate'], code: 2, says: "unknown command 'frobnicate'" },
    {
      words: ['serve', '--port', '99999'],
      code: 2,
      says: '--port is "99999"; allowed: a whole number from 0 to 65535',
    },
    {
      words: ['serve', '--lease-ms', '1000', '--fence-interval-ms', '501'],
      code: 2,
      says: 'at most half of GATEBELL_LEASE_MS, which is 1000',
    },
    { words: ['dev', '--replicas', '0'], code: 2, says: 'a whole number from 1 to 20' },
  ])('$words', async ({ words, code, says }) => {
    const outcome = await call(...words);
    expect(outcome.stderr).toContain(says);
    expect(outcome.code).toBe(code);
    expect(outcome.stdout).toBe('');
  });

  // A value that is never allowed, by the parser, the command or a constraint.
  test.each([
    { words: ['user', 'add', 'x\ny'], says: 'name "x\\ny" is not allowed: a user name is' },
    { words: ['user', 'set', 'zoe', '--name', 'a\u0085b'], says: 'a user name is' },
    { words: ['user', 'add', 'x', '--email', 'x\ny'], says: 'email "x\\ny" is not allowed: an email address has' },
    { words: ['user', 'set', 'zoe', '--email', '\u001b@x.test'], says: 'an email address has' },
    { words: ['user', 'set', 'zoe', '--display-name', 'Z\r'], says: 'display name "Z\\r" is not allowed' },
    { words: ['user', 'set', 'zoe', '--group', 'staff', '--group', 'a\tb'], says: 'a group name holds' },
    { words: ['user', 'bind', 'zoe', '--issuer', 'https://i.test', '--subject', 'a\u007fb'], says: 'a subject is' },
    { words: ['app', 'add', '\t', '--host', 'x.test'], says: 'an app name is' },
    { words: ['app', 'set', 'notes', '--name', 'a\nb'], says: 'an app name is' },
    { words: ['app', 'set', 'notes', '--host', 'x\n.test'], says: 'a name of letters' },
    { words: ['app', 'set', 'notes', '--header', 'X-A: a\nb'], says: 'printable ASCII' },
    { words: ['route', 'set', 'notes', '/\n', '--access', 'grant'], says: 'a path prefix begins' },
    { words: ['route', 'set', 'notes', '/x', '--access', 'grant', '--role', 'a\nb'], says: 'each role is' },
    { words: ['grant', 'zoe', 'notes', '--role', 'a\u0001b'], says: 'a role is' },
    { words: ['grant', 'zoe', 'notes', '--expires', '1d\n'], says: 'give a duration' },
    { words: ['user', 'add', ''], says: 'name "" is not allowed' },
    { words: ['user', 'add', 'x'.repeat(201)], says: 'a user name is' },
    {
      words: ['user', 'bind', 'zoe', '--issuer', 'a b', '--subject', 's'],
      says: 'issuer "a b" is not allowed: an issuer is',
    },
    { words: ['token', 'create', 'zoe', '--label', 'x'.repeat(201)], says: 'a label has at most' },
    { words: ['jwt', 'revoke', 'é'], says: 'jti "é" is not allowed' },
    { words: ['sql', "insert into gatebell.users (name) values ('')"], says: 'a user name is' },
    { words: ['token', 'create', 'zoe', '--kind', 'cookie'], says: 'Allowed choices are' },
    { words: ['migrate', 'down', '--count', '0'], says: 'a whole number from 1' },
    { words: ['barrier', '--lease-ms', 'x'], says: '--lease-ms is "x"' },
    { words: ['migrate', 'up', '--channel', 'x'.repeat(64)], says: '--channel is "xxx' },
    { words: ['grant', 'list', 'zoe'], says: 'too many arguments' },
  ])('$words ends with 2', async ({ words, says }) => {
    const { code, stdout, stderr } = await call(...words, '--json');
    const { error } = JSON.parse(stderr) as { readonly error: { readonly code: string; readonly message: string } };
    expect(error.message).toContain(says);
    expect([code, stdout]).toEqual([2, '']);
    expect(error.code).toMatch(/^(?:usage|config)$/);
  });

  test.each([
    [['app', 'add', 'wide'], 'com'],
    [['app', 'set', 'notes'], 'github.io'],
    [['app', 'add', 'wide'], 'рф'],
  ])('%j: a wildcard below the public suffix %s', async (words, suffix) => {
    const { code, stderr } = await call(...words, '--host', `*.${suffix}`);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`host "*.${suffix}" is not allowed: everybody`)]);
  });

  test('a wildcard below a suffix of a home is an app', async () => {
    expect(await call('app', 'add', 'wide', '--host', '*.lan')).toMatchObject({ code: 0, stderr: '' });
    await call('app', 'delete', 'wide', '--yes');
  });

  test('as JSON on standard error with --json', async () => {
    const { code, stderr } = await call('user', 'delete', 'nobody', '--yes', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toEqual({ error: { code: 'not_found', message: 'there is no user "nobody"' } });

    const usage = await call('user', 'add', '--json');
    expect(usage.code).toBe(2);
    expect(JSON.parse(usage.stderr)).toEqual({
      error: { code: 'usage', message: "error: missing required argument 'name'" },
    });
  });

  test('no database: serve says what to do', async () => {
    const { code, stderr } = await gatebell(['serve'], '', { PGHOST: '', PGPORT: '', PGUSER: '', PGDATABASE: '' });
    expect(code).toBe(2);
    expect(stderr).toContain('DATABASE_URL');
    expect(stderr).toContain('gatebell migrate up');
    expect(stderr).toContain('gatebell dev');
  });

  test('an unreachable database: commands say so, without the password', async () => {
    const { code, stderr } = await gatebell(['user', 'list'], 'postgres://someone:hidden@127.0.0.1:1/none');
    expect(code).toBe(1);
    expect(stderr).toContain('cannot reach Postgres');
    expect(stderr).not.toContain('hidden');
  });

  test('a connection string that is none: refused, without the password', async () => {
    const { code, stderr } = await gatebell(['serve'], 'mysql://someone:hidden@127.0.0.1/none');
    expect(code).toBe(2);
    expect(stderr).toContain('DATABASE_URL is "***"; allowed: a connection string, postgres://');
    expect(stderr).not.toContain('hidden');
  });
});

describe('the rest', () => {
  test('sql prints what statements return', async () => {
    expect((await call('sql', "select 1 as one, 'x' as two; select 2 as three")).stdout).toBe(
      'one  two\n1    x\nSELECT 1\nthree\n2\nSELECT 1\n',
    );
    expect(await json('sql', 'select 1 as one')).toEqual([{ command: 'SELECT', rowCount: 1, rows: [{ one: 1 }] }]);
  });

  test('--version and --help', async () => {
    expect((await gatebell(['--version'])).stdout.trim()).toBe(VERSION);
    const help = await gatebell(['--help']);
    expect(help.code).toBe(0);
    for (const word of [
      'serve',
      'dev',
      'migrate',
      'doctor',
      'user',
      'app',
      'route',
      'grant',
      'revoke',
      'token',
      'jwt',
      'sql',
    ]) {
      expect(help.stdout).toContain(word);
    }
    expect((await gatebell(['serve', '--help'])).stdout).toContain('GATEBELL_FENCE_INTERVAL_MS');
  });

  test('the help of route says that a path without a rule needs a grant', async () => {
    for (const words of [['--help'], ['route', '--help']]) {
      const { stdout } = await gatebell(words);
      expect(stdout.replaceAll(/\s+/g, ' ')).toContain('rules by path; a path that no route matches needs a grant');
    }
  });

  test('migrate up, status and down', async () => {
    const empty = await createTestDatabase({ migrated: false });
    try {
      expect((await gatebell(['serve'], empty.url)).stderr).toContain('run "gatebell migrate up"');
      expect((await gatebell(['migrate', 'status'], empty.url)).stdout).toMatch(/^pending/);
      expect((await gatebell(['migrate', 'up'], empty.url)).stdout).toContain('applied 001_signals');
      expect((await gatebell(['migrate', 'up'], empty.url)).stdout).toBe('up to date\n');
      expect((await gatebell(['migrate', 'up'], empty.url, { GATEBELL_CHANNEL: 'other' })).stdout).toContain(
        'moved the signals to channel other',
      );
      expect((await gatebell(['doctor'], empty.url)).stdout).toContain("the triggers signal on channel 'other'");
      expect((await gatebell(['doctor'], empty.url, { GATEBELL_CHANNEL: 'other' })).code).toBe(0);
      expect(
        JSON.parse((await gatebell(['migrate', 'down', '--count', '1000', '--yes', '--json'], empty.url)).stdout),
      ).toMatchObject({
        reverted: expect.arrayContaining([expect.stringContaining('002'), expect.stringContaining('001')]) as unknown,
      });
      await empty.sql(
        `create schema gatebell;
          create function gatebell.schema_version() returns int immutable language sql return 99`,
      );
      const newer = await gatebell(['serve'], empty.url);
      expect(newer.code).toBe(1);
      expect(newer.stderr).toContain('newer than this program');
    } finally {
      await empty.drop();
    }
  });
});

describe('what is deleted for good is asked for', () => {
  const rows = (): Promise<unknown> =>
    database.sql(`select (select count(*) from gatebell.users where name = 'kept')::integer as users,
      (select count(*) from gatebell.apps where name = 'kept')::integer as apps,
        gatebell.schema_version() > 1 as migrated`);

  beforeAll(async () => {
    await call('user', 'add', 'kept');
    await call('app', 'add', 'kept', '--host', 'kept.test');
  });

  const DELETING = [
    ['user', 'delete', 'kept'],
    ['app', 'delete', 'kept'],
    ['migrate', 'down'],
  ];

  test.each(DELETING)('%s %s %s: without a terminal it needs --yes', async (...words) => {
    const before = await rows();
    for (const more of [[], ['--json']]) {
      const { code, stdout, stderr } = await call(...words.filter(word => word !== undefined), ...more);
      expect(code).toBe(2);
      expect(stdout).toBe('');
      expect(stderr).toContain('give --yes if you mean it');
    }
    expect(await rows()).toEqual(before);
  });

  /** Answers the question at a terminal. */
  const atTerminal = (words: readonly string[], answer: string): Promise<string> =>
    runTool('script', ['-qec', [process.execPath, CLI, ...words].join(' '), '/dev/null'], {
      input: `${answer}\n`,
      env: { DATABASE_URL: database.url },
    });

  test.each(DELETING)('%s %s %s: at a terminal it asks, and anything but yes is no', async (...given) => {
    const words = given.filter(word => word !== undefined);
    const before = await rows();
    for (const answer of ['', 'n', 'nyes']) {
      await expect(atTerminal(words, answer)).rejects.toThrow(/Go on\? \[y\/N\].*nothing was changed/s);
    }
    expect(await rows()).toEqual(before);
    if (words[0] !== 'migrate') {
      expect(await atTerminal(words, 'y')).toMatch(/Go on\? \[y\/N\].* kept was deleted/s);
      expect(await rows()).not.toEqual(before);
    }
  });
});

test('migrate up prints the warnings of Postgres, and goes on', async () => {
  const owner = `owner_${new URL(database.url).pathname.slice(1)}`;
  const other = await createTestDatabase();
  try {
    await other.sql(`create role ${owner} login password 'x'; grant select on gatebell.fence_key to public`);
    const url = new URL(other.url);
    [url.username, url.password] = [owner, 'x'];
    await other.sql(
      `grant gatebell_daemon to ${owner}; grant execute on function gatebell.repair_privileges() to ${owner}`,
    );
    const { code, stdout, stderr } = await gatebell(['migrate', 'up'], url.href);
    expect(stderr).toContain('warning: ');
    expect(stderr).toContain('revoke SELECT on table gatebell.fence_key from public cascade');
    expect([code, stdout]).toEqual([0, 'up to date\n']);
    const asJson = await gatebell(['migrate', 'up', '--json'], url.href);
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      warnings: expect.arrayContaining([expect.stringContaining('fence_key')]) as unknown,
    });
  } finally {
    await other.sql(`drop owned by ${owner}; drop role ${owner}`);
    await other.drop();
  }
});

describe('doctor', () => {
  test('says that all is well', async () => {
    const { code, stdout } = await call('doctor');
    expect(stdout).toContain('All is well.');
    expect(code).toBe(0);
  });

  test.each([
    {
      title: 'a disabled trigger',
      sql: 'alter table gatebell.grants disable trigger gatebell_grant_update',
      says: 'grant: trigger gatebell_grant_update',
    },
    {
      title: 'a table that is not watched',
      sql: `select gatebell.unwatch('gatebell.users', 'user')`,
      says: 'user: not watched',
    },
  ])('finds $title', async ({ sql, says }) => {
    const broken = await createTestDatabase();
    try {
      await broken.sql(sql);
      const { code, stdout } = await gatebell(['doctor'], broken.url);
      expect(stdout).toContain('FAILED  triggers present, enabled and current');
      expect(stdout).toContain(says);
      expect(code).toBe(1);
    } finally {
      await broken.drop();
    }
  });

  test('prints the statement that puts triggers back', async () => {
    const broken = await createTestDatabase();
    try {
      await broken.sql('alter table gatebell.grants disable trigger user');
      const { stdout } = await gatebell(['doctor'], broken.url);
      await broken.sql(/select gatebell\.watch\(.*\);/.exec(stdout)?.[0] ?? 'no statement was printed');
      expect((await gatebell(['doctor'], broken.url)).stdout).toContain('All is well.');
    } finally {
      await broken.drop();
    }
  });

  test('finds a role that cannot read', async () => {
    const broken = await createTestDatabase();
    const role = `poor_${new URL(broken.url).pathname.slice(1)}`;
    try {
      await broken.sql(`create role ${role} login password 'poor'; grant usage on schema gatebell to ${role}`);
      const url = new URL(broken.url);
      url.username = role;
      url.password = 'poor';
      const { code, stdout } = await gatebell(['doctor'], url.href);
      expect(stdout).toMatch(/cannot read gatebell.users.*GRANT gatebell_daemon/);
      expect(code).toBe(1);
    } finally {
      await broken.sql(`drop owned by ${role}; drop role ${role}`);
      await broken.drop();
    }
  });
});
