import type { IncomingHttpHeaders, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createHttpServer } from '../../../src/http/server.js';
import { exchange } from '../../support/auth-server.js';

let server: Server;
let port: number;
let seen: IncomingHttpHeaders[];

beforeEach(async () => {
  seen = [];
  server = createHttpServer((request, response) => {
    seen.push(request.headers);
    response.end(request.headers['x-name'] ?? '');
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});

afterEach(
  () =>
    new Promise<void>(resolve => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
);

const ask = (...lines: string[]): Promise<string> =>
  exchange(port, ['GET / HTTP/1.1', ...lines, 'Connection: close', '', ''].join('\r\n'));

test('whoever asks is given all headers, as Node makes them', async () => {
  await ask('HoSt: gate', 'X-Name: one', 'x-name: two', 'Cookie: a=1', 'Cookie: b=2');
  expect(seen).toEqual([{ host: 'gate', 'x-name': 'one, two', cookie: 'a=1; b=2', connection: 'close' }]);
});

test('Node still refuses a request without a host', async () => {
  expect(await ask('X-Name: one', 'Hose: gate')).toMatch(/^HTTP\/1\.1 400 /);
  expect(seen).toEqual([]);
});

test('what expects 100-continue is answered without reading a body; with a body the connection ends', async () => {
  expect(await ask('Host: gate', 'X-Name: one', 'expect: 100-continue')).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*one/);
  const bytes = 'POST / HTTP/1.1\r\nHost: gate\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n';
  expect(await exchange(port, bytes)).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*Connection: close/);
});

test('another expectation is ours to answer, with all headers', async () => {
  expect(await ask('Host: gate', 'X-Name: one', 'Expect: the-best')).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*one/);
  expect(seen).toEqual([{ host: 'gate', 'x-name': 'one', expect: 'the-best', connection: 'close' }]);
});
