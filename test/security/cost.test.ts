/**
 * What one request may cost, found by search. `npm run fuzz -- --cost` looks longer,
 * `npm run bench -- --only one-client` at the built program.
 */
import { expect, test } from 'vitest';
import { ORDINARY, type Genome } from './cost/genome.js';
import { KNOWN_DEAR } from './cost/known.js';
import { createMeter } from './cost/meter.js';
import { searchDearest } from './cost/search.js';

/** Times of an ordinary request. */
const RATIO_MAX = 20;

const isBelow = async (genome: Genome): Promise<number> => {
  const meter = createMeter();
  await meter.measure(ORDINARY, 1_000);
  // Until its code is compiled, too.
  await meter.measure(genome, 300);
  let dear = Infinity;
  let ordinary = Infinity;
  for (let round = 0; round < 30; round += 1) {
    ordinary = Math.min(ordinary, await meter.measure(ORDINARY, 2));
    dear = Math.min(dear, await meter.measure(genome, 2));
  }
  return dear / ordinary;
};

test.each(Object.entries(KNOWN_DEAR))(`%s costs at most ${RATIO_MAX} ordinary requests`, async (_, genome) => {
  expect(await isBelow(genome)).toBeLessThan(RATIO_MAX);
});

test(`a search for the dearest request finds none that costs more than ${RATIO_MAX} ordinary ones`, async () => {
  const dearest = await searchDearest({ seed: 3, requests: 2_500, begin: Object.values(KNOWN_DEAR) });
  expect(dearest.ratio, JSON.stringify(dearest)).toBeLessThan(RATIO_MAX);
  // A search that finds nothing dearer than a long request has not looked.
  expect(dearest.ratio).toBeGreaterThan(2);
});
