/** Who is let through is somebody, and somebody who still may: whatever the credential is, and wherever it stands. */
import { describe, expect, test } from 'vitest';
import { createToken, hashToken } from '../../src/auth/token.js';
import type { Pairs } from '../support/auth-server.js';
import { PROXY_DIALECTS } from '../support/dialects.js';
import { ALICE, createWorld, TOKEN, type MemoryFacts } from '../support/memory-facts.js';
import { BEARER, COOKIE, identityOf, useGate, verdictOf } from './gate.js';

/** Every way to present a credential of alice's. A new kind of credential belongs here. */
const CREDENTIALS: Readonly<Record<string, Pairs>> = {
  'a bearer token': BEARER,
  'a session cookie': COOKIE,
  'a cookie beside a foreign bearer': [['Authorization', 'Bearer of-the-app'], ...COOKIE],
  'a bearer beside a foreign cookie': [...BEARER, ['Cookie', 'gatebell=of-someone-else']],
  'a quoted cookie': [['Cookie', `gatebell="${TOKEN}"`]],
};

/** What is no credential of anybody's. */
const GARBAGE: readonly Pairs[] = [
  ...[
    ...['x', 'null', 'undefined', '[object Object]', 'alice', '1', 'true', '*', '%00', '__proto__', 'constructor'],
    ...[TOKEN.slice(0, -1), `${TOKEN}0`, ` ${TOKEN}`.slice(2), TOKEN.toLowerCase(), TOKEN.toUpperCase(), createToken()],
    ...[hashToken(TOKEN), encodeURIComponent(`"${TOKEN}"`), `gb_${'0'.repeat(49)}`, 'gb_', 'x'.repeat(4_000)],
    ...['eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.AAAA'],
    ...["' or 1=1 --", '${jndi:ldap://x}', '{{user.name}}', '\xff\xfe', '..', '%'],
  ].flatMap((text): Pairs[] => [
    [['Cookie', `gatebell=${text}`]],
    [['Authorization', `Bearer ${text}`]],
    [['Cookie', `gatebell="${text}"; other=${TOKEN}`]],
  ]),
  ...['gatebell', 'gatebell=', `Gatebell=${TOKEN}`, `gatebell2=${TOKEN}`, `x=gatebell=${TOKEN}`].map((text): Pairs => [
    ['Cookie', text],
  ]),
  ...['', 'Bearer', 'Bearer ', TOKEN, `Basic ${btoa(`alice:${TOKEN}`)}`, `Token ${TOKEN}`, `Bearer${TOKEN}`].map(
    (text): Pairs => [['Authorization', text]],
  ),
  [['X-Api-Key', TOKEN]],
  [['Remote-User', 'alice']],
];

const IDENTITY = ['remote-user', 'remote-name', 'remote-email', 'remote-groups', 'x-gatebell-app', 'x-gatebell-role'];

const gate = useGate();

describe.each(PROXY_DIALECTS)('allow without identity (CVE-2026-30851) never happens on $name', dialect => {
  test.each(Object.entries(CREDENTIALS))('%s: every 200 carries the full set, once each', async (_, client) => {
    for (const [uri, reason] of [
      ['/', 'granted'],
      ['/me', 'authenticated'],
    ] as const) {
      const answer = await gate.ask(dialect, { uri }, client);
      expect(verdictOf(answer)).toBe(`200 ${reason}`);
      expect(answer.headers['remote-user']).toBe('alice');
      for (const name of IDENTITY) {
        expect(answer.headers[name], name).toBeDefined();
        expect(answer.headers[name], name).not.toContain('\n');
      }
      expect(answer.headers['cache-control']).toBe('no-store');
    }
  });

  test.each(Object.entries(CREDENTIALS))('a public path tells nobody, also of %s', async (_, client) => {
    const answer = await gate.ask(dialect, { uri: '/pub' }, client);
    expect(verdictOf(answer)).toBe('200 public');
    expect(IDENTITY.map(name => answer.headers[name])).toEqual(['', '', '', '', 'wiki', '']);
  });

  test('garbage is nobody', async () => {
    for (const client of GARBAGE) {
      for (const uri of ['/', '/me']) {
        const answer = await gate.ask(dialect, { uri }, client);
        const sent = JSON.stringify(client);
        expect([401, dialect.statusOf(400)], sent).toContain(answer.status);
        expect(identityOf(answer), sent).toEqual([]);
      }
    }
  });
});

/** Ways in which alice loses everything, and what she hears. */
const LOSSES: readonly (readonly [string, string, (facts: MemoryFacts) => void])[] = [
  ['is disabled', '403 disabled_user', facts => facts.set('user', [ALICE.id], { ...ALICE, enabled: false })],
  ['is deleted', '401 bad_credential', facts => facts.set('user', [ALICE.id], null)],
  [
    'is disabled and has no grant',
    '403 disabled_user',
    facts => {
      facts.set('user', [ALICE.id], { ...ALICE, enabled: false });
      facts.set('grant', [ALICE.id, '12'], null);
    },
  ],
];

describe.each(LOSSES)('disabled accounts (CVE-2025-53942): alice, who %s, is denied', (_, verdict, lose) => {
  const closed = useGate({}, () => {
    const facts = createWorld();
    lose(facts);
    return facts;
  });
  const cases = PROXY_DIALECTS.flatMap(dialect =>
    Object.entries(CREDENTIALS).map(([kind, client]) => ({ dialect, name: dialect.name, kind, client })),
  );

  test.each(cases)('with $kind on $name', async ({ dialect, client }) => {
    for (const uri of ['/', '/me', '/pub/admin', '/roles', '/strong']) {
      const answer = await closed.ask(dialect, { uri }, client);
      expect(verdictOf(answer), uri).toBe(verdict);
      expect(identityOf(answer), uri).toEqual([]);
    }
  });
});

describe.each(PROXY_DIALECTS)('a credential that is over is nobody on $name', dialect => {
  const ended = (fact: { revoked: boolean; expiresAtMs: number | null }) => () => {
    const facts = createWorld();
    facts.set('credential', [hashToken(TOKEN)], { userId: ALICE.id, appId: null, ...fact });
    return facts;
  };
  const revoked = useGate({}, ended({ revoked: true, expiresAtMs: null }));
  const expired = useGate({}, ended({ revoked: false, expiresAtMs: 1_750_000_000_000 }));

  test.each(Object.entries(CREDENTIALS))('%s', async (_, client) => {
    expect(verdictOf(await revoked.ask(dialect, { uri: '/me' }, client))).toBe('401 bad_credential');
    expect(verdictOf(await expired.ask(dialect, { uri: '/me' }, client))).toBe('401 expired_credential');
  });
});
