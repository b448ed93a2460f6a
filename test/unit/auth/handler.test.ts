import { BlockList } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createClientRateLimiter } from '../../../src/auth/client-rate-limiter.js';
import { createToken, hashToken } from '../../../src/auth/token.js';
import { UnavailableError } from '../../../src/coherence/errors.js';
import type { Facts, Reader } from '../../../src/coherence/facts/reader.js';
import type { FactTypes } from '../../../src/auth/facts.js';
import { compileHeaders } from '../../../src/auth/header-template.js';
import {
  bytesOf,
  createConnection,
  exchange,
  readAnswer,
  startAuthServer,
  type Answer,
  type AuthServer,
  type Pairs,
} from '../../support/auth-server.js';
import {
  ALICE,
  APP,
  createMemoryReader,
  createWorld,
  route,
  TOKEN,
  type MemoryFacts,
} from '../../support/memory-facts.js';

const servers: AuthServer[] = [];
afterEach(() => Promise.all(servers.splice(0).map(server => server.stop())));

type Options = Parameters<typeof startAuthServer>[0];
async function start(options: Partial<Options> = {}, next?: (path: string) => string): Promise<AuthServer> {
  const server = await startAuthServer({ reader: createMemoryReader(createWorld()), ...options }, next);
  servers.push(server);
  return server;
}

async function exchangeOne(port: number, bytes: string): Promise<Answer> {
  return readAnswer(await exchange(port, bytes), false)!.answer;
}

const BEARER: Pairs = [['Authorization', `Bearer ${TOKEN}`]];
function forward(uri: string, more: Pairs = [], host: string = APP.host): Pairs {
  return [
    ['X-Forwarded-Method', 'GET'],
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Host', host],
    ['X-Forwarded-Uri', uri],
    ...more,
  ];
}
function nginx(uri: string, more: Pairs = []): Pairs {
  return [['X-Original-Method', 'GET'], ['X-Original-URL', `https://${APP.host}${uri}`], ...more];
}
/** A reader that answers as told. */
function readerThat(read: () => never | Promise<never>): Reader<FactTypes> {
  return { read };
}
const forever = (): Promise<never> => new Promise(() => undefined);

describe('the paths', () => {
  test.each(['/internal/auth', '/auth/forward'])('%s reads X-Forwarded-*', async path => {
    const server = await start();
    expect(await server.ask(path, forward('/me', BEARER))).toMatchObject({ status: 200 });
    expect((await server.ask(path, nginx('/me', BEARER))).headers['x-gatebell-reason']).toBe('bad_request');
  });

  test('/auth/nginx reads X-Original-*', async () => {
    const server = await start();
    expect(await server.ask('/auth/nginx', nginx('/me', BEARER))).toMatchObject({ status: 200 });
    expect((await server.ask('/auth/nginx', forward('/me', BEARER))).headers['x-gatebell-reason']).toBe('bad_request');
  });

  test('/auth/haproxy reads X-Forwarded-*, and is asked with HEAD', async () => {
    const server = await start();
    expect(await server.ask('/auth/haproxy', forward('/me', BEARER), 'HEAD')).toMatchObject({
      status: 200,
      headers: { 'remote-user': 'alice' },
    });
    expect(await server.ask('/auth/haproxy', nginx('/me', BEARER), 'HEAD')).toMatchObject({ status: 400 });
  });

  test('/auth/envoy/* is the path itself, and Host the host', async () => {
    const server = await start();
    const ask = (path: string, method = 'GET', more: Pairs = []): Promise<Answer> =>
      exchangeOne(
        server.port,
        `${method} /auth/envoy${path} HTTP/1.1\r\nHost: ${APP.host}\r\nX-Forwarded-Proto: https\r\n` +
          `${more.map(pair => `${pair.join(': ')}\r\n`).join('')}Connection: close\r\n\r\n`,
      );
    expect(await ask('/pub?x=1')).toMatchObject({ status: 200, headers: { 'x-gatebell-reason': 'public' } });
    expect(await ask('/me', 'POST', BEARER)).toMatchObject({ status: 200, headers: { 'remote-user': 'alice' } });
    expect(await ask('/me')).toMatchObject({ status: 401 });
    expect(await ask('/pub/../me')).toMatchObject({ status: 400 });
    const others = forward('/pub').filter(([name]) => name !== 'X-Forwarded-Proto');
    expect(await ask('/forward', 'GET', others)).toMatchObject({ status: 401 });
    expect(await ask('/me', 'GET', [['Accept', 'text/html']])).toMatchObject({ status: 401 });
    expect(await ask('?x=/pub')).toMatchObject({ status: 404 });
    expect(await ask('')).toMatchObject({ status: 404 });
  });

  test('of Envoy is never answered 5xx, which may let through', async () => {
    const server = await start({ reader: readerThat(() => Promise.reject(new UnavailableError('queue_full', 'no'))) });
    const fields = `Host: ${APP.host}\r\nX-Forwarded-Proto: https\r\nConnection: close`;
    const text = `GET /auth/envoy/pub HTTP/1.1\r\n${fields}\r\n\r\n`;
    expect(await exchangeOne(server.port, text)).toMatchObject({
      status: 403,
      headers: { 'x-gatebell-reason': 'unavailable', 'retry-after': '1' },
    });
  });

  test('may have a query, which says nothing', async () => {
    const server = await start();
    const query = '?uri=/pub&X-Forwarded-Uri=/pub&host=x#';
    expect((await server.ask(`/auth/forward${query}`, forward('/me'))).headers['x-gatebell-reason']).toBe(
      'no_credential',
    );
    expect((await server.ask(`/auth/nginx${query}`, nginx('/pub'))).headers['x-gatebell-reason']).toBe('public');
  });

  test.each([
    '/',
    '/internal/auth/',
    '/internal/authx',
    '/auth',
    '/AUTH/forward',
    '//auth/forward',
    '/auth/forward/x',
    '/x?/auth/forward',
  ])('%s is not for the gate: passed on, or 404', async path => {
    const alone = await start();
    const answer = await alone.ask(path, forward('/pub'));
    expect(answer.status).toBe(404);
    expect(answer.headers).not.toHaveProperty('remote-user');

    const mounted = await start({}, url => `passed on ${url}`);
    expect(await mounted.ask(path, forward('/pub'))).toMatchObject({ status: 200, body: `passed on ${path}` });
    expect(mounted.observed).toEqual([]);
  });

  test('the absolute form of an auth path is not one', async () => {
    const server = await start();
    expect((await server.ask('http://gate/auth/forward', forward('/pub'))).status).toBe(404);
  });

  test.each(['HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND'])('%s is answered as GET is', async method => {
    const server = await start();
    const answer = await server.ask('/auth/forward', forward('/me', [...BEARER, ['Content-Length', '0']]), method);
    expect(answer).toMatchObject({ status: 200, headers: { 'remote-user': 'alice' } });
    expect((await server.ask('/auth/forward', forward('/me'), method)).status).toBe(401);
  });
});

describe('the proxy', () => {
  test('that is not trusted is refused before anything is read', async () => {
    const trustedProxies = new BlockList();
    trustedProxies.addSubnet('10.0.0.0', 8);
    const server = await start({ trustedProxies, reader: readerThat(forever), loginUrl: 'https://login.example.com' });
    const more: Pairs = [
      ...BEARER,
      ['X-Forwarded-For', '10.0.0.1'],
      ['X-Real-IP', '10.0.0.1'],
      ['Accept', 'text/html'],
    ];
    const answers = [
      await server.ask('/auth/forward', forward('/pub', more)),
      await server.ask('/auth/nginx', nginx('/pub', more)),
      await server.ask('/auth/forward'),
    ];
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403]);
    expect(answers.map(({ headers }) => headers['x-gatebell-reason'])).toEqual(Array(3).fill('untrusted_proxy'));
    expect(answers.some(({ headers }) => 'remote-user' in headers || 'location' in headers)).toBe(false);
  });

  test('is refused on each request of a connection', async () => {
    const server = await start({ trustedProxies: new BlockList() });
    const connection = createConnection(server.port);
    const bytes = bytesOf('/auth/forward', forward('/pub'), 'GET', 'keep-alive');
    expect([await connection.send(bytes), await connection.send(bytes)].map(answer => answer?.status)).toEqual([
      403, 403,
    ]);
    connection.close();
  });

  test('is told by its connection, for each one', async () => {
    const trustedProxies = new BlockList();
    const server = await start({ trustedProxies });
    expect((await server.ask('/auth/forward', forward('/pub'))).status).toBe(403);
    trustedProxies.addAddress('127.0.0.1');
    expect((await server.ask('/auth/forward', forward('/pub'))).status).toBe(200);
  });
});

describe('a request that cannot be understood', () => {
  const names = forward('/pub').map(([name]) => name);

  test.each(names)('without %s is 400, and never guessed', async missing => {
    const server = await start();
    const rest = forward('/pub', BEARER).filter(([name]) => name !== missing);
    const spares: Pairs = [
      ...rest,
      [missing.replaceAll('-', '_'), '/pub'],
      ['X-Original-URL', `https://${APP.host}/pub`],
    ];
    for (const headers of [rest, spares, [...rest, [missing, ''] as const]]) {
      const answer = await server.ask('/auth/forward', headers);
      expect(answer).toMatchObject({ status: 400, headers: { 'x-gatebell-reason': 'bad_request' } });
      expect(answer.headers).not.toHaveProperty('remote-user');
    }
    expect(server.observed).toContainEqual({
      event: 'bad_request',
      dialect: 'forward',
      peer: '127.0.0.1',
      problem: `header ${missing.toLowerCase()} is missing`,
    });
  });

  test.each([...names, 'Authorization', 'Cookie'])('with %s twice is 400: Node would have joined them', async name => {
    const server = await start();
    const headers = forward('/pub', [...BEARER, ['Cookie', 'a=b']]);
    const again = headers.find(([other]) => other === name)![1];
    expect((await server.ask('/auth/forward', [...headers, [name.toLowerCase(), again]])).status).toBe(400);
  });

  test('is 403 for nginx, which would make a 500 of 400', async () => {
    const server = await start();
    expect(await server.ask('/auth/nginx')).toMatchObject({
      status: 403,
      headers: { 'x-gatebell-reason': 'bad_request' },
    });
  });

  test.each(['WIKI.example.COM', 'wiki.example.com.', 'wiki.example.com:8443', 'Wiki.Example.Com.:1'])(
    'is not one whose host is written %s',
    async host => {
      const server = await start();
      expect((await server.ask('/auth/forward', forward('/pub', [], host))).headers['x-gatebell-app']).toBe('wiki');
    },
  );

  test('is one whose host names two', async () => {
    const server = await start();
    for (const host of [
      `x@${APP.host}`,
      `${APP.host}, other`,
      `other,${APP.host}`,
      `${APP.host}/x`,
      `${APP.host}%00`,
    ]) {
      expect((await server.ask('/auth/forward', forward('/pub', [], host))).status).toBe(400);
    }
  });
});

describe('when the facts cannot be had', () => {
  const failures: readonly (readonly [string, Reader<FactTypes>])[] = [
    [
      'the reader throws',
      readerThat(() => {
        throw new Error('x');
      }),
    ],
    ['the reader rejects', readerThat(() => Promise.reject(new Error('x')))],
    [
      'the reader throws no error',
      readerThat(() => {
        throw undefined;
      }),
    ],
    ['the database is down', readerThat(() => Promise.reject(new UnavailableError('database', 'down')))],
    [
      'too much is waiting',
      readerThat(() => {
        throw new UnavailableError('queue_full', 'full');
      }),
    ],
  ];

  test.each(failures)('%s: 503 with Retry-After, closed', async (_, reader) => {
    const server = await start({ reader });
    const answer = await server.ask('/auth/forward', forward('/pub', BEARER));
    expect(answer).toMatchObject({ status: 503, headers: { 'x-gatebell-reason': 'unavailable', 'retry-after': '1' } });
    expect(answer.headers).not.toHaveProperty('remote-user');
    expect((await server.ask('/auth/nginx', nginx('/pub', BEARER))).status).toBe(403);
    expect(server.observed).toContainEqual(expect.objectContaining({ event: 'decision', decision: 'error' }));
  });

  test('only what is not expected is observed as a failure', async () => {
    const failed: boolean[] = [];
    for (const [, reader] of failures) {
      const server = await start({ reader });
      await server.ask('/auth/forward', forward('/pub'));
      failed.push(server.observed.some(({ event }) => event === 'decision_failed'));
    }
    expect(failed).toEqual([true, true, true, false, false]);
  });

  test('a malformed request is refused all the same', async () => {
    const server = await start({ reader: readerThat(forever) });
    expect((await server.ask('/auth/forward', forward('pub'))).status).toBe(400);
  });
});

describe('an answer that takes a while', () => {
  function slowly(facts: MemoryFacts): { reader: Reader<FactTypes>; release: () => void; asked: Promise<void> } {
    let release = (): void => undefined;
    let tell = (): void => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    const asked = new Promise<void>(resolve => (tell = resolve));
    const memory = createMemoryReader(facts);
    const reader: Reader<FactTypes> = {
      read(question) {
        tell();
        return gate.then(() => memory.read(question));
      },
    };
    return { reader, release: () => release(), asked };
  }

  test('is the same when it comes', async () => {
    const { reader, release, asked } = slowly(createWorld());
    const server = await start({ reader });
    const answer = server.ask('/auth/forward', forward('/me', BEARER));
    await asked;
    release();
    expect(await answer).toMatchObject({ status: 200, headers: { 'remote-user': 'alice' } });
  });

  test('harms nobody when the client has gone meanwhile', async () => {
    const { reader, release, asked } = slowly(createWorld());
    const server = await start({ reader });
    const gone = new Promise(resolve => server.server.once('connection', socket => socket.once('close', resolve)));
    const connection = createConnection(server.port);
    void connection.send(bytesOf('/auth/forward', forward('/me', BEARER), 'GET', 'close'));
    await asked;
    connection.close();
    // A client that closes its side may still read: it is the answer that finds nobody there.
    release();
    await gone;
    expect((await server.ask('/auth/forward', forward('/pub'))).status).toBe(200);
  });
});

test('an answer that cannot be written closes the connection, and the next request is answered', async () => {
  const facts = createWorld();
  facts.set('app', [APP.host], { ...APP, headers: [{ name: 'Bad Name', parts: ['x'] }] });
  const server = await start({ reader: createMemoryReader(facts) });
  const connection = createConnection(server.port);
  expect(await connection.send(bytesOf('/auth/forward', forward('/me', BEARER), 'GET', 'keep-alive'))).toBeNull();
  expect((await connection.send(bytesOf('/auth/forward', forward('/me'), 'GET', 'keep-alive')))?.status).toBe(401);
  connection.close();
  expect(server.observed.map(({ event }) => event)).toContain('decision_failed');
});

test('each answer is observed once, with its reason and how long it took', async () => {
  const server = await start();
  await server.ask('/auth/forward', forward('/me', BEARER));
  await server.ask('/auth/nginx', nginx('/me'));
  expect(server.observed).toEqual([
    {
      event: 'decision',
      decision: 'allow',
      reason: 'authenticated',
      dialect: 'forward',
      durationMs: expect.any(Number),
    },
    { event: 'decision', decision: 'deny', reason: 'no_credential', dialect: 'nginx', durationMs: expect.any(Number) },
  ]);
});

test('a change of the facts is seen by the next request, on the same connection', async () => {
  const facts = createWorld();
  const server = await start({ reader: createMemoryReader(facts) });
  const connection = createConnection(server.port);
  const ask = async (): Promise<string | undefined> =>
    (await connection.send(bytesOf('/auth/forward', forward('/x', BEARER), 'GET', 'keep-alive')))?.headers[
      'x-gatebell-reason'
    ];
  expect(await ask()).toBe('granted');
  facts.set('user', [ALICE.id], { ...ALICE, enabled: false });
  expect(await ask()).toBe('disabled_user');
  connection.close();
});

test('a token in a cookie of the configured name opens, of another name does not', async () => {
  const server = await start({ cookieName: 'session' });
  const reason = async (cookie: string): Promise<string | undefined> =>
    (await server.ask('/auth/forward', forward('/me', [['Cookie', cookie]]))).headers['x-gatebell-reason'];
  expect(await reason(`session=${TOKEN}`)).toBe('authenticated');
  expect(await reason(`gatebell=${TOKEN}`)).toBe('no_credential');
  expect(await reason(`session=${createToken()}`)).toBe('bad_credential');
});

describe('when too many requests wait for facts', () => {
  /** Facts of the grant are not known until they are let come. */
  function slowReader(): { reader: Reader<FactTypes>; facts: MemoryFacts; comes: () => void } {
    const facts = createWorld();
    let open!: () => void;
    const here = new Promise<void>(resolve => {
      open = resolve;
    });
    facts.forget('grant');
    const reader: Reader<FactTypes> = {
      read(question) {
        const outcome = question(facts);
        if ('answer' in outcome && !outcome.strong) {
          return outcome.answer;
        }
        return here.then(() => createMemoryReader(facts).read(question));
      },
    };
    const comes = (): void => {
      facts.set('grant', [ALICE.id, APP.id], { role: 'user', expiresAtMs: null });
      open();
    };
    return { reader, facts, comes };
  }
  const reasonOf = ({ status, headers }: Answer): string => `${status} ${headers['x-gatebell-reason']}`;

  test('those beyond get 503 at once, what memory can answer is answered, and afterwards all is well', async () => {
    const { reader, comes } = slowReader();
    const server = await start({ reader, waitingMax: 2 });
    const early = [
      server.ask('/auth/forward', forward('/x', BEARER)),
      server.ask('/auth/forward', forward('/x', BEARER)),
    ];
    await expect.poll(() => server.observed.at(-1)).toEqual({ event: 'waiting', requests: 2 });
    const late = await server.ask('/auth/forward', forward('/x', BEARER));
    expect(reasonOf(late)).toBe('503 unavailable');
    expect(late.headers['retry-after']).toBe('1');
    expect(server.observed).toContainEqual({ event: 'shed' });
    expect(reasonOf(await server.ask('/auth/forward', forward('/pub')))).toBe('200 public');
    comes();
    expect((await Promise.all(early)).map(reasonOf)).toEqual(['200 granted', '200 granted']);
    expect(server.observed.filter(({ event }) => event === 'waiting').at(-1)).toEqual({
      event: 'waiting',
      requests: 0,
    });
    expect(reasonOf(await server.ask('/auth/forward', forward('/x', BEARER)))).toBe('200 granted');
  });

  test('a strong answer is not given from memory either', async () => {
    const { reader, facts } = slowReader();
    const server = await start({ reader, waitingMax: 0 });
    facts.set('route', [APP.id], { routes: [route('/', 'public', { strong: true })], problem: null });
    expect(reasonOf(await server.ask('/auth/forward', forward('/x')))).toBe('503 unavailable');
  });
});

describe('a proxy with a secret', () => {
  const SECRET = 'shared-with-the-proxies';
  const reasonOf = ({ status, headers }: Answer): string => `${status} ${headers['x-gatebell-reason']}`;

  test('shows it once, in every request', async () => {
    const server = await start({ proxySecret: SECRET });
    const ask = async (...more: Pairs): Promise<string> =>
      reasonOf(await server.ask('/auth/forward', forward('/me', [...BEARER, ...more])));
    const refused = '403 untrusted_proxy';
    expect(await ask(['X-Gatebell-Secret', SECRET])).toBe('200 authenticated');
    expect(await ask(['x-gatebell-secret', SECRET])).toBe('200 authenticated');
    expect(await ask()).toBe(refused);
    expect(await ask(['X-Gatebell-Secret', ''])).toBe(refused);
    expect(await ask(['X-Gatebell-Secret', `${SECRET}x`])).toBe(refused);
    expect(await ask(['X-Gatebell-Secret', SECRET.slice(1)])).toBe(refused);
    expect(await ask(['X_Gatebell_Secret', SECRET])).toBe(refused);
    expect(await ask(['X-Gatebell-Secret', SECRET], ['X-Gatebell-Secret', SECRET])).toBe(refused);
  });

  test('must have an address of ours as well', async () => {
    const server = await start({ proxySecret: SECRET, trustedProxies: new BlockList() });
    expect(reasonOf(await server.ask('/auth/forward', forward('/pub', [['X-Gatebell-Secret', SECRET]])))).toBe(
      '403 untrusted_proxy',
    );
  });
});

describe('a source that asks in vain', () => {
  const reasonOf = ({ status, headers }: Answer): string => `${status} ${headers['x-gatebell-reason']}`;
  const from = (address: string): Pairs => [['X-Forwarded-For', address]];
  /** Every question goes to Postgres first, but for those that `remembered` says are in memory. */
  function askingReader(facts: MemoryFacts, remembered: (topic: keyof FactTypes) => boolean): Reader<FactTypes> {
    return {
      read(question) {
        const memory: Facts<FactTypes> = {
          ...facts,
          get: (topic, key) => (remembered(topic) ? facts.get(topic, key) : undefined),
        };
        const outcome = question(memory);
        return 'answer' in outcome
          ? outcome.answer
          : Promise.resolve().then(() => createMemoryReader(facts).read(question));
      },
    };
  }

  test('gets 503 for what memory cannot answer, and others are not held up', async () => {
    let isRemembered = false;
    const reader = askingReader(createWorld(), () => isRemembered);
    const server = await start({ reader, limiter: createClientRateLimiter({ burst: 3, nowMs: () => 0 }) });
    const forged = (): Pairs => [['Authorization', `Bearer ${createToken()}`]];
    const ask = async (credential: Pairs, address: string): Promise<string> =>
      reasonOf(await server.ask('/auth/forward', forward('/me', [...credential, ...from(address)])));

    expect(await ask(BEARER, '192.0.2.1')).toBe('200 authenticated');
    for (let i = 0; i < 3; i++) {
      expect(await ask(forged(), '192.0.2.1')).toBe('401 bad_credential');
    }
    expect(await ask(forged(), '192.0.2.1')).toBe('503 unavailable');
    expect(server.observed).toContainEqual({ event: 'limited', dialect: 'forward' });
    expect(await ask(BEARER, '192.0.2.1')).toBe('503 unavailable');
    expect(await ask(BEARER, '192.0.2.2')).toBe('200 authenticated');
    expect(await ask(BEARER, 'unknown')).toBe('200 authenticated');
    isRemembered = true;
    expect(await ask(BEARER, '192.0.2.1')).toBe('200 authenticated');
  });

  describe('is charged for paths that take much work', () => {
    const COSTLY: readonly string[] = [
      `/me/${'%2e%2e%2f;x=%5c'.repeat(60)}`,
      `/me/${'%252e'.repeat(400)}`,
      `/me/${'a;b%5C.%2F'.repeat(200)}`,
      `/${'x'.repeat(3_000)}%20`,
    ];
    const ORDINARY: readonly string[] = [
      '/me',
      `/me/${'folder/'.repeat(300)}`,
      `/me/${encodeURIComponent('Äpfel und Birnen (2026).jpg')}`,
      `/me/${'A%20name%20with%20blanks/'.repeat(20)}x.pdf`,
      '/pub/@scope%2fpackage/-/package-1.0.0.tgz',
    ];

    test.each(COSTLY)('and gets 503 for more of them than it may have: %.30s', async path => {
      const server = await start({ limiter: createClientRateLimiter({ burst: 3, nowMs: () => 0 }) });
      const ask = async (uri: string, address: string, more: Pairs = []): Promise<string> =>
        reasonOf(await server.ask('/auth/forward', forward(uri, [...from(address), ...more])));

      for (let i = 0; i < 3; i++) {
        expect(await ask(path, '192.0.2.1')).not.toContain('503');
      }
      expect(await ask(path, '192.0.2.1')).toBe('503 unavailable');
      expect(server.observed).toContainEqual({ event: 'limited', dialect: 'forward' });
      expect(await ask('/me', '192.0.2.1', BEARER)).toBe('200 authenticated');
      expect(await ask(path, '192.0.2.2')).not.toContain('503');
      // A user who is known is a client of their own.
      expect(await ask(path, '192.0.2.1', BEARER)).not.toContain('503');
    });

    test.each(ORDINARY)('but never for ordinary ones: %.30s', async path => {
      const server = await start({ limiter: createClientRateLimiter({ burst: 1, nowMs: () => 0 }) });
      for (let i = 0; i < 20; i++) {
        expect(reasonOf(await server.ask('/auth/forward', forward(path, [...from('192.0.2.1'), ...BEARER])))).toMatch(
          /^200/,
        );
      }
    });
  });

  test('is not charged for what is there, however it ends', async () => {
    const facts = createWorld();
    facts.set('grant', [ALICE.id, APP.id], null);
    const server = await start({
      reader: askingReader(facts, () => false),
      limiter: createClientRateLimiter({ burst: 1, nowMs: () => 0 }),
    });
    for (let i = 0; i < 5; i++) {
      expect(reasonOf(await server.ask('/auth/forward', forward('/x', [...BEARER, ...from('192.0.2.1')])))).toBe(
        '403 no_grant',
      );
    }
  });

  test('is charged for hosts that nobody has, also below a wildcard', async () => {
    const facts = createWorld();
    facts.set('app', ['*.preview.example.com'], { ...APP, host: '*.preview.example.com' });
    const server = await start({
      reader: askingReader(facts, () => false),
      limiter: createClientRateLimiter({ burst: 2, nowMs: () => 0 }),
    });
    const ask = async (host: string): Promise<string> =>
      reasonOf(await server.ask('/auth/forward', forward('/x', from('192.0.2.1'), host)));
    expect(await ask('made-up.example.com')).toBe('403 unknown_app');
    expect(await ask('made-up.preview.example.com')).toBe('401 no_credential');
    expect(await ask('another.preview.example.com')).toBe('503 unavailable');
  });

  test('is not charged for what is allowed: hundreds of hosts below a wildcard, a strong route there', async () => {
    const facts = createWorld();
    facts.set('app', ['*.preview.example.com'], { ...APP, host: '*.preview.example.com' });
    const server = await start({
      reader: askingReader(facts, () => false),
      limiter: createClientRateLimiter({ burst: 3, nowMs: () => 0 }),
    });
    for (let at = 0; at < 300; at += 1) {
      const path = ['/pub', '/strong', '/me'][at % 3]!;
      const answer = await server.ask(
        '/auth/forward',
        forward(path, [...from('192.0.2.1'), ...BEARER], `h${at}.preview.example.com`),
      );
      expect(answer.status, path).toBe(200);
    }
  });

  test('that is a user whose credential is known is not charged for others, nor others for the user', async () => {
    const facts = createWorld();
    facts.set('app', ['*.preview.example.com'], { ...APP, host: '*.preview.example.com' });
    const server = await start({
      reader: askingReader(facts, topic => topic === 'credential'),
      limiter: createClientRateLimiter({ burst: 2, nowMs: () => 0 }),
    });
    const ask = async (host: string, more: Pairs = []): Promise<string> =>
      reasonOf(await server.ask('/auth/forward', forward('/x', [...from('192.0.2.1'), ...more], host)));
    expect(await ask('a.example.com')).toBe('403 unknown_app');
    expect(await ask('b.example.com')).toBe('403 unknown_app');
    // Behind the same balancer: a scanner is held back, and so is who presents what nobody knows.
    expect(await ask('c.example.com')).toBe('503 unavailable');
    expect(await ask('c.example.com', [['Authorization', `Bearer ${createToken()}`]])).toBe('503 unavailable');
    expect(await ask(APP.host, BEARER)).toBe('200 granted');
    // The user's own made-up hosts are the user's.
    expect(await ask('d.example.com', BEARER)).toBe('403 unknown_app');
    expect(await ask('e.example.com', BEARER)).toBe('403 unknown_app');
    expect(await ask('f.example.com', BEARER)).toBe('503 unavailable');
    facts.set('credential', [hashToken(TOKEN)], { userId: ALICE.id, appId: null, revoked: true, expiresAtMs: null });
    expect(await ask(APP.host, BEARER)).toBe('503 unavailable');
  });
});

describe('what the app is to have of the credential', () => {
  const server = (): Promise<AuthServer> => start({ stripCredentials: true });
  const SESSION = `gatebell=${TOKEN}`;
  const left = async (...more: Pairs): Promise<readonly (string | undefined)[]> => {
    const { status, headers } = await (await server()).ask('/auth/forward', forward('/pub', more));
    expect(status).toBe(200);
    return [headers['cookie'], headers['authorization']];
  };

  test('is nothing: all but the credential is given back to the proxy', async () => {
    expect(await left()).toEqual(['', '']);
    expect(await left(['Cookie', SESSION])).toEqual(['', '']);
    expect(await left(['Cookie', `a=1; ${SESSION}; b="x=y"`], ...BEARER)).toEqual(['a=1; b="x=y"', '']);
    expect(await left(['Cookie', `${SESSION};${SESSION} ; gatebell=; gatebell ; a`])).toEqual(['a', '']);
    expect(await left(['Cookie', `gatebells=1; Gatebell=2; x=gatebell=3`])).toEqual([
      'gatebells=1; Gatebell=2; x=gatebell=3',
      '',
    ]);
    expect(await left(['Authorization', 'Basic YTpi'])).toEqual(['', 'Basic YTpi']);
    expect(await left(['Authorization', 'Bearer of-the-app'], ['Cookie', 'a=1'])).toEqual(['a=1', 'Bearer of-the-app']);
    for (const authorization of [
      `bearer   ${TOKEN}x `,
      TOKEN,
      `Bearer ${TOKEN} x`,
      `Bearer x, ${TOKEN}`,
      `Token t="${TOKEN}"`,
    ]) {
      expect(await left(['Authorization', authorization]), authorization).toEqual(['', '']);
    }
  });

  test('gives way to an Authorization that the app is given by a template', async () => {
    const facts = createWorld();
    facts.set('app', [APP.host], { ...APP, headers: compileHeaders({ Authorization: 'Basic YTpi' }) });
    const gate = await start({ reader: createMemoryReader(facts), stripCredentials: true });
    for (const more of [[], BEARER, [['Authorization', 'Basic b3RoZXI=']]] as const) {
      expect((await gate.ask('/auth/forward', forward('/pub', more))).headers['authorization']).toBe('Basic YTpi');
    }
  });

  test('is not told unless it is asked for, nor with a refusal', async () => {
    const plain = await start();
    const { headers } = await plain.ask('/auth/forward', forward('/pub', [['Cookie', 'a=1']]));
    expect(headers).not.toHaveProperty('cookie');
    const refused = await (await server()).ask('/auth/forward', forward('/me', [['Cookie', 'a=1']]));
    expect(refused.status).toBe(401);
    expect(refused.headers).not.toHaveProperty('cookie');
  });

  test('is of this request, also on a connection that is kept', async () => {
    const { port } = await server();
    const connection = createConnection(port);
    const ask = async (cookie: string): Promise<unknown> => {
      const pairs = forward('/me', [...BEARER, ['Cookie', cookie]]);
      return (await connection.send(bytesOf('/auth/forward', pairs, 'GET', 'keep-alive')))?.headers['cookie'];
    };
    expect([await ask('a=1'), await ask(SESSION), await ask('b=2'), await ask(SESSION)]).toEqual([
      'a=1',
      '',
      'b=2',
      '',
    ]);
    connection.close();
  });
});

test.each([403, 404] as const)('an unknown host can be %s, and is 403 for nginx', async unknownAppStatus => {
  const server = await start({ unknownAppStatus });
  const answer = await server.ask('/auth/forward', forward('/pub', [], 'other.example.com'));
  expect([answer.status, answer.headers['x-gatebell-reason']]).toEqual([unknownAppStatus, 'unknown_app']);
  const asked = nginx('/pub').map(([name, value]) => [name, value.replace(APP.host, 'other.example.com')] as const);
  expect((await server.ask('/auth/nginx', asked)).status).toBe(403);
});
