import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createOpsListener } from '../../../src/ops/server.js';
import type { Status } from '../../../src/ops/status.js';

let server: Server;
let url: string;
let status: () => Promise<Status>;
let failures: unknown[];

const READY = { ready: true, state: 'live', problem: null, watchProblems: {}, replica: 'test' } as unknown as Status;

beforeEach(async () => {
  failures = [];
  status = () => Promise.resolve(READY);
  const listener = createOpsListener({
    status: () => status(),
    metrics: { contentType: 'text/plain; version=0.0.4', scrape: () => Promise.resolve('# été\n') },
    failed: error => failures.push(error),
  });
  server = createServer(listener);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(
  () =>
    new Promise<void>(resolve => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
);

describe('pages', () => {
  test.each([
    ['/', 'text/plain; charset=utf-8', /\/readyz/],
    ['/livez', 'text/plain; charset=utf-8', /^ok\n$/],
    [
      '/readyz',
      'application/json; charset=utf-8',
      /^\{"ready":true,"state":"live","problem":null,"watchProblems":\{\}\}$/,
    ],
    ['/status', 'application/json; charset=utf-8', /"replica":"test"/],
    ['/metrics', 'text/plain; version=0.0.4', /^# été\n$/],
  ])('%s', async (path, type, body) => {
    const answer = await fetch(`${url}${path}?why=not`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe(type);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
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
