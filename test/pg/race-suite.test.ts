/** The race suite (docs/races.md) in a few rounds: it clears gatebell/cache, and each race can catch a cache. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatebellCache } from '../../bench/races/libraries/index.js';
import { RACES } from '../../bench/races/races.js';
import { playRaces, type Cell } from '../../bench/races/suite.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { naiveCache } from '../support/naive-cache.js';

const ROUNDS = 10;

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(async () => {
  await database.drop();
});

describe.each(RACES)('when $title', race => {
  const play = async (library: typeof naiveCache): Promise<Cell | undefined> => {
    const rows = await playRaces({
      url: database.url,
      libraries: [library],
      races: [race],
      rounds: ROUNDS,
      seed: 'test',
    });
    return rows[0]?.[0];
  };

  test('gatebell/cache gives no stale answer, and no error', async () => {
    const rounds = Math.ceil(ROUNDS / race.every);
    expect(await play(gatebellCache)).toEqual(
      typeof race.prepare(gatebellCache) === 'function'
        ? { rounds, stale: 0, kept: 0, failed: 0 }
        : { lacks: 'has none' },
    );
  });

  test('a map and a delete are caught', async () => {
    const cell = await play(naiveCache);
    expect(cell).toMatchObject({ failed: 0, stale: expect.any(Number) });
    expect(cell).not.toMatchObject({ stale: 0 });
  });
});

test('gatebell/cache has a part in every race but that of refreshes in the background', () => {
  const without = RACES.filter(race => typeof race.prepare(gatebellCache) !== 'function');
  expect(without.map(({ name }) => name)).toEqual(['refreshing']);
});

test('a library that serves nothing from memory is not raced against', async () => {
  const uncached: typeof naiveCache = {
    ...naiveCache,
    byKey: async ({ load }) => ({
      get: load,
      change: (_key, commit) => commit(),
      close: () => Promise.resolve(),
    }),
  };
  const race = RACES.filter(({ name }) => name === 'loading');
  await expect(
    playRaces({ url: database.url, libraries: [uncached], races: race, rounds: 2, seed: 'test' }),
  ).rejects.toThrow(/served nothing from memory/);
});
