import { describe, expect, test } from 'vitest';
import { decide, refuse, type Decision, type Reason, REASONS } from '../../../src/auth/decide.js';
import { selectRoute } from '../../../src/auth/request/path.js';
import type { PresentedCredential } from '../../../src/auth/request/credential.js';
import { parseHost, type AuthRequest } from '../../../src/auth/request/request.js';
import { hashToken } from '../../../src/auth/token.js';
import type { FactRef, Facts } from '../../../src/coherence/facts/reader.js';
import type { AppFact, CredentialFact, FactTypes, GrantFact, Route } from '../../../src/auth/facts.js';
import { ALICE, APP, createWorld, route, TOKEN, type MemoryFacts } from '../../support/memory-facts.js';

const HASH = hashToken(TOKEN);
const PRESENTED: PresentedCredential = { kind: 'token', hashes: [HASH] };

interface Asked extends AuthRequest {
  readonly looks: () => number;
}

/** A request that counts how often its credential was looked at. */
function ask(
  path: string,
  presented: PresentedCredential = PRESENTED,
  host: string = APP.host,
  preflight: boolean = false,
): Asked {
  let looks = 0;
  const credential = (): PresentedCredential => {
    looks++;
    return presented;
  };
  const looked = (): number => looks;
  return {
    host,
    wildcards: parseHost(host)!.wildcards,
    port: '',
    proto: 'https',
    method: 'GET',
    uri: path,
    route: routes => selectRoute(routes, path),
    credential,
    credentialText: () => '',
    isNavigation: () => false,
    isPreflight: () => preflight,
    looks: looked,
  };
}

function answer(facts: MemoryFacts, request: AuthRequest): Decision & { readonly strong: boolean } {
  const outcome = decide(request, facts);
  if ('lacks' in outcome) {
    throw new Error('lacks ' + outcome.lacks.map(({ topic }) => topic).join());
  }
  if (!('reason' in outcome.answer)) {
    throw new Error('something is to be done first');
  }
  return { ...outcome.answer, strong: outcome.strong };
}

function lacks(facts: MemoryFacts, request: AuthRequest): readonly FactRef<FactTypes>[] {
  const outcome = decide(request, facts);
  return 'lacks' in outcome ? outcome.lacks : [];
}

const NOW = createWorld().serverTimeMs;
const STATUSES: Readonly<Record<Reason, number>> = {
  public: 200,
  granted: 200,
  authenticated: 200,
  no_credential: 401,
  bad_credential: 401,
  expired_credential: 401,
  disabled_user: 403,
  unknown_app: 403,
  disabled_app: 403,
  no_grant: 403,
  expired_grant: 403,
  role_required: 403,
  bad_request: 400,
  uri_too_long: 414,
  untrusted_proxy: 403,
  unavailable: 503,
};

test.each(REASONS)('%s has the status that is promised', reason => {
  expect(refuse(reason).status).toBe(STATUSES[reason]);
});

type Access = Route['access'];
const CREDENTIALS: Readonly<Record<string, PresentedCredential | CredentialFact | null>> = {
  none: { kind: 'none' },
  malformed: { kind: 'bad' },
  unknown: null,
  revoked: { userId: ALICE.id, appId: null, revoked: true, expiresAtMs: null },
  'revoked and expired': { userId: ALICE.id, appId: null, revoked: true, expiresAtMs: NOW - 1 },
  expired: { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: NOW - 1 },
  'expiring now': { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: NOW },
  'expired before 1970': { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: 0 },
  'valid for a moment': { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: NOW + 1 },
  valid: { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: null },
};
const USERS = { gone: null, disabled: { ...ALICE, enabled: false }, enabled: ALICE };
const GRANTS: Readonly<Record<string, GrantFact | null>> = {
  none: null,
  expired: { role: 'admin', expiresAtMs: NOW - 1 },
  'expiring now': { role: 'admin', expiresAtMs: NOW },
  'expired, other role': { role: 'user', expiresAtMs: NOW - 1 },
  'other role': { role: 'user', expiresAtMs: NOW + 1 },
  'right role': { role: 'admin', expiresAtMs: NOW + 1 },
};
const ROLES: readonly (readonly string[])[] = [[], ['admin'], ['owner', 'admin'], ['Admin']];

/** The same rules as a list of sentences, first one that applies wins. */
function expectedReason(
  access: Access,
  credential: string,
  user: keyof typeof USERS,
  grant: string,
  roles: readonly string[],
): Reason {
  const needsGrant = access === 'grant' || roles.length > 0;
  const role = GRANTS[grant]?.role;
  const sentences: readonly (readonly [boolean, Reason])[] = [
    [access === 'public', 'public'],
    [credential === 'none', 'no_credential'],
    [['malformed', 'unknown', 'revoked', 'revoked and expired'].includes(credential), 'bad_credential'],
    [credential.startsWith('expir'), 'expired_credential'],
    [user === 'gone', 'bad_credential'],
    [user === 'disabled', 'disabled_user'],
    [!needsGrant, 'authenticated'],
    [grant === 'none', 'no_grant'],
    [grant.startsWith('expir'), 'expired_grant'],
    [roles.length > 0 && !roles.includes(role ?? ''), 'role_required'],
    [true, access === 'grant' ? 'granted' : access],
  ];
  return sentences.find(([applies]) => applies)![1];
}

describe('access, credential, user, grant and roles together', () => {
  const accesses: readonly Access[] = ['public', 'authenticated', 'grant'];
  const cases = accesses.flatMap(access =>
    Object.keys(CREDENTIALS).flatMap(credential =>
      (Object.keys(USERS) as (keyof typeof USERS)[]).flatMap(user =>
        Object.keys(GRANTS).flatMap(grant => ROLES.map(roles => ({ access, credential, user, grant, roles }))),
      ),
    ),
  );

  test('are more than 2,000 cases', () => {
    expect(cases.length).toBeGreaterThan(2_000);
  });

  test.each(accesses)('%s: each has its reason, its status, and tells an identity only if it may', access => {
    for (const { credential, user, grant, roles } of cases.filter(each => each.access === access)) {
      const facts = createWorld();
      const presented = CREDENTIALS[credential] ?? null;
      facts.set('route', [APP.id], { problem: null, routes: [route('/', access, { roles })] });
      facts.set('user', [ALICE.id], USERS[user]);
      facts.set('grant', [ALICE.id, APP.id], GRANTS[grant] ?? null);
      facts.set('credential', [HASH], presented !== null && 'revoked' in presented ? presented : null);
      const request = ask('/x', presented !== null && 'kind' in presented ? presented : PRESENTED);

      const decision = answer(facts, request);
      const reason = expectedReason(access, credential, user, grant, roles);
      const described = JSON.stringify({ access, credential, user, grant, roles });
      expect(`${described} ${decision.reason}`).toBe(`${described} ${reason}`);
      expect(decision.status).toBe(STATUSES[reason]);
      const tells = reason === 'granted' || reason === 'authenticated';
      expect(decision.user, described).toBe(tells ? ALICE : null);
      const tellsGrant = tells && (access === 'grant' || roles.length > 0);
      expect(decision.grant, described).toBe(tellsGrant ? GRANTS[grant] : null);
    }
  });
});

describe('the app', () => {
  test('that is not there is unknown, to everyone', () => {
    const facts = createWorld();
    const request = ask('/pub', PRESENTED, 'other.example.com');
    expect(answer(facts, request)).toMatchObject({ reason: 'unknown_app', app: null, user: null });
    expect(request.looks()).toBe(0);
  });

  test.each([{ enabled: false }, { problem: 'bad template' }])('with %j is disabled, its public paths too', change => {
    const facts = createWorld();
    facts.set('app', [APP.host], { ...APP, ...change });
    facts.set('app', ['other.example.com'], { ...APP, id: '13', host: 'other.example.com' });
    facts.set('route', ['13'], { problem: null, routes: [route('/', 'public')] });
    expect(answer(facts, ask('/pub')).reason).toBe('disabled_app');
    expect(answer(facts, ask('/pub', PRESENTED, 'other.example.com')).reason).toBe('public');
  });

  test('with a bad rule is disabled, its good rules too', () => {
    const facts = createWorld();
    facts.set('route', [APP.id], { problem: 'bad template', routes: [route('/pub', 'public')] });
    expect(answer(facts, ask('/pub')).reason).toBe('disabled_app');
  });
});

describe('a wildcard host', () => {
  const named = (host: string): AppFact => ({ ...APP, id: `id of ${host}`, name: host, host });
  const chosen = (host: string, ...hosts: readonly string[]): string | undefined => {
    const facts = createWorld();
    hosts.forEach(each => {
      facts.set('app', [each], named(each));
    });
    return answer(facts, ask('/x', { kind: 'none' }, host)).app?.name;
  };

  test('holds every host below it, and not itself', () => {
    expect(chosen('a.preview.example.com', '*.preview.example.com')).toBe('*.preview.example.com');
    expect(chosen('b.a.preview.example.com', '*.preview.example.com')).toBe('*.preview.example.com');
    expect(chosen('preview.example.com', '*.preview.example.com')).toBeUndefined();
    expect(chosen('apreview.example.com', '*.preview.example.com')).toBeUndefined();
  });

  test('gives way to the exact host, and to a longer wildcard', () => {
    const all = ['*.com', '*.example.com', '*.preview.example.com', 'a.preview.example.com'];
    expect(chosen('a.preview.example.com', ...all)).toBe('a.preview.example.com');
    expect(chosen('b.preview.example.com', ...all)).toBe('*.preview.example.com');
    expect(chosen('preview.example.com', ...all)).toBe('*.example.com');
    expect(chosen('example.com', ...all)).toBe('*.com');
  });

  test('of an exact host that is disabled is of no use', () => {
    const facts = createWorld();
    facts.set('app', ['*.example.com'], named('*.example.com'));
    facts.set('app', [APP.host], { ...APP, enabled: false });
    expect(answer(facts, ask('/pub')).reason).toBe('disabled_app');
  });

  test('stands for eight labels at most', () => {
    expect(chosen('8.7.6.5.4.3.2.1.example.com', '*.example.com')).toBe('*.example.com');
    expect(chosen('9.8.7.6.5.4.3.2.1.example.com', '*.example.com')).toBeUndefined();
  });

  test('is chosen only where all longer ones are known not to be there', () => {
    const known = new Map<string, AppFact | null>([
      ['a.b.c', null],
      ['*.c', named('*.c')],
    ]);
    const facts: Facts<FactTypes> = {
      serverTimeMs: 0,
      hasCome: () => false,
      // Of the topics, apps alone are asked for.
      get: (_, [host]) => known.get(host!) as never,
    };
    expect(decide(ask('/x', { kind: 'none' }, 'a.b.c'), facts)).toEqual({
      lacks: [{ topic: 'app', key: ['*.b.c'] }],
    });
    known.clear();
    expect(decide(ask('/x', { kind: 'none' }, 'a.b.c'), facts)).toEqual({
      lacks: [{ topic: 'app', key: ['a.b.c'] }],
    });
  });
});

describe('a CORS preflight', () => {
  const facts = createWorld();
  facts.set('route', [APP.id], {
    problem: null,
    routes: [route('/api', 'grant', { preflight: true }), route('/strong', 'authenticated', { strong: true })],
  });
  const preflight = (path: string): Asked => ask(path, { kind: 'bad' }, APP.host, true);

  test('passes where the route says so, without a look at the credential', () => {
    const request = preflight('/api/x');
    expect(answer(facts, request)).toMatchObject({ reason: 'public', user: null, grant: null });
    expect(request.looks()).toBe(0);
  });

  test('is a request like others elsewhere', () => {
    expect(answer(facts, preflight('/strong')).reason).toBe('bad_credential');
    expect(answer(facts, preflight('/')).reason).toBe('bad_credential');
  });

  test('opens nothing for other requests', () => {
    expect(answer(facts, ask('/api/x', { kind: 'none' })).reason).toBe('no_credential');
  });
});

describe('the rule', () => {
  test('that no path matches is: granted', () => {
    const facts = createWorld();
    expect(answer(facts, ask('/elsewhere'))).toMatchObject({ reason: 'granted', route: null });
    facts.set('grant', [ALICE.id, APP.id], null);
    expect(answer(facts, ask('/elsewhere')).reason).toBe('no_grant');
    expect(answer(facts, ask('/elsewhere', { kind: 'none' })).reason).toBe('no_credential');
  });

  test('of an app without rules is: granted', () => {
    const facts = createWorld();
    facts.set('route', [APP.id], null);
    expect(answer(facts, ask('/pub', { kind: 'none' })).reason).toBe('no_credential');
    expect(answer(facts, ask('/pub')).reason).toBe('granted');
  });

  test('of an ambiguous path is none: it is refused, whoever asks', () => {
    const facts = createWorld();
    expect(answer(facts, ask('/pub/%2e%2e/me'))).toMatchObject({ reason: 'bad_request', status: 400, user: null });
  });

  test('that wins is told, for its headers', () => {
    expect(answer(createWorld(), ask('/pub/x')).route?.pathPrefix).toBe('/pub');
    expect(answer(createWorld(), ask('/me')).route?.pathPrefix).toBe('/me');
  });

  test('that is strong asks for a strong answer, whatever it is', () => {
    const facts = createWorld();
    const strong = (path: string, presented: PresentedCredential): boolean =>
      answer(facts, ask(path, presented)).strong;
    expect([strong('/strong', PRESENTED), strong('/strong', { kind: 'none' }), strong('/open', PRESENTED)]).toEqual([
      true,
      true,
      true,
    ]);
    expect([strong('/pub', PRESENTED), strong('/me', PRESENTED), strong('/elsewhere', PRESENTED)]).toEqual([
      false,
      false,
      false,
    ]);
    facts.set('credential', [HASH], null);
    expect(strong('/strong', PRESENTED)).toBe(true);
  });
});

test('a public rule never looks at the credential, and needs no fact about the user', () => {
  const facts = createWorld();
  facts.forget('credential', 'user', 'grant');
  const request = ask('/pub/x', { kind: 'bad' });
  expect(answer(facts, request)).toMatchObject({ reason: 'public', user: null, grant: null });
  expect(request.looks()).toBe(0);
  expect(facts.asked).toEqual(['app', 'route']);
});

test('expiry is compared with the time of Postgres, not of this machine', () => {
  const facts = createWorld();
  const inAnHour = Date.now() + 3_600_000;
  facts.set('credential', [HASH], { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: inAnHour });
  facts.serverTimeMs = inAnHour - 1;
  expect(answer(facts, ask('/me')).reason).toBe('authenticated');
  facts.serverTimeMs = inAnHour;
  expect(answer(facts, ask('/me')).reason).toBe('expired_credential');
});

describe('what is lacking', () => {
  const topics = (facts: MemoryFacts, request: AuthRequest): string[] =>
    lacks(facts, request)
      .map(({ topic, key }) => [topic, ...key].join(' '))
      .sort();

  test('is asked for in two rounds when nothing is known', () => {
    const facts = createWorld();
    facts.forget('app', 'route', 'user', 'grant', 'credential');
    expect(topics(facts, ask('/me'))).toEqual([`app ${APP.host}`, `credential ${HASH}`]);

    facts.set('app', [APP.host], APP);
    facts.set('credential', [HASH], { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: null });
    expect(topics(facts, ask('/elsewhere'))).toEqual([
      `grant ${ALICE.id} ${APP.id}`,
      `route ${APP.id}`,
      `user ${ALICE.id}`,
    ]);

    facts.set('route', [APP.id], null);
    facts.set('user', [ALICE.id], ALICE);
    facts.set('grant', [ALICE.id, APP.id], { role: 'user', expiresAtMs: null });
    expect(answer(facts, ask('/elsewhere')).reason).toBe('granted');
  });

  test('without a credential is the app, then its rules', () => {
    const facts = createWorld();
    facts.forget('app', 'route', 'user', 'grant', 'credential');
    const request = ask('/elsewhere', { kind: 'none' });
    expect(topics(facts, request)).toEqual([`app ${APP.host}`]);
    facts.set('app', [APP.host], APP);
    expect(topics(facts, request)).toEqual([`route ${APP.id}`]);
    facts.set('route', [APP.id], null);
    expect(answer(facts, request).reason).toBe('no_credential');
  });

  test('of user and grant is asked for together', () => {
    const facts = createWorld();
    facts.forget('user', 'grant');
    expect(topics(facts, ask('/elsewhere'))).toEqual([`grant ${ALICE.id} ${APP.id}`, `user ${ALICE.id}`]);
    expect(topics(facts, ask('/me'))).toEqual([`user ${ALICE.id}`]);
    expect(topics(facts, ask('/roles'))).toEqual([`grant ${ALICE.id} ${APP.id}`, `user ${ALICE.id}`]);
  });

  test.each(['app', 'route', 'credential', 'user', 'grant'] as const)(
    'is never guessed: without %s there is no answer',
    topic => {
      const facts = createWorld();
      facts.forget(topic);
      expect(lacks(facts, ask('/elsewhere')).map(fact => fact.topic)).toContain(topic);
    },
  );

  test('names each fact once', () => {
    for (const forgotten of [
      ['app'],
      ['route'],
      ['credential'],
      ['user', 'grant'],
      ['app', 'user', 'grant'],
    ] as const) {
      const facts = createWorld();
      facts.forget(...forgotten);
      const named = topics(facts, ask('/elsewhere'));
      expect(new Set(named).size).toBe(named.length);
    }
  });

  test('is nothing about a credential that is refused anyway', () => {
    const facts = createWorld();
    facts.forget('user', 'grant');
    facts.set('credential', [HASH], { userId: ALICE.id, appId: null, revoked: true, expiresAtMs: null });
    expect(answer(facts, ask('/me')).reason).toBe('bad_credential');
  });
});
