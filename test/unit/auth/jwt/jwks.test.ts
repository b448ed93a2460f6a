import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import {
  createJwks,
  createJwksFetcher,
  type Jwks,
  type JwksObservation,
  type KeysLeft,
} from '../../../../src/auth/jwt/jwks.js';
import { createSigningKey } from '../../../support/jwt-issuer.js';
import { createSimulatedClock, type SimulatedClock } from '../../../support/simulated-clock.js';

const ONE = createSigningKey('ES256', 'one').jwk;
const TWO = createSigningKey('EdDSA', 'two').jwk;

interface Bench {
  readonly jwks: Jwks;
  readonly clock: SimulatedClock;
  readonly observed: JwksObservation[];
  readonly changes: KeysLeft[];
  fetches: number;
  answer: () => Promise<string>;
}

const setOf = (...keys: readonly unknown[]): string => JSON.stringify({ keys });

function open(first: string): Bench {
  const clock = createSimulatedClock();
  const observed: JwksObservation[] = [];
  const changes: KeysLeft[] = [];
  const bench = {
    clock,
    observed,
    changes,
    fetches: 0,
    answer: () => Promise.resolve(first),
  };
  const jwks = createJwks({
    fetchText: () => {
      bench.fetches += 1;
      return bench.answer();
    },
    refreshMs: 600_000,
    clock,
    random: { uniform: () => 0.999, nonce: () => '' },
    onChange: left => changes.push(left),
    observe: observation => observed.push(observation),
  });
  return Object.assign(bench, { jwks });
}

async function started(first: string): Promise<Bench> {
  const bench = open(first);
  bench.jwks.start();
  await bench.clock.drain();
  return bench;
}

test('fetches nothing before it is started, then at once, then within each interval', async () => {
  const bench = open(setOf(ONE));
  bench.jwks.askForRefresh();
  await bench.clock.advance(3_600_000);
  expect(bench.fetches).toBe(0);
  expect(bench.jwks.getKey).toBeNull();
  bench.jwks.start();
  bench.jwks.start();
  await bench.clock.drain();
  expect(bench.fetches).toBe(1);
  expect(bench.jwks.getKey).not.toBeNull();
  await bench.clock.advance(600_000);
  expect(bench.fetches).toBe(2);
  await bench.clock.advance(6_000_000);
  expect(bench.fetches).toBe(12);
});

test('says which keys have left, and nothing when none has come or gone', async () => {
  const bench = await started(setOf(ONE, TWO));
  await bench.clock.advance(600_000);
  bench.answer = () => Promise.resolve(setOf(TWO, ONE));
  await bench.clock.advance(600_000);
  expect(bench.changes).toEqual([{ ids: new Set(), any: false }]);
  bench.answer = () => Promise.resolve(setOf(TWO));
  await bench.clock.advance(600_000);
  expect(bench.changes.at(-1)).toEqual({ ids: new Set(['one']), any: true });
  expect(bench.observed.map(each => each.event === 'jwks_refreshed' && each.changed)).toEqual([
    true,
    false,
    false,
    true,
  ]);
});

describe('a fetch that failed', () => {
  test.each<[why: string, text: string, says: string]>([
    ['no JSON', '<html>secret</html>', 'the key set is no JSON'],
    ['no object', '[]', 'no JSON object with an array "keys"'],
    ['null', 'null', 'no JSON object with an array "keys"'],
    ['no keys', '{"keys":{}}', 'no JSON object with an array "keys"'],
    ['an empty set', '{"keys":[]}', 'no public key among its 0 keys'],
    ['secrets alone', setOf({ kty: 'oct', k: 'AA' }, null, 7), 'no public key among its 3 keys'],
    ['a private key', setOf({ ...ONE, d: 'AA' }), 'no public key among its 1 keys'],
    ['101 keys', setOf(...Array.from({ length: 101 }, () => ONE)), '101 keys; at most 100 are allowed'],
    ['a broken member', setOf({ ...ONE, kid: 7 }).replace('"keys"', '"key"'), 'no JSON object'],
  ])('with %s keeps the set that there is, and is tried again', async (_, text, says) => {
    const bench = await started(setOf(ONE));
    const before = bench.jwks.getKey;
    bench.answer = () => Promise.resolve(text);
    await bench.clock.advance(600_000);
    expect(bench.observed.at(-1)).toMatchObject({
      event: 'jwks_failed',
      error: { message: expect.stringContaining(says) as string },
    });
    expect(String((bench.observed.at(-1) as { error?: unknown }).error)).not.toContain('secret');
    expect(bench.jwks.getKey).toBe(before);
    expect(bench.changes).toHaveLength(1);
    bench.answer = () => Promise.resolve(setOf(TWO));
    await bench.clock.advance(30_000);
    expect(bench.jwks.getKey).not.toBe(before);
  });

  test('is tried again each second while there is no set at all', async () => {
    const bench = open('');
    bench.answer = () => Promise.reject(new TypeError('fetch failed', { cause: new Error('ECONNREFUSED') }));
    bench.jwks.start();
    await bench.clock.advance(5_000);
    expect(bench.fetches).toBe(6);
    expect(bench.observed[0]).toMatchObject({
      event: 'jwks_failed',
      error: { message: 'ECONNREFUSED' },
      retryMs: expect.any(Number) as number,
    });
  });
});

describe('a refresh that a token asks for', () => {
  test('comes at once when the last fetch is long ago, and only once', async () => {
    const bench = await started(setOf(ONE));
    await bench.clock.advance(60_000);
    for (let i = 0; i < 10; i++) {
      bench.jwks.askForRefresh();
    }
    await bench.clock.advance(0);
    expect(bench.fetches).toBe(2);
  });

  test('else when thirty seconds have passed', async () => {
    const bench = await started(setOf(ONE));
    bench.jwks.askForRefresh();
    await bench.clock.advance(29_999);
    expect(bench.fetches).toBe(1);
    await bench.clock.advance(1);
    expect(bench.fetches).toBe(2);
  });
});

test('stops for good, also while a fetch is under way', async () => {
  const bench = open(setOf(ONE));
  bench.jwks.start();
  bench.jwks.stop();
  bench.jwks.stop();
  await bench.clock.advance(3_600_000);
  expect(bench.fetches).toBe(1);
  expect(bench.jwks.getKey).toBeNull();
  expect(bench.clock.timers).toBe(0);
});

describe('over HTTP', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.close();
      server.closeAllConnections();
    }
  });

  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer(listener);
    servers.push(server);
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  }
  const fetchFrom = (url: string, signal = new AbortController().signal): Promise<string> =>
    createJwksFetcher(url)(signal);

  test('the text comes as it is', async () => {
    expect(await fetchFrom(await serve((_, response) => response.end('{"é":1}')))).toBe('{"é":1}');
  });

  test('a redirect is not followed', async () => {
    let elsewhere = 0;
    const url = await serve((request, response) => {
      if (request.url === '/keys') {
        response.writeHead(302, { Location: '/elsewhere' }).end();
      } else {
        elsewhere += 1;
        response.end('{}');
      }
    });
    await expect(fetchFrom(url)).rejects.toThrow();
    expect(elsewhere).toBe(0);
  });

  test.each([204, 404, 500])('status %d is no set', async status => {
    const url = await serve((_, response) => response.writeHead(status).end());
    await expect(fetchFrom(url)).rejects.toThrow(`status ${status}`);
  });

  test('more than 256 KiB are not read', async () => {
    let written = 0;
    const url = await serve((_, response) => {
      const more = (): void => {
        if (written < 100_000_000 && !response.destroyed) {
          written += 65_536;
          response.write(Buffer.alloc(65_536, 0x20), more);
        }
      };
      more();
    });
    await expect(fetchFrom(url)).rejects.toThrow('larger than 262144 bytes');
    expect(written).toBeLessThan(100_000_000);
  });

  test('an answer that does not come is given up when we stop', async () => {
    const abort = new AbortController();
    const url = await serve(() => {
      abort.abort();
    });
    await expect(fetchFrom(url, abort.signal)).rejects.toThrow(/abort/);
  });
});
