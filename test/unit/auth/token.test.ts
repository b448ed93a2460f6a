import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createToken, hashToken, isWellFormedToken, looksLikeToken } from '../../../src/auth/token.js';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** Secrets and their checksums: the CRC-32 of `gb_` and the secret, in base 62. */
const KNOWN = [
  ['0000000000000000000000000000000000000000000', '4EVaPo'],
  ['zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz', '2QC81x'],
  ['789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn', '43G6LX'],
] as const;
const tokens = fc.integer({ min: 0, max: 9 }).map(() => createToken());

describe('a fresh token', () => {
  test('is well formed: a prefix, 49 characters, no two alike', () => {
    const made = Array.from({ length: 500 }, createToken);
    expect(made.filter(token => !/^gb_[0-9A-Za-z]{49}$/.test(token) || !isWellFormedToken(token))).toEqual([]);
    expect(new Set(made).size).toBe(made.length);
  });

  test('can begin with any of 256 bits: its first characters differ', () => {
    expect(new Set(Array.from({ length: 500 }, () => createToken().slice(4, 6))).size).toBeGreaterThan(250);
  });

  test('is stored as the SHA-256 of the whole, in hexadecimal', () => {
    const token = createToken();
    expect(hashToken(token)).toBe(createHash('sha256').update(token, 'ascii').digest('hex'));
  });
});

test('the form never changes: tokens that were made by an earlier version are accepted', () => {
  for (const [secret, sum] of KNOWN) {
    expect(isWellFormedToken(`gb_${secret}${sum}`), secret).toBe(true);
  }
});

describe('a token that was not made here is refused', () => {
  test('every change of one character', () => {
    const token = createToken();
    const changed = Array.from(token).flatMap((old, at) =>
      Array.from(BASE62 + '_-.+/ \0\u00e9')
        .filter(other => other !== old)
        .map(other => token.slice(0, at) + other + token.slice(at + 1)),
    );
    expect(changed.length).toBeGreaterThan(3_000);
    expect(changed.filter(isWellFormedToken)).toEqual([]);
  });

  test('a change of one character, of any token', () => {
    fc.assert(
      fc.property(tokens, fc.nat(51), fc.constantFrom(...BASE62), (token, at, other) => {
        fc.pre(token[at] !== other);
        expect(isWellFormedToken(token.slice(0, at) + other + token.slice(at + 1))).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  test('two neighbours swapped', () => {
    fc.assert(
      fc.property(tokens, fc.nat(50), (token, at) => {
        fc.pre(token[at] !== token[at + 1]);
        const swapped = token.slice(0, at) + token[at + 1]! + token[at]! + token.slice(at + 2);
        expect(isWellFormedToken(swapped)).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  test('made-up ones: one in four billion would have the right checksum', () => {
    const secret = fc.string({ unit: fc.constantFrom(...BASE62), minLength: 49, maxLength: 49 });
    fc.assert(
      fc.property(secret, text => !isWellFormedToken('gb_' + text)),
      { numRuns: 5_000 },
    );
  });

  test('anything else', () => {
    const token = createToken();
    const other = [
      ...['', 'gb_', token.slice(0, -1), token.slice(1), token + '0', token + token, ` ${token}`, `${token} `],
      ...[
        `${token}\n`,
        `"${token}"`,
        token.toUpperCase(),
        token.toLowerCase(),
        token.replace('gb_', 'GB_'),
        token.slice(3),
      ],
    ];
    expect(other.filter(isWellFormedToken)).toEqual([]);
    fc.assert(fc.property(fc.string({ maxLength: 80 }), text => !isWellFormedToken(text)));
  });
});

test('what claims to be ours is told by the prefix alone', () => {
  expect(['gb_', 'gb_x', createToken()].every(looksLikeToken)).toBe(true);
  expect(['', 'gb', 'GB_x', ' gb_x', 'eyJhbGciOi.x.y', 'ghp_x'].some(looksLikeToken)).toBe(false);
});
