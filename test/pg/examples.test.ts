/** The examples run as they are. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { fetchAnswer, forwardHeaders } from '../support/replica.js';
import { createWorld } from '../support/gate-rows.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase();
});

afterEach(() => database.drop());

const example = (name: string): string => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

test('own-table: a cache over a table of your own', async () => {
  const outcome = await run(process.execPath, [example('own-table.mjs')], { DATABASE_URL: database.url });
  expect(outcome).toEqual({
    code: 0,
    stdout: 'apple costs 120\nplum, pear and apple cost [ 40, null, 120 ]\napple costs 130\nordered: one apple\n',
    stderr: '',
  });
});

/** Runs an example that serves, until the test has used it; it must end by itself then. */
async function serving(name: string, env: Record<string, string>, use: (url: string) => Promise<void>): Promise<void> {
  const child = spawn(process.execPath, [example(name)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, DATABASE_URL: database.url, PORT: '0', ...env },
  });
  const ended = once(child, 'exit');
  try {
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    await use(`http://127.0.0.1:${line.split(' ').at(-1)}`);
  } finally {
    child.kill('SIGTERM');
  }
  expect(await ended).toEqual([0, null]);
}

test('forward-auth: the gate mounted in an Express application', async () => {
  const { alice } = await createWorld(database);
  await serving('forward-auth.mjs', {}, async url => {
    expect(await fetchAnswer(`${url}/internal/auth`, forwardHeaders({ token: alice }))).toMatchObject({
      status: 200,
      reason: 'granted',
    });
    expect((await fetchAnswer(`${url}/hello`)).body).toBe('hello\n');
  });
});

test('require-access: an Express application that decides its own requests', async () => {
  const { alice, bob, session } = await createWorld(database);
  const env = { APP: 'photos.test', LOGIN_URL: 'https://login.test/' };
  await serving('require-access.mjs', env, async url => {
    const ask = (path: string, headers: Record<string, string> = {}): ReturnType<typeof fetchAnswer> =>
      fetchAnswer(`${url}${path}`, headers);
    expect(await ask('/')).toMatchObject({ status: 401, reason: 'no_credential' });
    expect((await ask('/', { Authorization: `Bearer ${alice}` })).body).toBe('hello alice, your role is user\n');
    expect((await ask('/', { Cookie: `gatebell=${session}` })).body).toBe('hello alice, your role is user\n');
    expect(await ask('/', { Authorization: `Bearer ${bob}` })).toMatchObject({ status: 403, reason: 'no_grant' });
    expect((await ask('/share/1')).body).toBe('hello stranger\n');
    expect((await ask('/health')).body).toBe('ok\n');
    const { status, headers } = await ask('/page', { Accept: 'text/html' });
    expect([status, headers.location]).toEqual([302, 'https://login.test/?rd=https%3A%2F%2Fphotos.test%2Fpage']);
  });
});
