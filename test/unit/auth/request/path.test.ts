import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { interpretPath } from '../../../../src/auth/request/path-interpretations.js';
import { selectRoute } from '../../../../src/auth/request/path.js';
import type { Route } from '../../../../src/auth/facts.js';
import { privateSpellings, spellings } from '../../../support/path-corpus.js';
import { whoReadsPrivate } from '../../../support/reference-normalisers.js';

function rule(pathPrefix: string, access: Route['access']): Route {
  return { pathPrefix, access, roles: [], strong: false, preflight: false, headers: [] };
}

const PRIVATE_SPELLINGS = privateSpellings();

const CARVED = [rule('/pub/admin', 'grant'), rule('/private', 'grant'), rule('/pub', 'public')];
const OPEN = [rule('/pub/admin', 'grant'), rule('/private', 'grant'), rule('/', 'public')];
const BOTH = [...CARVED, rule('/', 'public')];
const RULE_SETS = { CARVED, OPEN, BOTH };

/** The prefix of the rule that was chosen, 'none' if no rule matches, 'refused' if it is ambiguous or malformed. */
function choose(path: string, routes: readonly Route[]): string {
  const sent = path.split('?')[0]!;
  const route = sent.startsWith('/') && !/[\x00-\x20\x7f#]/.test(sent) ? selectRoute(routes, sent) : undefined;
  return route === undefined ? 'refused' : (route?.pathPrefix ?? 'none');
}

function isPublic(path: string, routes: readonly Route[]): boolean {
  return ['/pub', '/'].includes(choose(path, routes));
}

describe('a path that any upstream takes for private', () => {
  test('has at least 500 spellings in the corpus', () => {
    expect(PRIVATE_SPELLINGS.length).toBeGreaterThan(500);
    expect(new Set(PRIVATE_SPELLINGS).size).toBe(PRIVATE_SPELLINGS.length);
  });

  test.each(Object.entries(RULE_SETS))('is never let through by a public rule: the corpus against %s', (_, routes) => {
    expect(PRIVATE_SPELLINGS.filter(path => isPublic(path, routes))).toEqual([]);
  });

  test('is never let through by a public rule: random compositions', () => {
    fc.assert(
      fc.property(spellings, path => {
        const lets = Object.entries(RULE_SETS).filter(([, routes]) => isPublic(path, routes));
        expect(lets.length > 0 ? whoReadsPrivate(path) : null).toBeNull();
      }),
      { numRuns: 2_000 },
    );
  });

  test('is never let through by a public rule below a private one: random compositions', () => {
    const routes = [rule('/private/open', 'public'), rule('/private', 'grant')];
    const isOutside = /^\/private(?!\/open(?:\/|$))(?:\/|$)/i;
    fc.assert(
      fc.property(spellings, path => {
        const lets = choose(path, routes) === '/private/open';
        expect(lets ? whoReadsPrivate(path, isOutside) : null).toBeNull();
      }),
      { numRuns: 1_500 },
    );
  });

  test('is refused where everything behind a semicolon is dropped', () => {
    const routes = [rule('/private/open', 'public'), rule('/private', 'grant')];
    expect(choose('/private/open/..;/open/x', routes)).toBe('refused');
    expect(choose('/private/open/x;y', routes)).toBe('/private/open');
  });

  test.each([
    ['parameters that hide a slash are dropped before decoding', '/pub/a;%2fb/%2e%2e/%2e%2e/private'],
    ['dots are decoded and slashes are not', '/pub/a%2fb/%2e%2e/%2e%2e/private'],
    ['a space behind dots is dropped', '/pub/..%20/private'],
    ['folded characters are an escape', '/pub/%ef%bc%852e%ef%bc%852e/private'],
    ['a sequence that is cut off swallows a slash', '/pub/%c3/a/../../private'],
    ['a Shift-JIS character ends in a backslash', '/pub/a/%95%5c..%5c..%5cprivate'],
  ])('is refused where %s', (_, path) => {
    expect(choose(path, CARVED)).toBe('refused');
  });

  test.each([
    ['two slashes begin a host', '//host/private'],
    ['a backslash begins a host', '/\\host/private'],
    ['three slashes begin a host', '///user@host:80/private'],
    ['invisible characters are dropped', '/priv%C2%ADate'],
    ['a dotless i is an i', '/pr%C4%B1vate'],
    ['letters are full-width', '/%ef%bd%90rivate'],
    ['case is folded', '/PRIVATE'],
    ['a trailing dot is dropped', '/private./x'],
    ['an encoded question mark begins the query', '/private%3fx'],
    ['an encoded hash begins the fragment', '/private%23x'],
    ['an encoded letter is the letter', '/%70rivate'],
    ['letters are encoded four times', '/%2525252570rivate'],
  ])('is refused where all else is public and %s', (_, path) => {
    expect(choose(path, OPEN)).toBe('refused');
  });
});

describe('a path that is refused outright', () => {
  test.each([
    ['', 'nothing'],
    ['pub', 'no slash at its head'],
    ['\\pub', 'a backslash at its head'],
    ['%2fpub', 'an encoded slash at its head'],
    ['http://host/pub', 'the absolute form'],
    ['*', 'the asterisk form'],
    ['/pub#x', 'a fragment'],
    ['/pub x', 'a space'],
    ['/pub\tx', 'a tab'],
    ['/pub\0', 'NUL'],
    ['/pub\x7f', 'DEL'],
    ['/pub%', 'a cut escape'],
    ['/pub%2', 'a cut escape'],
    ['/pub%zz', 'an escape that is not hexadecimal'],
    ['/pub%u002e', "IIS' escape"],
    ['/pub%00', 'an encoded NUL'],
    ['/pub%0d%0aX: y', 'an encoded line end'],
    ['/pub%2500', 'a NUL encoded twice'],
    ['/pub%7f', 'an encoded DEL'],
    ['/pub%ef%bc%8500', 'an escape that folding makes, of NUL'],
    ['/pub%c0%af', 'an overlong slash'],
    ['/pub%e0%80%af', 'an overlong slash of three bytes'],
    ['/pub%f0%80%80%af', 'an overlong slash of four bytes'],
    ['/pub%25c0%25af', 'an overlong slash encoded twice'],
    ['/pub%ff', 'a byte that UTF-8 never has'],
    ['/pub%80', 'a byte that continues nothing'],
    ['/pub%e3%81', 'a sequence that is cut off'],
    ['/pub%ed%a0%80', 'a surrogate'],
    ['/pub%f4%90%80%80', 'a character beyond Unicode'],
    ['/pub\xe9', 'raw Latin-1'],
  ])('%j: %s', path => {
    expect(choose(path, CARVED)).toBe('refused');
  });
});

describe('an ordinary path passes', () => {
  test.each([
    ['/pub', '/pub'],
    ['/pub/', '/pub'],
    ['/pub/a', '/pub'],
    ['/pub/a%20b', '/pub'],
    ['/pub/a%20b/', '/pub'],
    ['/pub/100%25', '/pub'],
    ['/pub/caf%C3%A9', '/pub'],
    ['/pub/caf\xc3\xa9', '/pub'],
    ['/pub/%E6%97%A5%E6%9C%AC/%F0%9F%98%80.png', '/pub'],
    ['/pub/x?y=..%2f..%2fprivate', '/pub'],
    ['/pub/x?/../private', '/pub'],
    ['/pub/a;v=1/b', '/pub'],
    ['/pub/a//b', '/pub'],
    ['/pub/./a', '/pub'],
    ['/pub/a/../b', '/pub'],
    ['/pub/@scope%2Fname', '/pub'],
    ['/pub/.hidden', '/pub'],
    ['/pub/x.', '/pub'],
    ["/pub/~a!b$c&d'e(f)*+,=:@-_", '/pub'],
    ['/pub/' + 'long/'.repeat(1_600), '/pub'],
    ['/pub/' + '%C3%A9/'.repeat(1_100), '/pub'],
    ['/pub/' + 'a'.repeat(8_180) + '%20b', '/pub'],
    ['/pub/admin', '/pub/admin'],
    ['/pub/admin/x%20y', '/pub/admin'],
    ['/pub/administrators', '/pub'],
    ['/publications', 'none'],
    ['/pub.html', 'none'],
    ['/pub-x', 'none'],
    ['/public', 'none'],
    ['/private', '/private'],
    ['/private/', '/private'],
    ['/private/../private/x', '/private'],
    ['/privateer', 'none'],
    ['/', 'none'],
    ['/elsewhere%2Fdeep', 'none'],
  ])('%s by the rule %s', (path, expected) => {
    expect(choose(path, CARVED)).toBe(expected);
  });

  test.each([
    '/',
    '/@scope%2Fname',
    '/-/npm/@scope%2fname/1.0.0',
    '/.well-known/acme-challenge/x_Y-z',
    '/a.b.c/file.tar.gz',
    '/100%25',
    '/100%25/x',
    '/%E2%82%AC',
    '/web/2020/https://example.com/x',
    '/dav/Photos%202024/Zo%C3%AB%20%26%20Al%3F.jpg',
    '/_matrix/client/r0/rooms/!abc%3Aexample.org/state',
    '/api/v4/projects/group%2Fproject/files/src%2Fmain.c',
    '/a;jsessionid=1F/b',
    '/x/..',
    '/..',
    '/' + 'a'.repeat(8_000),
  ])('%s by the only rule, /', path => {
    expect(choose(path, [rule('/', 'public')])).toBe('/');
  });
});

describe('rules', () => {
  test('the longest prefix that ends at a segment boundary wins', () => {
    const routes = [rule('/a/b/c', 'grant'), rule('/a/b', 'public'), rule('/a', 'authenticated')];
    expect(['/a', '/a/', '/ab', '/a/b', '/a/bc', '/a/b/c', '/a/b/c/d', '/a/b/cd'].map(p => choose(p, routes))).toEqual([
      '/a',
      '/a',
      'none',
      '/a/b',
      '/a',
      '/a/b/c',
      '/a/b/c',
      '/a/b',
    ]);
  });

  test('match in their own case, and refuse another where it would choose another rule', () => {
    const routes = [rule('/Docs', 'public')];
    expect(choose('/Docs/x', routes)).toBe('/Docs');
    expect(choose('/docs/x', routes)).toBe('refused');
    expect(choose('/DOCS', [rule('/', 'public')])).toBe('/');
  });

  test('all readings that match nothing choose nothing', () => {
    expect(choose('/x/%2e%2e/y', [])).toBe('none');
  });

  test('a reading that matches a rule and one that matches none are a refusal', () => {
    expect(choose('/x/%2e%2e/pub', [rule('/pub', 'public')])).toBe('refused');
  });
});

describe('the work for one path is bounded', () => {
  const ADVERSARIAL = [
    '/' + '.'.repeat(8_000) + 'x',
    '/x' + '.'.repeat(8_000) + 'x',
    '/' + '%20'.repeat(2_700) + 'x',
    '/' + '%20.'.repeat(2_000) + 'x',
    '/'.repeat(8_000) + 'x',
    '/' + '../'.repeat(2_700),
    '/' + ';'.repeat(8_000) + '%2f',
    '/' + '\\'.repeat(8_000),
    '/%' + '25'.repeat(4_000) + '2e',
    '/' + '%2525252e'.repeat(880),
    '/' + '..;/%2e%2f\\/'.repeat(600),
    '/' + '%ef%b7%ba'.repeat(880),
    '/' + '%e2%80%a5%ef%bc%8f;%20.'.repeat(340),
    '/' + 'a.'.repeat(4_000) + '%',
    '/' + 'a'.repeat(8_000) + '"',
  ];

  test.each(ADVERSARIAL.map(path => [path.slice(0, 24), path]))('%s…: few characters are read', (_, path) => {
    const { exact, scripted } = interpretPath(path) ?? { exact: [], scripted: [] };
    const readings = [...exact, ...scripted];
    expect(readings.length).toBeLessThanOrEqual(48);
    expect(readings.reduce((sum, reading) => sum + reading.length, 0)).toBeLessThanOrEqual(20_480);
  });

  test('eight times the length takes no more than linearly longer', () => {
    // A quadratic pattern takes 64 times as long; the best of several runs is compared, so that other load does not
    // matter.
    const best = (path: string): number => {
      const times = Array.from({ length: 7 }, () => {
        const startMs = performance.now();
        interpretPath(path);
        return performance.now() - startMs;
      });
      return Math.min(...times);
    };
    for (const unit of ['.', '%20', '%20.', ';', '/']) {
      const short = '/x' + unit.repeat(1_000 / unit.length) + 'x';
      const long = '/x' + unit.repeat(8_000 / unit.length) + 'x';
      best(short);
      expect(best(long) / Math.max(best(short), 0.02)).toBeLessThan(32);
    }
  });

  test('escapes within escapes are followed to the end or refused', () => {
    for (let depth = 0; depth < 200; depth++) {
      expect(isPublic(`/pub/%${'25'.repeat(depth)}2e%${'25'.repeat(depth)}2e/private`, CARVED)).toBe(false);
    }
  });
});
