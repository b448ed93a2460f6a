/**
 * The auth port below the level of requests: what is said twice is not said, what never ends is ended, and what is no
 * HTTP is nobody's.
 */
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAuthHandler } from '../../src/auth/handler.js';
import { close, createHttpServer } from '../../src/http/server.js';
import { exchange, loopback } from '../support/auth-server.js';
import { PROXY_DIALECTS, subrequestBytes, withMore } from '../support/dialects.js';
import { APP, createMemoryReader, createWorld, TOKEN } from '../support/memory-facts.js';
import { BEARER, identityOf, useGate } from './gate.js';

const gate = useGate();
const TARGET = { method: 'GET', proto: 'https', host: APP.host, uri: '/pub' };
const statuses = (text: string): readonly number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

describe.each(PROXY_DIALECTS)('headers beyond those that Node counts by default, on $name', dialect => {
  // Node keeps a thousand and drops the rest without a word, however small they are.
  const crowd = (size: number): readonly (readonly [string, string])[] => Array.from({ length: size }, () => ['a', '']);

  test.each([
    ...dialect.metadata.map(name => [name, '/me'] as const),
    ['Authorization', 'Bearer x'] as const,
    ['Cookie', `gatebell=${TOKEN}`] as const,
  ])('%s that comes again behind a crowd of others is not overlooked', async (name, value) => {
    const client = [...BEARER, ['Cookie', 'x=y'] as const];
    for (const size of [400, 501, 990, 999, 1_000, 1_100, 4_000]) {
      const twice = await gate.ask(dialect, TARGET, client, withMore(...crowd(size), [name, value]));
      expect([400, dialect.statusOf(400)], `${size} headers`).toContain(twice.status);
    }
  });

  test('are as many as any browser and chain of proxies may send', async () => {
    expect((await gate.ask(dialect, TARGET, BEARER, withMore(...crowd(480)))).status).toBe(200);
    expect((await gate.ask(dialect, TARGET, BEARER, withMore(['X', 'x'.repeat(62_000)]))).status).toBe(200);
    expect((await gate.ask(dialect, TARGET, BEARER, withMore(['X', 'x'.repeat(66_000)]))).status).toBe(431);
  });
});

describe('who is slow', () => {
  const SENDING = { headersMs: 150, requestMs: 300, checkMs: 50 };
  const handler = createAuthHandler({
    reader: createMemoryReader(createWorld()),
    cookieName: 'gatebell',
    loginUrl: null,
    trustedProxies: loopback(),
    observe: () => undefined,
  });
  const server = createHttpServer(handler, { limits: SENDING });
  let port = 0;
  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    // A listening TCP server has an address of this form.
    ({ port } = server.address() as AddressInfo);
  });
  afterAll(() => close(server));

  const whole = subrequestBytes(PROXY_DIALECTS[0]!.subrequest(TARGET), 'keep-alive');
  test.each([
    ['says nothing', '', [408]],
    ['says a part of a line', 'GET /auth/forw', [408]],
    ['never ends a header', `${whole.slice(0, -4)}\r\nX: `, [408]],
    ['never ends the head', whole.slice(0, -2), [408]],
    ['never sends the body', whole.replace('\r\n\r\n', '\r\nContent-Length: 5\r\n\r\n'), [200]],
    ['never ends the chunks', whole.replace('\r\n\r\n', '\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab'), [200]],
  ])('and %s is thrown out', async (_, bytes, expected) => {
    // Resolves when the server has closed the connection: nothing is sent to end it.
    const text = await exchange(port, bytes);
    expect(
      statuses(text)
        .filter(status => !expected.includes(status))
        .filter(status => status !== 408),
    ).toEqual([]);
  });

  test('a hundred of them do not keep others waiting', async () => {
    const slow = Array.from({ length: 100 }, () => connect(port, '127.0.0.1'));
    await Promise.all(slow.map(socket => once(socket, 'connect')));
    for (const socket of slow) {
      socket.on('error', () => undefined);
      socket.write('GET /auth/forward HTTP/1.1\r\nHo');
    }
    const text = await exchange(port, whole.replace('keep-alive', 'close'));
    expect(statuses(text)).toEqual([200]);
    await Promise.all(slow.filter(({ closed }) => !closed).map(socket => once(socket.resume(), 'close')));
  });
});

describe.each(PROXY_DIALECTS)('pipelined requests on $name', dialect => {
  const bytes = (
    uri: string,
    client: readonly (readonly [string, string])[],
    connection: 'keep-alive' | 'close',
  ): string => subrequestBytes(dialect.subrequest({ ...TARGET, uri }, client), connection);

  test('are answered in order, each by its own credential', async () => {
    const text = await exchange(
      gate.port,
      bytes('/me', BEARER, 'keep-alive') +
        bytes('/me', [], 'keep-alive') +
        bytes('/pub', BEARER, 'keep-alive') +
        bytes('/me', BEARER, 'keep-alive') +
        bytes('/me', [['Cookie', 'gatebell=x']], 'close'),
    );
    expect([...text.matchAll(/X-Gatebell-Reason: (\w+)/g)].map(([, reason]) => reason)).toEqual([
      ...['authenticated', 'no_credential', 'public', 'authenticated', 'bad_credential'],
    ]);
  });

  test('end with the first that is no HTTP', async () => {
    const text = await exchange(
      gate.port,
      `${bytes('/me', [], 'keep-alive')}X\0\r\n\r\n${bytes('/me', BEARER, 'close')}`,
    );
    // Node says why only where nothing was said yet.
    expect([[401], [401, 400]]).toContainEqual(statuses(text));
  });

  test('a body that holds a request is a body', async () => {
    const inner = bytes('/me', BEARER, 'close');
    const outer = bytes('/me', [['Content-Length', String(inner.length)]], 'close') + inner;
    expect(statuses(await exchange(gate.port, outer))).toEqual([401]);
  });
});

test.each([
  ['a TLS ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['a preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['a tunnel', 'CONNECT wiki.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['absolute form', 'GET http://wiki.example.com/auth/forward HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  [
    'another path',
    'GET /auth/envoyx/pub HTTP/1.1\r\nHost: wiki.example.com\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n',
  ],
  ['the pages of operations', 'GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
])('%s is let through nowhere', async (_, bytes) => {
  const text = await exchange(gate.port, bytes);
  expect(statuses(text)).not.toEqual([]);
  for (const status of statuses(text)) {
    expect([400, 404, 405]).toContain(status);
  }
  expect(identityOf({ status: 0, headers: {}, body: text })).toEqual([]);
  expect(text).not.toMatch(/remote-user/i);
});
