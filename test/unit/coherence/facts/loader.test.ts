/** How misses become few queries, and whom a failure harms. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Cache } from '../../../../src/coherence/facts/cache.js';
import { UnavailableError } from '../../../../src/coherence/errors.js';
import type { Key } from '../../../../src/coherence/signal.js';
import { createCacheBench, type CacheBench } from '../../../support/cache-harness.js';
import { DataError, fakeQuery } from '../../../support/fake-source.js';

let bench: CacheBench;
let grants: Cache<string>;

beforeEach(() => {
  bench = createCacheBench();
  grants = bench.cache('grant');
  bench.goLive('grant', 'user', 'app', 'route');
});

const keys = (prefix: string, count: number): Key[] => Array.from({ length: count }, (_, n) => [`${prefix}${n}`]);
const batches = (): number[] => bench.source.reads.map(read => read.keys.length);

type Settled = PromiseSettledResult<{ readonly value: string | null }>;

/** Asks for all keys in one turn; resolves when every one has its answer. */
async function settleAll(cache: Cache<string>, wanted: readonly Key[]): Promise<Settled[]> {
  const settled = Promise.allSettled(wanted.map(key => cache.load(key)));
  await bench.clock.settle();
  return settled;
}

const rejected = (settled: readonly Settled[]): unknown[] =>
  settled.flatMap(one => (one.status === 'rejected' ? [one.reason as unknown] : []));

describe('a burst', () => {
  test('of 40 callers for one key is one load', async () => {
    const settled = await settleAll(
      grants,
      Array.from({ length: 40 }, () => ['7', '12']),
    );
    expect(settled.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(batches()).toEqual([1]);
  });

  test('of 300 keys in one turn is one query', async () => {
    await settleAll(grants, keys('k', 300));
    expect(batches()).toEqual([300]);
    expect(bench.log.of('load_batch')).toEqual([{ event: 'load_batch', topic: 'grant', keys: 300, durationMs: 0 }]);
  });

  test('beyond the size of a batch is as many queries as it takes', async () => {
    await settleAll(grants, keys('k', 1_201));
    expect(batches()).toEqual([500, 500, 201]);
  });

  test.each([
    ['as they are printed, is one query: a key without a row has no fact', true, [4]],
    ['in spellings that may not be printed, takes a second query, for those without a row', false, [4, 2]],
  ])('of cold keys, some without a row, asked %s', async (_, keysAsPrinted, expected) => {
    const cache = bench.cache(
      'user',
      {},
      { ...fakeQuery(), text: 'where id = any ($1::text[]::bigint[])', keysAsPrinted },
    );
    bench.source.set('user', ['7'], 'seven');
    bench.source.set('user', ['8'], 'eight');
    const settled = await settleAll(cache, [['7'], ['8'], ['9'], ['10']]);
    expect(settled.map(one => (one.status === 'fulfilled' ? one.value.value : one.reason))).toEqual([
      'seven',
      'eight',
      null,
      null,
    ]);
    expect(batches()).toEqual(expected);
  });

  test('gathers while a batch of its topic is in flight, and leaves as one', async () => {
    bench.source.hold = true;
    void grants.load(['first']);
    await bench.clock.settle();
    for (const key of keys('k', 50)) {
      void grants.load(key);
      await bench.clock.settle();
    }
    expect(batches()).toEqual([1]);
    bench.source.newest.answer();
    await bench.clock.settle();
    expect(batches()).toEqual([1, 50]);
  });

  test('gives each key its own fact', async () => {
    for (const [name] of keys('k', 30)) {
      bench.source.set('grant', [name!], `value of ${name}`);
    }
    const settled = await settleAll(grants, [...keys('k', 30), ['nobody']]);
    expect(settled.map(one => (one.status === 'fulfilled' ? one.value.value : 'rejected'))).toEqual([
      ...keys('k', 30).map(([name]) => `value of ${name}`),
      null,
    ]);
  });

  test('waits for no timer: an idle loader sends in the next turn', async () => {
    void grants.load(['7', '12']);
    expect(batches()).toEqual([]);
    await bench.clock.turn();
    expect(batches()).toEqual([1]);
    expect(bench.clock.timers).toBe(0);
  });
});

describe('the slots', () => {
  test('are shared by all topics, one batch each', async () => {
    bench.source.hold = true;
    for (const topic of ['user', 'app', 'route', 'credential']) {
      void bench.cache(topic).load(['1']);
    }
    const failing = grants.load(['1']);
    await bench.clock.settle();
    expect(bench.source.reads.map(({ topic }) => topic)).toEqual(['grant', 'user', 'app']);
    bench.source.reads[1]!.answer();
    await bench.clock.settle();
    expect(bench.source.reads.map(({ topic }) => topic)).toEqual(['grant', 'user', 'app', 'route']);
    bench.source.reads[0]!.fail(new Error('reset'));
    await expect(failing).rejects.toThrow(UnavailableError);
    await bench.clock.settle();
    expect(bench.source.reads.at(-1)!.topic).toBe('credential');
  });

  test('go round: a busy topic cannot hold them all', async () => {
    bench = createCacheBench({ slotsMax: 1, batchKeysMax: 1 });
    const [busy, other, third] = ['grant', 'user', 'app'].map(topic => bench.cache(topic));
    bench.source.hold = true;
    for (const key of keys('k', 10)) {
      void busy!.load(key);
    }
    void other!.load(['1']);
    void third!.load(['1']);
    for (let turn = 0; turn < 5; turn++) {
      await bench.clock.settle();
      bench.source.newest.answer();
    }
    expect(bench.source.reads.map(({ topic }) => topic)).toEqual(['grant', 'user', 'app', 'grant', 'grant']);
  });
});

describe('the queue', () => {
  test('is bounded: beyond it a miss is refused, and a key that waits already is not', async () => {
    bench = createCacheBench({ waitingKeysMax: 40 });
    grants = bench.cache('grant');
    const accepted = keys('k', 10).map(key => grants.load(key));
    await expect(grants.load(['one too many'])).rejects.toMatchObject({ code: 'unavailable', reason: 'queue_full' });
    accepted.push(grants.load(['k0']));
    expect(bench.log.of('load_refused')).toEqual([{ event: 'load_refused', topic: 'grant' }]);
    await bench.clock.settle();
    expect(await Promise.all(accepted)).toHaveLength(11);
    expect(batches()).toEqual([10]);
    await expect(bench.loaded(grants, ['one too many'])).resolves.toBeNull();
  });

  test('of one topic being full does not refuse another', async () => {
    bench = createCacheBench({ waitingKeysMax: 4 });
    [grants] = [bench.cache('grant')];
    const users = bench.cache('user');
    void grants.load(['1']);
    await expect(grants.load(['2'])).rejects.toThrow(UnavailableError);
    await expect(bench.loaded(users, ['1'])).resolves.toBeNull();
  });

  describe('with keys that were seen to exist', () => {
    const real = keys('real', 40);

    beforeEach(async () => {
      bench = createCacheBench({ waitingKeysMax: 40, batchKeysMax: 8 });
      grants = bench.cache('grant');
      bench.goLive('grant');
      for (const key of real) {
        bench.source.set('grant', key, 'user');
      }
      for (let from = 0; from < real.length; from += 10) {
        await settleAll(grants, real.slice(from, from + 10));
      }
      bench.change('grant', null);
      bench.source.hold = true;
    });

    test('has room for all of them while made-up keys are refused', async () => {
      const flood = keys('made-up', 10).map(key => grants.load(key));
      await expect(grants.load(['made-up'])).rejects.toMatchObject({ reason: 'queue_full' });
      const accepted = real.map(key => grants.load(key));
      await expect(grants.load(['made-up'])).rejects.toMatchObject({ reason: 'queue_full' });
      bench.source.hold = false;
      await bench.clock.settle();
      expect((await Promise.all(accepted)).every(({ value }) => value === 'user')).toBe(true);
      await Promise.all(flood);
    });

    test('lets them have most of each batch, and made-up keys at least a quarter', async () => {
      const sent = bench.source.reads.length;
      const waiting = [...keys('made-up', 10), ...real.slice(0, 20)].map(key => grants.load(key));
      await bench.clock.settle();
      for (let batch = 0; batch < 2; batch++) {
        const names = bench.source.reads[sent + batch]!.keys.map(([name]) => name!.startsWith('real'));
        expect(names.filter(Boolean)).toHaveLength(6);
        expect(names).toHaveLength(8);
        bench.source.newest.answer();
        await bench.clock.settle();
      }
      bench.source.hold = false;
      bench.source.newest.answer();
      await bench.clock.settle();
      await Promise.all(waiting);
    });

    test('does not let made-up keys have every batch, even if a batch is one key', async () => {
      bench = createCacheBench({ batchKeysMax: 1 });
      grants = bench.cache('grant');
      bench.goLive('grant');
      bench.source.set('grant', real[0]!, 'user');
      await bench.loaded(grants, real[0]!);
      bench.change('grant', null);
      bench.source.hold = true;
      for (const key of [...keys('made-up', 10), real[0]!]) {
        void grants.load(key);
      }
      await bench.clock.settle();
      expect(bench.source.newest.keys).toEqual([real[0]]);
    });

    test('lets either have a whole batch when the other has nothing', async () => {
      void settleAll(grants, real.slice(0, 8));
      await bench.clock.settle();
      expect(batches().at(-1)).toBe(8);
      void settleAll(grants, keys('made-up', 8));
      bench.source.newest.answer();
      await bench.clock.settle();
      expect(batches().at(-1)).toBe(8);
    });
  });
});

describe('a failure', () => {
  const refuse = (bad: readonly string[]) => (asked: readonly Key[]) => {
    if (asked.some(([name]) => bad.includes(name!))) {
      throw new DataError('invalid input syntax');
    }
  };

  test('of the database fails all keys of the batch at once, without another try', async () => {
    const reset = new Error('connection reset');
    bench.source.fault = () => {
      throw reset;
    };
    const errors = rejected(await settleAll(grants, keys('k', 20)));
    expect(errors).toHaveLength(20);
    expect(errors[0]).toBeInstanceOf(UnavailableError);
    expect(errors[0]).toMatchObject({ code: 'unavailable', reason: 'database', cause: reset });
    expect(batches()).toEqual([20]);
    expect(bench.log.of('load_failed')).toHaveLength(1);
  });

  test('does not stay: the next caller loads anew', async () => {
    bench.source.fault = () => {
      throw new Error('connection reset');
    };
    await expect(bench.loaded(grants, ['7', '12'])).rejects.toThrow(UnavailableError);
    bench.source.fault = () => undefined;
    await expect(bench.loaded(grants, ['7', '12'])).resolves.toBeNull();
    expect(bench.served(grants, ['7', '12'])).toBeNull();
  });

  test('is not joined by who comes after it, while live', async () => {
    bench.source.hold = true;
    const first = grants.load(['7', '12']);
    await bench.clock.settle();
    bench.source.newest.fail(new Error('connection reset'));
    await expect(first).rejects.toThrow(UnavailableError);
    bench.source.hold = false;
    await expect(bench.loaded(grants, ['7', '12'])).resolves.toBeNull();
  });

  test('over one bad value fails only its key, in few queries', async () => {
    bench.source.fault = refuse(['k300']);
    const settled = await settleAll(grants, keys('k', 500));
    expect(settled.flatMap((one, n) => (one.status === 'rejected' ? [n] : []))).toEqual([300]);
    expect(bench.source.reads.length).toBeLessThanOrEqual(1 + 2 * Math.ceil(Math.log2(500)));
    expect(grants.negativeEntries).toBe(499);
  });

  test('over bad values only is bounded, and fails each', async () => {
    bench.source.fault = () => {
      throw new DataError('invalid input syntax');
    };
    const settled = await settleAll(grants, keys('k', 16));
    expect(rejected(settled)).toHaveLength(16);
    expect(bench.source.reads.length).toBeLessThanOrEqual(2 * 16 - 1);
  });

  test('of the database, while one bad value is looked for, fails the rest at once', async () => {
    let reads = 0;
    bench.source.fault = () => {
      reads += 1;
      throw reads === 1 ? new DataError('invalid input syntax') : new Error('connection lost');
    };
    expect(rejected(await settleAll(grants, keys('k', 16)))).toHaveLength(16);
    expect(reads).toBe(2);
  });

  test('over one bad value does not hold the slot: later keys load', async () => {
    bench.source.fault = refuse(['k1']);
    await settleAll(grants, keys('k', 4));
    await expect(bench.loaded(grants, ['later'])).resolves.toBeNull();
  });

  test('over one bad value keeps an invalidation in the meantime in force for the others', async () => {
    bench.source.hold = true;
    bench.source.set('grant', ['good'], 'old');
    const good = grants.load(['good']);
    void grants.load(['bad']).catch(() => undefined);
    await bench.clock.settle();
    bench.source.newest.fail(new DataError('invalid input syntax'));
    await bench.clock.settle();
    expect(bench.source.newest.keys).toEqual([['good']]);
    bench.source.set('grant', ['good'], 'new');
    bench.change('grant', [['good']]);
    bench.source.newest.answer();
    await bench.clock.settle();
    expect((await good).value).toBe('old');
    expect(bench.served(grants, ['good'])).toBeUndefined();
  });

  test('to understand a row fails only its key', async () => {
    grants = bench.cache(
      'grant',
      {},
      fakeQuery(stored => {
        if (stored === 'odd') {
          throw new Error('odd role');
        }
        return String(stored);
      }),
    );
    bench.source.set('grant', ['k1'], 'odd');
    bench.source.set('grant', ['k2'], 'admin');
    const settled = await settleAll(grants, keys('k', 4));
    expect(rejected(settled)).toMatchObject([
      { code: 'unavailable', reason: 'database', cause: new Error('odd role') },
    ]);
    expect(settled[1]!.status).toBe('rejected');
    expect(bench.served(grants, ['k1'])).toBeUndefined();
    expect(bench.served(grants, ['k2'])).toBe('admin');
    expect(bench.log.of('load_failed')).toMatchObject([{ topic: 'grant', keys: 1 }]);
    expect(batches()).toEqual([4]);
  });

  test('of a query that returns a key nobody asked for is one, and not an absence', async () => {
    grants = bench.cache('grant', {}, { ...fakeQuery(), key: () => ['8'] });
    bench.source.set('grant', ['7'], 'admin');
    await expect(bench.loaded(grants, ['7'])).rejects.toMatchObject({ code: 'unavailable', reason: 'database' });
    expect(bench.served(grants, ['7'])).toBeUndefined();
  });

  test('to tell whose a row is fails the key that it belongs to, which is found by asking for fewer', async () => {
    grants = bench.cache(
      'grant',
      {},
      {
        ...fakeQuery(),
        key: row => {
          if (row['value'] === 'odd') {
            throw new Error('odd key');
          }
          return row['key'] as Key;
        },
      },
    );
    bench.source.set('grant', ['k0'], 'admin');
    bench.source.set('grant', ['k1'], 'odd');
    const settled = await settleAll(grants, keys('k', 3));
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(rejected(settled)[0]).toMatchObject({ reason: 'database', cause: new Error('odd key') });
    bench.source.remove('grant', ['k1']);
    await expect(bench.loaded(grants, ['k1'])).resolves.toBeNull();
  });
});
