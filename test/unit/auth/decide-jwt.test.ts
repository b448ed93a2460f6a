/** What a verified JWT comes to; all else about apps, grants and roles is as for tokens (`decide.test.ts`). */
import { describe, expect, test } from 'vitest';
import type { PresentedCredential } from '../../../src/auth/request/credential.js';
import { decide, type Reason } from '../../../src/auth/decide.js';
import type { JwtClaims } from '../../../src/auth/jwt/verifier.js';
import { selectRoute } from '../../../src/auth/request/path.js';
import type { AuthRequest } from '../../../src/auth/request/request.js';
import type { FactTypes } from '../../../src/auth/facts.js';
import { ALICE, APP, createWorld, type MemoryFacts } from '../../support/memory-facts.js';

const NOW = createWorld().serverTimeMs;
const ISSUER = 'https://id.example.com';
const CLAIMS: JwtClaims = {
  kind: 'jwt',
  issuer: ISSUER,
  subject: 'subject-of-alice',
  name: ALICE.name,
  userId: null,
  jti: 'token-1',
  issuedAtMs: NOW - 60_000,
  validFromMs: NOW - 60_000,
  validUntilMs: NOW + 60_000,
};

function world(): MemoryFacts {
  const facts = createWorld();
  facts.set('identity', [ISSUER, CLAIMS.subject], { userId: ALICE.id });
  return facts;
}

const ask = (presented: PresentedCredential, path = '/me'): AuthRequest => ({
  host: APP.host,
  wildcards: [],
  port: '',
  proto: 'https',
  method: 'GET',
  uri: path,
  route: routes => selectRoute(routes, path),
  credential: () => presented,
  credentialText: () => '',
  isNavigation: () => false,
  isPreflight: () => false,
});

function reason(facts: MemoryFacts, claims: Partial<JwtClaims> = {}, path?: string): Reason {
  const outcome = decide(ask({ ...CLAIMS, ...claims }, path), facts);
  if ('lacks' in outcome || !('reason' in outcome.answer)) {
    throw new Error(`no decision: ${JSON.stringify(outcome)}`);
  }
  return outcome.answer.reason;
}

function lacks(facts: MemoryFacts, claims: Partial<JwtClaims> = {}): readonly (keyof FactTypes)[] {
  const outcome = decide(ask({ ...CLAIMS, ...claims }, '/'), facts);
  return 'lacks' in outcome ? outcome.lacks.map(({ topic }) => topic) : [];
}

test('it is the user whom its subject is bound to, with the same grants and roles as with a token', () => {
  const outcome = decide(ask(CLAIMS, '/'), world());
  expect(outcome).toMatchObject({ answer: { reason: 'granted', user: ALICE, grant: { role: 'user' } } });
  expect(reason(world())).toBe('authenticated');
  expect(reason(world(), {}, '/roles')).toBe('role_required');
  const facts = world();
  facts.set('grant', [ALICE.id, APP.id], null);
  expect(reason(facts, {}, '/')).toBe('no_grant');
});

describe('time, by the clock of Postgres:', () => {
  test.each<[what: string, claims: Partial<JwtClaims>, reason: Reason]>([
    ['a moment before its end', { validUntilMs: NOW + 1 }, 'authenticated'],
    ['its end', { validUntilMs: NOW }, 'expired_credential'],
    ['after its end', { validUntilMs: NOW - 1 }, 'expired_credential'],
    ['its beginning', { validFromMs: NOW }, 'authenticated'],
    ['a moment before its beginning', { validFromMs: NOW + 1 }, 'bad_credential'],
    ['no beginning', { validFromMs: -Infinity }, 'authenticated'],
  ])('%s', (_, claims, expected) => {
    expect(reason(world(), claims)).toBe(expected);
  });

  test('passes: what was allowed is expired at its end, from memory', () => {
    const facts = world();
    expect(reason(facts)).toBe('authenticated');
    facts.serverTimeMs = CLAIMS.validUntilMs;
    expect(reason(facts)).toBe('expired_credential');
  });
});

describe('does not count when', () => {
  test('its id is revoked, be it expired or not', () => {
    const facts = world();
    facts.set('revoked_jwt', ['token-1'], { jti: 'token-1' });
    expect(reason(facts)).toBe('bad_credential');
    expect(reason(facts, { validUntilMs: NOW - 1 })).toBe('bad_credential');
    expect(reason(facts, { jti: 'token-2' })).toBe('authenticated');
    expect(reason(facts, { jti: null })).toBe('authenticated');
  });

  test('its subject is of a user who was deleted, or not bound and nobody has the name', () => {
    const facts = world();
    facts.set('user', [ALICE.id], null);
    expect(reason(facts)).toBe('bad_credential');
    facts.set('identity', [ISSUER, CLAIMS.subject], { userId: null });
    facts.set('user_name', [ALICE.name], { userId: ALICE.id });
    expect(reason(facts)).toBe('bad_credential');
    expect(reason(world(), { subject: 'eve', name: 'eve' })).toBe('bad_credential');
  });

  test('the user is disabled', () => {
    const facts = world();
    facts.set('user', [ALICE.id], { ...ALICE, enabled: false });
    expect(reason(facts)).toBe('disabled_user');
  });

  test.each<[jwtNotBeforeMs: number | null, issuedAtMs: number | null, reason: Reason]>([
    [null, null, 'authenticated'],
    [null, 0, 'authenticated'],
    [NOW - 60_000, NOW - 60_000, 'authenticated'],
    [NOW - 59_999, NOW - 60_000, 'bad_credential'],
    [NOW - 60_000, null, 'bad_credential'],
    [Infinity, NOW, 'bad_credential'],
    [-Infinity, NOW, 'authenticated'],
    [-Infinity, null, 'bad_credential'],
  ])('those from %d on count, and it was issued at %d: %s', (jwtNotBeforeMs, issuedAtMs, expected) => {
    const facts = world();
    facts.set('user', [ALICE.id], { ...ALICE, jwtNotBeforeMs });
    expect(reason(facts, { issuedAtMs })).toBe(expected);
  });
});

describe('what is not verified', () => {
  const unverified: PresentedCredential = { kind: 'unverified', token: 'ey.x.y' };

  test('is to be verified, before anything is loaded for it', () => {
    const facts = world();
    expect(decide(ask(unverified), facts)).toEqual({ answer: { verify: 'ey.x.y' }, strong: false });
    expect(facts.asked).toEqual(['app', 'route']);
    expect(decide(ask(unverified, '/strong'), facts), 'without a fence').toMatchObject({ strong: false });
  });

  test('is not looked at on a public route, nor where the app is unknown or disabled', () => {
    expect(decide(ask(unverified, '/pub'), world())).toMatchObject({ answer: { reason: 'public' } });
    const facts = world();
    facts.set('app', [APP.host], null);
    expect(decide(ask(unverified), facts)).toMatchObject({ answer: { reason: 'unknown_app' } });
  });
});

describe('asks for what it lacks', () => {
  test('all that it can name at once', () => {
    const facts = world();
    facts.forget('app');
    facts.forget('identity', 'revoked_jwt');
    expect(lacks(facts)).toEqual(['app', 'revoked_jwt', 'identity']);
    facts.set('app', [APP.host], APP);
    expect(lacks(facts)).toEqual(['revoked_jwt', 'identity']);
    facts.forget('route', 'user', 'grant');
    expect(lacks(facts)).toEqual(['route', 'revoked_jwt', 'identity']);
    facts.set('revoked_jwt', ['x'], null);
    facts.set('identity', [ISSUER, CLAIMS.subject], { userId: ALICE.id });
    expect(lacks(facts)).toEqual(['route', 'user', 'grant']);
  });

  test('not for a revocation, when it has no id', () => {
    const facts = world();
    facts.forget('revoked_jwt', 'identity');
    expect(lacks(facts, { jti: null })).toEqual(['identity']);
  });

  test('for the user of that name only when the subject is not bound', () => {
    const facts = world();
    facts.forget('user_name');
    expect(lacks(facts)).toEqual([]);
    expect(lacks(facts, { subject: 'new' })).toEqual(['user_name']);
  });
});

describe('a subject that is not bound', () => {
  function unbound(): MemoryFacts {
    const facts = createWorld();
    facts.set('user_name', [ALICE.name], { userId: ALICE.id });
    return facts;
  }

  test('is to be bound to the user of that name before anything is decided, whatever the user may', () => {
    const claims = { ...CLAIMS, subject: 'new' };
    expect(decide(ask(claims), unbound())).toEqual({ answer: { bind: claims }, strong: false });
    expect(decide(ask(claims, '/pub'), unbound())).toMatchObject({ answer: { reason: 'public' } });
  });

  test('is the user whom it was just bound to, also while that has not been heard of', () => {
    expect(reason(unbound(), { userId: ALICE.id })).toBe('authenticated');
    expect(reason(unbound(), { userId: '8' })).toBe('bad_credential');
  });

  test('is not bound by a JWT that does not count', () => {
    const facts = unbound();
    expect(reason(facts, { validUntilMs: NOW })).toBe('expired_credential');
    expect(reason(facts, { validFromMs: NOW + 1 })).toBe('bad_credential');
    facts.set('revoked_jwt', ['token-1'], { jti: 'token-1' });
    expect(reason(facts)).toBe('bad_credential');
  });
});

test('a bound subject is the same user whatever names there are: renamed, swapped, given to somebody else', () => {
  const facts = world();
  const reasons = (): Reason[] => [reason(facts), reason(facts, { name: 'bob' }), reason(facts, { name: 'nobody' })];
  facts.set('user', [ALICE.id], { ...ALICE, name: 'alicia' });
  facts.set('user_name', [ALICE.name], { userId: '8' });
  facts.set('user_name', ['bob'], { userId: '9' });
  expect(reasons()).toEqual(['authenticated', 'authenticated', 'authenticated']);
  expect(facts.asked).not.toContain('user_name');
});

describe('a token of one app', () => {
  const hash = 'ab'.repeat(32);
  const reasonWith = (facts: MemoryFacts, ...hashes: readonly string[]): Reason => {
    const outcome = decide(ask({ kind: 'token', hashes }), facts);
    return 'answer' in outcome && 'reason' in outcome.answer ? outcome.answer.reason : 'unavailable';
  };

  test('counts for that app alone', () => {
    const facts = createWorld();
    const fact = { userId: ALICE.id, revoked: false, expiresAtMs: null };
    for (const [appId, expected] of [
      [APP.id, 'authenticated'],
      [null, 'authenticated'],
      ['13', 'bad_credential'],
    ] as const) {
      facts.set('credential', [hash], { ...fact, appId });
      expect(reasonWith(facts, hash)).toBe(expected);
    }
  });

  test('of several, those that do not count are ignored; two that count must be of one user', () => {
    const facts = createWorld();
    const others = ['00', '01', '02', '03', '04'].map(byte => byte.repeat(32));
    const [revoked, expired, elsewhere, twin, foreign] = others as [string, string, string, string, string];
    const fact = { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: null };
    facts.set('credential', [hash], fact);
    facts.set('credential', [revoked], { ...fact, userId: '8', revoked: true });
    facts.set('credential', [expired], { ...fact, userId: '8', expiresAtMs: NOW });
    facts.set('credential', [elsewhere], { ...fact, userId: '8', appId: '13' });
    facts.set('credential', [twin], { ...fact, appId: APP.id });
    facts.set('credential', [foreign], { ...fact, userId: '8' });
    facts.set('user', ['8'], { ...ALICE, id: '8', name: 'mallory' });
    expect(reasonWith(facts, revoked, expired, elsewhere, 'ff'.repeat(32), hash)).toBe('authenticated');
    expect(reasonWith(facts, hash, twin)).toBe('authenticated');
    expect(reasonWith(facts, hash, foreign)).toBe('bad_credential');
    expect(reasonWith(facts, foreign, hash, twin)).toBe('bad_credential');
    expect(reasonWith(facts, revoked, expired)).toBe('expired_credential');
    expect(reasonWith(facts, revoked, elsewhere)).toBe('bad_credential');
  });
});
