/** The face for Express, in real Express 5 applications over facts in a map. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Express, type Request } from 'express';
import { afterEach, describe, expect, expectTypeOf, test } from 'vitest';
import type { AuthObservation, DeciderOptions } from '../../src/auth/decider.js';
import { createToken } from '../../src/auth/token.js';
import { UnavailableError } from '../../src/coherence/errors.js';
import { accessOf, forwardAuth, requireAccess, type Access, type RequireAccessOptions } from '../../src/express.js';
import { bytesOf, exchange, readAnswer, type Answer, type Pairs } from '../support/auth-server.js';
import { ALICE, APP, createMemoryReader, createWorld, TOKEN, type MemoryFacts } from '../support/memory-facts.js';

const BEARER: Pairs = [['Authorization', `Bearer ${TOKEN}`]];
const COOKIE: Pairs = [['Cookie', `other=1; gatebell=${TOKEN}`]];
const BROWSER: Pairs = [['Sec-Fetch-Mode', 'navigate']];
const servers: Server[] = [];
let observed: AuthObservation[] = [];

afterEach(() => {
  observed = [];
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

type Ask = (path: string, headers?: Pairs, method?: string) => Promise<Answer>;

async function serve(app: Express): Promise<Ask> {
  const server = app.listen(0, '127.0.0.1');
  servers.push(server);
  await new Promise(resolve => server.once('listening', resolve));
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  return async (path, headers = [], method = 'GET') =>
    readAnswer(await exchange(port, bytesOf(path, headers, method, 'close')), method === 'HEAD')!.answer;
}

const gatebell = (facts: MemoryFacts = createWorld()): Parameters<typeof requireAccess>[0] => ({
  reader: createMemoryReader(facts),
  observe: observation => observed.push(observation),
});

/** An application whose every page shows who is asking. */
function protectedApp(
  options: Partial<RequireAccessOptions> = {},
  given: Parameters<typeof requireAccess>[0] = gatebell(),
): Express {
  const app = express();
  app.use(requireAccess(given, { app: APP.host, ...options }));
  app.use((request, response) => {
    response.json(accessOf(request));
  });
  return app;
}

const alice = { id: '7', name: 'alice', email: ALICE.email, displayName: 'Alice A.', groups: ['staff', 'wiki'] };

describe('requireAccess', () => {
  test.each([
    ['a bearer', BEARER],
    ['the session cookie', COOKIE],
  ])('lets a user with a grant in by %s, and says who it is', async (_, headers) => {
    const ask = await serve(protectedApp());
    const { status, body } = await ask('/page?x=1', headers);
    expect([status, JSON.parse(body)]).toEqual([200, { app: 'wiki', reason: 'granted', user: alice, role: 'user' }]);
    expect(observed).toEqual([
      { event: 'decision', decision: 'allow', reason: 'granted', dialect: 'express', durationMs: expect.any(Number) },
    ]);
  });

  test.each([
    ['/me', { app: 'wiki', reason: 'authenticated', user: alice, role: null }],
    ['/pub/page', { app: 'wiki', reason: 'public', user: null, role: null }],
  ])('%s is decided by its own rule', async (path, access) => {
    const ask = await serve(protectedApp());
    expect(JSON.parse((await ask(path, BEARER)).body)).toEqual(access);
  });

  test.each<[string, string, Pairs, number, string]>([
    ['nobody', '/', [], 401, 'no_credential'],
    ['a made-up token', '/', [['Authorization', `Bearer ${createToken()}`]], 401, 'bad_credential'],
    ['the wrong role', '/roles', BEARER, 403, 'role_required'],
    ['a path that can be read in two ways', '/pub/../me', BEARER, 400, 'bad_request'],
    ['a URL of another form', 'http://any.test/pub', BEARER, 400, 'bad_request'],
    ['two cookie headers', '/', [...COOKIE, ...COOKIE], 400, 'bad_request'],
    ['a very long URL', `/${'a'.repeat(9_000)}`, BEARER, 414, 'uri_too_long'],
  ])('%s is refused with the reason', async (_, path, headers, status, reason) => {
    const ask = await serve(protectedApp());
    const answer = await ask(path, headers);
    expect(answer).toMatchObject({
      status,
      headers: { 'x-gatebell-reason': reason, 'cache-control': 'no-store' },
      body: `gatebell: ${reason}\n`,
    });
    expect(answer.headers['www-authenticate']).toBe(status === 401 ? 'Bearer realm="gatebell"' : undefined);
    expect(observed).toContainEqual(expect.objectContaining({ event: 'decision', reason, dialect: 'express' }));
    expect(observed.some(({ event }) => event === 'bad_request')).toBe(status === 400 || status === 414);
  });

  test('an app that is not there, or disabled, is 403', async () => {
    const facts = createWorld();
    const there = await serve(protectedApp({}, gatebell(facts)));
    const elsewhere = await serve(protectedApp({ app: 'nowhere.example.com' }, gatebell(facts)));
    expect((await elsewhere('/', BEARER)).headers['x-gatebell-reason']).toBe('unknown_app');
    facts.set('app', [APP.host], { ...APP, enabled: false });
    expect((await there('/pub', BEARER)).headers['x-gatebell-reason']).toBe('disabled_app');
  });

  test('what cannot be decided is 503, with when to come again; the application is not asked', async () => {
    const reader = { read: () => Promise.reject(new UnavailableError('queue_full', 'no')) };
    const ask = await serve(protectedApp({}, { reader }));
    expect(await ask('/pub', BEARER)).toMatchObject({
      status: 503,
      headers: { 'x-gatebell-reason': 'unavailable', 'retry-after': '1' },
    });
  });

  test('so is what fails in an unforeseen way, and it is reported', async () => {
    const facts = createWorld();
    facts.forget('grant');
    const ask = await serve(protectedApp({}, gatebell(facts)));
    expect((await ask('/', BEARER)).status).toBe(503);
    expect(observed).toContainEqual({ event: 'decision_failed', error: new Error('a fact is lacking') });
  });

  test('a decision that waits goes on to the application as well', async () => {
    const memory = createMemoryReader(createWorld());
    const reader: typeof memory = { read: question => Promise.resolve(memory.read(question)) };
    const ask = await serve(protectedApp({}, { reader }));
    expect((await ask('/', BEARER)).status).toBe(200);
  });

  test('what is wrong in the application behind it is the error of the application', async () => {
    const app = express();
    app.set('env', 'test');
    app.use(requireAccess(gatebell(), { app: APP.host }));
    app.get('/', () => {
      throw new Error('mine');
    });
    const ask = await serve(app);
    expect((await ask('/', BEARER)).status).toBe(500);
    expect(observed.filter(({ event }) => event === 'decision_failed')).toEqual([]);
  });

  test('no header of a proxy counts, nor Host', async () => {
    const ask = await serve(protectedApp());
    const claims: Pairs = [
      ['X-Forwarded-Host', 'pub.example.com'],
      ['X-Forwarded-Uri', '/pub'],
      ['X-Original-URL', `https://${APP.host}/pub`],
      ['X-Forwarded-Method', 'OPTIONS'],
      ['Remote-User', 'alice'],
      ['X-Rewrite-URL', '/pub'],
    ];
    expect((await ask('/page', claims)).status).toBe(401);
    expect((await ask('/page', [...claims, ...BEARER])).status).toBe(200);
  });
});

describe('the path that is judged', () => {
  test('is the one that was sent, also in a mounted router', async () => {
    const router = express.Router();
    router.use(requireAccess(gatebell(), { app: APP.host }));
    router.get('/admin', (_, response) => {
      response.send('the admin page');
    });
    router.get('/page', (_, response) => {
      response.send('a page');
    });
    const app = express();
    app.use('/pub', router);
    const ask = await serve(app);
    expect((await ask('/pub/page')).body).toBe('a page');
    expect((await ask('/pub/admin')).status).toBe(401);
    expect((await ask('/pub/admin', BEARER)).headers['x-gatebell-reason']).toBe('role_required');
  });

  test('may not be spelt so that Express reads it otherwise', async () => {
    const app = express();
    app.use(requireAccess(gatebell(), { app: APP.host }));
    app.get('/pub/admin', (_, response) => {
      response.send('the admin page');
    });
    const ask = await serve(app);
    for (const path of ['/pub/ADMIN', '/PUB/admin', '/pub/admin/', '/pub//admin', '/pub/%61dmin', '/pub/admin?/pub']) {
      expect((await ask(path)).body, path).not.toBe('the admin page');
    }
  });
});

describe('a browser that opens a page', () => {
  test('is sent to sign in, with the address to return to', async () => {
    const ask = await serve(protectedApp({ loginUrl: 'https://login.example.com/?x=1' }));
    const { status, headers } = await ask('/page?a=1&b=2', BROWSER);
    expect(status).toBe(302);
    expect(headers['location']).toBe(
      `https://login.example.com/?x=1&rd=${encodeURIComponent(`https://${APP.host}/page?a=1&b=2`)}`,
    );
    expect((await ask('/page', [['Sec-Fetch-Mode', 'cors']])).status).toBe(401);
    expect((await ask('/page', BROWSER, 'POST')).status).toBe(401);
  });

  test('returns to the origin that was given, not to the one that the request claims', async () => {
    const ask = await serve(protectedApp({ loginUrl: 'https://login.example.com/', origin: 'http://localhost:3000' }));
    const headers: Pairs = [...BROWSER, ['X-Forwarded-Host', 'evil.test'], ['X-Forwarded-Proto', 'ftp']];
    const rd = encodeURIComponent('http://localhost:3000/page');
    expect((await ask('/page', headers)).headers['location']).toBe(`https://login.example.com/?rd=${rd}`);
  });

  test('without a login page gets 401', async () => {
    const ask = await serve(protectedApp());
    expect(await ask('/', BROWSER)).toMatchObject({ status: 401 });
  });
});

describe('a client that asks for what does not exist', () => {
  const flood = async (ask: Ask, address: string): Promise<string[]> => {
    const reasons: string[] = [];
    for (let times = 0; times < 3; times++) {
      const headers: Pairs = [
        ['Authorization', `Bearer ${createToken()}`],
        ['X-Forwarded-For', address],
      ];
      reasons.push((await ask('/', headers)).headers['x-gatebell-reason']!);
    }
    return reasons;
  };
  const limited = (): DeciderOptions => {
    const seen: string[] = [];
    const memory = createMemoryReader(createWorld());
    return {
      // Every question goes to Postgres.
      reader: {
        read: question =>
          memory.read(facts => {
            question({ ...facts, get: () => undefined });
            return question(facts);
          }),
      },
      limiter: {
        admit(source) {
          seen.push(source);
          return seen.filter(one => one === source).length > 1 ? null : { release: () => undefined };
        },
      },
    };
  };

  test('is charged to the address that the trust proxy setting of the application says', async () => {
    const app = protectedApp({}, limited());
    app.set('trust proxy', 'loopback');
    const ask = await serve(app);
    expect(await flood(ask, '192.0.2.1')).toEqual(['bad_credential', 'unavailable', 'unavailable']);
    expect(await flood(ask, '192.0.2.2')).toEqual(['bad_credential', 'unavailable', 'unavailable']);
  });

  test('is charged to nobody where a proxy on this machine is all that is known', async () => {
    const ask = await serve(protectedApp({}, limited()));
    expect(await flood(ask, '192.0.2.1')).toEqual(['bad_credential', 'bad_credential', 'bad_credential']);
  });
});

describe('options', () => {
  test.each([
    [{ app: 'wiki.example.com:443' }, /^app must be/],
    [{ app: 'not a host' }, /^app must be/],
    [{ app: APP.host, origin: 'wiki.example.com' }, /^origin must be/],
    [{ app: APP.host, origin: 'https://wiki.example.com/path' }, /^origin must be/],
    [{ app: APP.host, origin: 'https://alice@wiki.example.com' }, /^origin must be/],
  ])('%j is refused', (options, message) => {
    expect(() => requireAccess(gatebell(), options)).toThrow(message);
  });

  test('a route that no requireAccess protects has no access to show', () => {
    expect(() => accessOf({})).toThrow('no requireAccess()');
    expectTypeOf(accessOf).returns.toEqualTypeOf<Access>();
    expectTypeOf<Request['gatebell']>().toEqualTypeOf<Access | undefined>();
    expectTypeOf<Access['user']>().toExtend<{ readonly name: string } | null>();
  });
});

describe('forwardAuth', () => {
  const FORWARD: Pairs = [
    ['X-Forwarded-Method', 'GET'],
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Host', APP.host],
    ['X-Forwarded-Uri', '/page'],
  ];
  const forwardApp = (trustedProxies: string, mount = '/'): Express => {
    const app = express();
    app.use(mount, forwardAuth(gatebell(), { trustedProxies }));
    app.use((_, response) => {
      response.send('the application');
    });
    return app;
  };

  test('answers the auth paths, and hands on all others', async () => {
    const ask = await serve(forwardApp('127.0.0.1, 10.0.0.0/8'));
    expect(await ask('/auth/forward', [...FORWARD, ...BEARER])).toMatchObject({
      status: 200,
      headers: { 'remote-user': 'alice', 'x-gatebell-role': 'user' },
    });
    expect((await ask('/internal/auth', FORWARD)).status).toBe(401);
    expect((await ask('/auth/nginx', FORWARD)).headers['x-gatebell-reason']).toBe('bad_request');
    expect((await ask('/auth/haproxy', [...FORWARD, ...BEARER])).status).toBe(200);
    expect((await ask('/auth/Forward', FORWARD)).body).toBe('the application');
  });

  test('can be mounted below a path', async () => {
    const ask = await serve(forwardApp('127.0.0.1', '/gate'));
    expect((await ask('/gate/auth/forward', [...FORWARD, ...BEARER])).status).toBe(200);
    expect((await ask('/auth/forward', [...FORWARD, ...BEARER])).body).toBe('the application');
  });

  test('is for trusted proxies alone, whatever Express trusts', async () => {
    const app = forwardApp('192.0.2.1');
    app.set('trust proxy', true);
    const ask = await serve(app);
    const answer = await ask('/auth/forward', [...FORWARD, ...BEARER, ['X-Forwarded-For', '192.0.2.1']]);
    expect([answer.status, answer.headers['x-gatebell-reason']]).toEqual([403, 'untrusted_proxy']);
  });

  test('refuses proxies that are no addresses', () => {
    expect(() => forwardAuth(gatebell(), { trustedProxies: '0.0.0.0/0' })).toThrow(/would trust everybody/);
  });
});
