/** What one request may cost, found by search. `npm run fuzz -- --cost` looks longer. */
import { expect, test } from 'vitest';
import { ORDINARY, type Genome } from './cost/genome.js';
import { createMeter } from './cost/meter.js';
import { searchDearest } from './cost/search.js';

/** Times of an ordinary request. */
const RATIO_MAX = 20;

const piece = (text: string, times: number): Genome['path'] => [{ text, times }];
/** What cost hundreds of ordinary requests once, and what would without a bound of its own. */
const KNOWN: Readonly<Record<string, Partial<Genome>>> = {
  'a path with many readings': { path: piece('/pub/a;%2fb/%2e%2e\\/%20.', 64) },
  'a path of folded characters': { path: piece('/%EF%B7%BA', 800) },
  'a path of escapes': { path: piece('/%C3%A9', 1_100) },
  'an Authorization of words that may be JWTs': { authorization: piece('ey.A.,', 2_500) },
  'a JWT of nested arrays': { authorization: piece(`ey.${Buffer.from('['.repeat(3_000)).toString('base64url')}.x`, 1) },
  'a Cookie of empty pairs': { cookie: piece(';', 15_000) },
  'a Cookie of pairs of our name': { cookie: piece('gatebell=x;', 1_300) },
  'an X-Forwarded-For of proxies': { address: piece('127.0.0.1,', 1_400) },
  'a URI of raw bytes': {
    query: [
      { text: '?', times: 1 },
      { text: '\u00e9', times: 8_000 },
    ],
  },
  'a Destination of many readings': { destination: piece('/pub/a;%2fb/%2e%2e\\/%20.', 64) },
};

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

test.each(Object.entries(KNOWN))(`%s costs at most ${RATIO_MAX} ordinary requests`, async (_, parts) => {
  expect(await isBelow({ ...ORDINARY, ...parts })).toBeLessThan(RATIO_MAX);
});

test(`a search for the dearest request finds none that costs more than ${RATIO_MAX} ordinary ones`, async () => {
  const begin = Object.values(KNOWN).map(parts => ({ ...ORDINARY, ...parts }));
  const dearest = await searchDearest({ seed: 3, requests: 2_500, begin });
  expect(dearest.ratio, JSON.stringify(dearest)).toBeLessThan(RATIO_MAX);
  // A search that finds nothing dearer than a long request has not looked.
  expect(dearest.ratio).toBeGreaterThan(2);
});
