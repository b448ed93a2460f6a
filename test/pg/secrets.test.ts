/** No secret is in a log, a metric, a page or an error, whatever is asked. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createToken } from '../../src/auth/token.js';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { fetchAnswer, forwardHeaders, startReplica, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/gate-rows.js';

const PROXY_SECRET = 'the-secret-of-the-proxies';
const OPS_TOKEN = 'the-token-of-the-operators';
const PASSWORD = 'the-password-of-the-replica';

let database: TestDatabase;
let world: World;
let replica: Replica;
let output = '';
let dropRole: string;

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  const login = `secretive_${randomBytes(6).toString('hex')}`;
  await database.sql(`create role ${login} login password '${PASSWORD}' in role gatebell_daemon`);
  const url = new URL(database.url);
  url.username = login;
  url.password = PASSWORD;
  dropRole = `drop role ${login}`;
  replica = await startReplica(url.href, {
    env: { GATEBELL_PROXY_SECRET: PROXY_SECRET, GATEBELL_OPS_TOKEN: OPS_TOKEN, GATEBELL_LOG_LEVEL: 'debug' },
  });
  for (const stream of [replica.child.stdout, replica.child.stderr]) {
    stream?.on('data', (text: string) => (output += text));
  }
});

afterAll(async () => {
  await replica.stop();
  await database.sql(dropRole);
  await database.drop();
});

test('in what a replica logs, shows and answers', async () => {
  const forged = createToken();
  const answers: string[] = [];
  const ask = async (headers: Readonly<Record<string, string>>, path = '/auth/forward'): Promise<void> => {
    const answer = await fetchAnswer(`${replica.auth}${path}`, { 'X-Gatebell-Secret': PROXY_SECRET, ...headers });
    answers.push(JSON.stringify([answer.headers, answer.body]));
  };
  await ask(forwardHeaders({ token: world.alice }));
  await ask(forwardHeaders({ cookie: world.session }));
  await ask(forwardHeaders({ token: forged }));
  await ask(forwardHeaders({ token: world.bob, uri: '/share/%zz' }));
  await ask(forwardHeaders({ token: world.carol, host: `${world.carol}.test` }));
  await ask({ Authorization: `Bearer ${world.alice}`, Cookie: `gatebell=${world.session}` });
  await ask(forwardHeaders({ token: world.alice }), `/nowhere?token=${world.alice}`);
  await ask({ ...forwardHeaders({ token: world.alice }), 'X-Gatebell-Secret': 'wrong' });

  const pages: string[] = [];
  for (const path of ['/', '/livez', '/readyz', '/status', '/metrics']) {
    const page = await fetchAnswer(`${replica.ops}${path}`, { Authorization: `Bearer ${OPS_TOKEN}` });
    expect(page.status, path).toBe(200);
    pages.push(JSON.stringify([page.headers, page.body]));
  }
  await replica.stop();

  const shown = [...answers, ...pages, output, JSON.stringify(replica.lines)].join('\n');
  // The log is there, and tells of what was asked.
  expect(shown).toContain('bad_credential');
  expect(shown).toContain('gatebell_decisions_total');
  for (const secret of [PROXY_SECRET, OPS_TOKEN, PASSWORD, forged, ...Object.values(world)]) {
    expect(shown).not.toContain(secret);
  }
});

test('in the errors of a start that fails', async () => {
  const env = { GATEBELL_PROXY_SECRET: 'short-secret', GATEBELL_OPS_TOKEN: 'spaced secret of operators' };
  const refused = await gatebell(['serve'], `postgres://me:${PASSWORD}@127.0.0.1:1/nothing`, env);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain('GATEBELL_PROXY_SECRET is "***"');
  const unreachable = await gatebell(['doctor'], `postgres://me:${PASSWORD}@127.0.0.1:1/nothing`);
  expect(unreachable.code).toBe(1);
  for (const { stdout, stderr } of [refused, unreachable]) {
    for (const secret of [PASSWORD, ...Object.values(env)]) {
      expect(stdout + stderr).not.toContain(secret);
    }
  }
});
