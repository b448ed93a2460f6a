/** JWTs through the handler, on a real server: verified off the decision, bounded, never in what is observed. */
import { afterEach, describe, expect, test } from 'vitest';
import type { AuthOptions } from '../../../src/auth/handler.js';
import { createJwtVerifier, type JwtVerifier } from '../../../src/auth/jwt/verifier.js';
import { parseJwtKey } from '../../../src/auth/jwt/key.js';
import { createClientRateLimiter } from '../../../src/auth/client-rate-limiter.js';
import { UnavailableError } from '../../../src/coherence/errors.js';
import { systemClock, systemRandom } from '../../../src/time/clock.js';
import { startAuthServer, type Answer, type AuthServer } from '../../support/auth-server.js';
import { AUDIENCE, createSigningKey, goodClaims, issue, ISSUER } from '../../support/jwt-issuer.js';
import { ALICE, APP, createMemoryReader, createWorld, type MemoryFacts } from '../../support/memory-facts.js';

const KEY = createSigningKey('EdDSA');
const TOKEN = issue(KEY, { ...goodClaims(createWorld().serverTimeMs), sub: ALICE.name });

const servers: AuthServer[] = [];
afterEach(() => Promise.all(servers.splice(0).map(server => server.stop())));

interface Bench {
  readonly server: AuthServer;
  readonly facts: MemoryFacts;
  ask(token: string, uri?: string): Promise<Answer>;
}

async function start({
  verifier,
  ...more
}: { readonly verifier?: JwtVerifier | null } & Pick<
  Partial<AuthOptions>,
  'waitingMax' | 'limiter' | 'stripCredentials' | 'bindIdentity'
> = {}): Promise<Bench> {
  const facts = createWorld();
  facts.set('identity', [ISSUER, 'alice'], { userId: ALICE.id });
  const jwt = createJwtVerifier({
    issuer: ISSUER,
    audiences: [AUDIENCE],
    keys: { source: 'key', key: parseJwtKey(KEY.text)! },
    claim: 'sub',
    leewayMs: 0,
    clock: systemClock,
    random: systemRandom,
    observe: observation => server.observed.push(observation),
  });
  const server: AuthServer = await startAuthServer({
    reader: createMemoryReader(facts),
    jwt: verifier === undefined ? jwt : verifier,
    ...more,
  });
  servers.push(server);
  return {
    server,
    facts,
    ask: (token, uri = '/') =>
      server.ask('/auth/forward', [
        ['X-Forwarded-Method', 'GET'],
        ['X-Forwarded-Proto', 'https'],
        ['X-Forwarded-Host', APP.host],
        ['X-Forwarded-Uri', uri],
        ['X-Forwarded-For', '203.0.113.7'],
        ['Authorization', `Bearer ${token}`],
      ]),
  };
}

const reasonOf = ({ status, headers }: Answer): string => `${status} ${headers['x-gatebell-reason']}`;
const verifications = ({ server }: Bench): readonly string[] =>
  server.observed.flatMap(each => (each.event === 'jwt_verified' ? [each.result] : []));

test('the first request is verified and waits, the next is answered at once', async () => {
  const bench = await start();
  const first = await bench.ask(TOKEN);
  expect(reasonOf(first)).toBe('200 granted');
  expect(first.headers).toMatchObject({ 'remote-user': ALICE.name, 'x-gatebell-role': 'user' });
  expect(bench.server.observed.map(({ event }) => event)).toEqual(['waiting', 'jwt_verified', 'waiting', 'decision']);
  bench.server.observed.length = 0;
  expect(reasonOf(await bench.ask(TOKEN))).toBe('200 granted');
  expect(bench.server.observed.map(({ event }) => event)).toEqual(['decision']);
});

test('a forgery is a bad credential, and a public route looks at none', async () => {
  const bench = await start();
  const forgery = issue(createSigningKey('EdDSA'), goodClaims(Date.now()));
  expect(reasonOf(await bench.ask(forgery, '/pub'))).toBe('200 public');
  expect(verifications(bench)).toEqual([]);
  expect(reasonOf(await bench.ask(forgery))).toBe('401 bad_credential');
  expect(reasonOf(await bench.ask(forgery))).toBe('401 bad_credential');
  expect(verifications(bench)).toEqual(['invalid']);
});

test('what cannot be verified now is unavailable, and asked again', async () => {
  let answers = 0;
  const bench = await start({
    verifier: {
      keysVersion: 0,
      present: token => ({ kind: 'unverified', token }),
      verify: () => Promise.resolve(answers++ === 0 ? null : { kind: 'bad' }),
      start: () => undefined,
      stop: () => undefined,
    },
  });
  expect(reasonOf(await bench.ask(TOKEN))).toBe('503 unavailable');
  expect(reasonOf(await bench.ask(TOKEN))).toBe('401 bad_credential');
  expect(answers, 'once per request, although it is never remembered').toBe(2);
});

test('one that does not fit is the end of one request alone', async () => {
  const bench = await start({
    verifier: {
      keysVersion: 0,
      present: token => ({ kind: 'unverified', token }),
      verify: () => Promise.reject(new Error('defect')),
      start: () => undefined,
      stop: () => undefined,
    },
  });
  expect(reasonOf(await bench.ask(TOKEN))).toBe('503 unavailable');
  expect(bench.server.observed).toContainEqual({ event: 'decision_failed', error: new Error('defect') });
  expect(bench.server.observed.filter(({ event }) => event === 'waiting').at(-1)).toEqual({
    event: 'waiting',
    requests: 0,
  });
});

test('nothing is verified for a request that may not wait', async () => {
  const bench = await start({ waitingMax: 0 });
  expect(reasonOf(await bench.ask(TOKEN))).toBe('503 unavailable');
  expect(bench.server.observed).toContainEqual({ event: 'shed' });
  expect(verifications(bench)).toEqual([]);
});

test('who sends one forgery after the other is not verified for any more, and keeps nobody from working', async () => {
  const bench = await start({ limiter: createClientRateLimiter({ burst: 3, nowMs: () => 0 }) });
  expect(reasonOf(await bench.ask(TOKEN))).toBe('200 granted');
  const stranger = createSigningKey('EdDSA');
  const reasons: string[] = [];
  for (let n = 0; n < 6; n++) {
    reasons.push(reasonOf(await bench.ask(issue(stranger, { ...goodClaims(Date.now()), n }))));
  }
  expect(reasons.slice(0, 3)).toEqual(Array(3).fill('401 bad_credential'));
  expect(reasons.slice(3)).toEqual(Array(3).fill('503 unavailable'));
  expect(verifications(bench)).toEqual(['valid', 'invalid', 'invalid', 'invalid']);
  expect(reasonOf(await bench.ask(TOKEN)), 'what is remembered is never limited').toBe('200 granted');
});

test('where the app is given no credentials, it is given no JWT of ours', async () => {
  const bench = await start({ stripCredentials: true });
  for (const uri of ['/', '/pub']) {
    const answer = await bench.ask(TOKEN, uri);
    expect(answer).toMatchObject({ status: 200, headers: { authorization: '' } });
  }
});

test('where JWTs are off, one is a bearer that is not ours', async () => {
  expect(reasonOf(await (await start({ verifier: null })).ask(TOKEN))).toBe('401 bad_credential');
});

test('no token is in what is observed', async () => {
  const bench = await start();
  await bench.ask(TOKEN);
  await bench.ask(issue(createSigningKey('EdDSA'), goodClaims(Date.now())));
  const said = JSON.stringify(bench.server.observed);
  expect(said).toContain('jwt_verified');
  for (const part of TOKEN.split('.')) {
    expect(said).not.toContain(part);
  }
});

describe('a subject that is not bound', () => {
  const unbound = async (bindIdentity?: AuthOptions['bindIdentity']): Promise<Bench> => {
    const bench = await start(bindIdentity === undefined ? {} : { bindIdentity });
    bench.facts.set('identity', [ISSUER, 'alice'], null);
    bench.facts.set('user_name', [ALICE.name], { userId: ALICE.id });
    return bench;
  };

  test('is bound, and then decided about as the user whom it is bound to', async () => {
    const asked: unknown[] = [];
    const bench = await unbound(claims => {
      asked.push([claims.issuer, claims.subject, claims.name]);
      return Promise.resolve(ALICE.id);
    });
    expect(reasonOf(await bench.ask(TOKEN))).toBe('200 granted');
    expect(asked).toEqual([[ISSUER, 'alice', 'alice']]);
    bench.facts.set('identity', [ISSUER, 'alice'], { userId: ALICE.id });
    expect(reasonOf(await bench.ask(TOKEN))).toBe('200 granted');
    expect(asked).toHaveLength(1);
    expect(reasonOf(await bench.ask(TOKEN, '/pub')), 'nor on a public route').toBe('200 public');
  });

  test('means nobody where it may not be bound', async () => {
    expect(reasonOf(await (await unbound()).ask(TOKEN))).toBe('401 bad_credential');
    expect(reasonOf(await (await unbound(() => Promise.resolve(null))).ask(TOKEN))).toBe('401 bad_credential');
  });

  test('is unavailable while it cannot be bound', async () => {
    const away = new UnavailableError('foreign_reading', 'the pool leads elsewhere');
    const bench = await unbound(() => Promise.reject(away));
    expect(reasonOf(await bench.ask(TOKEN))).toBe('503 unavailable');
    expect(bench.server.observed.map(({ event }) => event)).not.toContain('decision_failed');
  });
});
