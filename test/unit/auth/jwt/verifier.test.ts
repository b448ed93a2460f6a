import { createHmac } from 'node:crypto';
import type * as Jose from 'jose';
import { describe, expect, test, vi } from 'vitest';
import { parseJwtKey, type JwtAlgorithm } from '../../../../src/auth/jwt/key.js';
import {
  createJwtVerifier,
  type JwtClaims,
  type JwtObservation,
  type JwtVerdict,
  type JwtVerifier,
  type JwtVerifierOptions,
} from '../../../../src/auth/jwt/verifier.js';
import {
  AUDIENCE,
  createSigningKey,
  encode,
  goodClaims,
  issue,
  ISSUER,
  type SigningKey,
} from '../../../support/jwt-issuer.js';
import { createSimulatedClock, type SimulatedClock } from '../../../support/simulated-clock.js';

/** What verifications wait for before they are told: crypto threads answer when they like. */
let mayVerify: Promise<unknown> = Promise.resolve();
vi.mock('jose', async importOriginal => {
  const jose = await importOriginal<typeof Jose>();
  const jwtVerify = async (...given: Parameters<typeof Jose.jwtVerify>): Promise<unknown> => {
    const verified = jose.jwtVerify(...given);
    await Promise.allSettled([verified, mayVerify]);
    return verified;
  };
  return { ...jose, jwtVerify };
});

const NOW_MS = 1_750_000_000_000;
const GOOD = goodClaims(NOW_MS);
const RSA = createSigningKey('RS256');
const EC = createSigningKey('ES256');
const ED = createSigningKey('EdDSA');
const SECRET = createSigningKey('HS256');
const ALL = [RSA, EC, ED, SECRET];

interface Bench {
  readonly verifier: JwtVerifier;
  readonly observed: JwtObservation[];
  readonly clock: SimulatedClock;
  /** How often a signature was looked at, or could not be. */
  results(): readonly string[];
  /** What the key set says from now on; null: it cannot be fetched. */
  publish(keys: readonly unknown[] | string | null): void;
  readonly fetches: () => number;
}

const RANDOM = { uniform: () => 0.5, nonce: () => '' };

function open(
  keys: JwtVerifierOptions['keys'] | ((fetchText: () => Promise<string>) => JwtVerifierOptions['keys']),
  more: Partial<JwtVerifierOptions> = {},
): Bench {
  const clock = createSimulatedClock();
  const observed: JwtObservation[] = [];
  let published: readonly unknown[] | string | null = null;
  let fetches = 0;
  const fetchText = async (): Promise<string> => {
    fetches += 1;
    if (published === null) {
      throw new Error('nobody there');
    }
    return typeof published === 'string' ? published : JSON.stringify({ keys: published });
  };
  const verifier = createJwtVerifier({
    issuer: ISSUER,
    audiences: [AUDIENCE, 'other.test'],
    keys: typeof keys === 'function' ? keys(fetchText) : keys,
    claim: 'sub',
    leewayMs: 30_000,
    clock,
    random: RANDOM,
    observe: observation => observed.push(observation),
    ...more,
  });
  return {
    verifier,
    observed,
    clock,
    results: () => observed.flatMap(each => (each.event === 'jwt_verified' ? [each.result] : [])),
    publish(now) {
      published = now;
    },
    fetches: () => fetches,
  };
}

const withKey = (key: SigningKey, more?: Partial<JwtVerifierOptions>): Bench =>
  open({ source: 'key', key: parseJwtKey(key.text)! }, more);

const PUBLIC: readonly JwtAlgorithm[] = ['RS256', 'ES256', 'EdDSA'];

/** A verifier whose key set is there. */
async function withSet(keys: readonly unknown[] | string, more?: Partial<JwtVerifierOptions>): Promise<Bench> {
  const bench = open(fetchText => ({ source: 'jwks', fetchText, refreshMs: 600_000, algorithms: PUBLIC }), more);
  bench.publish(keys);
  bench.verifier.start();
  await bench.clock.drain();
  return bench;
}

/** What the gate makes of a bearer, in the end. */
async function judge({ verifier }: Bench, token: string): Promise<JwtVerdict | 'unavailable' | 'foreign'> {
  const presented = verifier.present(token);
  if (presented === null) {
    return 'foreign';
  }
  return presented.kind === 'unverified' ? ((await verifier.verify(presented.token)) ?? 'unavailable') : presented;
}

const claimsOf = (verdict: unknown): JwtClaims => {
  expect(verdict).toMatchObject({ kind: 'jwt' });
  return verdict as JwtClaims;
};

const BAD = { kind: 'bad' };

describe('a genuine token', () => {
  test.each(ALL.map(key => [key.algorithm, key] as const))('of %s says whose it is', async (_, key) => {
    expect(await judge(withKey(key), issue(key, GOOD))).toEqual({
      kind: 'jwt',
      issuer: ISSUER,
      subject: 'alice',
      name: 'alice',
      userId: null,
      jti: 'token-1',
      issuedAtMs: NOW_MS - 30_000,
      validFromMs: NOW_MS - 30_000,
      validUntilMs: NOW_MS + 3_600_000 + 30_000,
    });
  });

  test.each(ALL.map(key => [key.algorithm, key] as const))('of %s, with the key as a JWK', async (_, key) => {
    const bench = open({ source: 'key', key: parseJwtKey(JSON.stringify(key.jwk))! });
    expect(await judge(bench, issue(key, GOOD))).toMatchObject({ name: 'alice' });
  });

  test.each([RSA, EC, ED].map(key => [key.algorithm, key] as const))('of %s, from a key set', async (_, key) => {
    expect(await judge(await withSet([RSA.jwk, EC.jwk, ED.jwk]), issue(key, GOOD))).toMatchObject({ name: 'alice' });
  });

  test('may be for several, of whom we are one', async () => {
    expect(await judge(withKey(EC), issue(EC, { ...GOOD, aud: ['x', 'other.test'] }))).toMatchObject({ kind: 'jwt' });
  });

  test('may name its user in another claim', async () => {
    const bench = withKey(EC, { claim: 'preferred_username' });
    expect(await judge(bench, issue(EC, { ...GOOD, preferred_username: 'Zoë 🔔' }))).toMatchObject({ name: 'Zoë 🔔' });
    expect(await judge(bench, issue(EC, GOOD))).toEqual(BAD);
  });

  test('named by an email address counts only if the issuer has made sure of it', async () => {
    const bench = withKey(EC, { claim: 'email' });
    const email = 'alice@example.com';
    expect(await judge(bench, issue(EC, { ...GOOD, email, email_verified: true }))).toMatchObject({ name: email });
    for (const email_verified of [undefined, false, 'true', 1]) {
      expect(await judge(bench, issue(EC, { ...GOOD, email, email_verified }))).toEqual(BAD);
    }
  });

  test('counts from the later of nbf and iat, leeway before, to exp, leeway after', async () => {
    const times = { exp: 2_000, nbf: 1_000.5, iat: 900 };
    const claims = claimsOf(await judge(withKey(EC, { leewayMs: 5_000 }), issue(EC, { ...GOOD, ...times })));
    expect(claims).toMatchObject({ validFromMs: 995_500, validUntilMs: 2_005_000, issuedAtMs: 895_000 });
  });

  test('needs neither iat nor nbf nor jti nor a type', async () => {
    const { iss, aud, sub, exp } = GOOD;
    expect(await judge(withKey(EC), issue(EC, { iss, aud, sub, exp }, { typ: undefined }))).toMatchObject({
      jti: null,
      issuedAtMs: null,
      validFromMs: -Infinity,
    });
  });

  test('is no other when its time is over: that is for the decision to see', async () => {
    expect(await judge(withKey(EC), issue(EC, { ...GOOD, exp: 1, nbf: 9e9, iat: 9e9 }))).toMatchObject({ kind: 'jwt' });
  });

  test.each(['JWT', 'jwt', 'at+jwt', 'application/at+JWT'])('may be of type %s', async typ => {
    expect(await judge(withKey(EC), issue(EC, GOOD, { typ }))).toMatchObject({ kind: 'jwt' });
  });
});

describe('is refused:', () => {
  const without = (claim: string): unknown => ({ ...GOOD, [claim]: undefined });
  const [head, body, signature] = issue(RSA, GOOD).split('.') as [string, string, string];
  const none = (alg: string): string => `${encode({ alg, typ: 'JWT' })}.${body}.`;
  const stranger = createSigningKey('RS256');
  const flipped = `${head}.${encode({ ...GOOD, sub: 'root' })}.${signature}`;
  const hmac = (secret: string, alg: string): string => {
    const data = `${encode({ alg, typ: 'JWT', kid: RSA.kid })}.${body}`;
    return `${data}.${createHmac('sha256', secret).update(data).digest('base64url')}`;
  };

  test.each<[why: string, token: string]>([
    ['algorithm none', none('none')],
    ['algorithm NONE', none('NONE')],
    ['no algorithm', `${encode({ typ: 'JWT' })}.${body}.${signature}`],
    ['the public key as a secret', hmac(RSA.text, 'HS256')],
    ['the public key as a secret, without its last line end', hmac(RSA.text.trim(), 'HS256')],
    ['the public JWK as a secret', hmac(JSON.stringify(RSA.jwk), 'HS256')],
    ['another algorithm of the same key', issue(RSA, GOOD, { alg: 'RS512' })],
    ['another algorithm of the same key, PS256', issue(RSA, GOOD, { alg: 'PS256' })],
    ['signed by a stranger', issue(stranger, GOOD)],
    ['signed by a stranger whose key it carries', issue(stranger, GOOD, { jwk: stranger.jwk })],
    ['signed by a stranger whose key is elsewhere', issue(stranger, GOOD, { jku: 'https://stranger.test/keys' })],
    [
      'signed by a stranger with a certificate',
      issue(stranger, GOOD, { x5u: 'https://stranger.test/x', x5c: ['AA=='] }),
    ],
    ['a key id that is a path', issue(stranger, GOOD, { kid: '../../dev/null' })],
    ['other claims below the signature', flipped],
    ['another header above the signature', `${encode({ alg: 'RS256', kid: 'key-1' })}.${body}.${signature}`],
    ['a signature cut short', issue(RSA, GOOD).slice(0, -4)],
    ['no signature', `${head}.${body}.`],
    ['an extension that must be understood', issue(RSA, GOOD, { crit: ['x'], x: 1 })],
    ['a payload that is not encoded', issue(RSA, GOOD, { crit: ['b64'], b64: false })],
    ['a type that is for something else', issue(RSA, GOOD, { typ: 'logout+jwt' })],
    ['a type that is no text', issue(RSA, GOOD, { typ: 1 })],
    ['another audience', issue(RSA, { ...GOOD, aud: 'else.test' })],
    ['an audience like ours', issue(RSA, { ...GOOD, aud: `${AUDIENCE}.evil.test` })],
    ['no audience', issue(RSA, without('aud'))],
    ['an audience in an object', issue(RSA, { ...GOOD, aud: { [AUDIENCE]: true } })],
    ['no expiry', issue(RSA, without('exp'))],
    ['an expiry that is a text', issue(RSA, { ...GOOD, exp: '9999999999' })],
    ['an expiry that never comes', issue(RSA, JSON.stringify(GOOD).replace(/"exp":\d+/, '"exp":1e999'))],
    ['an expiry that never comes in milliseconds', issue(RSA, { ...GOOD, exp: 1e307 })],
    ['nbf that is a text', issue(RSA, { ...GOOD, nbf: '1' })],
    ['iat that is null', issue(RSA, { ...GOOD, iat: null })],
    ['no user', issue(RSA, without('sub'))],
    ['a user that is a number', issue(RSA, { ...GOOD, sub: 7 })],
    ['a user that is a list', issue(RSA, { ...GOOD, sub: ['alice'] })],
    ['an empty user', issue(RSA, { ...GOOD, sub: '' })],
    ['a user with a space before', issue(RSA, { ...GOOD, sub: ' alice' })],
    ['a user with a space behind', issue(RSA, { ...GOOD, sub: 'alice ' })],
    ['a user with a zero byte', issue(RSA, { ...GOOD, sub: 'a\u2028b\0' })],
    ['a user with a line end', issue(RSA, { ...GOOD, sub: 'alice\nroot' })],
    ['a user with half a character', issue(RSA, { ...GOOD, sub: 'alice\ud800' })],
    ['a user with 201 characters', issue(RSA, { ...GOOD, sub: '🔔'.repeat(201) })],
    ['an id that cannot be revoked, a number', issue(RSA, { ...GOOD, jti: 7 })],
    ['an id that cannot be revoked, empty', issue(RSA, { ...GOOD, jti: '' })],
    ['an id that cannot be revoked, too long', issue(RSA, { ...GOOD, jti: 'x'.repeat(256) })],
    ['an id that cannot be revoked, not ASCII', issue(RSA, { ...GOOD, jti: 'é' })],
  ])('%s', async (_, token) => {
    for (const bench of [withKey(RSA), await withSet([RSA.jwk])]) {
      expect(await judge(bench, token)).toEqual(BAD);
      expect(await judge(bench, issue(RSA, GOOD)), 'and a good one is not, after it').toMatchObject({ kind: 'jwt' });
    }
  });

  test('another issuer, whoever asks for the verification', async () => {
    expect(await withKey(RSA).verifier.verify(issue(RSA, { ...GOOD, iss: 'https://else.test' }))).toEqual(BAD);
  });

  test('claims said twice, of which the last one counts, before and after the verification', async () => {
    const twice = (claim: string, first: string): string =>
      JSON.stringify(GOOD).replace('{', `{"${claim}":${JSON.stringify(first)},`);
    expect(await judge(withKey(RSA), issue(RSA, twice('sub', 'root')))).toMatchObject({ name: 'alice' });
    expect(await judge(withKey(RSA), issue(RSA, twice('iss', 'https://else.test')))).toMatchObject({ name: 'alice' });
    const last = JSON.stringify(GOOD).replace(/\}$/, ',"iss":"https://else.test"}');
    expect(await judge(withKey(RSA), issue(RSA, last))).toBe('foreign');
    expect(await judge(withKey(RSA), issue(RSA, GOOD, '{"alg":"RS256","alg":"none"}'))).toEqual(BAD);
  });
});

describe('is not for us, and nothing is verified:', () => {
  const token = issue(EC, GOOD);
  const [head, body, signature] = token.split('.') as [string, string, string];

  test.each<[what: string, bearer: string]>([
    ['nothing', ''],
    ['a word', 'word'],
    ['another issuer', issue(EC, { ...GOOD, iss: 'https://else.test' })],
    ['an issuer with the slash left out', issue(EC, { ...GOOD, iss: ISSUER.slice(0, -1) })],
    ['an issuer in a list', issue(EC, { ...GOOD, iss: [ISSUER] })],
    ['no issuer', issue(EC, { ...GOOD, iss: undefined })],
    ['claims that are no JSON', issue(EC, 'x')],
    ['claims that are null', issue(EC, 'null')],
    ['claims that are a list', issue(EC, '[]')],
    ['two parts', `${head}.${body}`],
    ['four parts', `${token}.x`],
    ['five parts, as an encrypted one has', `${token}.x.y`],
    ['padding', `${head}.${body}=.${signature}`],
    ['a header that is no object', `${encode('[]')}.${body}.${signature}`],
    ['a space in it', `${head} .${body}.${signature}`],
    ['8,193 characters', issue(EC, { ...GOOD, x: 'x'.repeat(6_000) }).padEnd(8_193, 'x')],
  ])('%s', async (_, bearer) => {
    const bench = withKey(EC);
    expect(await judge(bench, bearer)).toBe('foreign');
    expect(bench.observed).toEqual([]);
  });

  test('a token of 8,192 characters is one of ours', () => {
    expect(withKey(EC).verifier.present(issue(EC, GOOD).padEnd(8_192, 'x'))?.kind).toBe('unverified');
  });
});

describe('what was verified is remembered', () => {
  test('so that a token is verified once, however many ask at once and after', async () => {
    const bench = withKey(EC);
    const token = issue(EC, GOOD);
    const verdicts = await Promise.all(Array.from({ length: 50 }, () => judge(bench, token)));
    expect(new Set(verdicts).size).toBe(1);
    for (let i = 0; i < 3; i++) {
      expect(bench.verifier.present(token)).toBe(verdicts[0]);
      expect(await bench.verifier.verify(token)).toBe(verdicts[0]);
    }
    expect(bench.results()).toEqual(['valid']);
  });

  test('a forgery too', async () => {
    const bench = withKey(EC);
    const forgery = issue(createSigningKey('ES256'), GOOD);
    for (let i = 0; i < 3; i++) {
      expect(await judge(bench, forgery)).toEqual(BAD);
    }
    expect(bench.results()).toEqual(['invalid']);
  });

  test('forgeries are remembered apart: a flood of them pushes no genuine token out', async () => {
    const bench = withKey(SECRET);
    const token = issue(SECRET, GOOD);
    await judge(bench, token);
    const [head, , signature] = token.split('.') as [string, string, string];
    const forgery = (n: number): string => `${head}.${encode({ ...GOOD, n })}.${signature}`;
    for (let n = 0; n < 3_000; n++) {
      expect(await judge(bench, forgery(n))).toEqual(BAD);
    }
    expect(bench.verifier.present(token)).toMatchObject({ kind: 'jwt' });
    expect(bench.verifier.present(forgery(0)), 'the first of them is forgotten').toMatchObject({ kind: 'unverified' });
    expect(bench.results().filter(result => result === 'valid')).toHaveLength(1);
  });

  test('of many genuine ones, most', async () => {
    const bench = withKey(SECRET);
    const tokens = Array.from({ length: 2_500 }, (_, n) => issue(SECRET, { ...GOOD, jti: `t${n}` }));
    for (let round = 0; round < 2; round++) {
      for (const token of tokens) {
        expect(await judge(bench, token)).toMatchObject({ kind: 'jwt' });
      }
    }
    expect(bench.results()).toHaveLength(2_500);
  });

  test('so many verifications at once, and no more', async () => {
    const bench = withKey(SECRET);
    const verdicts = await Promise.all(
      Array.from({ length: 1_100 }, (_, n) => judge(bench, issue(SECRET, { ...GOOD, n }))),
    );
    expect(verdicts.filter(verdict => verdict === 'unavailable')).toHaveLength(100);
    expect(bench.results().filter(result => result === 'busy')).toHaveLength(100);
    expect(await judge(bench, issue(SECRET, { ...GOOD, n: -1 }))).toMatchObject({ kind: 'jwt' });
  });
});

describe('a key set', () => {
  const old = createSigningKey('ES256', 'old');
  const fresh = createSigningKey('ES256', 'new');

  test('that was not had yet verifies nothing: unavailable, which is not remembered', async () => {
    const bench = open(fetchText => ({ source: 'jwks', fetchText, refreshMs: 600_000, algorithms: PUBLIC }));
    bench.verifier.start();
    await bench.clock.drain();
    const token = issue(old, GOOD);
    expect(await judge(bench, token)).toBe('unavailable');
    expect(bench.results()).toEqual(['no_keys']);
    bench.publish([old.jwk]);
    await bench.clock.advance(1_000);
    expect(await judge(bench, token)).toMatchObject({ kind: 'jwt' });
  });

  test('with several keys of one id, or a token without one: each is tried', async () => {
    const twins = [createSigningKey('ES256', 'x'), createSigningKey('ES256', 'x'), createSigningKey('ES256', 'y')];
    const bench = await withSet(twins.map(({ jwk }) => jwk));
    for (const key of twins) {
      expect(await judge(bench, issue(key, GOOD))).toMatchObject({ kind: 'jwt' });
      expect(await judge(bench, issue(key, GOOD, { kid: undefined }))).toMatchObject({ kind: 'jwt' });
    }
    expect(await judge(bench, issue(createSigningKey('ES256', 'x'), GOOD))).toEqual(BAD);
    expect(await judge(bench, issue(old, GOOD, { kid: undefined }))).toEqual(BAD);
  });

  test('a key that is rotated in is unknown until the next fetch, which the token asks for', async () => {
    const bench = await withSet([old.jwk]);
    const token = issue(fresh, GOOD);
    bench.publish([old.jwk, fresh.jwk]);
    expect(await judge(bench, token)).toEqual(BAD);
    expect(bench.results()).toEqual(['unknown_key']);
    await bench.clock.advance(30_000);
    expect(bench.fetches()).toBe(2);
    expect(await judge(bench, token)).toMatchObject({ kind: 'jwt' });
  });

  test('a flood of unknown keys causes a fetch in thirty seconds', async () => {
    const bench = await withSet([old.jwk]);
    for (let second = 0; second < 60; second++) {
      await judge(bench, issue(createSigningKey('ES256', `k${second}`), GOOD));
      await bench.clock.advance(1_000);
    }
    expect(bench.fetches()).toBeLessThanOrEqual(3);
  });

  test('a key that is taken back counts no more, also for tokens that were verified with it', async () => {
    const bench = await withSet([old.jwk, fresh.jwk]);
    const [gone, kept, nameless] = [
      issue(old, GOOD),
      issue(fresh, GOOD),
      issue(old, { ...GOOD, jti: 'n' }, { kid: undefined }),
    ];
    for (const token of [gone, kept, nameless]) {
      await judge(bench, token);
      expect(bench.verifier.present(token)?.kind).toBe('jwt');
    }
    bench.publish([fresh.jwk]);
    await bench.clock.advance(600_000);
    expect(bench.verifier.present(gone)?.kind).toBe('unverified');
    expect(bench.verifier.present(kept)?.kind, 'verified by a key that stays').toBe('jwt');
    expect(await judge(bench, gone)).toEqual(BAD);
    expect(await judge(bench, nameless)).toEqual(BAD);
  });

  test('a key that is replaced under its id is another key', async () => {
    const bench = await withSet([old.jwk]);
    const token = issue(old, GOOD);
    await judge(bench, token);
    bench.publish([{ ...fresh.jwk, kid: 'old' }]);
    await bench.clock.advance(600_000);
    expect(await judge(bench, token)).toEqual(BAD);
    expect(await judge(bench, issue(fresh, GOOD, { kid: 'old' }))).toMatchObject({ kind: 'jwt' });
  });

  test('the same again is no change: nothing is verified anew', async () => {
    const bench = await withSet([old.jwk]);
    const token = issue(old, GOOD);
    await judge(bench, token);
    await bench.clock.advance(600_000);
    expect(bench.fetches()).toBe(2);
    expect(bench.verifier.present(token)?.kind).toBe('jwt');
  });

  test('a verification that began before a change is made again after it', async () => {
    const bench = await withSet([old.jwk]);
    let letVerify: (nothing: null) => void = () => undefined;
    mayVerify = new Promise(resolve => {
      letVerify = resolve;
    });
    const verdict = judge(bench, issue(old, GOOD));
    bench.publish([fresh.jwk]);
    await bench.clock.advance(600_000);
    expect(bench.fetches()).toBe(2);
    letVerify(null);
    expect(await verdict).toEqual(BAD);
    expect(bench.verifier.present(issue(old, GOOD))?.kind).not.toBe('jwt');
  });

  test('holds no shared secret: one in it verifies nothing', async () => {
    const bench = await withSet([old.jwk, { ...SECRET.jwk, alg: 'HS256' }]);
    expect(bench.observed).toContainEqual({ event: 'jwks_refreshed', keys: 1, ignored: 1, changed: true });
    expect(await judge(bench, issue(SECRET, GOOD))).toEqual(BAD);
  });

  test('a key that is broken harms only its own tokens', async () => {
    const bench = await withSet([{ kty: 'RSA', kid: 'broken', alg: 'RS256' }, old.jwk]);
    expect(await judge(bench, issue(RSA, GOOD, { kid: 'broken' }))).toEqual(BAD);
    expect(await judge(bench, issue(old, GOOD))).toMatchObject({ kind: 'jwt' });
  });
});
