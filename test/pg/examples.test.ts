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

test('own-table: a coherent cache over a table of your own', async () => {
  const outcome = await run(process.execPath, [example('own-table.mjs')], { DATABASE_URL: database.url });
  expect(outcome).toEqual({ code: 0, stdout: 'apple costs 120\npear costs null\napple costs 130\n', stderr: '' });
});

test('express-app: the gate mounted in an Express application', async () => {
  const { alice } = await createWorld(database);
  const child = spawn(process.execPath, [example('express-app.mjs')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, DATABASE_URL: database.url, PORT: '0' },
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const url = `http://127.0.0.1:${line.split(' ').at(-1)}`;
  expect(await fetchAnswer(`${url}/internal/auth`, forwardHeaders({ token: alice }))).toMatchObject({
    status: 200,
    reason: 'granted',
  });
  expect((await fetchAnswer(`${url}/hello`)).body).toBe('hello\n');
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
});
