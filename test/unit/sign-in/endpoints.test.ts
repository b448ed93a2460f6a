/**
 * The endpoints on a real server, over https as the proxy tells it, with a provider and sessions that do as they are
 * told.
 */
import { BlockList, type AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createClientRateLimiter } from '../../../src/auth/client-rate-limiter.js';
import { createToken } from '../../../src/auth/token.js';
import { UnavailableError } from '../../../src/coherence/errors.js';
import { createHttpServer } from '../../../src/http/server.js';
import { createAdmission, type Admission } from '../../../src/sign-in/admission.js';
import { createSignInEndpoints, createSignInPage } from '../../../src/sign-in/endpoints.js';
import { createFlowSealer, type Flow } from '../../../src/sign-in/flow.js';
import { SignInRefused } from '../../../src/sign-in/refusal.js';
import type { Identity } from '../../../src/sign-in/sessions.js';
import type { SignInObservation, SignInOptions } from '../../../src/sign-in/shared.js';
import { bytesOf, exchange, readAnswer, type Answer, type Pairs } from '../../support/auth-server.js';

const HOST = 'wiki.example.com';
const CENTRAL = { host: 'auth.example.com', cookieDomain: 'example.com' };
const APPS = new Set([HOST, 'photos.example.com', 'evil.example.org']);
const ALICE: Identity = { issuer: 'https://id.test', subject: 'sub-1', name: 'alice' };
const sealer = createFlowSealer('the secret of the client', 'test');

const OPEN: Admission = { enter: () => ({ leave: () => undefined }) };
const servers: Server[] = [];
let observed: SignInObservation[];
let redeemed: Flow[];
let begun: string[];
let apps: (string | null)[];
let ended: string[];
/** Tokens of sessions that count. */
let valid: Set<string>;

interface Site {
  ask(path: string, headers?: Pairs, method?: string): Promise<Answer>;
  /** A sign-in that is under way: its cookie, and the callback's path. */
  begin(rd?: string): Promise<{ cookie: string; callback: string; flow: Flow }>;
}

async function start(options: Partial<SignInOptions> = {}, host: string = HOST): Promise<Site> {
  const handle = createSignInEndpoints({
    isTrusted: () => true,
    admission: OPEN,
    callbackAdmission: OPEN,
    findApp: asked => Promise.resolve(APPS.has(asked) ? '3' : null),
    isSignedIn: tokens => Promise.resolve(tokens.some(token => valid.has(token))),
    provider: {
      authorizationUrl: ({ state }) => Promise.resolve(new URL(`https://id.test/auth?state=${state}`)),
      redeem(_, flow) {
        redeemed.push(flow);
        return Promise.resolve(ALICE);
      },
      endSessionUrl: () => new URL('https://id.test/end?client_id=gate'),
      start: () => undefined,
      stop: () => undefined,
    },
    sealer,
    sessions: {
      begin(identity, appId, ends) {
        begun.push(identity.name);
        ended.push(...ends);
        apps.push(appId);
        return Promise.resolve({ token: createToken(), credentialId: '5', userId: '7' });
      },
      end(token) {
        ended.push(token);
        return Promise.resolve('4');
      },
    },
    sessionCookie: 'gatebell',
    sessionHours: 24,
    central: null,
    observe: observation => observed.push(observation),
    ...options,
  });
  const server = createHttpServer(handle);
  servers.push(server);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  const site: Site = {
    async ask(path, headers = proxied(host), method = 'GET') {
      const bytes = bytesOf(path, headers, method, 'close');
      return readAnswer(await exchange(port, bytes), method === 'HEAD')!.answer;
    },
    async begin(rd = `https://${HOST}/page?x=1`) {
      const { status, headers } = await site.ask(`/_gatebell/login?rd=${encodeURIComponent(rd)}`);
      expect(status).toBe(303);
      const cookie = headers['set-cookie']!.split('\n').at(-1)!.split(';')[0]!;
      const flow = await sealer.open(cookie.slice(cookie.indexOf('=') + 1));
      return { cookie, callback: `/_gatebell/callback?code=c&state=${flow!.state}`, flow: flow! };
    },
  };
  return site;
}

function proxied(host: string, more: Pairs = [], proto = 'https'): Pairs {
  return [['X-Forwarded-Host', host], ['X-Forwarded-Proto', proto], ...more];
}

const cookiesOf = ({ headers }: Answer): string[] => headers['set-cookie']?.split('\n') ?? [];

beforeEach(() => {
  observed = [];
  redeemed = [];
  begun = [];
  apps = [];
  ended = [];
  valid = new Set();
});

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

describe('login', () => {
  test('sends to the provider, and seals what must be the same afterwards into a cookie of this host', async () => {
    const site = await start();
    const answer = await site.ask(`/_gatebell/login?rd=https%3A%2F%2F${HOST}%2Fpage`);
    const [cookie] = cookiesOf(answer);
    expect(cookie).toMatch(
      /^__Host-gatebell_flow_[\w-]{16}=[\w.-]+; Path=\/; Max-Age=600; Secure; HttpOnly; SameSite=Lax$/,
    );
    const flow = await sealer.open(cookie!.split(/[=;]/)[1]!);
    expect(flow).toMatchObject({
      redirectUri: `https://${HOST}/_gatebell/callback`,
      returnTo: `https://${HOST}/page`,
    });
    expect(answer).toMatchObject({
      status: 303,
      body: '',
      headers: {
        location: expect.stringMatching(`^https://id\\.test/auth\\?state=${flow!.state}\\.[\\w.-]+$`) as string,
        'cache-control': 'no-store',
        'referrer-policy': 'no-referrer',
      },
    });
    expect(new Set([flow!.state, flow!.nonce, flow!.codeVerifier]).size).toBe(3);
  });

  test('by hand leads to the front page', async () => {
    const site = await start();
    const [cookie] = cookiesOf(await site.ask('/_gatebell/login'));
    expect((await sealer.open(cookie!.split(/[=;]/)[1]!))?.returnTo).toBe(`https://${HOST}/`);
  });

  test.each([
    'https://evil.com/',
    '//evil.com',
    '/page',
    '',
    `http://${HOST}/`,
    `https://${HOST}:8443/`,
    'https://photos.example.com/',
    `https://${HOST}@evil.com/`,
    `https://${HOST}/_gatebell/login`,
  ])('does not begin for rd=%s, and does not lead there', async rd => {
    const site = await start();
    const answer = await site.ask(`/_gatebell/login?rd=${encodeURIComponent(rd)}`);
    expect(answer.status).toBe(400);
    expect(answer.headers).not.toHaveProperty('location');
    expect(cookiesOf(answer)).toEqual([]);
    expect(observed).toEqual([{ event: 'sign_in_refused', reason: 'bad_return_address', detail: null }]);
  });

  test('does not begin with two of it, nor on a host that is no app', async () => {
    const site = await start();
    const rd = `rd=https%3A%2F%2F${HOST}%2F`;
    expect((await site.ask(`/_gatebell/login?${rd}&${rd}`)).status).toBe(400);
    expect((await site.ask('/_gatebell/login', proxied('unknown.example.com'))).status).toBe(404);
  });

  test('removes the oldest of many that are under way', async () => {
    const site = await start();
    const many = Array.from({ length: 6 }, (_, index) => `__Host-gatebell_flow_${index}=x`).join('; ');
    const cookies = cookiesOf(await site.ask('/_gatebell/login', proxied(HOST, [['Cookie', many]])));
    expect(cookies.slice(0, -1).map(cookie => cookie.split(';')[0])).toEqual([
      '__Host-gatebell_flow_1=',
      '__Host-gatebell_flow_0=',
    ]);
  });
});

describe('callback', () => {
  test('begins a session in a cookie, ends the flow, and leads to where the browser wanted to go', async () => {
    const site = await start();
    const { cookie, callback, flow } = await site.begin();
    const answer = await site.ask(callback, proxied(HOST, [['Cookie', `theme=dark; ${cookie}`]]));
    expect(answer).toMatchObject({ status: 303, headers: { location: `https://${HOST}/page?x=1` } });
    expect(cookiesOf(answer)).toEqual([
      `${cookie.split('=')[0]!}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax`,
      expect.stringMatching(/^gatebell=gb_\w{49}; Path=\/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax$/),
      expect.stringMatching(
        /^__Host-gatebell_arrival=[\w-]{11}\.[\w-]{11}\.1; Path=\/; Max-Age=20; Secure; HttpOnly; SameSite=Lax$/,
      ),
    ]);
    expect([redeemed, begun]).toEqual([[flow], ['alice']]);
    expect(observed).toEqual([{ event: 'sign_in', userId: '7', credentialId: '5' }]);
  });

  test('over http the cookies are not for https alone, or they would not come back', async () => {
    const site = await start();
    const login = await site.ask('/_gatebell/login', proxied(`${HOST}:8080`, [], 'http'));
    const cookie = cookiesOf(login)[0]!.split(';')[0]!;
    expect(cookie).toMatch(/^gatebell_flow_/);
    const flow = await sealer.open(cookie.split('=')[1]!);
    expect(flow?.redirectUri).toBe(`http://${HOST}:8080/_gatebell/callback`);
    const done = await site.ask(
      `/_gatebell/callback?state=${flow!.state}`,
      proxied(`${HOST}:8080`, [['Cookie', cookie]], 'http'),
    );
    expect(done.status).toBe(303);
    expect(cookiesOf(done).join()).not.toContain('Secure');
  });

  test('ends the sessions that the browser had before', async () => {
    const site = await start();
    const { cookie, callback } = await site.begin();
    const [one, other] = [createToken(), createToken()];
    const sent = `gatebell=${one}; ${cookie}; gatebell=${other}; gatebell=gb_no_token`;
    await site.ask(callback, proxied(HOST, [['Cookie', sent]]));
    expect(ended).toEqual([one, other]);
  });

  test('looks at the address again: an app that is gone meanwhile is not returned to', async () => {
    let isThere = true;
    const site = await start({
      findApp: host => Promise.resolve(host === HOST && isThere ? '3' : null),
      central: null,
    });
    const { cookie, callback } = await site.begin();
    isThere = false;
    const answer = await site.ask(callback, proxied(HOST, [['Cookie', cookie]]));
    expect(answer.status).toBe(404);
    expect([redeemed, begun]).toEqual([[], []]);
  });

  test('does not follow an address that was sealed for another purpose than this host', async () => {
    const site = await start();
    const { flow } = await site.begin();
    const sealed = await sealer.seal({ ...flow, returnTo: 'https://evil.com/' });
    const cookie = `__Host-gatebell_flow_${flow.state.slice(0, 16)}=${sealed}`;
    const answer = await site.ask(`/_gatebell/callback?state=${flow.state}`, proxied(HOST, [['Cookie', cookie]]));
    expect(answer.status).toBe(400);
    expect(begun).toEqual([]);
  });

  test('is refused without the cookie, with that of another state, and on another host', async () => {
    const site = await start();
    const { cookie, callback } = await site.begin();
    const other = await site.begin();
    const name = cookie.split('=')[0]!;
    for (const [path, headers] of [
      [callback, proxied(HOST)],
      [callback, proxied(HOST, [['Cookie', `${name}=${other.cookie.slice(other.cookie.indexOf('=') + 1)}`]])],
      [callback, proxied('photos.example.com', [['Cookie', cookie]])],
      [callback, proxied(`${HOST}:8443`, [['Cookie', cookie]])],
      [`${callback}x`, proxied(HOST, [['Cookie', cookie]])],
      ['/_gatebell/callback?code=c', proxied(HOST, [['Cookie', cookie]])],
      ['/_gatebell/callback', proxied(HOST, [['Cookie', cookie]])],
    ] as const) {
      expect((await site.ask(path, headers)).status, path).toBe(400);
      expect(observed.at(-1), path).toEqual({ event: 'sign_in_refused', reason: 'bad_flow', detail: null });
    }
    expect([redeemed, begun]).toEqual([[], []]);
  });

  test.each([
    ['provider_refused', 403],
    ['bad_provider_answer', 400],
    ['no_user_name', 403],
  ] as const)('when the provider’s answer is refused as %s, the flow is over', async (reason, status) => {
    const site = await start();
    const { cookie, callback } = await site.begin();
    const refusing = await start({
      provider: { ...providerThat(() => Promise.reject(new SignInRefused(reason, 'said so'))) },
    });
    const answer = await refusing.ask(callback, proxied(HOST, [['Cookie', cookie]]));
    expect(answer.status).toBe(status);
    expect(cookiesOf(answer)).toEqual([expect.stringContaining(`${cookie.split('=')[0]!}=; Path=/; Max-Age=0`)]);
    expect(observed).toEqual([{ event: 'sign_in_refused', reason, detail: 'said so' }]);
  });

  test('when the provider or Postgres is away, it is 503, and the flow may be tried again', async () => {
    const site = await start();
    const { cookie, callback } = await site.begin();
    const away = await start({
      provider: providerThat(() => Promise.reject(new SignInRefused('provider_unavailable'))),
    });
    const failing = await start({
      sessions: { begin: () => Promise.reject(new Error('connection lost')), end: () => Promise.resolve(null) },
    });
    const waiting = await start({
      findApp: () => Promise.reject(new UnavailableError('queue_full', 'too many wait')),
    });
    for (const one of [away, failing, waiting]) {
      const answer = await one.ask(callback, proxied(HOST, [['Cookie', cookie]]));
      expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
      expect(cookiesOf(answer)).toEqual([]);
      expect(answer.body).not.toContain('connection lost');
    }
    expect(observed.map(({ event }) => event)).toEqual([
      'sign_in_refused',
      'sign_in_failed',
      'sign_in_refused',
      'sign_in_refused',
    ]);
  });

  test('asks the provider about one flow five times at most', async () => {
    let asked = 0;
    const site = await start({
      provider: providerThat(() => {
        asked += 1;
        return Promise.reject(new SignInRefused('provider_unavailable'));
      }),
    });
    const { cookie, callback } = await site.begin();
    const statuses: number[] = [];
    for (let times = 0; times < 8; times++) {
      statuses.push((await site.ask(callback, proxied(HOST, [['Cookie', cookie]]))).status);
    }
    expect(statuses).toEqual([503, 503, 503, 503, 503, 400, 400, 400]);
    expect(asked).toBe(5);
  });

  test('of many that wait for the provider, those too many are asked to come later; then there is room', async () => {
    const waiting: (() => void)[] = [];
    let isFull: () => void = () => undefined;
    const full = new Promise<void>(resolve => {
      isFull = resolve;
    });
    const site = await start({
      provider: providerThat(
        () =>
          new Promise(resolve => {
            waiting.push(() => {
              resolve(ALICE);
            });
            if (waiting.length === 4) {
              isFull();
            }
          }),
      ),
      callbackAdmission: createAdmission(createClientRateLimiter(), new BlockList(), {
        visitsMax: 4,
        visitsOfSourceMax: 4,
      }),
    });
    const { cookie, callback } = await site.begin();
    const come = (): Promise<Answer> => site.ask(callback, proxied(HOST, [['Cookie', cookie]]));
    const patient = Array.from({ length: 4 }, come);
    await full;
    expect((await come()).status).toBe(503);
    waiting.splice(0).forEach(go => {
      go();
    });
    expect((await Promise.all(patient)).map(({ status }) => status)).toEqual(Array(4).fill(303));
    const last = come();
    while (waiting.length === 0) {
      await new Promise(setImmediate);
    }
    waiting[0]!();
    expect((await last).status).toBe(303);
  });
});

function providerThat(redeem: SignInOptions['provider']['redeem']): SignInOptions['provider'] {
  return {
    authorizationUrl: ({ state }) => Promise.resolve(new URL(`https://id.test/auth?state=${state}`)),
    redeem,
    endSessionUrl: () => null,
    start: () => undefined,
    stop: () => undefined,
  };
}

describe('logout', () => {
  test('asks first: a link alone signs nobody out', async () => {
    const site = await start();
    const token = createToken();
    const answer = await site.ask('/_gatebell/logout', proxied(HOST, [['Cookie', `gatebell=${token}`]]));
    expect(answer.status).toBe(200);
    expect(answer.body).toContain('<form method="post">');
    expect(answer.headers).toMatchObject({
      'referrer-policy': 'same-origin',
      'content-security-policy': expect.stringContaining("form-action 'self';") as string,
    });
    expect([ended, cookiesOf(answer)]).toEqual([[], []]);
  });

  test('ends the session, removes the cookie and leads on to the provider', async () => {
    const site = await start();
    const token = createToken();
    const headers = proxied(HOST, [
      ['Cookie', `gatebell=${token}`],
      ['Origin', `https://${HOST}`],
      ['Content-Length', '0'],
    ]);
    const answer = await site.ask('/_gatebell/logout', headers, 'POST');
    // A redirect would be held against form-action, and so would all those that the provider answers with.
    expect(answer.status).toBe(200);
    expect(answer.headers).not.toHaveProperty('location');
    expect(answer.body).toContain('You are signed out.');
    expect(answer.body).toContain('<meta http-equiv="refresh" content="0; url=https://id.test/end?client_id=gate">');
    expect(answer.body).toContain('<a href="https://id.test/end?client_id=gate">');
    expect(cookiesOf(answer)).toEqual([
      'gatebell=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax',
      '__Host-gatebell_arrival=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax',
    ]);
    expect(ended).toEqual([token]);
    expect(observed).toEqual([{ event: 'sign_out', credentialId: '4' }]);
  });

  test('ends four sessions at most, whatever a browser sends, and tells of those that were there', async () => {
    const site = await start({
      sessions: {
        begin: () => Promise.reject(new Error('none begins')),
        end(token) {
          ended.push(token);
          return Promise.resolve(ended.length === 1 ? '4' : null);
        },
      },
    });
    const tokens = Array.from({ length: 50 }, createToken);
    const cookies = [...tokens, ...tokens].map(token => `gatebell=${token}`).join('; ');
    const headers = proxied(HOST, [
      ['Cookie', cookies],
      ['Origin', `https://${HOST}`],
    ]);
    expect((await site.ask('/_gatebell/logout', headers, 'POST')).status).toBe(200);
    expect(ended).toEqual(tokens.slice(0, 4));
    expect(observed).toEqual([{ event: 'sign_out', credentialId: '4' }]);
  });

  test('says so on a page where the provider has none for it', async () => {
    const site = await start({ provider: providerThat(() => Promise.resolve(ALICE)) });
    const answer = await site.ask('/_gatebell/logout', proxied(HOST, [['Sec-Fetch-Site', 'same-origin']]), 'POST');
    expect(answer.status).toBe(200);
    expect(answer.body).toContain('You are signed out.');
    expect(answer.body).not.toMatch(/refresh|href/);
    expect(cookiesOf(answer)).toHaveLength(2);
  });

  test.each([
    [],
    [['Origin', 'null']],
    [['Origin', 'https://evil.com']],
    [['Origin', `http://${HOST}`]],
    [['Origin', `https://${HOST}:8443`]],
    [['Origin', 'https://photos.example.com']],
    [['Origin', `https://${HOST}, https://${HOST}`]],
    [['Sec-Fetch-Site', 'same-site']],
    [['Sec-Fetch-Site', 'cross-site']],
    [['Sec-Fetch-Site', 'none']],
    [['Origin', `https://${HOST}`], ['Sec-Fetch-Site', 'cross-site']], // prettier-ignore
    [['Origin', 'https://evil.com'], ['Sec-Fetch-Site', 'same-origin']], // prettier-ignore
    [['Origin', `https://${HOST}`], ['Origin', `https://${HOST}`]], // prettier-ignore
  ] as const)('by a form of another site does nothing: %j', async (...more) => {
    const site = await start();
    const headers = proxied(HOST, [['Cookie', `gatebell=${createToken()}`], ...(more as unknown as Pairs)]);
    const answer = await site.ask('/_gatebell/logout', headers, 'POST');
    expect([400, 403]).toContain(answer.status);
    expect([ended, cookiesOf(answer)]).toEqual([[], []]);
  });
});

describe('a browser that is signed in already', () => {
  const WANTED = `https://${HOST}/page?x=1`;
  const login = `/_gatebell/login?rd=${encodeURIComponent(WANTED)}`;
  const withCookies = (...cookies: readonly string[]): Pairs => proxied(HOST, [['Cookie', cookies.join('; ')]]);
  const session = (): string => {
    const token = createToken();
    valid.add(token);
    return `gatebell=${token}`;
  };

  test('is sent on by the login page, without a flow', async () => {
    const site = await start();
    const answer = await site.ask(login, withCookies(session()));
    expect(answer).toMatchObject({ status: 303, headers: { location: WANTED } });
    expect(cookiesOf(answer)).toEqual([expect.stringMatching(/^__Host-gatebell_arrival=/)]);
    const stale = await site.ask(login, withCookies(`gatebell=${createToken()}`));
    expect(stale.headers['location']).toContain('https://id.test/auth');
  });

  test.each([
    ['the flow was used', true],
    ['other tabs took the place of the flow', true],
    ['the address is too long to go along', false],
  ])('is sent on by the callback when %s', async (_, goesAlong) => {
    const site = await start();
    const wanted = `https://${HOST}/page?${'x'.repeat(goesAlong ? 300 : 600)}`;
    const begun_ = await site.ask(`/_gatebell/login?rd=${encodeURIComponent(wanted)}`);
    const state = new URL(begun_.headers['location']!).searchParams.get('state')!;
    const callback = `/_gatebell/callback?code=c&state=${state}`;
    const answer = await site.ask(callback, withCookies(session()));
    expect(answer).toMatchObject({ status: 303, headers: { location: goesAlong ? wanted : `https://${HOST}/` } });
    expect([redeemed, begun, ended]).toEqual([[], [], []]);
    // A browser without a session gets a page that leads to the app, where it starts over.
    const refused = await site.ask(callback);
    expect(refused.status).toBe(400);
    expect(refused.body).toContain(`<a href="${goesAlong ? wanted : `https://${HOST}/`}">`);
  });

  test('is not sent to an address that was sealed by somebody else, or is of another app', async () => {
    const site = await start();
    const state = 'a'.repeat(43);
    const foreign = await createFlowSealer('another secret', 'test').sealAddress('https://evil.com/');
    const other = await sealer.sealAddress('https://photos.example.com/');
    const flow = await sealer.seal({
      state,
      nonce: '',
      codeVerifier: '',
      redirectUri: '',
      returnTo: 'https://evil.com/',
    });
    for (const [sealed, location] of [
      [foreign, `https://${HOST}/`],
      [flow, `https://${HOST}/`],
      [other, undefined],
      [await sealer.sealAddress('https://evil.com/'), undefined],
    ] as const) {
      const answer = await site.ask(`/_gatebell/callback?code=c&state=${state}.${sealed}`, withCookies(session()));
      expect(answer.headers['location'], sealed).toBe(location);
    }
  });

  test('and has a flow as well gets a new session all the same: planting the other gains nothing', async () => {
    const site = await start();
    const { cookie, callback } = await site.begin();
    const planted = session();
    await site.ask(callback, withCookies(planted, cookie));
    expect([begun, ended]).toEqual([['alice'], [planted.split('=')[1]]]);
  });

  test('many tabs at once: all of them end where they wanted to go', async () => {
    const site = await start();
    const jar = new Map<string, string>();
    const ask = async (path: string): Promise<Answer> => {
      const answer = await site.ask(path, withCookies(...[...jar].map(([name, value]) => `${name}=${value}`)));
      for (const cookie of cookiesOf(answer)) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie)!;
        if (value === '') {
          jar.delete(name!);
        } else {
          jar.set(name!, value!);
          valid.add(value!);
        }
      }
      return answer;
    };
    const pages = Array.from({ length: 9 }, (_, index) => `https://${HOST}/tab/${index}`);
    const callbacks: string[] = [];
    for (const page of pages) {
      const { headers } = await ask(`/_gatebell/login?rd=${encodeURIComponent(page)}`);
      callbacks.push(`/_gatebell/callback?code=c&state=${new URL(headers['location']!).searchParams.get('state')!}`);
    }
    const [newest, ...others] = callbacks.map((callback, index) => [callback, pages[index]!] as const).toReversed();
    for (const [callback, page] of [newest!, ...others]) {
      expect((await ask(callback)).headers['location']).toBe(page);
    }
    // The back button, and once more.
    for (const callback of [callbacks[0]!, callbacks[0]!, callbacks[8]!]) {
      expect((await ask(callback)).status).toBe(303);
    }
  });

  test('but whose app does not get the session is told so, and of which cookie, and can go on', async () => {
    const site = await start();
    const { cookie, callback } = await site.begin(WANTED);
    const done = await site.ask(callback, withCookies(cookie));
    const arrival = cookiesOf(done).at(-1)!.split(';')[0]!;
    for (const [sent, says] of [
      [[arrival], 'does not send the cookie gatebell'],
      [[arrival, 'gatebell=x'], 'A cookie gatebell is in the way'],
      [[arrival, `gatebell=${createToken()}`, `gatebell=${createToken()}`], 'A cookie gatebell is in the way'],
    ] as const) {
      const answer = await site.ask(login, withCookies(...sent));
      expect(answer.status).toBe(409);
      expect(answer.body).toContain(says);
      expect(answer.body).toContain(`<a href="${WANTED}">`);
      expect(cookiesOf(answer)).toEqual([
        '__Host-gatebell_arrival=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax',
      ]);
    }
    expect(observed.at(-1)).toMatchObject({ event: 'sign_in_refused', reason: 'cookie_in_the_way' });
    // A session that does come back, and has ended meanwhile, is no riddle.
    const own = cookiesOf(done)
      .map(each => each.split(';')[0]!)
      .find(each => each.startsWith('gatebell=gb_'))!;
    expect((await site.ask(login, withCookies(arrival, own))).headers['location']).toContain('https://id.test/auth');
    expect((await site.ask(login)).headers['location']).toContain('https://id.test/auth');
  });

  test('and is sent back again and again, as the app sees another session, is told so after a few times', async () => {
    const site = await start();
    const cookie = session();
    let arrival = '';
    const statuses: number[] = [];
    for (let turn = 0; turn < 7; turn++) {
      const answer = await site.ask(login, withCookies(cookie, arrival));
      statuses.push(answer.status);
      arrival = cookiesOf(answer).at(-1)!.split(';')[0]!;
    }
    expect(statuses).toEqual([303, 303, 303, 303, 303, 303, 409]);
    const other = await site.ask(
      `/_gatebell/login?rd=${encodeURIComponent(`https://${HOST}/other`)}`,
      withCookies(cookie, arrival),
    );
    expect(other.status).toBe(303);
  });
});

test.each(['__Host-gatebell', '__Secure-gatebell', '__host-gatebell', '__Http-x', '__Host-Http-x'])(
  'over http nobody signs in with the cookie %s, which browsers would not take',
  async sessionCookie => {
    const site = await start({ sessionCookie });
    const answer = await site.ask('/_gatebell/login', proxied(HOST, [], 'http'));
    expect(answer.status).toBe(400);
    expect(answer.body).toContain('for https alone');
    expect((await site.ask('/_gatebell/login')).status).toBe(303);
  },
);

test('who cannot be signed out now is told so, and keeps the cookie to try again with', async () => {
  const away = new UnavailableError('foreign_reading', 'the pool leads elsewhere');
  const site = await start({
    sessions: { begin: () => Promise.reject(away), end: () => Promise.reject(away) },
  });
  const headers = proxied(HOST, [
    ['Cookie', `gatebell=${createToken()}`],
    ['Origin', `https://${HOST}`],
  ]);
  const answer = await site.ask('/_gatebell/logout', headers, 'POST');
  expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
  expect(answer.body).toContain('<h1>Not signed out</h1>');
  expect(answer.body).toContain('You are still signed in');
  expect(cookiesOf(answer)).toEqual([]);
  const { cookie, callback } = await site.begin();
  const refused = await site.ask(callback, proxied(HOST, [['Cookie', cookie]]));
  expect(refused.status).toBe(503);
  expect(refused.body).toContain('This cannot be done now.');
  expect(cookiesOf(refused)).toEqual([]);
});

describe('one host for all', () => {
  test('leads back to any app under the domain, and the cookie is for all of them', async () => {
    const site = await start({ central: CENTRAL }, CENTRAL.host);
    const { cookie, callback, flow } = await site.begin('https://photos.example.com/album');
    expect(flow.redirectUri).toBe('https://auth.example.com/_gatebell/callback');
    const answer = await site.ask(callback, proxied(CENTRAL.host, [['Cookie', cookie]]));
    expect(answer).toMatchObject({ status: 303, headers: { location: 'https://photos.example.com/album' } });
    expect(cookiesOf(answer)[0]).not.toContain('Domain');
    expect(cookiesOf(answer)[1]).toContain('; Path=/; Domain=example.com; Max-Age=86400; Secure;');
  });

  test.each(['https://unknown.example.com/', 'https://evil.example.org/', 'http://wiki.example.com/'])(
    'does not lead to %s',
    async rd => {
      const site = await start({ central: CENTRAL }, CENTRAL.host);
      expect((await site.ask(`/_gatebell/login?rd=${encodeURIComponent(rd)}`)).status).toBe(400);
    },
  );

  test('signing out removes the cookie of the domain and of the host', async () => {
    const site = await start({ central: CENTRAL }, CENTRAL.host);
    const headers = proxied(CENTRAL.host, [['Origin', `https://${CENTRAL.host}`]]);
    expect(cookiesOf(await site.ask('/_gatebell/logout', headers, 'POST'))).toEqual([
      'gatebell=; Path=/; Domain=example.com; Max-Age=0; Secure; HttpOnly; SameSite=Lax',
      '__Host-gatebell_arrival=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax',
      'gatebell=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax',
    ]);
  });

  test('an app’s own host leads there to sign out, and there is nothing to sign in to', async () => {
    const site = await start({ central: CENTRAL });
    expect((await site.ask('/_gatebell/logout')).headers['location']).toBe('https://auth.example.com/_gatebell/logout');
    expect((await site.ask('/_gatebell/login')).status).toBe(404);
    expect((await site.ask('/_gatebell/logout', proxied('unknown.test'))).headers).not.toHaveProperty('location');
  });
});

describe('the page that the gate sends browsers to', () => {
  const wanted = { proto: 'https', host: HOST, port: ':8443', uri: '/a?b=c&d' } as const;
  const rd = `rd=${encodeURIComponent(`https://${HOST}:8443/a?b=c&d`)}`;

  test('is on the host of the app, or on the one for all, with the port of the request', () => {
    expect(createSignInPage(null)(wanted)).toBe(`https://${HOST}:8443/_gatebell/login?${rd}`);
    expect(createSignInPage(CENTRAL)(wanted)).toBe(`https://auth.example.com:8443/_gatebell/login?${rd}`);
  });

  test('is nowhere for an app that the cookie would not reach', () => {
    expect(createSignInPage(CENTRAL)({ ...wanted, host: 'app.example.org' })).toBeNull();
  });
});

describe('a request', () => {
  test('of whoever is not the proxy is refused, whatever it asks for', async () => {
    const site = await start({ isTrusted: () => false });
    for (const path of ['login', 'callback', 'logout']) {
      expect((await site.ask(`/_gatebell/${path}`)).status).toBe(403);
    }
    expect(observed.map(one => 'reason' in one && one.reason)).toEqual(Array(3).fill('untrusted_proxy'));
  });

  test.each([
    [[]],
    [[['X-Forwarded-Host', HOST]]],
    [[['X-Forwarded-Proto', 'https']]],
    [[...proxied(HOST), ['X-Forwarded-Host', 'evil.com']]],
    [[...proxied(HOST), ['X-Forwarded-Proto', 'https']]],
    [proxied(`${HOST}, evil.com`)],
    [proxied(`evil.com@${HOST}`)],
    [proxied(`${HOST}/`)],
    [proxied(HOST, [], 'ftp')],
    [proxied(HOST, [['Cookie', 'a=b'], ['Cookie', 'c=d']])], // prettier-ignore
  ] as [Pairs][])('whose host, scheme or cookies are not told once is refused: %j', async headers => {
    const site = await start();
    expect((await site.ask('/_gatebell/login', headers)).status).toBe(400);
  });

  test.each([
    ['/_gatebell/callback', 'HEAD'],
    ['/_gatebell/login', 'POST'],
    ['/_gatebell/callback', 'POST'],
    ['/_gatebell/logout', 'DELETE'],
    ['/_gatebell/login', 'OPTIONS'],
  ])('%s by %s is 405', async (path, method) => {
    const site = await start();
    const answer = await site.ask(path, proxied(HOST), method);
    expect(answer.status).toBe(405);
    expect(answer.headers['allow']).toMatch(/^GET/);
  });

  test.each([
    '/',
    '/_gatebell',
    '/_gatebell/',
    '/_gatebell/login/',
    '/_gatebell/LOGIN',
    '/_gatebell/%6cogin',
    '//_gatebell/login',
  ])('for %s is 404', async path => {
    const site = await start();
    expect((await site.ask(path)).status).toBe(404);
    expect(observed).toEqual([]);
  });

  test('with a body is answered without reading it', async () => {
    const site = await start();
    const headers = proxied(HOST, [['Origin', `https://${HOST}`], ['Content-Length', '1000000000']]); // prettier-ignore
    const answer = await site.ask('/_gatebell/logout', headers, 'POST');
    expect(answer.status).toBe(200);
    expect(answer.headers['connection']).toBe('close');
  });
});

test('every page may be neither framed nor kept, runs nothing, and shows nothing of the request', async () => {
  const site = await start();
  const mark = 'zqx';
  const pages = [
    await site.ask(`/_gatebell/login?rd=${mark}%3Cscript%3E`),
    await site.ask(`/_gatebell/callback?error=${mark}&error_description=${mark}&state=${mark}`),
    await site.ask('/_gatebell/logout'),
    await site.ask(`/_gatebell/login?${mark}`, proxied(`${mark}.example.com`)),
    await site.ask(`/_gatebell/${mark}`),
    await site.ask('/_gatebell/login', proxied(HOST), 'PUT'),
  ];
  for (const { headers, body } of pages) {
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    });
    const policy = headers['content-security-policy'];
    expect(policy).toMatch(
      /^default-src 'none'; style-src 'sha256-[\w+/=]+'; form-action [^;]+; base-uri 'none'; frame-ancestors 'none'$/,
    );
    expect(body).not.toContain(mark);
    expect(body).not.toMatch(/<script|javascript:|\son\w+=/i);
  }
});
