import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hashToken } from '../../../src/auth/token.js';
import { compileHeaders } from '../../../src/auth/header-template.js';
import type { FactTypes } from '../../../src/auth/facts.js';
import {
  bytesOf,
  createConnection,
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

const IDENTITY = ['remote-user', 'remote-name', 'remote-email', 'remote-groups', 'x-gatebell-app', 'x-gatebell-role'];
const LOGIN = 'https://login.example.com/sign-in';

let facts: MemoryFacts;
const servers: AuthServer[] = [];
let plain: AuthServer;
let withLogin: AuthServer;

beforeAll(async () => {
  const reader = {
    read: (question => createMemoryReader(facts).read(question)) as ReturnType<typeof createMemoryReader>['read'],
  };
  plain = await startAuthServer({ reader });
  withLogin = await startAuthServer({ reader, loginUrl: LOGIN });
  servers.push(plain, withLogin);
});
beforeEach(() => {
  facts = createWorld();
});
afterAll(() => Promise.all(servers.map(server => server.stop())));

const BEARER: Pairs = [['Authorization', `Bearer ${TOKEN}`]];
const HTML: Pairs = [['Accept', 'text/html']];
interface Asked {
  readonly uri?: string;
  readonly host?: string;
  readonly proto?: string;
  readonly method?: string;
  readonly more?: Pairs;
}
function forward(
  server: AuthServer,
  { uri = '/x', host = APP.host, proto = 'https', method = 'GET', more = [] }: Asked,
): Promise<Answer> {
  return server.ask('/auth/forward', [
    ['X-Forwarded-Method', method],
    ['X-Forwarded-Proto', proto],
    ['X-Forwarded-Host', host],
    ['X-Forwarded-Uri', uri],
    ...more,
  ]);
}
function nginx(server: AuthServer, uri: string, more: Pairs = []): Promise<Answer> {
  return server.ask('/auth/nginx', [
    ['X-Original-Method', 'GET'],
    ['X-Original-URL', `https://${APP.host}${uri}`],
    ...more,
  ]);
}
function identity({ headers }: Answer): readonly (string | undefined)[] {
  return IDENTITY.map(name => headers[name]);
}
function setUser(change: Partial<FactTypes['user']>): void {
  facts.set('user', [ALICE.id], { ...ALICE, ...change });
}

describe('an allowed request carries the whole identity, empty where there is none', () => {
  test.each<[string, string, readonly string[]]>([
    ['granted', '/x', ['alice', 'Alice A.', 'alice@example.com', 'staff,wiki', 'wiki', 'user']],
    ['authenticated', '/me', ['alice', 'Alice A.', 'alice@example.com', 'staff,wiki', 'wiki', '']],
    ['public', '/pub', ['', '', '', '', 'wiki', '']],
  ])('%s', async (reason, uri, expected) => {
    for (const answer of [await forward(plain, { uri, more: BEARER }), await nginx(plain, uri, BEARER)]) {
      expect(answer).toMatchObject({
        status: 200,
        body: '',
        headers: { 'x-gatebell-reason': reason, 'cache-control': 'no-store' },
      });
      expect(identity(answer)).toEqual(expected);
    }
  });

  test('also of a user of whom only the name is known', async () => {
    setUser({ email: '', displayName: '', groups: [] });
    expect(identity(await forward(plain, { more: BEARER }))).toEqual(['alice', '', '', '', 'wiki', 'user']);
  });

  test('whatever identity headers the client made up, none comes back', async () => {
    const forged: Pairs = IDENTITY.map(name => [name, 'mallory']);
    expect(identity(await forward(plain, { uri: '/pub', more: forged }))).toEqual(['', '', '', '', 'wiki', '']);
  });
});

describe('on a connection that is kept', () => {
  let connection: ReturnType<typeof createConnection>;
  beforeEach(() => {
    connection = createConnection(plain.port);
  });
  afterEach(() => {
    connection.close();
  });

  /** The same question three times: answers after the first are given from what is remembered of it. */
  async function ask(): Promise<Answer> {
    const headers: Pairs = [
      ['X-Forwarded-Method', 'GET'],
      ['X-Forwarded-Proto', 'https'],
      ['X-Forwarded-Host', APP.host],
      ['X-Forwarded-Uri', '/x'],
      ...BEARER,
    ];
    const answers: (Answer | null)[] = [];
    for (let times = 0; times < 3; times++) {
      answers.push(await connection.send(bytesOf('/auth/forward', headers, 'GET', 'keep-alive')));
    }
    const apart = answers.map(answer => ({ ...answer, headers: { ...answer?.headers, date: '' } }));
    expect(apart).toEqual([apart[0], apart[0], apart[0]]);
    expect(apart[0]!.headers).toMatchObject({ connection: 'keep-alive' });
    return answers[0]!;
  }

  test('what is remembered of an answer is of no use once any fact is another', async () => {
    const allowed = async (): Promise<readonly (string | undefined)[]> => identity(await ask());
    expect(await allowed()).toEqual(identity(await forward(plain, { more: BEARER })));
    // The grant is the same object in all of these.
    setUser({ email: 'alice@example.org' });
    expect((await allowed())[2]).toBe('alice@example.org');
    facts.set('app', [APP.host], { ...APP, name: 'notes' });
    expect((await allowed())[4]).toBe('notes');
    facts.set('route', [APP.id], { routes: [route('/', 'authenticated')], problem: null });
    expect((await allowed())[5]).toBe('');
    facts.set('route', [APP.id], {
      routes: [route('/', 'grant', { headers: compileHeaders({ 'X-Who': '{{user.name}}' }) })],
      problem: null,
    });
    expect((await ask()).headers['x-who']).toBe('alice');
    facts.set('grant', [ALICE.id, APP.id], { role: 'admin', expiresAtMs: null });
    expect((await allowed())[5]).toBe('admin');
    facts.set('grant', [ALICE.id, APP.id], null);
    expect(await ask()).toMatchObject({ status: 403, headers: { 'x-gatebell-reason': 'no_grant' } });
  });
});

test('refusals on kept connections are those of new ones, whichever came before', async () => {
  const notFound = await startAuthServer({ reader: createMemoryReader(facts), unknownAppStatus: 404 });
  servers.push(notFound);
  facts.set('grant', [ALICE.id, APP.id], null);
  const target = (uri: string, host: string): Pairs => [
    ['X-Forwarded-Method', 'GET'],
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Host', host],
    ['X-Forwarded-Uri', uri],
    ['X-Original-Method', 'GET'],
    ['X-Original-URL', `https://${host}${uri}`],
  ];
  const asked = ['/auth/forward', '/auth/nginx', '/auth/haproxy'].flatMap(path =>
    [
      [...target('/x', APP.host), ...BEARER],
      target('/x', APP.host),
      [...target('/x', APP.host), ...HTML],
      target('/x', 'other.example.com'),
      target('x', APP.host),
      target(`/${'x'.repeat(9_000)}`, APP.host),
    ].flatMap(headers => ['GET', 'HEAD'].map(method => ({ path, headers, method }))),
  );
  for (const { port } of [plain, withLogin, notFound]) {
    const kept = createConnection(port);
    const reasons = new Set<string | undefined>();
    for (const { path, headers, method } of [...asked, ...asked.toReversed(), ...asked]) {
      const apart = (answer: Answer | null): unknown => ({
        ...answer,
        headers: { ...answer?.headers, date: '', connection: '', 'keep-alive': '' },
      });
      const answer = await kept.send(bytesOf(path, headers, method, 'keep-alive'));
      expect(answer?.headers['connection']).toBe('keep-alive');
      reasons.add(answer?.headers['x-gatebell-reason']);
      const fresh = createConnection(port);
      expect(apart(answer)).toEqual(apart(await fresh.send(bytesOf(path, headers, method, 'close'))));
      fresh.close();
    }
    kept.close();
    expect(reasons).toEqual(new Set(['bad_request', 'no_credential', 'no_grant', 'unknown_app', 'uri_too_long']));
  }
});

test('a refusal tells nobody', async () => {
  facts.set('grant', [ALICE.id, APP.id], null);
  const refused = [
    await forward(plain, { more: BEARER }),
    await forward(plain, {}),
    await forward(plain, { uri: 'x' }),
    await forward(plain, { host: 'other.example.com' }),
  ];
  expect(refused.map(({ headers }) => headers['x-gatebell-reason'])).toEqual([
    'no_grant',
    'no_credential',
    'bad_request',
    'unknown_app',
  ]);
  for (const answer of refused) {
    expect(identity(answer)).toEqual(IDENTITY.map(() => undefined));
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.headers['x-content-type-options']).toBe('nosniff');
    expect(answer.body).toBe(`gatebell: ${answer.headers['x-gatebell-reason']}\n`);
    expect(answer.body + JSON.stringify({ ...answer.headers, date: '' })).not.toMatch(/alice|12/i);
  }
});

describe('values', () => {
  test('that are not ASCII are percent-encoded UTF-8', async () => {
    setUser({ name: 'zoë', displayName: ' 100% 日本 ', email: 'a\r\nX-Evil: 1@b', groups: ['ä', 'b c'] });
    const answer = await forward(plain, { more: BEARER });
    expect(identity(answer).slice(0, 4)).toEqual([
      'zo%C3%AB',
      '%20100%25 %E6%97%A5%E6%9C%AC%20',
      'a%0D%0AX-Evil: 1@b',
      '%C3%A4,b c',
    ]);
    expect(answer.headers).not.toHaveProperty('x-evil');
  });

  test('survive HTTP, whatever they are', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ maxLength: 20 })),
        async text => {
          setUser({ name: text, displayName: text + ' ', email: ' ' + text });
          const [name, displayName, email] = identity(await forward(plain, { more: BEARER }));
          expect([name, displayName, email].map(value => decodeURIComponent(value!))).toEqual([
            text,
            text + ' ',
            ' ' + text,
          ]);
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('templates', () => {
  test('of the app are on each of its answers, empty where nobody is known', async () => {
    facts.set('app', [APP.host], {
      ...APP,
      headers: compileHeaders({ 'X-WebAuth-User': '{{user.name}}', 'X-App': '{{app.name}}' }),
    });
    expect((await forward(plain, { more: BEARER })).headers).toMatchObject({
      'x-webauth-user': 'alice',
      'x-app': 'wiki',
    });
    expect((await forward(plain, { uri: '/pub', more: BEARER })).headers).toMatchObject({
      'x-webauth-user': '',
      'x-app': 'wiki',
    });
    expect((await forward(plain, {})).headers).not.toHaveProperty('x-webauth-user');
  });

  test('of the rule come on top, and replace the app’s of the same name in whatever case', async () => {
    facts.set('app', [APP.host], { ...APP, headers: compileHeaders({ 'X-Role': 'app', 'X-Only-App': '1' }) });
    const headers = compileHeaders({ 'x-ROLE': '{{grant.role}}', 'X-Only-Route': '{{user.id}}' });
    facts.set('route', [APP.id], { problem: null, routes: [route('/x', 'grant', { headers })] });
    expect((await forward(plain, { more: BEARER })).headers).toMatchObject({
      'x-role': 'user',
      'x-only-app': '1',
      'x-only-route': '7',
    });
    expect((await forward(plain, { uri: '/y', more: BEARER })).headers).toMatchObject({ 'x-role': 'app' });
  });

  test('of one name in two cases are one header', async () => {
    facts.set('app', [APP.host], { ...APP, headers: compileHeaders({ 'X-A': '1', 'x-a': '2' }) });
    expect((await forward(plain, { more: BEARER })).headers['x-a']).toBe('2');
  });
});

describe('who is not signed in', () => {
  const rd = (location: string | undefined): string | null => new URL(location!).searchParams.get('rd');

  test('is told with 401 and how, where there is no login page', async () => {
    for (const answer of [await forward(plain, { more: HTML }), await nginx(plain, '/x', HTML)]) {
      expect(answer).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer realm="gatebell"' } });
      expect(answer.headers).not.toHaveProperty('location');
    }
  });

  test('is sent to the login page if it is a browser that navigates, and comes back to the same address', async () => {
    const answer = await forward(withLogin, {
      uri: '/a%20b?x=1&y=/%2e%2e',
      proto: 'wss',
      host: 'WIKI.example.com.:8443',
      more: HTML,
    });
    expect(answer.status).toBe(302);
    expect(answer.headers).not.toHaveProperty('www-authenticate');
    expect(answer.headers['location']).toMatch(/^https:\/\/login\.example\.com\/sign-in\?rd=/);
    expect(rd(answer.headers['location'])).toBe('https://wiki.example.com:8443/a%20b?x=1&y=/%2e%2e');
  });

  test.each<[string, Asked]>([
    ['a script', { more: [...HTML, ['X-Requested-With', 'XMLHttpRequest']] }],
    ['a fetch', { more: [...HTML, ['Sec-Fetch-Mode', 'cors']] }],
    ['a form', { method: 'POST', more: HTML }],
    ['a program', {}],
  ])('%s gets 401 and is told where the login page is', async (_, asked) => {
    const answer = await forward(withLogin, asked);
    expect(answer.status).toBe(401);
    expect(answer.headers).toHaveProperty('www-authenticate');
    expect(rd(answer.headers['location'])).toBe('https://wiki.example.com/x');
  });

  test('gets 401 by nginx, which would make a 500 of 302', async () => {
    const answer = await nginx(withLogin, '/x', HTML);
    expect(answer.status).toBe(401);
    expect(rd(answer.headers['location'])).toBe('https://wiki.example.com/x');
  });

  test.each(['bad', 'expired'])('is sent to the login page with a credential that is %s', async kind => {
    facts.set(
      'credential',
      [hashToken(TOKEN)],
      kind === 'bad' ? null : { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: 1 },
    );
    expect(await forward(withLogin, { more: [...HTML, ...BEARER] })).toMatchObject({
      status: 302,
      headers: { 'x-gatebell-reason': `${kind}_credential` },
    });
  });

  test('is never sent to return to a host that is not registered', async () => {
    for (const host of ['evil.example', 'wiki.example.com.evil.example', 'wiki.example.com@evil.example']) {
      const answer = await forward(withLogin, { host, more: HTML });
      expect([400, 403]).toContain(answer.status);
      expect(answer.headers).not.toHaveProperty('location');
    }
    for (const uri of [
      '//evil.example/x',
      '/\\evil.example',
      '/@evil.example',
      '/%0d%0aLocation: x',
      '/x?rd=https://evil.example',
    ]) {
      const { headers } = await forward(withLogin, { uri, more: HTML });
      const back = headers['location'] === undefined ? null : new URL(rd(headers['location'])!).host;
      expect([null, 'wiki.example.com']).toContain(back);
    }
  });

  test('is sent to return to the host as it is registered, not as it is claimed', async () => {
    facts.set('app', ['alias.example.com'], APP);
    const answer = await forward(withLogin, { host: 'alias.example.com', more: HTML });
    expect(rd(answer.headers['location'])).toBe('https://wiki.example.com/x');
  });

  test('keeps the query of the login page', async () => {
    const server = await startAuthServer({ reader: createMemoryReader(facts), loginUrl: `${LOGIN}?tenant=1` });
    servers.push(server);
    const location = new URL((await forward(server, { more: HTML })).headers['location']!);
    expect(Object.fromEntries(location.searchParams)).toEqual({ tenant: '1', rd: 'https://wiki.example.com/x' });
  });
});

test('who is signed in and may not is never sent to sign in', async () => {
  facts.set('grant', [ALICE.id, APP.id], null);
  const answer = await forward(withLogin, { more: [...HTML, ...BEARER] });
  expect(answer.status).toBe(403);
  expect(answer.headers).not.toHaveProperty('location');
  expect(answer.headers).not.toHaveProperty('www-authenticate');
});

test('nginx hears 200, 401 and 403 and nothing else, the reason is told as it is', async () => {
  const heard = new Map<string | undefined, number>();
  const note = ({ headers, status }: Answer): Map<string | undefined, number> =>
    heard.set(headers['x-gatebell-reason'], status);
  note(await nginx(withLogin, '/pub'));
  note(await nginx(withLogin, '/x', BEARER));
  note(await nginx(withLogin, '/x', HTML));
  note(await nginx(withLogin, '/pub/%2e%2e/me'));
  note(await nginx(withLogin, '/roles', BEARER));
  facts.forget('app');
  note(await nginx(withLogin, '/x'));
  expect(Object.fromEntries(heard)).toEqual({
    public: 200,
    granted: 200,
    no_credential: 401,
    bad_request: 403,
    role_required: 403,
    unavailable: 403,
  });
});
