/** The reader of the Cookie header, against a second one written from the text of RFC 6265, and what depends on it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cookieValues, readCookies, withoutCookies, type SentCookie } from '../../../../src/auth/request/cookies.js';
import { createCredentialReader, withoutCredential } from '../../../../src/auth/request/credential.js';
import { singleHeaders } from '../../../../src/auth/request/headers.js';
import { createToken, hashToken } from '../../../../src/auth/token.js';

const NAME = '__Host-gatebell';
const TOKEN = createToken();

/** Reads one character after the other, with nothing of JavaScript's own ideas of what a blank is. */
function referenceCookies(header: string): SentCookie[] {
  const cookies: SentCookie[] = [];
  for (const part of [...header].join('').split(';')) {
    let characters = [...part];
    const trim = (list: string[]): string[] => {
      const first = list.findIndex(character => character !== ' ' && character !== '\t');
      const last = list.findLastIndex(character => character !== ' ' && character !== '\t');
      return first === -1 ? [] : list.slice(first, last + 1);
    };
    characters = trim(characters);
    if (characters.length === 0) {
      continue;
    }
    const equals = characters.indexOf('=');
    const name = equals === -1 ? [] : trim(characters.slice(0, equals));
    let value = equals === -1 ? characters : trim(characters.slice(equals + 1));
    if (value.length > 1 && value[0] === '"' && value.at(-1) === '"') {
      value = value.slice(1, -1);
    }
    cookies.push({ name: name.join(''), value: value.join('') });
  }
  return cookies;
}

/** What parsers disagree on. All that JavaScript trims is among it, as far as a header can hold it. */
const ODD = [
  '\u00a0',
  '\ufeff',
  '\u0085',
  '\v',
  '\f',
  '\t',
  ' ',
  '"',
  '=',
  ';',
  ',',
  '\\',
  '%20',
  '\u00ff',
  '$',
] as const;
const piece = fc.oneof(
  fc.constantFrom(...ODD),
  fc.constantFrom('a', NAME, 'gatebell', TOKEN),
  fc.string({ unit: 'binary-ascii', maxLength: 3 }),
);
const header = fc.array(piece, { maxLength: 24 }).map(pieces => pieces.join(''));

test('reads what the RFC says, whatever stands around names and values', () => {
  fc.assert(
    fc.property(header, text => {
      expect(readCookies(text)).toEqual(referenceCookies(text));
    }),
    { numRuns: 2_000 },
  );
});

test('one reader: a value is found exactly where a cookie is removed', () => {
  fc.assert(
    fc.property(header, text => {
      const all = readCookies(text);
      expect(cookieValues(text, NAME)).toEqual(all.filter(({ name }) => name === NAME).map(({ value }) => value));
      const isBare = ({ name, value }: SentCookie): boolean => name === '' && value === NAME;
      const left = readCookies(withoutCookies(text, NAME)).filter(cookie => !isBare(cookie));
      expect(left).toEqual(all.filter(cookie => cookie.name !== NAME && !isBare(cookie)));
    }),
    { numRuns: 2_000 },
  );
});

test('no character but space and tab makes another name ours', () => {
  const { read } = createCredentialReader(NAME);
  const blanks = new Set([' ', '\t']);
  for (let code = 0; code < 0x1_00_00; code += 1) {
    const character = String.fromCharCode(code);
    if (character === ';') {
      continue;
    }
    for (const cookie of [`${character}${NAME}=${TOKEN}`, `${NAME}${character}=${TOKEN}`]) {
      const { kind } = read(singleHeaders(['Cookie', cookie]));
      // Of `name==token` the value begins with the second `=`.
      const expected = blanks.has(character) ? 'token' : cookie.startsWith(`${NAME}=`) ? 'bad' : 'none';
      if (kind !== expected) {
        expect.fail(`U+${code.toString(16)} in ${JSON.stringify(cookie)}: ${kind}, not ${expected}`);
      }
    }
  }
});

test('ordinary cookies are read: quoted, with blanks, empty, without a name, with = and , in the value', () => {
  expect(readCookies('a=1; b="2"; c = 3 ;\td=e=f;; g;a=%31; h=; =i; j=k, l=m; n="; o=""')).toEqual([
    { name: 'a', value: '1' },
    { name: 'b', value: '2' },
    { name: 'c', value: '3' },
    { name: 'd', value: 'e=f' },
    { name: '', value: 'g' },
    { name: 'a', value: '%31' },
    { name: 'h', value: '' },
    { name: '', value: 'i' },
    { name: 'j', value: 'k, l=m' },
    { name: 'n', value: '"' },
    { name: 'o', value: '' },
  ]);
  expect(readCookies(undefined)).toEqual([]);
});

test('a cookie of our name that is no token hides none that is', () => {
  const { read } = createCredentialReader(NAME);
  const session = { kind: 'token', hashes: [hashToken(TOKEN)] };
  for (const other of ['', 'x', '""', TOKEN.slice(0, -1), `${TOKEN}x`, `"${TOKEN}"`, TOKEN]) {
    for (const pairs of [`${NAME}=${other}; ${NAME}=${TOKEN}`, `${NAME}=${TOKEN}; a=b; ${NAME}=${other}`]) {
      expect(read(singleHeaders(['Cookie', pairs])), pairs).toEqual(session);
    }
  }
  expect(read(singleHeaders(['Cookie', `${NAME}=x`]))).toEqual({ kind: 'bad' });
});

test('what an app gets is the rest as it was, and nothing under our name', () => {
  const left = (cookie: string): string => withoutCredential(singleHeaders(['Cookie', cookie]), NAME).cookie;
  expect(left(`theme="dark";${NAME} = ${TOKEN};  a=b=c; ${NAME}=x; d`)).toBe('theme="dark"; a=b=c; d');
  expect(left(`\u00a0${NAME}=${TOKEN}; ${NAME}`)).toBe(`\u00a0${NAME}=${TOKEN}`);
  expect(left(`${NAME}=${TOKEN}`)).toBe('');
});
