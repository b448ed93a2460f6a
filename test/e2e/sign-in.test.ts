/**
 * Sign-in as people do it: headless Chromium, nginx with the configuration of deploy/nginx, two replicas with the least
 * rights, and a real provider. What a browser would not do by itself is sent to the replicas as nginx would.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createToken } from '../../src/auth/token.js';
import { barrier } from '../../src/postgres/barrier.js';
import { startCaddyHttps, type CaddyHttps } from '../support/proxies/caddy-https.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startIdentityProvider, type IdentityProvider } from '../support/identity-provider.js';
import { caddy as caddyProxy } from '../support/proxies/caddy.js';
import { haproxy as haproxyProxy } from '../support/proxies/haproxy.js';
import { nginx as nginxProxy } from '../support/proxies/nginx.js';
import type { RunningProxy } from '../support/proxies/proxy.js';
import { fetchAnswer, startReplica, type Answer, type Replica } from '../support/replica.js';
import { findTool } from '../support/tool.js';
import { addCredential } from '../support/gate-rows.js';

const PHOTOS = 'photos.example.test';
const WIKI = 'wiki.example.test';
const AUTH = 'auth.example.test';
const LOGIN_ROLE = `signing_${randomBytes(6).toString('hex')}`;

interface Mode {
  readonly replicas: readonly Replica[];
  readonly nginx: RunningProxy;
}

let database: TestDatabase;
let app: Server;
let browser: Browser;
let provider: IdentityProvider;
/** People sign in on each app's own host. */
let own: Mode;
/** People sign in on one host for all. */
let central: Mode;
/** In front of the replicas of `own`, too. */
let caddy: CaddyHttps;
const contexts: BrowserContext[] = [];

async function startMode(url: string, names: readonly string[], env: NodeJS.ProcessEnv): Promise<Mode> {
  const replicas = await Promise.all(names.map(name => startReplica(url, { name, env: { ...provider.env, ...env } })));
  const { port } = app.address() as AddressInfo;
  const gates = replicas.map(({ auth, ops }) => ({ auth: new URL(auth).host, ops: new URL(ops).host }));
  const nginx = await nginxProxy.start({ gates, app: `127.0.0.1:${port}` });
  return { replicas, nginx };
}

beforeAll(async () => {
  database = await createTestDatabase();
  await database.sql(`
    create role ${LOGIN_ROLE} login password 'x' in role gatebell_daemon, gatebell_sign_in;
    insert into gatebell.users (name, email, enabled) values
      ('alice', 'alice@example.test', true), ('bob', null, true), ('carol', null, false),
      ('dave@example.test', null, true);
    insert into gatebell.apps (name, host) values ('photos', '${PHOTOS}'), ('wiki', '${WIKI}'),
      ('elsewhere', 'app.elsewhere.test');
    insert into gatebell.app_routes (app_id, path_prefix, access) select id, '/', 'authenticated' from gatebell.apps
      where name <> 'photos';
    insert into gatebell.grants (user_id, app_id)
      select u.id, a.id from gatebell.users u, gatebell.apps a where u.name = 'alice' and a.name = 'photos'`);
  const url = new URL(database.url);
  url.username = LOGIN_ROLE;
  url.password = 'x';
  app = createServer((request, response) => {
    const { 'remote-user': user = '', 'x-gatebell-app': name = '' } = request.headers;
    response.setHeader('Content-Type', 'text/html');
    response.end(`<title>app</title><body>${String(name)} ${request.url ?? ''} for ${String(user)}`);
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  provider = await startIdentityProvider();
  own = await startMode(url.href, ['own-a', 'own-b'], {});
  central = await startMode(url.href, ['central-a', 'central-b'], {
    GATEBELL_SIGN_IN_HOST: AUTH,
    GATEBELL_COOKIE_DOMAIN: 'example.test',
  });
  caddy = await startCaddyHttps(
    [PHOTOS, WIKI],
    own.replicas.map(replica => new URL(replica.auth).host),
    `127.0.0.1:${(app.address() as AddressInfo).port}`,
  );
  browser = await chromium.launch({
    executablePath: findTool('chromium'),
    args: ['--no-sandbox', '--host-resolver-rules=MAP *.example.test 127.0.0.1, MAP *.elsewhere.test 127.0.0.1'],
  });
});

afterEach(async () => {
  provider.intercept(null);
  await Promise.all(contexts.splice(0).map(context => context.close()));
});

afterAll(async () => {
  await browser.close();
  await caddy.stop();
  await Promise.all([own, central].map(mode => mode.nginx.stop()));
  await Promise.all([own, central].flatMap(mode => mode.replicas.map(replica => replica.stop())));
  await provider.stop();
  app.closeAllConnections();
  app.close();
  await database.sql(`drop role ${LOGIN_ROLE}`);
  await database.drop();
});

/** A browser of its own. */
async function openBrowser(): Promise<{ page: Page; context: BrowserContext }> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  contexts.push(context);
  return { page: await context.newPage(), context };
}

const at = (mode: Mode, host: string, uri: string): string => `http://${host}:${mode.nginx.port}${uri}`;
const open = (page: Page, url: string): ReturnType<Page['goto']> => page.goto(url, { waitUntil: 'domcontentloaded' });
const text = (page: Page): Promise<string> => page.locator('body').innerText();

/** At the provider's page: says who it is. */
async function enter(page: Page, account: string): Promise<void> {
  expect(page.url()).toContain(`${provider.issuer}/interaction/`);
  await page.fill('input[name=account]', account);
  await page.click('text=Enter');
  await page.waitForLoadState('domcontentloaded');
}

/** Opens an app and signs in. */
async function signIn(page: Page, url: string, account: string): Promise<void> {
  await open(page, url);
  await enter(page, account);
}

const sessionsOf = async (name: string): Promise<{ id: string; revoked: boolean }[]> =>
  (await database.sql(
    `select c.id::text, c.revoked_at is not null as revoked from gatebell.credentials c
      join gatebell.users u on u.id = c.user_id
     where u.name = $1 and c.kind = 'session' order by c.id`,
    [name],
  )) as { id: string; revoked: boolean }[];

/** Asks one replica as nginx does. */
function ask(
  replica: Replica,
  mode: Mode,
  host: string,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<Answer> {
  return fetchAnswer(
    replica.auth + path,
    { 'X-Forwarded-Host': `${host}:${mode.nginx.port}`, 'X-Forwarded-Proto': 'http', ...headers },
    method,
  );
}

const cookiesOf = (answer: Answer): readonly string[] => answer.headers['set-cookie'] ?? [];
const pairOf = (cookie: string | undefined): string => cookie?.split(';')[0] ?? '';

/** A sign-in that has come back from the provider, and was not handed to the gate yet. */
interface Pending {
  /** Path and query of the callback. */
  readonly callback: string;
  /** The cookie that its browser would send. */
  readonly flow: string;
}

/** Begins at a replica, signs in at the provider, and keeps the answer. */
async function obtain(replica: Replica, account: string): Promise<Pending> {
  const login = await ask(replica, own, PHOTOS, `/_gatebell/login?rd=${encodeURIComponent(at(own, PHOTOS, '/album'))}`);
  expect(login.status).toBe(303);
  const { page } = await openBrowser();
  await open(page, login.headers.location ?? '');
  await enter(page, account);
  await page.waitForURL('**/_gatebell/callback*');
  // This browser has not begun it, so the gate has not redeemed the code.
  expect(await text(page)).toContain('was not begun in this browser');
  const { pathname, search } = new URL(page.url());
  const callback = pathname + search;
  return { callback, flow: pairOf(cookiesOf(login).find(cookie => cookie.startsWith('gatebell_flow_'))) };
}

test('until the provider answers, nobody is sent there and decisions go on; then everything works', async () => {
  const replicas = [...own.replicas, ...central.replicas];
  await Promise.all(replicas.map(replica => replica.waitFor(line => line.event === 'provider_failed', 0)));
  const early = await ask(own.replicas[0]!, own, PHOTOS, '/_gatebell/login');
  expect(early).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
  expect((await own.replicas[0]!.ask({ host: PHOTOS })).reason).toBe('no_credential');
  provider.open(
    [at(own, PHOTOS, ''), at(own, WIKI, ''), at(central, AUTH, ''), `https://${PHOTOS}:${caddy.port}`].map(
      origin => `${origin}/_gatebell/callback`,
    ),
  );
  await Promise.all(replicas.map(replica => replica.waitFor(line => line.event === 'provider_discovered', 0)));
  expect((await ask(own.replicas[0]!, own, PHOTOS, '/_gatebell/login')).status).toBe(303);
});

describe("on each app's own host", () => {
  test('a person signs in and is where they wanted to go, as who they are', async () => {
    const { page, context } = await openBrowser();
    const wanted = at(own, PHOTOS, '/album?q=a%20b&c=/d');
    await signIn(page, wanted, 'alice');
    expect(page.url()).toBe(wanted);
    expect(await text(page)).toBe('photos /album?q=a%20b&c=/d for alice');
    const cookies = (await context.cookies(at(own, PHOTOS, '/'))).filter(({ name }) => name !== 'gatebell_arrival');
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toMatchObject({ name: 'gatebell', domain: PHOTOS, path: '/', httpOnly: true, sameSite: 'Lax' });
    expect(cookies[0]!.expires).toBeGreaterThan(Date.now() / 1000 + 167 * 3600);
  });

  test('the next app asks the provider, which knows them already', async () => {
    const { page } = await openBrowser();
    await signIn(page, at(own, PHOTOS, '/'), 'alice');
    await open(page, at(own, WIKI, '/page'));
    expect(await text(page)).toBe('wiki /page for alice');
  });

  test('a user who may not reach the app is signed in and gets 403, without going round in circles', async () => {
    const { page } = await openBrowser();
    await open(page, at(own, PHOTOS, '/'));
    const answered = page.waitForResponse(response => response.url() === at(own, PHOTOS, '/'));
    await enter(page, 'bob');
    expect((await answered).status()).toBe(403);
    expect(await sessionsOf('bob')).toHaveLength(1);
  });

  test('the very next navigation after the session was deleted in SQL is sent to sign in', async () => {
    const { page } = await openBrowser();
    await signIn(page, at(own, PHOTOS, '/'), 'alice');
    const [newest] = (await sessionsOf('alice')).slice(-1);
    await database.sql('delete from gatebell.credentials where id = $1', [newest!.id]);
    await barrier({ connectionString: database.url });
    const visited: string[] = [];
    page.on('request', request => visited.push(new URL(request.url()).pathname));
    await open(page, at(own, PHOTOS, '/again'));
    // The provider knows the browser still: a new session begins at once.
    expect(visited).toEqual(expect.arrayContaining(['/again', '/_gatebell/login', '/auth', '/_gatebell/callback']));
    expect(await text(page)).toBe('photos /again for alice');
    expect((await sessionsOf('alice')).at(-1)!.id).not.toBe(newest!.id);
  });

  test('a disabled user is denied and cannot sign in; the page does not reveal that the user exists', async () => {
    const pages = [];
    for (const account of ['carol', 'nobody']) {
      const { page } = await openBrowser();
      await signIn(page, at(own, WIKI, '/'), account);
      expect(page.url()).toContain('/_gatebell/callback');
      pages.push(await text(page));
    }
    expect(pages[0]).toContain('You may not sign in here.');
    expect(pages[1]).toBe(pages[0]);

    const { page } = await openBrowser();
    await signIn(page, at(own, PHOTOS, '/'), 'alice');
    await database.sql(`update gatebell.users set enabled = false where name = 'alice'`);
    await barrier({ connectionString: database.url });
    try {
      expect((await open(page, at(own, PHOTOS, '/')))?.status()).toBe(403);
    } finally {
      await database.sql(`update gatebell.users set enabled = true where name = 'alice'`);
    }
  });

  test('signing out ends the session here, and leads on to the provider', async () => {
    const { page, context } = await openBrowser();
    await signIn(page, at(own, PHOTOS, '/'), 'alice');
    const [session] = (await sessionsOf('alice')).slice(-1);
    const [cookie] = await context.cookies(at(own, PHOTOS, '/'));
    await open(page, at(own, PHOTOS, '/_gatebell/logout'));
    await page.click('text="Sign out" >> nth=-1');
    await page.waitForURL(`${provider.issuer}/session/end*`);
    expect((await sessionsOf('alice')).find(({ id }) => id === session!.id)?.revoked).toBe(true);
    expect(await context.cookies(at(own, PHOTOS, '/'))).toEqual([]);
    expect((await own.replicas[0]!.ask({ host: PHOTOS, cookie: cookie!.value })).reason).toBe('bad_credential');
    await page.click('text=Leave');
    await open(page, at(own, PHOTOS, '/'));
    expect(page.url()).toContain('/interaction/');
  });

  test('signing out leads on to the provider, and on to wherever that leads', async () => {
    const { page } = await openBrowser();
    await signIn(page, at(own, PHOTOS, '/'), 'alice');
    // The same server under another name is another origin.
    const elsewhere = `${provider.issuer.replace('localhost', '127.0.0.1')}/bye`;
    provider.intercept((request, response) => {
      if (request.url?.startsWith('/session/end') === true) {
        response.writeHead(302, { Location: elsewhere }).end();
      } else if (request.url === '/bye') {
        response.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>Bye</title>');
      } else {
        return false;
      }
      return true;
    });
    await open(page, at(own, PHOTOS, '/_gatebell/logout'));
    await page.click('text="Sign out" >> nth=-1');
    await page.waitForURL(elsewhere);
    expect(await page.title()).toBe('Bye');
  });

  test('in many tabs at once, each ends where it wanted to go; so does whoever goes back', async () => {
    const { page, context } = await openBrowser();
    const tabs = [page, ...(await Promise.all(Array.from({ length: 6 }, () => context.newPage())))];
    const callbacks: string[] = [];
    context.on('request', request => {
      if (request.url().includes('/_gatebell/callback')) {
        callbacks.push(request.url());
      }
    });
    for (const [index, tab] of tabs.entries()) {
      await open(tab, at(own, PHOTOS, `/tab/${index}`));
    }
    for (const [index, tab] of [...tabs.entries()].toReversed()) {
      // A tab behind others draws nothing, and what is not drawn cannot be clicked.
      await tab.bringToFront();
      await enter(tab, 'alice');
      expect(tab.url()).toBe(at(own, PHOTOS, `/tab/${index}`));
      expect(await text(tab)).toBe(`photos /tab/${index} for alice`);
    }
    for (const callback of callbacks.splice(0)) {
      expect((await open(page, callback))?.status()).toBe(200);
      expect(await text(page)).toMatch(/^photos \/tab\/\d for alice$/);
    }
    await open(page, at(own, PHOTOS, '/_gatebell/login?rd=' + encodeURIComponent(at(own, PHOTOS, '/on'))));
    expect(await text(page)).toBe('photos /on for alice');
  });

  describe('a cookie that another host of the domain sets', () => {
    const plant = async (page: Page, cookie: string): Promise<void> => {
      const sibling = createServer((_, response) => {
        response.setHeader('Set-Cookie', `${cookie}; Domain=example.test; Path=/`);
        response.end('set');
      });
      sibling.listen(0, '127.0.0.1');
      await once(sibling, 'listening');
      await open(page, `http://sibling.example.test:${(sibling.address() as AddressInfo).port}/`);
      sibling.closeAllConnections();
      sibling.close();
    };

    test.each(['\u00a0', '\u0085', '\u00ff', '.'])('with %j before our name is not ours', async character => {
      const { page } = await openBrowser();
      const token = await addCredential(database, 'alice', 'session');
      await plant(page, `${character}gatebell=${token}`);
      await open(page, at(own, PHOTOS, '/'));
      expect(page.url()).toContain(`${provider.issuer}/interaction/`);
    });

    test.each(['gatebell=x', 'gatebell=', `gatebell=${createToken()}`])('%s hinders nobody', async cookie => {
      const { page } = await openBrowser();
      await plant(page, cookie);
      await signIn(page, at(own, PHOTOS, '/first'), 'alice');
      await plant(page, cookie);
      await open(page, at(own, PHOTOS, '/then'));
      expect(await text(page)).toBe('photos /then for alice');
    });

    test('and is somebody else’s session leads to a page that names the cookie, not round in circles', async () => {
      const { page } = await openBrowser();
      await signIn(page, at(own, PHOTOS, '/'), 'alice');
      await plant(page, `gatebell=${await addCredential(database, 'bob', 'session')}`);
      const response = await open(page, at(own, PHOTOS, '/again'));
      expect(response?.status()).toBe(409);
      expect(await text(page)).toContain('A cookie gatebell is in the way');
      await page.click('text=Try again');
      await page.waitForLoadState('domcontentloaded');
      expect(await text(page)).toBe('photos /again for alice');
    });
  });

  test('the session of one app opens no other', async () => {
    const { page, context } = await openBrowser();
    await signIn(page, at(own, PHOTOS, '/'), 'alice');
    const { value } = (await context.cookies(at(own, PHOTOS, '/'))).find(({ name }) => name === 'gatebell')!;
    const [a, b] = own.replicas;
    for (const replica of [a!, b!]) {
      expect((await replica.ask({ host: PHOTOS, cookie: value })).status).toBe(200);
      expect((await replica.ask({ host: WIKI, cookie: value })).reason).toBe('bad_credential');
    }
  });

  test('another site cannot sign anybody out', async () => {
    const { page } = await openBrowser();
    await signIn(page, at(own, PHOTOS, '/'), 'alice');
    const [session] = (await sessionsOf('alice')).slice(-1);
    await page.route('http://evil.elsewhere.test/', route =>
      route.fulfill({
        contentType: 'text/html',
        body: `<form method="post" action="${at(own, PHOTOS, '/_gatebell/logout')}"><button>Win</button></form>`,
      }),
    );
    await open(page, 'http://evil.elsewhere.test/');
    await page.click('text=Win');
    await page.waitForURL('**/_gatebell/logout');
    expect(await text(page)).toContain('Sign out on the page of this host.');
    expect((await sessionsOf('alice')).find(({ id }) => id === session!.id)?.revoked).toBe(false);
    await open(page, at(own, PHOTOS, '/still'));
    expect(await text(page)).toBe('photos /still for alice');
  });

  test('cancelling at the provider leads to a page, where nothing that the provider sent is executed', async () => {
    const { page } = await openBrowser();
    await open(page, at(own, PHOTOS, '/'));
    await page.click('text=Cancel');
    await page.waitForURL('**/_gatebell/callback*');
    expect(await text(page)).toContain('The identity provider did not sign you in.');
    expect(await page.title()).toBe('Not signed in');
    expect(await page.content()).not.toContain('owned');
  });

  test('a script gets the address of the sign-in, and is not sent there', async () => {
    const answer = await own.replicas[0]!.ask({ host: PHOTOS, headers: { Accept: 'application/json' } });
    expect(answer).toMatchObject({ status: 401, reason: 'no_credential' });
    expect(answer.headers.location).toMatch(new RegExp(`^https://${PHOTOS}/_gatebell/login\\?rd=`));
  });

  test('another spelling of the pages is guarded as the rest of the app is', async () => {
    for (const path of ['/_gatebell/login/', '/_gatebell/x', '/_gatebell', '/_gatebell/', '/x/../_gatebell/../a']) {
      const answer = await fetchAnswer(`http://127.0.0.1:${own.nginx.port}${path}`, { Host: PHOTOS });
      expect([401, 403, 404], path).toContain(answer.status);
      expect(answer.headers.location ?? '', path).not.toContain(provider.issuer);
    }
  });
});

describe.each([nginxProxy, caddyProxy, haproxyProxy])('behind $name', proxy => {
  const secret = 'shared-with-the-proxies';
  let replica: Replica;
  let front: RunningProxy;

  beforeAll(async () => {
    const url = new URL(database.url);
    url.username = LOGIN_ROLE;
    url.password = 'x';
    const env = { ...provider.env, GATEBELL_PROXY_SECRET: secret };
    replica = await startReplica(url.href, { name: 'secretive', env });
    await replica.waitFor(line => line.event === 'provider_discovered', 0);
    front = await proxy.start({
      gates: [{ auth: new URL(replica.auth).host, ops: new URL(replica.ops).host }],
      app: `127.0.0.1:${(app.address() as AddressInfo).port}`,
      secret,
    });
  });

  afterAll(async () => {
    await front.stop();
    await replica.stop();
  });

  test('the pages are reached without a credential, and nothing else is', async () => {
    const host = `${PHOTOS}:${front.port}`;
    const rd = encodeURIComponent(`http://${host}/album`);
    const ask = (path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> =>
      fetchAnswer(`http://127.0.0.1:${front.port}${path}`, { Host: host, ...headers });
    const login = await ask(`/_gatebell/login?rd=${rd}`, {
      // A client's own words are not handed on.
      'X-Forwarded-Host': 'elsewhere.test',
      'X-Forwarded-Proto': 'https',
      'X-Gatebell-Secret': 'wrong',
    });
    expect(login.status).toBe(303);
    const location = new URL(login.headers.location ?? '');
    expect(location.origin).toBe(new URL(provider.issuer).origin);
    expect(location.searchParams.get('redirect_uri')).toBe(`http://${host}/_gatebell/callback`);
    expect((await ask('/_gatebell/callback')).status).toBe(400);
    expect((await ask('/_gatebell/logout')).status).toBe(200);
    for (const path of ['/_gatebell/login/', '/_gatebell/x', '/_gatebell', '/album']) {
      const answer = await ask(path);
      expect([401, 403, 404], path).toContain(answer.status);
      expect(answer.body, path).not.toContain('<title>app');
    }
  });
});

describe('a sign-in', () => {
  test('that one replica has begun is finished by another', async () => {
    const [a, b] = own.replicas;
    const { callback, flow } = await obtain(a!, 'alice');
    const done = await ask(b!, own, PHOTOS, callback, { Cookie: flow });
    expect(done).toMatchObject({ status: 303, headers: { location: at(own, PHOTOS, '/album') } });
    const session = pairOf(cookiesOf(done).find(cookie => cookie.startsWith('gatebell=')));
    expect((await a!.ask({ host: PHOTOS, headers: { Cookie: session } })).reason).toBe('granted');
    // The flow is over.
    expect(cookiesOf(done)).toContainEqual(`${flow.split('=')[0]!}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax`);
  });

  test('counts once: the same answer of the provider again is refused', async () => {
    const [a, b] = own.replicas;
    const { callback, flow } = await obtain(a!, 'alice');
    expect((await ask(a!, own, PHOTOS, callback, { Cookie: flow })).status).toBe(303);
    const before = await sessionsOf('alice');
    for (const replica of [a!, b!]) {
      const again = await ask(replica, own, PHOTOS, callback, { Cookie: flow });
      expect(again.status).toBe(400);
      expect(cookiesOf(again).filter(cookie => cookie.startsWith('gatebell='))).toEqual([]);
    }
    expect(await sessionsOf('alice')).toEqual(before);
  });

  test("cannot be put into another browser (login CSRF): it needs its own flow's cookie", async () => {
    const [a] = own.replicas;
    const attacker = await obtain(a!, 'bob');
    const victim = await obtain(a!, 'alice');
    const before = [await sessionsOf('alice'), await sessionsOf('bob')];
    const renamed = `${attacker.flow.split('=')[0]!}=${victim.flow.slice(victim.flow.indexOf('=') + 1)}`;
    for (const headers of [{}, { Cookie: victim.flow }, { Cookie: renamed }]) {
      expect((await ask(a!, own, PHOTOS, attacker.callback, headers)).status).toBe(400);
    }
    expect([await sessionsOf('alice'), await sessionsOf('bob')]).toEqual(before);
    // It was not for lack of a good answer.
    expect((await ask(a!, own, PHOTOS, attacker.callback, { Cookie: attacker.flow })).status).toBe(303);
  });

  test('is refused with a state that was made up, changed or left out, another issuer, or another host', async () => {
    const [a] = own.replicas;
    const { callback, flow } = await obtain(a!, 'alice');
    const changed = (name: string, value: string | null): string => {
      const url = new URL(callback, 'http://x.test');
      if (value === null) {
        url.searchParams.delete(name);
      } else {
        url.searchParams.set(name, value);
      }
      return url.pathname + url.search;
    };
    const before = await sessionsOf('alice');
    for (const path of [
      changed('state', null),
      changed('state', 'A'.repeat(43)),
      changed('state', `_${new URL(callback, 'http://x.test').searchParams.get('state')!.slice(1)}`),
      changed('state', new URL(callback, 'http://x.test').searchParams.get('state')!.slice(0, 42)),
      `${callback}&state=x`,
      `${callback}&code=x`,
      changed('iss', 'http://evil.test'),
      changed('iss', null),
    ]) {
      expect((await ask(a!, own, PHOTOS, path, { Cookie: flow })).status, path).toBe(400);
    }
    const elsewhere = await ask(a!, own, WIKI, callback, { Cookie: flow });
    expect(elsewhere.status).toBe(400);
    expect(await sessionsOf('alice')).toEqual(before);
  });

  test('gives a new session and ends the one before, so a session that somebody planted is of no use', async () => {
    const [a, b] = own.replicas;
    const first = await obtain(a!, 'alice');
    const planted = pairOf(
      cookiesOf(await ask(a!, own, PHOTOS, first.callback, { Cookie: first.flow })).find(cookie =>
        cookie.startsWith('gatebell='),
      ),
    );
    // One that has just begun may be that of another tab, which signs in at the same time.
    await database.sql(`update gatebell.credentials set created_at = created_at - interval '2 minutes'`);
    const second = await obtain(a!, 'alice');
    const done = await ask(b!, own, PHOTOS, second.callback, { Cookie: `${planted}; ${second.flow}` });
    const fresh = pairOf(cookiesOf(done).find(cookie => cookie.startsWith('gatebell=')));
    expect(fresh).not.toBe(planted);
    expect((await sessionsOf('alice')).slice(-2).map(({ revoked }) => revoked)).toEqual([true, false]);
  });

  test('fails with 503 while the provider does not redeem, and succeeds when it does again', async () => {
    const [a] = own.replicas;
    const { callback, flow } = await obtain(a!, 'alice');
    provider.intercept((request, response) => {
      if (request.url === '/token') {
        response.writeHead(502).end();
        return true;
      }
      return false;
    });
    expect(await ask(a!, own, PHOTOS, callback, { Cookie: flow })).toMatchObject({
      status: 503,
      headers: { 'retry-after': '5' },
    });
    provider.intercept(null);
    expect((await ask(a!, own, PHOTOS, callback, { Cookie: flow })).status).toBe(303);
  });

  test('with an ID token that is signed by nobody the provider knows is refused', async () => {
    const [a] = own.replicas;
    const { callback, flow } = await obtain(a!, 'alice');
    const before = await sessionsOf('alice');
    provider.intercept((request, response) => {
      if (request.url === '/jwks') {
        response.setHeader('Content-Type', 'application/json').end('{"keys":[]}');
        return true;
      }
      return false;
    });
    // A replica that has not read the keys yet.
    const fresh = await startReplica(database.url, { name: 'own-c', env: provider.env });
    try {
      await fresh.waitFor(line => line.event === 'provider_discovered', 0);
      expect((await ask(fresh, own, PHOTOS, callback, { Cookie: flow })).status).toBe(400);
      expect(await sessionsOf('alice')).toEqual(before);
    } finally {
      await fresh.stop();
    }
  });

  test('by email counts only if the provider has verified it', async () => {
    const replica = await startReplica(database.url, {
      name: 'by-email',
      env: { ...provider.env, GATEBELL_OIDC_CLAIM: 'email' },
    });
    await database.sql(`insert into gatebell.users (name) values ('unverified@example.test')`);
    try {
      await replica.waitFor(line => line.event === 'provider_discovered', 0);
      const verified = await obtain(replica, 'dave');
      expect((await ask(replica, own, PHOTOS, verified.callback, { Cookie: verified.flow })).status).toBe(303);
      const unverified = await obtain(replica, 'unverified');
      expect((await ask(replica, own, PHOTOS, unverified.callback, { Cookie: unverified.flow })).status).toBe(403);
      expect(await sessionsOf('unverified@example.test')).toEqual([]);
    } finally {
      await replica.stop();
    }
  });
});

describe('on one host for all', () => {
  test('a person signs in once, and every app knows them', async () => {
    const { page, context } = await openBrowser();
    await open(page, at(central, PHOTOS, '/album?x=1'));
    await enter(page, 'alice');
    expect(page.url()).toBe(at(central, PHOTOS, '/album?x=1'));
    expect(await text(page)).toBe('photos /album?x=1 for alice');
    const before = await sessionsOf('alice');
    const asked: string[] = [];
    page.on('request', request => asked.push(new URL(request.url()).host));
    await open(page, at(central, WIKI, '/page'));
    expect(await text(page)).toBe('wiki /page for alice');
    expect(new Set(asked)).toEqual(new Set([`${WIKI}:${central.nginx.port}`]));
    expect(await sessionsOf('alice')).toEqual(before);
    expect((await context.cookies(at(central, PHOTOS, '/'))).map(({ name, domain }) => [name, domain])).toEqual([
      ['gatebell', '.example.test'],
    ]);
  });

  test('signing out, asked for on any app, ends it for all', async () => {
    const { page, context } = await openBrowser();
    await signIn(page, at(central, PHOTOS, '/'), 'alice');
    await open(page, at(central, WIKI, '/_gatebell/logout'));
    expect(page.url()).toBe(at(central, AUTH, '/_gatebell/logout'));
    await page.click('text="Sign out" >> nth=-1');
    await page.waitForURL(`${provider.issuer}/session/end*`);
    expect(await context.cookies(at(central, PHOTOS, '/'))).toEqual([]);
    await page.click('text=Leave');
    for (const host of [PHOTOS, WIKI]) {
      await open(page, at(central, host, '/'));
      expect(page.url()).toContain('/interaction/');
    }
  });

  test('without anywhere to go, the page says that they are signed in', async () => {
    const { page } = await openBrowser();
    await signIn(page, at(central, AUTH, '/_gatebell/login'), 'alice');
    expect(await text(page)).toContain('You are signed in.');
  });

  test('an app that the cookie would not reach has no login page', async () => {
    const [a] = central.replicas;
    const answer = await a!.ask({ host: 'app.elsewhere.test', headers: { Accept: 'text/html' } });
    expect(answer).toMatchObject({ status: 401, reason: 'no_credential' });
    expect(answer.headers).not.toHaveProperty('location');
  });

  test('nobody signs in on the host of an app', async () => {
    const [a] = central.replicas;
    expect((await ask(a!, central, PHOTOS, '/_gatebell/login')).status).toBe(404);
  });
});

test('over https, behind Caddy, the cookies are for https alone, and those of flows for this host alone', async () => {
  const { page, context } = await openBrowser();
  const wanted = `https://${PHOTOS}:${caddy.port}/album?x=1`;
  await open(page, wanted);
  const [flow] = await context.cookies(wanted);
  expect(flow?.name).toMatch(/^__Host-gatebell_flow_/);
  expect(flow).toMatchObject({ secure: true, httpOnly: true, sameSite: 'Lax', path: '/' });
  await enter(page, 'alice');
  expect(page.url()).toBe(wanted);
  expect(await text(page)).toBe('photos /album?x=1 for alice');
  const cookies = await context.cookies(wanted);
  expect(cookies.map(({ name, secure }) => [name, secure])).toEqual([
    ['gatebell', true],
    ['__Host-gatebell_arrival', true],
  ]);

  for (const path of [
    '/_gatebell/LOGIN',
    '/_gatebell//login',
    '/x/../_gatebell/login',
    '/auth/envoy/../../_gatebell/login',
  ]) {
    const request = httpsRequest({
      host: '127.0.0.1',
      port: caddy.port,
      servername: PHOTOS,
      path,
      headers: { Host: `${PHOTOS}:${caddy.port}` },
      rejectUnauthorized: false,
    });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    expect([400, 401, 404], path).toContain(response.statusCode);
  }
  await open(page, `https://${PHOTOS}:${caddy.port}/_gatebell/logout`);
  await page.click('text="Sign out" >> nth=-1');
  await page.waitForURL(`${provider.issuer}/session/end*`);
  expect(await context.cookies(wanted)).toEqual([]);
});

test('no line of a log and no series holds a token, a code, a state or a secret', async () => {
  const [a] = own.replicas;
  const { callback, flow } = await obtain(a!, 'alice');
  const done = await ask(a!, own, PHOTOS, callback, { Cookie: flow });
  await ask(a!, own, PHOTOS, callback, { Cookie: flow });
  const parameters = new URL(callback, 'http://x.test').searchParams;
  const secrets = [
    parameters.get('code'),
    parameters.get('state'),
    flow.split('=')[1],
    pairOf(cookiesOf(done).find(cookie => cookie.startsWith('gatebell='))).split('=')[1],
    provider.env['GATEBELL_OIDC_CLIENT_SECRET'],
  ].map(String);
  expect(secrets.every(secret => secret.length > 20)).toBe(true);
  const told = JSON.stringify([a!.lines, (await a!.get('/metrics')).body, (await a!.get('/status')).body]);
  for (const secret of secrets) {
    expect(told.includes(secret)).toBe(false);
  }
  expect(told).toContain('"event":"sign_in"');
  expect(await a!.metric('gatebell_sign_ins_total{result="signed_in"}')).toBeGreaterThan(0);
  expect(await a!.metric('gatebell_sign_ins_total{result="bad_provider_answer"}')).toBeGreaterThan(0);
});
