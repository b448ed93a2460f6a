/**
 * An open redirect would lend the app's name to anybody; so what may come out of here is stated as properties, over
 * texts made to mislead.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressText } from '../../../src/auth/login.js';
import {
  createOrigin,
  isWithin,
  keptAddress,
  parseReturnAddress,
  type Origin,
} from '../../../src/sign-in/return-address.js';

const ORIGIN: Origin = { proto: 'https', host: 'wiki.example.com', port: '' };

/** Where a browser is sent for this text; null: nowhere. */
function follow(text: string, origin: Origin = ORIGIN, cookieDomain: string | null = null): string | null {
  const address = parseReturnAddress(text);
  return address !== null && isWithin(address, origin, cookieDomain) ? addressText(keptAddress(address)) : null;
}

describe('a plain address is kept as it is:', () => {
  test.each([
    'https://wiki.example.com/',
    'https://wiki.example.com/page?x=1&y=%2F..%2F',
    "https://wiki.example.com/a//b/../c;d=e/'(!)*~",
    'https://wiki.example.com/?',
    'https://wiki.example.com/?q=a\\b|"<>{}',
    'https://wiki.example.com/@evil.com/',
  ])('%s', text => {
    expect(follow(text)).toBe(text);
  });
});

test('of one host there is one spelling', () => {
  expect(follow('https://WIKI.Example.com.:443')).toBe('https://wiki.example.com/');
  expect(follow('https://wiki.example.com?a')).toBe('https://wiki.example.com/?a');
});

const MISLEADING = [
  '',
  '/',
  '/page',
  'page',
  '//evil.com',
  '///evil.com',
  '\\\\evil.com',
  '/\\evil.com',
  'https:evil.com',
  'https:/evil.com',
  'https:///evil.com',
  'https:\\\\evil.com',
  'https://evil.com',
  'https://evil.com/wiki.example.com',
  'https://evil.com#wiki.example.com',
  'https://evil.com?wiki.example.com',
  'https://evil.com\\.wiki.example.com',
  'https://evil.com%2f.wiki.example.com/',
  'https://wiki.example.com@evil.com/',
  'https://wiki.example.com:443@evil.com/',
  'https://user@wiki.example.com/',
  'https://user:password@wiki.example.com/',
  'https://wiki.example.com.evil.com/',
  'https://evilwiki.example.com/',
  'https://wiki.example.com%00.evil.com/',
  'https://wiki.example.com\0.evil.com/',
  'https://wiki.example.com\t/',
  'https://wiki.example.com/\r\nSet-Cookie: a=b',
  'https://wiki.example.com/ x',
  'https://wiki.example.com/\u00e9',
  'https://wiki.example.com/\u2028',
  'https://wi\u212ai.example.com/',
  'https://\uff57iki.example.com/',
  'https://wiki.example.com\u3002evil.com/',
  'https://[::1]/',
  'https://wiki.example.com:/',
  'https://wiki.example.com:8443/',
  'https://wiki.example.com:80/',
  'https://wiki.example.com:443:443/',
  'https://wiki.example.com/#fragment',
  'https://wiki.example.com/\\evil.com',
  'http://wiki.example.com/',
  'HTTPS://wiki.example.com/',
  ' https://wiki.example.com/',
  'https://wiki.example.com/ ',
  'javascript://wiki.example.com/%0aalert(1)',
  'data:text/html,x',
  'blob:https://wiki.example.com/x',
  'ftp://wiki.example.com/',
  'https://other.example.com/',
  'https://example.com/',
  'https://wiki.example.com/_gatebell/login?rd=x',
  'https://wiki.example.com/_gatebell/logout',
  'https://wiki.example.com//_gatebell/login',
  'https://wiki.example.com/_gatebell',
  `https://wiki.example.com/${'x'.repeat(8_192)}`,
];

describe('nobody is sent anywhere for', () => {
  test.each(MISLEADING.map(text => [text]))('%j', text => {
    expect(follow(text)).toBeNull();
  });
});

/** Texts that are nearly addresses. */
const pieces = fc.oneof(
  fc.constantFrom(
    ...[
      'https',
      'http',
      ':',
      '/',
      '//',
      '\\',
      '@',
      '#',
      '?',
      '%2f',
      '%00',
      '%',
      '.',
      '..',
      ':443',
      ':80',
      ':8443',
      ' ',
    ],
    ...['wiki.example.com', 'evil.com', 'example.com', 'WIKI', '\t', '\r\n', '\u3002', '\uff0f', '_gatebell', '[::1]'],
  ),
  fc.string({ unit: 'binary', maxLength: 4 }),
);
const texts = fc.oneof(
  fc.array(pieces, { maxLength: 12 }).map(parts => parts.join('')),
  fc
    .tuple(fc.constantFrom('https://wiki.example.com', 'https://wiki.example.com/'), fc.array(pieces, { maxLength: 6 }))
    .map(([head, parts]) => head + parts.join('')),
  fc.webUrl({ withQueryParameters: true }),
);
const run = { numRuns: 20_000 };

test('whatever the text, a browser that follows what comes out stays on this origin', () => {
  let followedAtAll = 0;
  fc.assert(
    fc.property(texts, text => {
      const followed = follow(text);
      if (followed !== null) {
        followedAtAll += 1;
        const url = new URL(followed, 'https://evil.com');
        expect(url.origin).toBe('https://wiki.example.com');
        expect([url.username, url.password, url.hash]).toEqual(['', '', '']);
        expect(followed).toMatch(/^[\x21-\x7e]+$/);
      }
    }),
    run,
  );
  expect(followedAtAll).toBeGreaterThan(500);
});

test('with a sign-in host it stays under the domain of the cookie, with the same scheme and port', () => {
  const origin: Origin = { proto: 'http', host: 'auth.example.com', port: ':8080' };
  expect(follow('http://wiki.example.com:8080/x', origin, 'example.com')).toBe('http://wiki.example.com:8080/x');
  expect(follow('http://a.b.example.com:8080/', origin, 'example.com')).toBe('http://a.b.example.com:8080/');
  for (const text of [
    'https://wiki.example.com:8080/',
    'http://wiki.example.com/',
    'http://notexample.com:8080/',
    'http://example.com.evil.com:8080/',
    'http://auth.example.com:8080/_gatebell/login',
  ]) {
    expect(follow(text, origin, 'example.com'), text).toBeNull();
  }
  fc.assert(
    fc.property(texts, text => {
      const followed = follow(text, { ...origin, proto: 'https', port: '' }, 'example.com');
      if (followed !== null) {
        const url = new URL(followed);
        expect(url.protocol + url.port).toBe('https:');
        expect(`.${url.hostname}`).toMatch(/\.example\.com$/);
      }
    }),
    run,
  );
});

test('what has come out goes in again, and stays the same', () => {
  fc.assert(
    fc.property(texts, text => {
      const followed = follow(text);
      if (followed !== null) {
        expect(follow(followed)).toBe(followed);
      }
    }),
    run,
  );
});

test('of an address that no cookie would hold, the front page is kept', () => {
  expect(follow(`https://wiki.example.com/${'x'.repeat(1_199)}`)).toHaveLength(24 + 1_200);
  expect(follow(`https://wiki.example.com/${'x'.repeat(1_200)}`)).toBe('https://wiki.example.com/');
});

test('the default port of the scheme is left out', () => {
  expect(createOrigin('https', { host: 'a.test', port: ':443' }).port).toBe('');
  expect(createOrigin('http', { host: 'a.test', port: ':80' }).port).toBe('');
  expect(createOrigin('https', { host: 'a.test', port: ':80' }).port).toBe(':80');
});
