/** One host, however it is spelled; and nothing that is not exactly a host is one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseHost } from '../../src/auth/request/request.js';
import { PROXY_DIALECTS } from '../support/dialects.js';
import { ALICE, APP, createWorld, route, type MemoryFacts } from '../support/memory-facts.js';
import { BEARER, useGate, verdictOf } from './gate.js';

const HOST_NAMES = [APP.host, 'xn--bcher-kva.example.com', 'a.b.c.d.example.com', 'localhost', '10.0.0.7'];

/** A world of as many apps: `/pub` is public, all else needs alice's grant. */
const worldOf = (apps: number) => (): MemoryFacts => {
  const facts = createWorld();
  const hosts = [...HOST_NAMES.slice(1), ...Array.from({ length: apps - 1 }, (_, i) => `app${i}.example.com`)];
  for (const [i, host] of hosts.slice(0, Math.max(apps - 1, 0)).entries()) {
    const id = String(1_000 + i);
    facts.set('app', [host], { ...APP, id, name: host, host });
    facts.set('route', [id], { problem: null, routes: [route('/pub', 'public')] });
    facts.set('grant', [ALICE.id, id], { role: 'user', expiresAtMs: null });
  }
  return facts;
};

const spellings = (host: string): readonly string[] => {
  const cased = [
    host,
    host.toUpperCase(),
    host.replace(/^./, first => first.toUpperCase()),
    [...host].map((letter, i) => (i % 2 === 0 ? letter.toUpperCase() : letter)).join(''),
  ];
  return [
    ...new Set(cased.flatMap(one => [one, `${one}.`, `${one}:443`, `${one}.:80`, `${one}:65535`, `${one}:00080`])),
  ];
};

const SIZES = { 1: useGate({}, worldOf(1)), '10,000': useGate({}, worldOf(10_000)) };
const CASES = Object.entries(SIZES).flatMap(([apps, gate]) =>
  PROXY_DIALECTS.map(dialect => ({ apps, gate, dialect, name: dialect.name })),
);

describe.each(CASES)(
  'host spellings (CVE-2026-77560, CVE-2026-48794) get one answer at $apps apps on $name',
  ({ apps, gate, dialect }) => {
    const registered = apps === '1' ? [APP.host] : [...HOST_NAMES, 'app0.example.com', 'app9990.example.com'];

    test.each(registered)('%s', async host => {
      for (const spelled of spellings(host)) {
        const [pub, open, closed] = [
          await gate.ask(dialect, { host: spelled, uri: '/pub' }),
          await gate.ask(dialect, { host: spelled, uri: '/x' }, BEARER),
          await gate.ask(dialect, { host: spelled, uri: '/x' }),
        ];
        expect([pub, open, closed].map(verdictOf), spelled).toEqual(['200 public', '200 granted', '401 no_credential']);
        expect(open.headers['x-gatebell-app'], spelled).toBe(host === APP.host ? APP.name : host);
      }
    });

    test('a host that nobody registered is unknown in every spelling', async () => {
      for (const spelled of spellings('elsewhere.example.com')) {
        expect(verdictOf(await gate.ask(dialect, { host: spelled, uri: '/pub' }, BEARER))).toBe('403 unknown_app');
      }
    });

    test.each([
      ...['a@wiki.example.com', 'wiki.example.com@evil.test', 'user:pw@wiki.example.com', 'evil.test#wiki.example.com'],
      ...['wiki.example.com#evil.test', 'wiki.example.com?x', 'wiki.example.com\\evil.test', 'wiki.example.com..'],
      ...['.wiki.example.com', 'wiki..example.com', 'wiki.example.com,evil.test', 'evil.test, wiki.example.com'],
      ...['wiki.example.com wiki.example.com', 'wiki.example.com:', 'wiki.example.com:443:443', 'wiki.example.com:x'],
      ...['wiki.example.com:-1', 'wiki.example.com:123456', '%77iki.example.com', 'wiki%2eexample.com', '[::1]', '::1'],
      ...['[wiki.example.com]', 'wiki.example.com%00', 'wiki.example.com,', 'wi\tki.example.com', 'wiki.example.com;x'],
      ...['wiki.example.com\xa0', 'w\xefki.example.com', '\xef\xbd\x97iki.example.com', 'wiki\xe3\x80\x82example.com'],
      ...[
        'wiki-.example.com',
        '-wiki.example.com',
        '*.example.com',
        '*',
        'https://wiki.example.com',
        '//wiki.example.com',
      ],
      ...[`${'a'.repeat(64)}.example.com`, `${'a.'.repeat(126)}wiki.example.com`, 'wiki.example.com/', '__proto__.'],
    ])('%j opens nothing', async host => {
      for (const uri of ['/pub', '/x']) {
        const answer = await gate.ask(dialect, { host, uri }, BEARER);
        // What follows a slash or a question mark is the path where host and path are one text.
        const isPath = /[/?]/.test(host) && dialect.name === 'nginx';
        expect(isPath ? [200, 401, 403] : [400, 403], uri).toContain(answer.status);
        if (isPath && answer.status === 200) {
          expect(answer.headers['x-gatebell-reason']).toBe('granted');
        }
      }
    });
  },
);

const label = fc.stringMatching(/^[a-z0-9_]([a-z0-9_-]{0,12}[a-z0-9_])?$/);
const hostName = fc.array(label, { minLength: 1, maxLength: 6 }).map(labels => labels.join('.'));

describe('the canonical form of a host', () => {
  test('is one for every case, port and trailing dot', () => {
    fc.assert(
      fc.property(
        hostName,
        fc.infiniteStream(fc.boolean()),
        fc.boolean(),
        fc.option(fc.nat(65_535)),
        (host, upper, dot, port) => {
          const cased = [...host].map(letter => (upper.next().value === true ? letter.toUpperCase() : letter)).join('');
          const spelled = `${cased}${dot ? '.' : ''}${port === null ? '' : `:${port}`}`;
          expect(parseHost(spelled)).toMatchObject({ host, port: port === null ? '' : `:${port}` });
        },
      ),
      { numRuns: 3_000 },
    );
  });

  test('is canonical itself, and two hosts that differ never share one', () => {
    fc.assert(
      fc.property(hostName, hostName, (one, other) => {
        expect(parseHost(parseHost(one)!.host)!.host).toBe(one);
        expect(parseHost(one)!.host === parseHost(other)!.host).toBe(one === other);
      }),
      { numRuns: 1_000 },
    );
  });

  test('is what a strict reader of URLs makes of it, for whatever text is accepted at all', () => {
    const wild = fc.oneof(
      fc.string({ unit: 'binary-ascii', maxLength: 24 }),
      fc.string({
        unit: fc.constantFrom('a', 'Z', '0', '.', '-', '_', ':', '8', '@', '/', '\\', '#', '%', ' '),
        maxLength: 16,
      }),
    );
    fc.assert(
      fc.property(wild, text => {
        const parsed = parseHost(text);
        if (parsed !== null) {
          expect(text.toLowerCase().replace(/\.?(:\d+)?$/, '')).toBe(parsed.host);
          expect(parsed.host).toMatch(/^[a-z0-9_.-]{1,253}$/);
        }
      }),
      { numRuns: 5_000 },
    );
  });
});
