import { expect, test } from 'vitest';
import { createClientRateLimiter, type Permit, type ClientRateLimiter } from '../../../src/auth/client-rate-limiter.js';

let now = 0;
const limiterOf = (sourcesMax = 100): ClientRateLimiter =>
  createClientRateLimiter({ burst: 3, perSecond: 2, sourcesMax, nowMs: () => now });

/** How often the source may ask in vain, one permit after the other. */
function askInVain(limiter: ClientRateLimiter, source: string, timesMax = 100): number {
  for (let times = 0; times < timesMax; times++) {
    const permit = limiter.admit(source);
    if (permit === null) {
      return times;
    }
    permit.release(true);
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
    limiter.admit('a')?.release(false);
  }
  expect(askInVain(limiter, 'a')).toBe(1);
});

test('a client with recent misses reserves a token: requests under way do not pass for the price of one', () => {
  const limiter = limiterOf();
  askInVain(limiter, 'a', 1);
  const underWay = [limiter.admit('a'), limiter.admit('a'), limiter.admit('a')];
  expect(underWay.map(permit => permit !== null)).toEqual([true, true, false]);
  underWay[0]!.release(false);
  expect(limiter.admit('a')).not.toBeNull();
});

test('who has not may ask as much as it likes at once', () => {
  const limiter = limiterOf();
  const permits = Array.from({ length: 50 }, () => limiter.admit('a'));
  expect(permits).not.toContain(null);
  permits.forEach(permit => {
    permit!.release(true);
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
  const late = limiter.admit('a') as Permit;
  askInVain(limiter, 'a');
  askInVain(limiter, 'b');
  late.release(true);
  askInVain(limiter, 'c');
  expect(['a', 'b', 'c'].map(source => limiter.admit(source) === null)).toEqual([true, false, true]);
});
