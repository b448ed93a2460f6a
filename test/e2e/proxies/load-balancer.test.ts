/**
 * A load balancer before the proxy, where TLS ends: it alone can tell the client's scheme and address. The test plays
 * the load balancer.
 */
import { Agent } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createToken } from '../../../src/auth/token.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { startIdentityProvider, type IdentityProvider } from '../../support/identity-provider.js';
import { caddy } from '../../support/proxies/caddy.js';
import { haproxy } from '../../support/proxies/haproxy.js';
import { nginx } from '../../support/proxies/nginx.js';
import type { RunningProxy, TestProxy } from '../../support/proxies/proxy.js';
import { traefik } from '../../support/proxies/traefik.js';
import { bearer, call, type Pairs } from '../../support/proxy-client.js';
import { startReplica, type Replica } from '../../support/replica.js';
import { startSampleApp, type SampleApp } from '../../support/sample-app.js';
import { createWorld, type World } from '../../support/gate-rows.js';
import { gateOf } from './stage.js';

const HOST = 'photos.test';
const CALLBACK = '/_gatebell/callback';
/** The test connects from here. */
const HERE = '127.0.0.1';
const ELSEWHERE = '192.0.2.99';
const SCANNER = '198.51.100.1';
const NEIGHBOUR = '198.51.100.2';
const BROWSER: Pairs = [
  ['Accept', 'text/html'],
  ['Sec-Fetch-Mode', 'navigate'],
];
const GUESSES_AT_ONCE = 20;
/** Together far more guesses than one client has. */
const BATCHES_MAX = 100;

let database: TestDatabase;
let world: World;
let provider: IdentityProvider;
let replica: Replica;
let app: SampleApp;

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  provider = await startIdentityProvider();
  provider.open([`http://${HOST}${CALLBACK}`, `https://${HOST}${CALLBACK}`]);
  app = await startSampleApp();
  replica = await startReplica(database.url, { name: 'a', env: provider.env });
  await replica.waitFor(line => line.event === 'provider_discovered', 0);
});

afterAll(async () => {
  await replica.stop();
  await app.stop();
  await provider.stop();
  await database.drop();
});

const told = (proto: string, address: string): Pairs => [
  ['X-Forwarded-Proto', proto],
  ['X-Forwarded-For', address],
];

/** The scheme of the login page that a browser is sent to; null if it is sent nowhere. */
async function schemeOfRedirect(port: number, headers: Pairs): Promise<string | null> {
  const { headers: answer } = await call(port, { path: '/album', headers: [...BROWSER, ...headers] });
  const location = answer['location'];
  if (location === undefined) {
    return null;
  }
  const { protocol, searchParams } = new URL(location);
  expect(new URL(searchParams.get('rd') ?? '').protocol).toBe(protocol);
  return protocol.slice(0, -1);
}

/** What sign-in makes of the scheme. */
async function beginSignIn(port: number, headers: Pairs): Promise<{ redirectUri: string | null; secure: boolean }> {
  const { status, headers: answer } = await call(port, { path: '/_gatebell/login', headers });
  expect(status).toBe(303);
  const cookie = answer['set-cookie'] ?? '';
  expect(cookie).toContain('gatebell_flow_');
  return {
    redirectUri: new URL(answer['location'] ?? '').searchParams.get('redirect_uri'),
    secure: cookie.includes('; Secure'),
  };
}

const CASES: readonly (readonly [string, TestProxy])[] = [nginx, haproxy, caddy, traefik].map(p => [p.name, p]);

describe.each(CASES)('%s behind a load balancer', (_, proxy) => {
  /** The test is the load balancer that is listed. */
  let listed: RunningProxy;
  /** Another one is. */
  let another: RunningProxy;
  /** The file as it comes. */
  let none: RunningProxy;

  beforeAll(async () => {
    const start = (hop: { readonly hop?: string }): Promise<RunningProxy> =>
      proxy.start({ gates: [gateOf(replica)], app: app.address, ...hop });
    [listed, another, none] = await Promise.all([start({ hop: HERE }), start({ hop: ELSEWHERE }), start({})]);
  });

  afterAll(() => Promise.all([listed, another, none].map(running => running.stop())));

  test('the login page and the app are told the scheme that a listed load balancer names', async () => {
    for (const scheme of ['https', 'http']) {
      const headers = told(scheme, NEIGHBOUR);
      expect(await schemeOfRedirect(listed.port, headers)).toBe(scheme);
      const { seen } = await call(listed.port, { headers: [...bearer(world.alice), ...headers] });
      expect(seen?.headers['x-forwarded-proto']).toEqual([scheme]);
      expect(seen?.headers['x-forwarded-for']?.join().split(/, ?/)[0]).toBe(NEIGHBOUR);
    }
  });

  // The port of Traefik leaves sign-in out.
  test.skipIf(proxy.kind === 'conformance')(
    'behind TLS that ends at a listed load balancer, redirect_uri is https and the cookie is Secure',
    async () => {
      expect(await beginSignIn(listed.port, told('https', NEIGHBOUR))).toEqual({
        redirectUri: `https://${HOST}${CALLBACK}`,
        secure: true,
      });
      for (const { port } of [another, none]) {
        expect(await beginSignIn(port, told('https', NEIGHBOUR))).toEqual({
          redirectUri: `http://${HOST}${CALLBACK}`,
          secure: false,
        });
      }
    },
  );

  test('a peer that is not listed changes neither scheme nor address, with these lines and without', async () => {
    for (const { port } of [another, none]) {
      const headers = told('https', NEIGHBOUR);
      expect(await schemeOfRedirect(port, headers)).toBe('http');
      const { seen } = await call(port, { headers: [...bearer(world.alice), ...headers] });
      expect(seen?.headers['x-forwarded-proto']).toEqual(['http']);
      expect(JSON.stringify(seen)).not.toContain(NEIGHBOUR);
    }
  });

  test.each([['https, http'], ['https,https'], ['javascript'], ['xhttps'], ['']])(
    'a scheme that is none does not become https: %j',
    async scheme => {
      expect(await schemeOfRedirect(listed.port, told(scheme, NEIGHBOUR))).not.toBe('https');
    },
  );

  test('what a listed load balancer hands on of a client changes neither host, path, method nor identity', async () => {
    const forged: Pairs = [
      ['X-Forwarded-Host', 'wiki.test'],
      ['X-Forwarded-Uri', '/share'],
      ['X-Forwarded-Method', 'OPTIONS'],
      ['X-Forwarded-Prefix', '/share'],
      ['X-Forwarded-Port', '1'],
      ['X-Original-URL', `https://${HOST}/share`],
      ['X-Real-IP', '203.0.113.9'],
      ['Remote-User', 'alice'],
      ...told('https', NEIGHBOUR),
    ];
    // bob has no grant of photos; wiki lets in anybody who is signed in, and /share is public.
    const refused = await call(listed.port, { path: '/album', headers: [...bearer(world.bob), ...forged] });
    expect([refused.status, refused.seen]).toEqual([403, null]);
    const { seen } = await call(listed.port, { path: '/share', headers: forged });
    expect(seen?.url).toBe('/share');
    expect(seen?.headers['remote-user']?.join() ?? '').toBe('');
    expect(JSON.stringify(seen)).not.toMatch(/wiki\.test|203\.0\.113\.9|OPTIONS/);
  });

  test('requests that share a connection of the load balancer have a scheme and an address each', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      const share = async (headers: Pairs): Promise<unknown> => {
        const { seen } = await call(listed.port, { path: '/share', headers, agent });
        const addresses = seen?.headers['x-forwarded-for']?.join().split(/, ?/);
        return [seen?.headers['x-forwarded-proto']?.join(), addresses?.[0]];
      };
      expect(await share(told('https', SCANNER))).toEqual(['https', SCANNER]);
      expect(await share(told('http', NEIGHBOUR))).toEqual(['http', NEIGHBOUR]);
      expect(await share([])).toEqual(['http', HERE]);
      expect(await share(told('https', SCANNER))).toEqual(['https', SCANNER]);
    } finally {
      agent.destroy();
    }
  });

  test("a scanner behind the load balancer uses up its own limit, whatever it claims, and no neighbour's", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: GUESSES_AT_ONCE });
    const guess = async (address: string, claimed: Pairs = []): Promise<number> => {
      const headers = [...bearer(createToken()), ...claimed, ...told('https', address)];
      const { status } = await call(listed.port, { path: '/album', headers, agent });
      return status;
    };
    try {
      // The load balancer appends the scanner's address to the list, or as a line of its own.
      const limited = new Set<'in the list' | 'in a line'>();
      for (let batch = 0; limited.size < 2 && batch < BATCHES_MAX; batch += 1) {
        await Promise.all(
          Array.from({ length: GUESSES_AT_ONCE }, async (_, index) => {
            const claim = `203.0.${batch}.${index}`;
            const form = index % 2 === 0 ? 'in the list' : 'in a line';
            const status = await (form === 'in the list'
              ? guess(`${claim}, ${SCANNER}`)
              : guess(SCANNER, [['X-Forwarded-For', claim]]));
            if (status === 503) {
              limited.add(form);
            }
          }),
        );
      }
      expect(limited).toEqual(new Set(['in the list', 'in a line']));
      expect(await guess(NEIGHBOUR)).toBe(401);
    } finally {
      agent.destroy();
    }
  });
});
