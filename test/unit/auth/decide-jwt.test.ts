/** What a verified JWT comes to; all else about apps, grants and roles is as for tokens (`decide.test.ts`). */
import { describe, expect, test } from 'vitest';
import type { PresentedCredential } from '../../../src/auth/credential.js';
import { decide, type Reason } from '../../../src/auth/decide.js';
import type { JwtClaims } from '../../../src/auth/jwt.js';
import { pathReadings } from '../../../src/auth/path.js';
import type { AuthRequest } from '../../../src/auth/request.js';
import type { FactTypes } from '../../../src/store/facts.js';
import { ALICE, APP, createWorld, type MemoryFacts } from '../../support/memory-facts.js';

const NOW = createWorld().serverTimeMs;
const CLAIMS: JwtClaims = {
  kind: 'jwt',
  name: ALICE.name,
  jti: 'token-1',
  issuedAtMs: NOW - 60_000,
  validFromMs: NOW - 60_000,
  validUntilMs: NOW + 60_000,
};

function world(): MemoryFacts {
  const facts = createWorld();
  facts.set('user_name', [ALICE.name], { userId: ALICE.id });
  return facts;
}

const ask = (presented: PresentedCredential, path = '/me'): AuthRequest => ({
  host: APP.host,
  wildcards: [],
  port: '',
  proto: 'https',
  method: 'GET',
  uri: path,
  readings: pathReadings(path)!,
  credential: () => presented,
  isNavigation: () => false,
  isPreflight: () => false,
});

function reason(facts: MemoryFacts, claims: Partial<JwtClaims> = {}, path?: string): Reason {
  const outcome = decide(ask({ ...CLAIMS, ...claims }, path), facts);
  if ('lacks' in outcome || 'verify' in outcome.answer) {
    throw new Error(`no decision: ${JSON.stringify(outcome)}`);
  }
  return outcome.answer.reason;
}

function lacks(facts: MemoryFacts, claims: Partial<JwtClaims> = {}): readonly (keyof FactTypes)[] {
  const outcome = decide(ask({ ...CLAIMS, ...claims }, '/'), facts);
  return 'lacks' in outcome ? outcome.lacks.map(({ subject }) => subject) : [];
}

test('it is the user of that name, with the same grants and roles as with a token', () => {
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

  test('nobody has the name', () => {
    expect(reason(world(), { name: 'eve' })).toBe('bad_credential');
    const facts = world();
    facts.set('user', [ALICE.id], null);
    expect(reason(facts)).toBe('bad_credential');
  });

  test('the user has been renamed, and the old name is remembered yet', () => {
    const facts = world();
    facts.set('user', [ALICE.id], { ...ALICE, name: 'alicia' });
    expect(reason(facts)).toBe('bad_credential');
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
    facts.forget('user_name', 'revoked_jwt');
    expect(lacks(facts)).toEqual(['app', 'revoked_jwt', 'user_name']);
    facts.set('app', [APP.host], APP);
    expect(lacks(facts)).toEqual(['revoked_jwt', 'user_name']);
    facts.forget('route', 'user', 'grant');
    expect(lacks(facts)).toEqual(['route', 'revoked_jwt', 'user_name']);
    facts.set('revoked_jwt', ['x'], null);
    facts.set('user_name', [ALICE.name], { userId: ALICE.id });
    expect(lacks(facts)).toEqual(['route', 'user', 'grant']);
  });

  test('not for a revocation, when it has no id', () => {
    const facts = world();
    facts.forget('revoked_jwt', 'user_name');
    expect(lacks(facts, { jti: null })).toEqual(['user_name']);
  });
});
