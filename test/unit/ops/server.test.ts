import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createOpsListener } from '../../../src/ops/server.js';
import type { Status } from '../../../src/ops/status.js';

let server: Server;
let url: string;
let status: () => Promise<Status>;
let failures: unknown[];

const READY = {
  ready: true,
  fromMemory: true,
  state: 'live',
  problem: null,
  watchProblems: {},
  replica: 'test',
} as unknown as Status;

async function start(token: string | null): Promise<void> {
  const listener = createOpsListener({
    status: () => status(),
    metrics: { contentType: 'text/plain; version=0.0.4', scrape: () => Promise.resolve('# été\n') },
    token,
    failed: error => failures.push(error),
  });
  server = createServer(listener);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function stop(): Promise<void> {
  return new Promise<void>(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

beforeEach(async () => {
  failures = [];
  status = () => Promise.resolve(READY);
  await start(null);
});

afterEach(stop);

describe('pages', () => {
  test.each([
    ['/', 'text/plain; charset=utf-8', /\/readyz/],
    ['/livez', 'text/plain; charset=utf-8', /^ok\n$/],
    [
      '/readyz',
      'application/json; charset=utf-8',
      /^\{"ready":true,"fromMemory":true,"state":"live","problem":null,"watchProblems":\{\}\}$/,
    ],
    ['/status', 'application/json; charset=utf-8', /"replica":"test"/],
    ['/metrics', 'text/plain; version=0.0.4', /^# été\n$/],
  ])('%s', async (path, type, body) => {
    const answer = await fetch(`${url}${path}?why=not`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe(type);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer');
    expect(await answer.text()).toMatch(body);
    const head = await fetch(`${url}${path}`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
  });

  test('/readyz is 503 while not ready', async () => {
    status = () => Promise.resolve({ ...READY, ready: false, state: 'down', problem: 'no server' });
    const answer = await fetch(`${url}/readyz`);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ ready: false, problem: 'no server' });
  });
});

describe('what is not a page', () => {
  test.each(['/nothing', '/livez/', '//livez', '/%6civez'])('%s is 404', async path => {
    expect((await fetch(`${url}${path}`)).status).toBe(404);
  });

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('%s is 405', async method => {
    const answer = await fetch(`${url}/livez`, { method });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  test('a page that cannot be made is 500, says nothing of why, and is reported', async () => {
    const failure = new Error('secret');
    status = () => Promise.reject(failure);
    const answer = await fetch(`${url}/status`);
    expect([answer.status, await answer.text()]).toEqual([500, 'internal error\n']);
    expect(failures).toEqual([failure]);
  });
});

describe('with a token', () => {
  const TOKEN = 'a-token-of-the-operators';
  const ask = (path: string, authorization?: string): Promise<Response> =>
    fetch(`${url}${path}`, { headers: authorization === undefined ? {} : { Authorization: authorization } });

  beforeEach(async () => {
    await stop();
    await start(TOKEN);
  });

  test.each(['/', '/status', '/metrics', '/nothing'])('%s asks for it', async path => {
    for (const authorization of [undefined, '', 'Bearer', `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, TOKEN]) {
      const answer = await ask(path, authorization);
      expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="gatebell ops"']);
      expect(await answer.text()).not.toContain('gatebell_');
    }
    expect((await ask(path, `bearer ${TOKEN}`)).status).toBe(path === '/nothing' ? 404 : 200);
  });

  test.each(['/livez', '/readyz'])('%s does not: probes have none', async path => {
    expect((await ask(path)).status).toBe(200);
  });
});
