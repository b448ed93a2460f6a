import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createHttpServer } from '../../../src/http/server.js';
import { GateResponse, CachedHead } from '../../../src/http/response.js';
import { exchange } from '../../support/auth-server.js';

const HEADERS = ['Remote-User', 'alice', 'X-Odd', 'Date: Connection: keep-alive', 'Content-Length', '0'];
const KEPT = 'GET /kept HTTP/1.1\r\nHost: gate\r\n\r\n';
const COMPOSED = KEPT.replace('/kept', '/composed');
const last = (request: string): string => request.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');

let server: Server;
let head: CachedHead;
/** How often a kept head was written. */
let writes: number;
let port: number;

beforeEach(async () => {
  head = new CachedHead();
  writes = 0;
  server = createHttpServer((request, response) => {
    if (!(response instanceof GateResponse)) {
      throw new Error('not a response of ours');
    }
    if (request.url === '/kept' && response.writeCached(head)) {
      writes += 1;
    } else {
      response.writeHead(200, HEADERS);
      if (request.url === '/kept') {
        response.keep(head);
      }
    }
    response.end();
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 10, 21, 12, 0, 0, 5) });
});

afterEach(async () => {
  vi.useRealTimers();
  await new Promise<void>(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
});

/** The answers, apart; Node's own date lags up to a second, so it is taken out. */
async function answers(...requests: string[]): Promise<string[]> {
  const text = await exchange(port, requests.join(''));
  return text
    .split(/(?=HTTP\/1\.1 )/)
    .map(answer => answer.replace(/^Date: \w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT$/m, 'Date'));
}

describe('a kept head', () => {
  test('is the bytes that Node composes', async () => {
    const [first, ...others] = await answers(COMPOSED, KEPT, KEPT, COMPOSED, KEPT, last(COMPOSED));
    expect(first).toMatch(/^HTTP\/1\.1 200 OK\r\nRemote-User: alice\r\n/);
    expect(first).toMatch(/\r\nDate\r\nConnection: keep-alive\r\nKeep-Alive: timeout=75\r\n\r\n$/);
    expect(others.slice(0, 4)).toEqual([first, first, first, first]);
    expect(writes).toBe(2);
  });

  test('has the date of this second', async () => {
    const dates = async (): Promise<string[]> => {
      const text = await exchange(port, KEPT + KEPT + last(COMPOSED));
      return [...text.matchAll(/^Date: (.*)\r$/gm)].map(([, date]) => date!);
    };
    await dates();
    vi.setSystemTime(Date.UTC(2027, 0, 1, 0, 0, 0, 0));
    expect((await dates()).slice(0, 2)).toEqual(['Fri, 01 Jan 2027 00:00:00 GMT', 'Fri, 01 Jan 2027 00:00:00 GMT']);
    vi.setSystemTime(Date.UTC(2027, 0, 1, 0, 0, 1, 0));
    const next = 'Fri, 01 Jan 2027 00:00:01 GMT';
    expect((await dates()).slice(0, 2)).toEqual([next, next]);
    expect(writes).toBe(5);
  });

  test('keeps its text for a second in which it is sent twice, and for no other', async () => {
    await answers(KEPT, KEPT, last(COMPOSED));
    expect(head.text).toBe('');
    await answers(KEPT, last(COMPOSED));
    expect(head.text).toContain('\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n');
    vi.setSystemTime(Date.UTC(2026, 10, 21, 12, 0, 1, 0));
    await answers(KEPT, last(COMPOSED));
    expect(head.text).toBe('');
  });

  test('keeps its own connection headers beside a head that has others', async () => {
    const old = KEPT.replace('1.1', '1.0\r\nConnection: keep-alive');
    const other = new CachedHead();
    const composed = await answers(COMPOSED, KEPT, KEPT, last(COMPOSED));
    Object.assign(other, { before: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: ', after: '\r\nX-Else: 1\r\n\r\n' });
    const response = new GateResponse(
      Object.assign(Object.create(null), { method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1 }),
    );
    response.shouldKeepAlive = true;
    for (let i = 0; i < 3; i += 1) {
      expect(response.writeCached(other)).toBe(true);
      expect(response._header).toBe(`${other.before}Sat, 21 Nov 2026 12:00:00 GMT${other.after}`);
      expect((await answers(KEPT, old, last(COMPOSED)))[0]).toBe(composed[0]);
    }
  });

  test('answers HEAD', async () => {
    const requests = [KEPT, KEPT, last(COMPOSED)].map(request => request.replace('GET', 'HEAD'));
    const [first, second] = await answers(...requests);
    expect(second).toBe(first);
    expect(writes).toBe(1);
  });

  test('is the same for HTTP/1.0, where the connection is kept', async () => {
    const old = (request: string): string => request.replace('1.1', '1.0\r\nConnection: keep-alive');
    const [composed, learned, kept] = await answers(old(COMPOSED), old(KEPT), old(KEPT), last(COMPOSED));
    expect([learned, kept]).toEqual([composed, composed]);
    expect(writes).toBe(1);
  });

  test.each([last(KEPT), KEPT.replace('1.1', '1.0')])(
    'is not for connections that end, nor kept of them: %j',
    async request => {
      expect(await answers(request)).toEqual(await answers(request.replace('/kept', '/composed')));
      expect(head.before).toBeNull();
      await answers(KEPT, last(COMPOSED));
      expect(head.before).not.toBeNull();
      expect(await answers(request)).toEqual(await answers(request.replace('/kept', '/composed')));
      expect(writes).toBe(0);
    },
  );

  test('is not kept where Node keeps no text', () => {
    const response = new GateResponse(
      Object.assign(Object.create(null), { method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1 }),
    );
    response.shouldKeepAlive = true;
    response.keep(head);
    expect(head.before).toBeNull();
    expect(response.writeCached(head)).toBe(false);
  });
});
