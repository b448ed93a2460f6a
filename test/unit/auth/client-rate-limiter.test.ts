import { expect, test } from 'vitest';
import {
  createClientRateLimiter,
  type Question,
  type ClientRateLimiter,
} from '../../../src/auth/client-rate-limiter.js';

let now = 0;
const limiterOf = (sourcesMax = 100): ClientRateLimiter =>
  createClientRateLimiter({ burst: 3, perSecond: 2, sourcesMax, nowMs: () => now });

/** How often the source may ask in vain, one question after the other. */
function askInVain(limiter: ClientRateLimiter, source: string, timesMax = 100): number {
  for (let times = 0; times < timesMax; times++) {
    const question = limiter.admit(source);
    if (question === null) {
      return times;
    }
    question.settle(true);
  }
  return timesMax;
}

test('a source may ask in vain as often as its burst, then as fast as its rate', () => {
  const limiter = limiterOf();
  expect(askInVain(limiter, 'a')).toBe(3);
  now += 499;
  expect(askInVain(limiter, 'a')).toBe(0);
  now += 1;
  expect(askInVain(limiter, 'a')).toBe(1);
  now += 1_000;
  expect(askInVain(limiter, 'a')).toBe(2);
  now += 1_000_000;
  expect(askInVain(limiter, 'a')).toBe(3);
});

test('what is not in vain is free', () => {
  const limiter = limiterOf();
  askInVain(limiter, 'a', 2);
  for (let i = 0; i < 1_000; i++) {
    limiter.admit('a')?.settle(false);
  }
  expect(askInVain(limiter, 'a')).toBe(1);
});

test('who has asked in vain lately pays before: all that are under way at once do not pass for the price of one', () => {
  const limiter = limiterOf();
  askInVain(limiter, 'a', 1);
  const underWay = [limiter.admit('a'), limiter.admit('a'), limiter.admit('a')];
  expect(underWay.map(question => question !== null)).toEqual([true, true, false]);
  underWay[0]!.settle(false);
  expect(limiter.admit('a')).not.toBeNull();
});

test('who has not may ask as much as it likes at once', () => {
  const limiter = limiterOf();
  const questions = Array.from({ length: 50 }, () => limiter.admit('a'));
  expect(questions).not.toContain(null);
  questions.forEach(question => {
    question!.settle(true);
  });
  expect(limiter.admit('a')).toBeNull();
});

test('one source does not pay for another', () => {
  const limiter = limiterOf();
  askInVain(limiter, 'a');
  expect([limiter.admit('a'), limiter.admit('b')]).toEqual([null, expect.anything()]);
});

test('it remembers so many sources, and forgets the one that was charged longest ago', () => {
  const limiter = limiterOf(2);
  const late = limiter.admit('a') as Question;
  askInVain(limiter, 'a');
  askInVain(limiter, 'b');
  late.settle(true);
  askInVain(limiter, 'c');
  expect(['a', 'b', 'c'].map(source => limiter.admit(source) === null)).toEqual([true, false, true]);
});
