/** Two different facts never share a place in memory, whatever their keys are made of. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keyText, type Key } from '../../src/coherence/signal.js';
import { createCacheBench } from '../support/cache-harness.js';
import { fakeQuery } from '../support/fake-source.js';

const part = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 8 }),
  fc.string({ unit: 'binary', maxLength: 8 }),
  // What confuses keys that are joined: separators, quotes, escapes, lengths, NUL and halves of surrogate pairs.
  fc.string({
    unit: fc.constantFrom(',', ':', '/', '|', '"', "'", '\\', '\0', '1', '2', '[', ']', 'a', '\ud83d', '\ude00'),
    maxLength: 8,
  }),
);
const key: fc.Arbitrary<Key> = fc.array(part, { minLength: 1, maxLength: 4 });
const isSame = (one: Key, other: Key): boolean =>
  one.length === other.length && one.every((text, i) => text === other[i]);

/** A key that another could be taken for: parts joined, split, moved, quoted. */
const near = key.chain(one =>
  fc
    .oneof(
      fc.constantFrom(',', ':', '/', '|', '\0', '', '","').map(separator => [one.join(separator)]),
      fc.nat(20).map(at => {
        const all = one.join('');
        return [all.slice(0, at), all.slice(at)];
      }),
      fc.constantFrom([...one, ''], ['', ...one], one.toReversed(), [keyText(one)], [JSON.stringify(one)]),
      fc.constant([...one.map(text => `${text.length}:${text}`)]),
    )
    .map(other => [one, other] as const),
);

describe('cache-key confusion (CVE-2021-32701, CVE-2024-47077, CVE-2026-71326): the text of a key', () => {
  test('is the same for the same key, and differs for different ones', () => {
    fc.assert(
      fc.property(key, key, (one, other) => {
        expect(keyText(one) === keyText(other)).toBe(isSame(one, other));
      }),
      { numRuns: 5_000 },
    );
  });

  test('differs for keys that are made to look alike', () => {
    fc.assert(
      fc.property(near, ([one, other]) => {
        expect(keyText(one) === keyText(other)).toBe(isSame(one, other));
      }),
      { numRuns: 10_000 },
    );
  });

  test('a question that waits is never joined by one that only looks like it', async () => {
    const query = fakeQuery();
    const bench = createCacheBench();
    bench.source.hold = true;
    const texts = ['a', 'b', 'a grant/b', 'a user/b', 'a user/b user/c', 'b user/c', 'c'];
    const want = (...keys: string[]): Promise<readonly unknown[]> =>
      bench.snapshots.read(
        keys.map(text => ({ topic: 'user', query, key: [text] })),
        true,
      );
    const questions = [...texts.map(text => [text]), ...texts.flatMap(one => texts.map(other => [one, other]))];
    const answers = questions.map(keys => want(...keys));
    bench.source.hold = false;
    await bench.clock.settle();
    bench.source.newest.answer();
    await bench.clock.settle();
    expect((await Promise.all(answers)).map(answer => answer.length)).toEqual(questions.map(keys => keys.length));
  });

  test('differs for all short keys of awkward letters', () => {
    const letters = ['', '\0', ':', '1', '1:', '0:', ',', '\u00001:1'];
    const keys: Key[] = letters.flatMap(a => [[a], ...letters.flatMap(b => [[a, b], ...letters.map(c => [a, b, c])])]);
    expect(new Set(keys.map(keyText)).size).toBe(keys.length);
  });
});
