/**
 * What a provider may do to the gate: be away, be slow, answer nonsense, and name addresses. (That sign-in works is
 * shown with a real one.)
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock, type Clock } from '../../../src/time/clock.js';
import type { Flow } from '../../../src/sign-in/flow.js';
import { createProvider, type Provider, type ProviderObservation } from '../../../src/sign-in/provider.js';
import type { SignInRefused } from '../../../src/sign-in/refusal.js';

const SECRET = 'the secret of the client';
const FLOW: Flow = {
  state: 'a'.repeat(43),
  nonce: 'n'.repeat(43),
  codeVerifier: 'v'.repeat(43),
  redirectUri: 'https://wiki.example.com/_gatebell/callback',
  returnTo: null,
};
const ANSWER = `code=the-code&state=${FLOW.state}`;

let server: Server;
let issuer: string;
let provider: Provider | null;
/** What the provider does, by path. */
let answers: Record<string, (response: ServerResponse, request: IncomingMessage, body: string) => void>;
let asked: string[];
let napsMs: number[];

/** Nobody waits: what would be waited for is noted. */
const hurried: Clock = {
  ...systemClock,
  startTimer(ms, fire) {
    napsMs.push(ms);
    // The next hour is never reached.
    const immediate = ms > 60_000 ? null : setImmediate(fire);
    return () => {
      if (immediate !== null) {
        clearImmediate(immediate);
      }
    };
  },
};

const json =
  (value: unknown, status = 200) =>
  (response: ServerResponse): void => {
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
  };

const metadata = (more: object = {}): object => ({
  issuer,
  authorization_endpoint: `${issuer}/auth?tenant=1`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  ...more,
});

beforeEach(async () => {
  provider = null;
  asked = [];
  napsMs = [];
  answers = {};
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (part: string) => (body += part));
    request.on('end', () => {
      const answer = answers[request.url ?? ''];
      if (answer === undefined) {
        response.writeHead(404).end();
      } else {
        answer(response, request, body);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A listening TCP server has an address of this form.
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  provider?.stop();
  server.close();
  server.closeAllConnections();
});

/** Starts it, and waits until that many things have happened. */
async function observe(count: number): Promise<ProviderObservation[]> {
  const observed: ProviderObservation[] = [];
  await new Promise<void>(resolve => {
    provider = createProvider({
      issuer,
      clientId: 'gate bell',
      clientSecret: SECRET,
      scopes: 'openid email',
      claim: 'preferred_username',
      clock: hurried,
      observe(observation) {
        observed.push(observation);
        if (observed.length === count) {
          resolve();
        }
      },
    });
    provider.start();
  });
  return observed;
}

async function ready(more: object = {}): Promise<Provider> {
  answers['/.well-known/openid-configuration'] = json(metadata(more));
  expect(await observe(1)).toEqual([{ event: 'provider_discovered', issuer }]);
  return provider!;
}

async function refusalOf(redeeming: Promise<unknown>): Promise<SignInRefused> {
  return redeeming.then(
    identity => expect.fail(`it was accepted: ${JSON.stringify(identity)}`),
    (error: unknown) => error as SignInRefused,
  );
}

describe('metadata', () => {
  test('is asked for again and again, each time later, until it is there', async () => {
    let failures = 3;
    answers['/.well-known/openid-configuration'] = response => {
      failures -= 1;
      json(failures < 0 ? metadata() : {}, failures < 0 ? 200 : 500)(response);
    };
    const observed = await observe(4);
    expect(observed.map(({ event }) => event)).toEqual([
      'provider_failed',
      'provider_failed',
      'provider_failed',
      'provider_discovered',
    ]);
    expect(napsMs[2]).toBeGreaterThan(napsMs[0]!);
  });

  test.each([
    ['of another issuer', () => json(metadata({ issuer: 'https://evil.example.com' }))],
    ['longer than anybody needs', () => json(metadata({ more: 'x'.repeat(1_100_000) }))],
    ['that is no JSON', () => (response: ServerResponse) => void response.end('<html>')],
    [
      'somewhere else',
      () => (response: ServerResponse) => void response.writeHead(302, { Location: `${issuer}/elsewhere` }).end(),
    ],
  ])('%s is not taken', async (_, answer) => {
    answers['/.well-known/openid-configuration'] = answer();
    answers['/elsewhere'] = json(metadata());
    expect((await observe(1))[0]).toMatchObject({ event: 'provider_failed' });
    expect(asked).not.toContain('/elsewhere');
    await expect(provider!.authorizationUrl(FLOW)).rejects.toMatchObject({ code: 'provider_unavailable' });
    expect(provider!.endSessionUrl()).toBeNull();
  });
});

test('a browser is sent there with all that binds the answer to it', async () => {
  const url = await (await ready()).authorizationUrl(FLOW);
  expect(url.origin + url.pathname).toBe(`${issuer}/auth`);
  expect(Object.fromEntries(url.searchParams)).toMatchObject({
    tenant: '1',
    client_id: 'gate bell',
    response_type: 'code',
    scope: 'openid email',
    redirect_uri: FLOW.redirectUri,
    state: FLOW.state,
    nonce: FLOW.nonce,
    code_challenge_method: 'S256',
  });
  expect(url.searchParams.get('code_challenge')).toMatch(/^[\w-]{43}$/);
  expect(url.href).not.toContain(FLOW.codeVerifier);
});

describe('a code', () => {
  const presented = async (more: object): Promise<{ authorization: string | undefined; body: URLSearchParams }> => {
    let seen: { authorization: string | undefined; body: URLSearchParams } | null = null;
    answers['/token'] = (response, request, body) => {
      seen = { authorization: request.headers.authorization, body: new URLSearchParams(body) };
      json({ error: 'invalid_grant', error_description: 'used already' }, 400)(response);
    };
    const refusal = await refusalOf((await ready(more)).redeem(ANSWER, FLOW));
    expect(refusal).toMatchObject({ code: 'bad_provider_answer', detail: 'the provider answered 400 invalid_grant' });
    return seen!;
  };

  test('is redeemed with the secret in the header, unless the provider wants it in the body', async () => {
    const basic = await presented({});
    expect(basic.authorization).toMatch(/^Basic /);
    expect(basic.body.get('client_secret')).toBeNull();
    expect(Object.fromEntries(basic.body)).toMatchObject({
      code: 'the-code',
      code_verifier: FLOW.codeVerifier,
      redirect_uri: FLOW.redirectUri,
    });
    provider!.stop();
    const post = await presented({ token_endpoint_auth_methods_supported: ['client_secret_post'] });
    expect(post.authorization).toBeUndefined();
    expect(post.body.get('client_secret')).toBe(SECRET);
  });

  test.each([
    ['without TLS', 'http://id.example.com/token', 'the provider names an address without TLS'],
    ['that nobody answers', 'http://127.0.0.1:1/token', 'fetch failed'],
  ])('goes to no address %s', async (_, tokenEndpoint, detail) => {
    const refusal = await refusalOf((await ready({ token_endpoint: tokenEndpoint })).redeem(ANSWER, FLOW));
    expect(refusal.code).toBe('provider_unavailable');
    expect(refusal.detail).toContain(detail);
    expect(refusal.message).not.toContain('the-code');
  });

  test.each([
    [401, { error: 'invalid_client' }, 'provider_unavailable'],
    [500, {}, 'provider_unavailable'],
    [200, { access_token: 'a', token_type: 'bearer' }, 'bad_provider_answer'],
    [200, { access_token: 'a', token_type: 'bearer', id_token: 'x.y.z' }, 'bad_provider_answer'],
  ])('that is answered %i %j is not accepted', async (status, body, code) => {
    answers['/token'] = json(body, status);
    expect((await refusalOf((await ready()).redeem(ANSWER, FLOW))).code).toBe(code);
  });

  test('is not sent for an answer with another state or issuer, or an error', async () => {
    const using = await ready({ authorization_response_iss_parameter_supported: true });
    for (const [query, code] of [
      [`code=c&iss=${issuer}&state=${'b'.repeat(43)}`, 'bad_provider_answer'],
      [`code=c&state=${FLOW.state}`, 'bad_provider_answer'],
      [`code=c&iss=https://evil.example.com&state=${FLOW.state}`, 'bad_provider_answer'],
      [`error=access_denied&iss=${issuer}&state=${FLOW.state}`, 'provider_refused'],
    ] as const) {
      expect((await refusalOf(using.redeem(query, FLOW))).code, query).toBe(code);
    }
    expect(asked).not.toContain('/token');
  });

  test('of an error that the provider has made up, the log tells nothing', async () => {
    const refusal = await refusalOf(
      (await ready()).redeem(`error=%3Cscript%3E&error_description=x&state=${FLOW.state}`, FLOW),
    );
    expect(refusal).toMatchObject({ code: 'provider_refused', detail: 'an unknown error' });
  });
});
