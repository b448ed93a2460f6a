import { expect, test } from 'vitest';
import { createSourceLimiter, type SourceLimiter } from '../../../src/auth/source-limiter.js';

let now = 0;
const limiterOf = (sourcesMax = 100): SourceLimiter =>
  createSourceLimiter({ burst: 3, perSecond: 2, sourcesMax, nowMs: () => now });

test('a source may ask in vain as often as its burst, then as fast as its rate', () => {
  const limiter = limiterOf();
  const asked = (): number => {
    let times = 0;
    for (; !limiter.isExhausted('a'); times++) {
      limiter.charge('a');
    }
    return times;
  };
  expect(asked()).toBe(3);
  now += 499;
  expect(asked()).toBe(0);
  now += 1;
  expect(asked()).toBe(1);
  now += 1_000;
  expect(asked()).toBe(2);
  now += 1_000_000;
  expect(asked()).toBe(3);
});

test('one source does not pay for another', () => {
  const limiter = limiterOf();
  for (let i = 0; i < 1_000; i++) {
    limiter.charge('a');
  }
  expect([limiter.isExhausted('a'), limiter.isExhausted('b')]).toEqual([true, false]);
});

test('being charged while exhausted does not make it longer', () => {
  const limiter = limiterOf();
  for (let i = 0; i < 1_000; i++) {
    limiter.charge('a');
  }
  now += 500;
  expect(limiter.isExhausted('a')).toBe(false);
});

test('it remembers so many sources, and forgets the one that was charged longest ago', () => {
  const limiter = limiterOf(2);
  const exhaust = (source: string): void => {
    for (let i = 0; i < 3; i++) {
      limiter.charge(source);
    }
  };
  exhaust('a');
  exhaust('b');
  limiter.charge('a');
  exhaust('c');
  expect(['a', 'b', 'c'].map(source => limiter.isExhausted(source))).toEqual([true, false, true]);
});
