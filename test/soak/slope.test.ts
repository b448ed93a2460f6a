import { expect, test } from 'vitest';
import { fitSlope } from './slope.js';

/** Noise that is the same in every run: between -1 and 1, without a trend. */
const noise = (index: number): number => Math.sin(index * 12.9898) * Math.cos(index * 78.233);
const series = (perSecond: number, noiseSize: number): { atSeconds: number; value: number }[] =>
  Array.from({ length: 40 }, (_, index) => ({
    atSeconds: index * 2.5,
    value: 1_000 + perSecond * index * 2.5 + noiseSize * noise(index),
  }));

test('a straight line has its slope, without error', () => {
  const { slope, standardError } = fitSlope(series(3, 0));
  expect(slope).toBeCloseTo(3);
  expect(standardError).toBeCloseTo(0);
});

test('a leak shows through noise that is much larger than what leaks between two samples', () => {
  expect(fitSlope(series(3, 20)).lowerBound).toBeGreaterThan(2);
});

test('noise alone is no leak', () => {
  const { lowerBound, slope, standardError } = fitSlope(series(0, 20));
  expect(lowerBound).toBeLessThan(0);
  expect(Math.abs(slope)).toBeLessThan(3 * standardError);
});

test('too few samples are refused', () => {
  expect(() => fitSlope(series(1, 0).slice(0, 2))).toThrow(RangeError);
});
