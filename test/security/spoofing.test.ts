/**
 * Only the proxy says what was asked: nothing that a client can add to its request moves the target or makes it
 * somebody.
 */
import { BlockList } from 'node:net';
import { describe, expect, test } from 'vitest';
import { createToken } from '../../src/auth/token.js';
import type { Pairs } from '../support/auth-server.js';
import { PROXY_DIALECTS, withHeader, withMore } from '../support/dialects.js';
import { BEARER, BROWSER, identityOf, useGate, verdictOf } from './gate.js';

const gate = useGate();
const stranger = useGate({ trustedProxies: new BlockList() });

/** What would open `/pub` if the header were believed. */
const LURES: Readonly<Record<string, string>> = {
  'X-Forwarded-Method': 'OPTIONS',
  'X-Forwarded-Proto': 'http',
  'X-Forwarded-Host': 'wiki.example.com',
  'X-Forwarded-Uri': '/pub',
  'X-Original-Method': 'OPTIONS',
  'X-Original-URL': 'https://wiki.example.com/pub',
};
const OTHERS: Pairs = [
  ['X-Original-URI', '/pub'],
  ['X-Original-Host', 'wiki.example.com'],
  ['X-Rewrite-URL', '/pub'],
  ['X-Forwarded-Path', '/pub'],
  ['X-Forwarded-Prefix', '/pub'],
  ['X-Forwarded-Server', 'gate'],
  ['X-Forwarded-Port', '80'],
  ['X-Forwarded-For', '127.0.0.1'],
  ['X-Real-IP', '127.0.0.1'],
  ['Forwarded', 'for=127.0.0.1;host=wiki.example.com;proto=https'],
  ['X-HTTP-Method-Override', 'OPTIONS'],
  ['X-Method-Override', 'OPTIONS'],
  ['X-Envoy-Original-Path', '/pub'],
  ['X-Envoy-Internal', 'true'],
  ['X-Auth-Request-Redirect', '/pub'],
  ['X-Host', 'wiki.example.com'],
  ['X-Client-IP', '127.0.0.1'],
  ['Remote-User', 'alice'],
  ['Remote-Groups', 'admin'],
  ['X-Gatebell-App', 'wiki'],
  ['X-Gatebell-Role', 'admin'],
  ['X-Gatebell-Reason', 'public'],
];

describe.each(PROXY_DIALECTS)(
  'spoofed forwarding headers (CVE-2026-40575, CVE-2023-36456) are not believed on $name',
  dialect => {
    test('from an address that is no proxy, everything is refused', async () => {
      for (const uri of ['/pub', '/me', '/']) {
        const answer = await stranger.ask(dialect, { uri }, [...BEARER, ...BROWSER]);
        expect(verdictOf(answer)).toBe('403 untrusted_proxy');
        expect(identityOf(answer)).toEqual([]);
        expect(answer.headers['location']).toBeUndefined();
      }
    });

    test.each(dialect.foreign)('%s, which other proxies set, is not looked at', async name => {
      const lure = withMore([name, LURES[name]!]);
      expect(verdictOf(await gate.ask(dialect, { uri: '/me' }, [], lure))).toBe('401 no_credential');
      expect(verdictOf(await gate.ask(dialect, { uri: '/pub' }, [], withMore([name, 'https://x/me'])))).toBe(
        '200 public',
      );
    });

    test('the headers of other proxies alone are no target', async () => {
      const lures = withMore(...dialect.foreign.map(name => [name, LURES[name]!] as const));
      for (const name of dialect.metadata) {
        const without = await gate.ask(dialect, { uri: '/pub' }, BEARER, subrequest =>
          lures(withHeader(name, null)(subrequest)),
        );
        expect([400, 403], name).toContain(without.status);
      }
    });

    test.each(OTHERS)('%s: %s changes nothing', async (name, value) => {
      const more = withMore([name, value]);
      expect(verdictOf(await gate.ask(dialect, { uri: '/me' }, [], more))).toBe('401 no_credential');
      const allowed = await gate.ask(dialect, { uri: '/me' }, BEARER, more);
      expect(verdictOf(allowed)).toBe('200 authenticated');
      expect(identityOf(allowed)).toEqual(['alice', 'Alice A.', 'alice@example.com', 'staff,wiki']);
      expect(identityOf(await gate.ask(dialect, { uri: '/pub' }, [], more))).toEqual([]);
    });
  },
);

describe.each(PROXY_DIALECTS)('underscore aliases (CVE-2026-39858, CVE-2025-64484) are not read on $name', dialect => {
  const aliases = (name: string): readonly string[] =>
    [
      name.replaceAll('-', '_'),
      name.replaceAll('-', '_').toUpperCase(),
      name.replace(/-(?=[^-]*$)/, '_'),
      name.replaceAll('-', '.'),
      name.replaceAll('-', ''),
      `HTTP_${name.replaceAll('-', '_').toUpperCase()}`,
    ].filter(alias => alias.toLowerCase() !== name.toLowerCase());

  test.each(dialect.metadata)('of %s: it stands in for nothing', async name => {
    for (const alias of aliases(name)) {
      const renamed = await gate.ask(dialect, { uri: '/pub' }, BEARER, subrequest => ({
        ...subrequest,
        headers: subrequest.headers.map(([each, value]) => [each === name ? alias : each, value]),
      }));
      // Node itself refuses a request without a host.
      expect([400, dialect.statusOf(400)], alias).toContain(renamed.status);
    }
  });

  test.each(dialect.metadata)('of %s: it changes nothing beside the header itself', async name => {
    for (const alias of aliases(name)) {
      const more = withMore([alias, LURES[name] ?? 'wiki.example.com']);
      expect(verdictOf(await gate.ask(dialect, { uri: '/me' }, [], more)), alias).toBe('401 no_credential');
    }
  });

  test('of credentials: they are none', async () => {
    const token = BEARER[0]![1];
    const client: Pairs = [
      ['HTTP_AUTHORIZATION', token],
      ['Authorization_', token],
      ['X_Authorization', token],
      ['Cookie_', `gatebell=${token.slice(7)}`],
      ['HTTP_COOKIE', `gatebell=${token.slice(7)}`],
    ];
    expect(verdictOf(await gate.ask(dialect, { uri: '/me' }, client))).toBe('401 no_credential');
  });
});

describe.each(PROXY_DIALECTS)('duplicate headers (CVE-2021-32777) are refused on $name', dialect => {
  const refused = (status: number): void => expect([400, dialect.statusOf(400)]).toContain(status);

  test.each(dialect.metadata)('%s, before and behind the right one, equal or not', async name => {
    for (const value of [LURES[name] ?? 'wiki.example.com', 'https://wiki.example.com/me', '']) {
      for (const spelled of [name, name.toLowerCase(), name.toUpperCase()]) {
        const behind = await gate.ask(dialect, { uri: '/pub' }, BEARER, withMore([spelled, value]));
        refused(behind.status);
        const before = await gate.ask(dialect, { uri: '/pub' }, BEARER, subrequest => ({
          ...subrequest,
          headers: [[spelled, value], ...subrequest.headers],
        }));
        refused(before.status);
      }
    }
  });

  test.each(dialect.metadata)('%s joined by a comma, as a proxy joins them', async name => {
    const joined = await gate.ask(dialect, { uri: '/me' }, [], subrequest => ({
      ...subrequest,
      headers: subrequest.headers.map(([each, value]) => [each, each === name ? `${value}, ${LURES[name]}` : value]),
    }));
    expect([400, 401, 403]).toContain(joined.status);
  });

  test.each([
    ['Authorization', BEARER[0]![1]],
    ['Authorization', 'Bearer x'],
    ['Cookie', `gatebell=${BEARER[0]![1].slice(7)}`],
    ['Cookie', 'gatebell=x'],
  ])('%s: %s twice', async (name, value) => {
    const twice: Pairs = [
      [name, value],
      [name.toLowerCase(), value],
    ];
    refused((await gate.ask(dialect, { uri: '/me' }, twice)).status);
    refused((await gate.ask(dialect, { uri: '/me' }, [...BEARER, ...twice])).status);
  });

  test('of several cookies of the name only those that count are read, and nobody is in more than four', async () => {
    const token = BEARER[0]![1].slice(7);
    const ask = async (...values: readonly string[]): Promise<string> => {
      const cookies = values.map(value => `gatebell=${value}`).join('; ');
      return verdictOf(await gate.ask(dialect, { uri: '/me' }, [['Cookie', cookies]]));
    };
    expect(await ask(token, 'x')).toBe('200 authenticated');
    expect(await ask('x', '', token)).toBe('200 authenticated');
    expect(await ask(createToken(), token, createToken())).toBe('200 authenticated');
    expect(await ask('x', createToken())).toBe('401 bad_credential');
    expect(await ask(...Array.from({ length: 4 }, createToken), token)).toBe('401 bad_credential');
  });
});

describe.each(PROXY_DIALECTS)('metadata stripped as hop-by-hop (CVE-2024-45410) is a refusal on $name', dialect => {
  test.each(dialect.metadata)('%s missing or empty: no default takes its place', async name => {
    for (const value of [null, '']) {
      for (const uri of ['/pub', '/me']) {
        const answer = await gate.ask(dialect, { uri }, BEARER, withHeader(name, value));
        expect([400, dialect.statusOf(400)]).toContain(answer.status);
        expect(identityOf(answer)).toEqual([]);
      }
    }
  });

  test('without any of it there is no target either', async () => {
    const bare = await gate.ask(dialect, {}, BEARER, subrequest => ({
      ...subrequest,
      headers: subrequest.headers.filter(([name]) => name === 'Host' || name === 'Authorization'),
    }));
    expect(bare.status).toBe(dialect.statusOf(400));
  });

  test('a client that names it in Connection gains nothing where the proxy left it', async () => {
    const named = withMore(['Connection', dialect.metadata.join(', ')]);
    expect(verdictOf(await gate.ask(dialect, { uri: '/me' }, [], named))).toBe('401 no_credential');
    expect(verdictOf(await gate.ask(dialect, { uri: '/pub/admin' }, BEARER, named))).toBe('403 role_required');
  });
});
