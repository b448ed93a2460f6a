import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from '../../../src/time/backoff.js';
import { createFixedRandom } from '../../support/simulated-clock.js';

fc.configureGlobal({ seed: 1 });

const longest = (failures: number): number => backoffMs(failures, createFixedRandom(1));
const shortest = (failures: number): number => backoffMs(failures, createFixedRandom(0));

test('doubles from 100 ms and ends at 5 s', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 7].map(longest)).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
});

test('never waits less than half of its ceiling, so that a broken server is not hammered', () => {
  expect([0, 1, 6].map(shortest)).toEqual([50, 100, 2_500]);
});

test('spreads replicas that failed equally often', () => {
  expect(backoffMs(3, createFixedRandom(0.1))).not.toBe(backoffMs(3, createFixedRandom(0.9)));
});

test('stays between 50 ms and 5 s after any number of failures', () => {
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (failures, uniform) => {
      const waitMs = backoffMs(failures, createFixedRandom(uniform));
      expect(waitMs).toBeGreaterThanOrEqual(50);
      expect(waitMs).toBeLessThanOrEqual(5_000);
    }),
  );
});
