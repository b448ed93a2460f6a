/** The auth endpoints on a Unix socket: real replicas, the file of their socket, and those who ask there. */
import { once } from 'node:events';
import { lstat, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createToken } from '../../src/auth/token.js';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createWorld, type World } from '../support/gate-rows.js';
import { fetchAnswer, forwardHeaders, pathOf, startReplica, type Replica } from '../support/replica.js';

const WORKERS = 2;

let database: TestDatabase;
let world: World;
let folder: string;
let file: string;
const started: Replica[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
});

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'gatebell-socket-'));
  file = path.join(folder, 'auth.sock');
});

afterEach(async () => {
  await Promise.all(started.splice(0).map(replica => replica.stop()));
  await rm(folder, { recursive: true });
});

afterAll(() => database.drop());

const socketEnv = (env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  GATEBELL_LISTEN: `unix:${file}`,
  GATEBELL_PORT: '',
  ...env,
});

async function start(env: NodeJS.ProcessEnv = {}, name = 'test'): Promise<Replica> {
  const replica = await startReplica(database.url, { name, env: socketEnv(env) });
  started.push(replica);
  return replica;
}

/** Over a connection of its own, or of this agent. */
async function answerOf(agent: Agent | false): Promise<IncomingMessage> {
  const headers = forwardHeaders({ token: world.alice });
  const request = httpRequest({ socketPath: file, path: '/auth/forward', agent, headers });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response.resume();
}

const askAnew = async (): Promise<string> => String((await answerOf(false)).headers['x-gatebell-reason']);

const modeOf = async (): Promise<number> => (await lstat(file)).mode & 0o777;

describe.each([
  ['one process', {}],
  [`${WORKERS} workers`, { GATEBELL_WORKERS: String(WORKERS) }],
])('a replica of %s', (_, more) => {
  test('answers on its socket, says where it is, and takes it away when it stops', async () => {
    const replica = await start(more);
    expect(replica.auth).toBe(`unix:${file}`);
    expect(await readdir(folder)).toEqual(['auth.sock']);
    expect(await modeOf()).toBe(0o660);
    await replica.askUntil('granted', { token: world.alice });
    expect((await replica.ask({ token: world.bob })).reason).toBe('no_grant');
    expect((await fetchAnswer(pathOf(replica.auth, '/readyz'))).status).toBe(200);
    expect(JSON.parse((await replica.get('/status')).body)).toMatchObject({ auth: `unix:${file}` });
    expect(replica.lines.find(({ event }) => event === 'listening')?.message).toContain(`auth on unix:${file}`);
    expect(await replica.stop()).toBe(0);
    expect(await readdir(folder)).toEqual([]);
  });

  test('gives its socket the mode and the group that are wanted', async () => {
    const own = process.getgid!();
    const group = process.getuid!() === 0 ? own + 1_234 : own;
    await start({ ...more, GATEBELL_LISTEN_MODE: '0600', GATEBELL_LISTEN_GROUP: String(group) });
    expect(await modeOf()).toBe(0o600);
    expect((await lstat(file)).gid).toBe(group);
  });

  test('takes the place of one that was killed', async () => {
    const killed = await start(more);
    killed.child.kill('SIGKILL');
    await killed.exited;
    expect((await lstat(file)).isSocket()).toBe(true);
    // The workers of one that was killed end by themselves.
    for (;;) {
      try {
        await askAnew();
      } catch {
        break;
      }
    }
    const replica = await start(more);
    await replica.askUntil('granted', { token: world.alice });
    expect(await readdir(folder)).toEqual(['auth.sock']);
  });

  test('ends beside one that listens there, which goes on', async () => {
    const first = await start(more);
    await first.askUntil('granted', { token: world.alice });
    await expect(start(more, 'second')).rejects.toThrow(
      new RegExp(`exit code 1.*cannot listen on unix:${file}: another process listens there`, 's'),
    );
    expect(await readdir(folder)).toEqual(['auth.sock']);
    expect(await askAnew()).toBe('granted');
  });

  test('never removes a file that is no socket', async () => {
    await writeFile(file, 'precious');
    await expect(start(more)).rejects.toThrow(/exit code 1.*there is a file that is no socket; it is never removed/s);
    expect(await readFile(file, 'utf8')).toBe('precious');
    expect(await readdir(folder)).toEqual(['auth.sock']);
  });

  test('ends where its group is not there', async () => {
    await expect(start({ ...more, GATEBELL_LISTEN_GROUP: 'no-such-group' })).rejects.toThrow(
      /exit code 1.*there is no group "no-such-group" in \/etc\/group/s,
    );
    expect(await readdir(folder)).toEqual([]);
  });

  test('while it drains it answers new connections, each once, and then nobody finds it', async () => {
    const replica = await start(more);
    await replica.askUntil('granted', { token: world.alice });
    replica.child.kill('SIGTERM');
    await replica.waitFor(({ event }) => event === 'stopping', 0);
    const kept = new Agent({ keepAlive: true });
    try {
      const { headers } = await answerOf(kept);
      expect(headers).toMatchObject({ 'x-gatebell-reason': 'granted', connection: 'close' });
    } finally {
      kept.destroy();
    }
    expect(await replica.exited).toBe(0);
    await expect(askAnew()).rejects.toThrow(/ENOENT/);
  });
});

describe('workers', () => {
  const ENV = { GATEBELL_WORKERS: String(WORKERS) };

  const workerIds = async (replica: Replica): Promise<number[]> => {
    const { pid } = replica.child;
    return (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').map(Number);
  };

  test('share the socket', async () => {
    const replica = await start(ENV);
    await replica.askUntil('granted', { token: world.alice });
    const counted = async (): Promise<number[]> => {
      const { workers } = JSON.parse((await replica.get('/status')).body) as {
        workers: { caches: { topic: string; hits: number; misses: number }[] }[];
      };
      return workers.map(({ caches }) => caches.reduce((sum, { hits, misses }) => sum + hits + misses, 0));
    };
    while ((await counted()).some(lookups => lookups === 0)) {
      await askAnew();
    }
    expect(await counted()).toHaveLength(WORKERS);
  });

  test.each([
    ['one was', 1],
    ['all were', WORKERS],
  ])('come back on the same socket, with its mode, when %s killed', async (_, count) => {
    const replica = await start(ENV);
    const since = replica.lines.length;
    const killed = (await workerIds(replica)).slice(0, count);
    for (const id of killed) {
      process.kill(id, 'SIGKILL');
    }
    for (let seen = 0, from = since; seen < count; seen += 1) {
      const line = await replica.waitFor(({ event }) => event === 'worker_started', from);
      from = replica.lines.indexOf(line) + 1;
    }
    await replica.askUntil('granted', { token: world.alice });
    expect(await modeOf()).toBe(0o660);
    expect(await replica.stop()).toBe(0);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('those who ask there', () => {
  test('are told of as peers on the socket', async () => {
    const replica = await start();
    const since = replica.lines.length;
    await fetchAnswer(pathOf(replica.auth, '/auth/forward'));
    expect(await replica.waitFor(({ event }) => event === 'bad_request', since)).toMatchObject({
      peer: 'unix',
      message: expect.stringContaining('from a peer on the Unix socket: ') as string,
    });
  });

  test('are trusted without an address, and must show the secret if there is one', async () => {
    const replica = await start({
      GATEBELL_TRUSTED_PROXIES: '192.0.2.1',
      GATEBELL_PROXY_SECRET: 'a secret of a proxy'.replaceAll(' ', '-'),
    });
    const since = replica.lines.length;
    expect((await replica.ask({ token: world.alice })).reason).toBe('untrusted_proxy');
    const { message } = await replica.waitFor(({ event }) => event === 'untrusted_proxy', since);
    expect(message).toMatch(/^a peer on the Unix socket asked .*: it did not show GATEBELL_PROXY_SECRET$/);
    const headers = { 'X-Gatebell-Secret': 'a-secret-of-a-proxy' };
    await replica.askUntil('granted', { token: world.alice, headers });
  });

  test('have their clients limited one by one, as the headers tell them apart', async () => {
    const replica = await start();
    const guess = async (address: string): Promise<string> =>
      (await replica.ask({ token: createToken(), headers: { 'X-Forwarded-For': address } })).reason;
    while ((await guess('198.51.100.1')) !== 'unavailable') {
      // The scanner uses up its own limit.
    }
    expect(await guess('198.51.100.2')).toBe('bad_credential');
  });
});

describe('doctor', () => {
  const socketLine = async (env: NodeJS.ProcessEnv = {}): Promise<string> => {
    const { stdout } = await gatebell(['doctor'], database.url, socketEnv(env));
    return /^.*auth socket: .*$/m.exec(stdout)?.[0] ?? stdout;
  };

  test('says what is there, and who may ask', async () => {
    expect(await socketLine()).toBe(`ok      auth socket: unix:${file}: nobody listens there yet`);
    const replica = await start();
    expect(await socketLine()).toMatch(/^ok {6}.*: a replica listens there$/);
    replica.child.kill('SIGKILL');
    await replica.exited;
    expect(await socketLine()).toMatch(/^ok {6}.*a replica that has ended has left it; the next one removes it$/);
    await rm(file);
    await writeFile(file, '');
    expect(await socketLine()).toMatch(/^FAILED .*there is a file that is no socket/);
    await rm(file);
    expect(await socketLine({ GATEBELL_LISTEN_MODE: '0666' })).toMatch(/^warn .*every local user may ask/);
    expect(await socketLine({ GATEBELL_LISTEN_GROUP: 'no-such-group' })).toMatch(/^FAILED .*there is no group/);
    expect(await socketLine({ GATEBELL_LISTEN: `unix:${folder}/nowhere/auth.sock` })).toMatch(/^FAILED .*ENOENT/);
  });

  test('says nothing of a socket where there is none', async () => {
    expect((await gatebell(['doctor'], database.url)).stdout).not.toContain('socket');
  });
});
