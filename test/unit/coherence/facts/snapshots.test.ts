/** What is read together is read at one moment, and who waits for it is bounded. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Loaded } from '../../../../src/coherence/facts/loader.js';
import type { Wanted } from '../../../../src/coherence/facts/snapshots.js';
import { createCacheBench, type CacheBench } from '../../../support/cache-harness.js';
import { DataError, fakeQuery } from '../../../support/fake-source.js';

const QUERIES = { user: fakeQuery(), grant: fakeQuery() };
let bench: CacheBench;

beforeEach(() => {
  bench = createCacheBench({ batchKeysMax: 8, waitingKeysMax: 40 });
  bench.source.set('user', ['u1'], 'alice');
  bench.source.set('grant', ['g1'], 'admin');
});

const want = (topic: keyof typeof QUERIES, ...key: string[]): Wanted => ({ topic, query: QUERIES[topic], key });
const read = (isKnown: boolean, ...wanted: Wanted[]): Promise<readonly Loaded<unknown>[]> => {
  const loaded = bench.snapshots.read(wanted, isKnown);
  loaded.catch(() => undefined);
  return loaded;
};
const sizes = (): number[][] => bench.source.snapshots.map(parts => parts.map(({ keys }) => keys.length));

test('facts come in the order in which they were wanted, null where there is no row', async () => {
  const loaded = read(true, want('grant', 'g1'), want('user', 'nobody'), want('user', 'u1'));
  await bench.clock.settle();
  expect((await loaded).map(({ value }) => value)).toEqual(['admin', null, 'alice']);
  expect(sizes()).toEqual([[1, 2]]);
});

test('questions that come while a snapshot is read share the next, and the same question waits once', async () => {
  bench.source.hold = true;
  void read(true, want('user', 'u1'));
  await bench.clock.settle();
  for (const key of ['u1', 'u1', 'u2']) {
    void read(true, want('user', key), want('grant', 'g1'));
  }
  await bench.clock.settle();
  expect(sizes()).toEqual([[1]]);
  bench.source.newest.answer();
  await bench.clock.settle();
  expect(sizes()).toEqual([[1], [2, 1]]);
});

test('no statement asks for more keys than a batch may have, and all are in one snapshot', async () => {
  const wanted = Array.from({ length: 20 }, (_, index) => want('user', `u${index}`));
  const loaded = read(true, ...wanted);
  await bench.clock.settle();
  expect((await loaded)[1]!.value).toBe('alice');
  expect(sizes()).toEqual([[8, 8, 4]]);
});

describe('the queue', () => {
  test('takes a quarter of its room for what was not seen to exist, and keeps the rest for what was', async () => {
    bench.source.hold = true;
    const made = Array.from({ length: 11 }, (_, index) => read(false, want('user', `made up ${index}`)));
    await expect(made[10]).rejects.toMatchObject({ code: 'unavailable', reason: 'queue_full' });
    const known = Array.from({ length: 41 }, (_, index) => read(true, want('user', `u${index}`)));
    await expect(known[40]).rejects.toMatchObject({ reason: 'queue_full' });
    await bench.clock.settle();
    expect(bench.source.newest.keys.map(([name]) => name!.startsWith('made up'))).toEqual([
      ...Array.from({ length: 6 }, () => false),
      true,
      true,
    ]);
  });

  test('does not count twice who wants the same', async () => {
    const all = Array.from({ length: 100 }, () => read(true, want('user', 'u1')));
    await bench.clock.settle();
    expect(await Promise.all(all)).toHaveLength(100);
    expect(sizes()).toEqual([[1]]);
  });
});

test('a value that Postgres refuses fails only the question that wants it', async () => {
  bench.source.fault = keys => {
    if (keys.some(([name]) => name === 'bad')) {
      throw new DataError('invalid input syntax');
    }
  };
  const [good, bad] = [read(true, want('user', 'u1')), read(true, want('user', 'bad'))];
  await bench.clock.settle();
  expect((await good)[0]!.value).toBe('alice');
  await expect(bad).rejects.toMatchObject({ reason: 'database' });
});

test('a reading of a standby is refused', async () => {
  bench.source.server = { ...bench.source.server, inRecovery: true };
  const loaded = read(true, want('user', 'u1'));
  await bench.clock.settle();
  await expect(loaded).rejects.toMatchObject({ reason: 'foreign_reading' });
});
