/** Remembered decisions: whatever is asked, they are those that would be made now. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide, type Decision } from '../../../src/auth/decide.js';
import { createDecider, type Decide } from '../../../src/auth/decider.js';
import { createDecisionMemory } from '../../../src/auth/decision-memory.js';
import { forwardDialect } from '../../../src/auth/dialects/forward.js';
import type { JwtVerifier } from '../../../src/auth/jwt/verifier.js';
import { createCredentialReader } from '../../../src/auth/request/credential.js';
import { singleHeaders } from '../../../src/auth/request/headers.js';
import { parseRequest, type AuthRequest } from '../../../src/auth/request/request.js';
import { createToken, hashToken } from '../../../src/auth/token.js';
import {
  ALICE,
  APP,
  createMemoryReader,
  createWorld,
  route,
  TOKEN,
  type MemoryFacts,
} from '../../support/memory-facts.js';

const credentials = createCredentialReader('gatebell');

interface Sent {
  readonly host: string;
  readonly path: string;
  readonly method: string;
  readonly headers: readonly string[];
}

function parsed({ host, path, method, headers }: Sent, reader = credentials): AuthRequest {
  const all = ['X-Forwarded-Method', method, 'X-Forwarded-Proto', 'https', 'X-Forwarded-Host', host];
  const own = singleHeaders([...all, 'X-Forwarded-Uri', path, ...headers]);
  const request = parseRequest(own, forwardDialect.readTarget(own, {}), reader);
  if ('problem' in request) {
    throw new Error(request.problem);
  }
  return request;
}

const cookie = (token: string): string[] => ['Cookie', `gatebell=${token}`];
const sent = (path: string, headers: readonly string[] = cookie(TOKEN), method = 'GET', host = APP.host): Sent => ({
  host,
  path,
  method,
  headers,
});

function now(decideRequest: Decide, request: Sent): Decision {
  const decision = decideRequest(parsed(request), 'forward', () => null);
  if (decision instanceof Promise) {
    throw new Error('all facts are in memory');
  }
  return decision;
}

const PREFLIGHT = ['Origin', 'https://other.example.com', 'Access-Control-Request-Method', 'GET'];
const OTHER = createToken();
const BOB = { ...ALICE, id: '8', name: 'bob' };

function createWideWorld(): MemoryFacts {
  const facts = createWorld();
  const { routes } = facts.get('route', [APP.id])!;
  facts.set('route', [APP.id], {
    problem: null,
    routes: [route('/preflight', 'grant', { preflight: true }), ...routes],
  });
  facts.set('app', ['*.example.com'], { ...APP, id: '13', name: 'any', host: '*.example.com' });
  facts.set('user', [BOB.id], BOB);
  facts.set('credential', [hashToken(OTHER)], { userId: BOB.id, appId: null, revoked: false, expiresAtMs: null });
  return facts;
}

const SENT = fc.record({
  host: fc.constantFrom(APP.host, 'other.example.com', 'third.example.com', 'unknown.test'),
  path: fc.constantFrom(
    '/',
    '/pub',
    '/pub/x',
    '/pub/admin',
    '/me',
    '/roles',
    '/open',
    '/strong',
    '/preflight',
    '/%70ub/../x',
  ),
  method: fc.constantFrom('GET', 'POST', 'OPTIONS', 'DELETE'),
  headers: fc.constantFrom(
    [],
    cookie(TOKEN),
    cookie(OTHER),
    cookie('made-up'),
    cookie(''),
    ['Authorization', `Bearer ${TOKEN}`],
    ['Authorization', `Bearer ${OTHER}`, ...cookie(TOKEN)],
    ['Authorization', 'Basic YTpi', ...cookie(OTHER)],
    PREFLIGHT,
    [...PREFLIGHT, ...cookie(TOKEN)],
    ['Destination', '/pub/admin/x', ...cookie(TOKEN)],
    ['Cookie', `gatebell=${OTHER}; gatebell=${TOKEN}`],
    ['Cookie', 'a=b; c=d'],
  ),
});

const CHANGES: Readonly<Record<string, (facts: MemoryFacts) => void>> = {
  'Alice is disabled': facts => facts.set('user', [ALICE.id], { ...ALICE, enabled: false }),
  'Alice is enabled': facts => facts.set('user', [ALICE.id], { ...ALICE }),
  'the grant goes': facts => facts.set('grant', [ALICE.id, APP.id], null),
  'the grant comes': facts => facts.set('grant', [ALICE.id, APP.id], { role: 'user', expiresAtMs: null }),
  'the role grows': facts => facts.set('grant', [ALICE.id, APP.id], { role: 'admin', expiresAtMs: null }),
  'the grant will end': facts =>
    facts.set('grant', [ALICE.id, APP.id], { role: 'user', expiresAtMs: facts.serverTimeMs + 1_000 }),
  'a second passes': facts => {
    facts.serverTimeMs += 1_000;
  },
  'the token is revoked': facts =>
    facts.set('credential', [hashToken(TOKEN)], { userId: ALICE.id, appId: null, revoked: true, expiresAtMs: null }),
  'the token is of one app': facts =>
    facts.set('credential', [hashToken(TOKEN)], { userId: ALICE.id, appId: '13', revoked: false, expiresAtMs: null }),
  'the token counts': facts =>
    facts.set('credential', [hashToken(TOKEN)], { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: null }),
  'the app is disabled': facts => facts.set('app', [APP.host], { ...APP, enabled: false }),
  'the app is enabled': facts => facts.set('app', [APP.host], { ...APP }),
  'the wildcard goes': facts => facts.set('app', ['*.example.com'], null),
  'an app of its own': facts => facts.set('app', ['other.example.com'], { ...APP, host: 'other.example.com' }),
  'all is public': facts => facts.set('route', [APP.id], { problem: null, routes: [route('/', 'public')] }),
  'no rules': facts => facts.set('route', [APP.id], null),
};

const ASKED_OR_CHANGED = fc.array(fc.oneof({ weight: 4, arbitrary: SENT }, fc.constantFrom(...Object.keys(CHANGES))), {
  minLength: 2,
  maxLength: 60,
});

test('are those that would be made without a memory, whatever is asked and changes', () => {
  let recalled = 0;
  fc.assert(
    fc.property(ASKED_OR_CHANGED, steps => {
      const facts = createWideWorld();
      const reader = createMemoryReader(facts);
      let isAsked = false;
      const decideRequest = createDecider({
        reader: {
          read: (question, keep) => {
            isAsked = true;
            return reader.read(question, keep);
          },
        },
      });
      for (const step of steps) {
        if (typeof step === 'string') {
          CHANGES[step]!(facts);
          continue;
        }
        const outcome = decide(parsed(step), facts);
        if (!('answer' in outcome) || !('reason' in outcome.answer)) {
          throw new Error('all facts are in memory');
        }
        // Twice, so that the second may be remembered.
        for (let time = 0; time < 2; time++) {
          isAsked = false;
          expect({ ...now(decideRequest, step), head: null }).toEqual(outcome.answer);
          recalled += isAsked ? 0 : 1;
        }
      }
    }),
    { numRuns: 300 },
  );
  expect(recalled).toBeGreaterThan(1_000);
});

describe('a decision', () => {
  const remembers = (first: Sent, second: Sent, between: (facts: MemoryFacts) => void = () => undefined): boolean => {
    const facts = createWideWorld();
    let reads = 0;
    const reader = createMemoryReader(facts);
    const decideRequest = createDecider({
      reader: {
        read: (question, keep) => {
          reads += 1;
          return reader.read(question, keep);
        },
      },
    });
    now(decideRequest, first);
    const before = reads;
    between(facts);
    now(decideRequest, second);
    return reads === before;
  };

  test.each([
    { what: 'the same again', second: sent('/x') },
    { what: 'another path under the same rule', second: sent('/pictures/1.png?size=2') },
    { what: 'another method', second: sent('/x', cookie(TOKEN), 'POST') },
    { what: 'other cookies beside ours', second: sent('/x', ['Cookie', `a=1; gatebell=${TOKEN}; b=2`]) },
  ])('is found for $what', ({ second }) => {
    expect(remembers(sent('/x'), second)).toBe(true);
  });

  test('is found for a host that no app has', () => {
    const unknown = sent('/x', cookie(TOKEN), 'GET', 'unknown.test');
    expect(remembers(unknown, { ...unknown, path: '/another' })).toBe(true);
  });

  test('of a preflight is none of another request, nor the other way round', () => {
    const [preflight, other] = [sent('/preflight', PREFLIGHT, 'OPTIONS'), sent('/preflight', [])];
    expect(remembers(preflight, other)).toBe(false);
    expect(remembers(other, preflight)).toBe(false);
  });

  test.each([
    { what: 'another rule', second: sent('/me') },
    { what: 'another credential', second: sent('/x', cookie(OTHER)) },
    { what: 'no credential', second: sent('/x', []) },
    { what: 'another host of the same app', second: sent('/x', cookie(TOKEN), 'GET', 'other.example.com') },
    { what: 'a path that can be read in more than one way', second: sent('/%2570ub') },
  ])('is not found for $what', ({ second }) => {
    expect(remembers(sent('/x'), second)).toBe(false);
  });

  test.each([
    { kind: 'a strong one', request: sent('/strong') },
    { kind: 'that of a path that can be read in more than one way', request: sent('/PUB') },
    { kind: 'one for a text longer than any credential', request: sent('/pub', cookie('x'.repeat(11_000))) },
    { kind: 'that of a cookie that is no token', request: sent('/x', cookie('made-up')) },
    { kind: "that of a public path with somebody else's bearer", request: sent('/pub', ['Authorization', 'Bearer x']) },
    { kind: 'that of a preflight', request: sent('/preflight', PREFLIGHT, 'OPTIONS') },
  ])('is not remembered: $kind', ({ request }) => {
    expect(remembers(request, request)).toBe(false);
  });

  test('is made again where a fact is another one, though it says the same', () => {
    expect(remembers(sent('/x'), sent('/x'), facts => facts.set('user', [ALICE.id], { ...ALICE }))).toBe(false);
  });
});

describe('the memory', () => {
  const keptOf = (
    request: AuthRequest,
    facts: MemoryFacts,
  ): Parameters<ReturnType<typeof createDecisionMemory>['remember']>[1] => {
    let found: unknown;
    void createMemoryReader(facts).read(
      known => decide(request, known),
      kept => {
        found = kept;
      },
    );
    return found as never;
  };
  const recall = (memory: ReturnType<typeof createDecisionMemory>, request: Sent): Decision | undefined =>
    memory.recall(parsed(request), () => undefined);

  test('keeps the decisions of one credential under several rules', () => {
    const facts = createWideWorld();
    const memory = createDecisionMemory(() => 0);
    const paths = ['/x', '/me', '/pub', '/roles', '/pub/admin'];
    for (const path of paths) {
      const request = parsed(sent(path));
      memory.remember(request, keptOf(request, facts));
    }
    expect(paths.map(path => recall(memory, sent(path))?.reason)).toEqual([
      'granted',
      'authenticated',
      'public',
      'role_required',
      'role_required',
    ]);
  });

  test('forgets everything when credentials may be read otherwise', () => {
    const facts = createWideWorld();
    let version = 0;
    const memory = createDecisionMemory(() => version);
    const request = parsed(sent('/x'));
    memory.remember(request, keptOf(request, facts));
    expect(recall(memory, sent('/x'))?.reason).toBe('granted');
    version = 1;
    expect(recall(memory, sent('/x'))).toBeUndefined();
  });

  const remember = (memory: ReturnType<typeof createDecisionMemory>, facts: MemoryFacts, asked: Sent): void => {
    const request = parsed(asked);
    memory.remember(request, keptOf(request, facts));
  };

  test.each([
    { groups: ['staff', 'wiki'], most: 90 },
    { groups: Array.from({ length: 100 }, (_, n) => `group number ${n}`), most: 40 },
  ])('keeps no more than its bytes: $groups.length groups', ({ groups, most }) => {
    const facts = createWideWorld();
    facts.set('user', [ALICE.id], { ...ALICE, groups });
    const memory = createDecisionMemory(() => 0, 100_000);
    const tokens = Array.from({ length: 500 }, createToken);
    for (const token of tokens) {
      const credential = { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: null };
      facts.set('credential', [hashToken(token)], credential);
      remember(memory, facts, sent('/x', cookie(token)));
    }
    const found = tokens.filter(token => recall(memory, sent('/x', cookie(token))) !== undefined);
    expect(found.length).toBeLessThanOrEqual(most);
    expect(found.length).toBeGreaterThan(most / 3);
    expect(found).toContain(tokens.at(-1));
  });

  test('bounds decisions that name no user apart: a flood of them drops no decision of a user', () => {
    const facts = createWideWorld();
    const memory = createDecisionMemory(() => 0, 100_000);
    remember(memory, facts, sent('/x'));
    // Well formed: what is no token is not remembered at all.
    const flood = Array.from({ length: 500 }, createToken).flatMap(token => [
      sent('/x', cookie(token)),
      sent('/pub', cookie(token)),
    ]);
    for (const request of flood) {
      remember(memory, facts, request);
    }
    expect(recall(memory, sent('/x'))?.reason).toBe('granted');
    const found = flood.filter(request => recall(memory, request) !== undefined);
    expect(found.length).toBeLessThanOrEqual(12);
    expect(found).toContain(flood.at(-1));
  });

  test('looks at no path by rules that are gone: it will be looked at by those of today', () => {
    const facts = createWideWorld();
    const memory = createDecisionMemory(() => 0);
    remember(memory, facts, sent('/x'));
    let charged = 0;
    const dear = sent('/pub/a;%2fb/%2e%2e\\/%20.'.repeat(64));
    const charge = (): void => {
      charged += 1;
    };
    expect(memory.recall(parsed(dear), charge)).toBeUndefined();
    expect(charged).toBe(1);
    facts.set('route', [APP.id], { ...facts.get('route', [APP.id])! });
    expect(memory.recall(parsed(dear), charge)).toBeUndefined();
    expect(charged).toBe(1);
  });

  test('finds what a user is told now, when they were told something else before', () => {
    const facts = createWideWorld();
    const memory = createDecisionMemory(() => 0);
    const grant = { role: 'user', expiresAtMs: null };
    for (let time = 0; time < 2; time++) {
      facts.set('grant', [ALICE.id, APP.id], null);
      expect(recall(memory, sent('/x'))).toBeUndefined();
      remember(memory, facts, sent('/x'));
      expect(recall(memory, sent('/x'))?.reason).toBe('no_grant');
      facts.set('grant', [ALICE.id, APP.id], { ...grant });
      expect(recall(memory, sent('/x'))).toBeUndefined();
      remember(memory, facts, sent('/x'));
      expect(recall(memory, sent('/x'))?.reason).toBe('granted');
    }
  });
});

describe('a decision that had to wait for facts', () => {
  const JWT_TEXT = 'eyJ.of-alice.x';

  /** Decides twice; all facts of the first decision are asked for, and `meanwhile` happens before they are there. */
  async function isRemembered(
    headers: readonly string[],
    meanwhile: (askAnother: () => void) => void,
    keysVersion = (): number => 0,
  ): Promise<boolean> {
    const facts = createWideWorld();
    facts.set('identity', ['issuer', 'alice'], { userId: ALICE.id });
    const reader = createMemoryReader(facts);
    let reads = 0;
    const jwt: JwtVerifier = {
      get keysVersion() {
        return keysVersion();
      },
      present: token =>
        token === JWT_TEXT
          ? {
              kind: 'jwt',
              issuer: 'issuer',
              subject: 'alice',
              name: 'alice',
              userId: null,
              jti: null,
              issuedAtMs: 0,
              validFromMs: 0,
              validUntilMs: Infinity,
            }
          : null,
      verify: () => Promise.resolve(null),
      start: () => undefined,
      stop: () => undefined,
    };
    const decideRequest = createDecider({
      reader: {
        read(question, keep) {
          reads += 1;
          question({ ...facts, get: () => undefined });
          return Promise.resolve().then(() => {
            meanwhile(() => {
              void decideRequest(parsed(sent('/pub', [])), 'forward', () => null);
            });
            return reader.read(question, keep);
          });
        },
      },
      jwt,
    });
    const withJwt = createCredentialReader('gatebell', jwt);
    const ask = async (): Promise<void> => {
      await decideRequest(parsed(sent('/x', headers), withJwt), 'forward', () => null);
    };
    await ask();
    const before = reads;
    await ask();
    return reads === before;
  }

  test('is remembered for a user', async () => {
    expect(await isRemembered(cookie(TOKEN), () => undefined)).toBe(true);
    expect(await isRemembered(['Authorization', `Bearer ${JWT_TEXT}`], () => undefined)).toBe(true);
  });

  test('is not for a credential that does not exist, which may never come again', async () => {
    expect(await isRemembered(cookie(createToken()), () => undefined)).toBe(false);
  });

  test('is not when keys have changed since its JWT was read, and were looked at by others', async () => {
    let version = 0;
    const changed = await isRemembered(
      ['Authorization', `Bearer ${JWT_TEXT}`],
      askAnother => {
        if (version === 0) {
          version = 1;
          askAnother();
        }
      },
      () => version,
    );
    expect(changed).toBe(false);
  });
});
