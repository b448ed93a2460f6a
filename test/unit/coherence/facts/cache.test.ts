/** What the cache serves, counts, forgets and bounds. The generation guard: `cache-guard.test.ts`. */
import { beforeEach, describe, expect, test } from 'vitest';
import { SERVER_ID } from '../../../support/fake-fences.js';
import { fakeQuery } from '../../../support/fake-source.js';
import type { Cache } from '../../../../src/coherence/facts/cache.js';
import type { Key } from '../../../../src/coherence/signal.js';
import { createCacheBench, LEASE_MS, type CacheBench } from '../../../support/cache-harness.js';

const KEY: Key = ['7', '12'];
let bench: CacheBench;
let grants: Cache<string>;

beforeEach(() => {
  bench = createCacheBench();
  grants = bench.cache('grant');
  bench.source.set('grant', KEY, 'admin');
  bench.goLive('grant', 'user');
});

const keys = (prefix: string, count: number): Key[] => Array.from({ length: count }, (_, n) => [`${prefix}${n}`]);

async function loadAll(cache: Cache<string>, wanted: readonly Key[]): Promise<void> {
  const loading = wanted.map(key => cache.load(key));
  await bench.clock.settle();
  await Promise.all(loading);
}

describe('a fact', () => {
  test('is served from memory once it was loaded, without another read', async () => {
    expect(bench.served(grants, KEY)).toBeUndefined();
    expect(await bench.loaded(grants, KEY)).toBe('admin');
    expect(bench.served(grants, KEY)).toBe('admin');
    expect(bench.served(grants, KEY)).toBe('admin');
    expect(bench.source.reads).toHaveLength(1);
  });

  test('that does not exist is a fact too', async () => {
    expect(await bench.loaded(grants, ['7', '13'])).toBeNull();
    expect(bench.served(grants, ['7', '13'])).toBeNull();
    expect(grants.negativeEntries).toBe(1);
    expect(grants.size).toBe(0);
    expect([KEY, ['7', '13']].map(key => grants.knows(key))).toEqual([false, false]);
    await bench.loaded(grants, KEY);
    expect([KEY, ['7', '13']].map(key => grants.knows(key))).toEqual([true, false]);
  });

  test('is not confused with one whose key has the same characters', async () => {
    await bench.loaded(grants, KEY);
    expect(bench.served(grants, ['71', '2'])).toBeUndefined();
  });

  test('that appears takes the place of its absence, and the other way round', async () => {
    bench.source.remove('grant', KEY);
    await bench.loaded(grants, KEY);
    bench.source.set('grant', KEY, 'admin');
    await bench.loaded(grants, KEY);
    expect([grants.size, grants.negativeEntries, bench.served(grants, KEY)]).toEqual([1, 0, 'admin']);
    bench.source.remove('grant', KEY);
    await bench.loaded(grants, KEY);
    expect([grants.size, grants.negativeEntries, bench.served(grants, KEY)]).toEqual([0, 1, null]);
  });

  test('is served only as long as the lease', async () => {
    await bench.loaded(grants, KEY);
    await bench.clock.advance(LEASE_MS);
    expect(bench.served(grants, KEY)).toBe('admin');
    await bench.clock.advance(1);
    expect(bench.served(grants, KEY)).toBeUndefined();
  });

  test('is served again, without a load, once a later proof covers it', async () => {
    await bench.loaded(grants, KEY);
    await bench.clock.advance(LEASE_MS + 1);
    expect(bench.served(grants, KEY)).toBeUndefined();
    bench.lease.prove(bench.clock.now());
    expect(bench.served(grants, KEY)).toBe('admin');
  });

  test('is not served while its topic is not trusted', async () => {
    await bench.loaded(grants, KEY);
    bench.lease.setTrustedTopics(new Set(['user']));
    expect(bench.served(grants, KEY)).toBeUndefined();
  });

  test('remembers when its load was sent and answered', async () => {
    const before = bench.sequence.next();
    const sentMonoMs = bench.clock.now().monoMs;
    bench.source.hold = true;
    const loading = grants.load(KEY);
    await bench.clock.settle();
    await bench.clock.advance(500);
    bench.source.newest.answer();
    const { sentAt, receivedAt } = await loading;
    expect(sentAt).toBeGreaterThan(before);
    expect(receivedAt).toBeGreaterThan(sentAt);
    expect(grants.lookup(KEY, bench.clock.now())).toMatchObject({ value: 'admin', receivedAt, sentMonoMs });
  });
});

test('a key of too few or too many parts is refused before a read: Postgres would refuse the batch', async () => {
  const query = { ...fakeQuery(), text: 'select … where user_id = any ($1::text[]) and app_id = any ($2::text[])' };
  const ofTwoParts = bench.cache('grant', {}, query);
  for (const key of [['7'], ['7', '12', '1']]) {
    await expect(ofTwoParts.load(key)).rejects.toThrow(TypeError);
  }
  await bench.clock.settle();
  expect(bench.source.reads).toHaveLength(0);
  expect(await bench.loaded(ofTwoParts, KEY)).toBe('admin');
});

describe('the age of a fact', () => {
  const MAX_AGE_MS = 10_000;

  async function pass(ms: number): Promise<void> {
    await bench.clock.advance(ms);
    bench.lease.prove(bench.clock.now());
  }

  beforeEach(() => {
    grants = bench.cache('grant', { maxAgeMs: MAX_AGE_MS });
  });

  test('is bounded, and use does not extend it', async () => {
    await bench.loaded(grants, KEY);
    for (let used = 0; used < 10; used++) {
      await pass(MAX_AGE_MS / 10);
      expect(bench.served(grants, KEY)).toBe('admin');
    }
    await pass(1);
    expect(bench.served(grants, KEY)).toBeUndefined();
  });

  test('counts from when its load was sent', async () => {
    bench.source.hold = true;
    const loading = grants.load(KEY);
    await bench.clock.settle();
    await pass(MAX_AGE_MS);
    bench.source.newest.answer();
    await loading;
    expect(bench.served(grants, KEY)).toBe('admin');
    await pass(1);
    expect(bench.served(grants, KEY)).toBeUndefined();
  });

  test('begins anew with the next load', async () => {
    await bench.loaded(grants, KEY);
    await pass(MAX_AGE_MS + 1);
    await bench.loaded(grants, KEY);
    expect(bench.served(grants, KEY)).toBe('admin');
  });

  test('bounds negativeEntries as well', async () => {
    await bench.loaded(grants, ['7', '13']);
    await pass(MAX_AGE_MS + 1);
    expect(bench.served(grants, ['7', '13'])).toBeUndefined();
  });
});

describe('a signal', () => {
  beforeEach(async () => {
    await loadAll(grants, [KEY, ['7', '13'], ['8', '12']]);
    expect([grants.size, grants.negativeEntries]).toEqual([1, 2]);
  });

  test('makes the cache forget the keys that it names, present or absent, and no others', () => {
    bench.change('grant', [KEY, ['7', '13'], ['9', '9']]);
    expect([grants.size, grants.negativeEntries]).toEqual([0, 1]);
    expect(bench.served(grants, ['8', '12'])).toBeNull();
    expect(bench.log.of('invalidation')).toEqual([{ event: 'invalidation', topic: 'grant', entries: 2 }]);
  });

  test('of the whole topic makes it forget all', () => {
    bench.change('grant', null);
    expect([grants.size, grants.negativeEntries]).toEqual([0, 0]);
    expect(bench.log.of('invalidation')).toEqual([{ event: 'invalidation', topic: 'grant', entries: 3 }]);
  });

  test('of another topic makes it forget nothing', () => {
    bench.change('user', null);
    expect([grants.size, grants.negativeEntries]).toEqual([1, 2]);
    expect(bench.log.of('invalidation')).toEqual([]);
  });

  test('to flush makes it forget all', () => {
    bench.bus.emit({ type: 'flush', cause: 'malformed' });
    expect([grants.size, grants.negativeEntries]).toEqual([0, 0]);
  });
});

describe('the bounds', () => {
  beforeEach(() => {
    grants = bench.cache('grant', { entriesMax: 10, negativeEntriesMax: 5 });
    for (const key of keys('real', 20)) {
      bench.source.set('grant', key, 'user');
    }
  });

  test('hold for facts that exist, and drop those used least recently', async () => {
    const real = keys('real', 11);
    await loadAll(grants, real.slice(0, 10));
    expect(bench.served(grants, real[0]!)).toBe('user');
    await bench.loaded(grants, real[10]!);
    expect(grants.size).toBe(10);
    expect(bench.served(grants, real[0]!)).toBe('user');
    expect(bench.served(grants, real[1]!)).toBeUndefined();
  });

  test('hold for facts that do not, apart: a flood of made-up keys evicts nothing real', async () => {
    const real = keys('real', 10);
    await loadAll(grants, real);
    await loadAll(grants, keys('made-up', 1_000));
    expect(grants.negativeEntries).toBe(5);
    expect(real.map(key => bench.served(grants, key))).toEqual(real.map(() => 'user'));
  });
});

describe('the totals', () => {
  test('count what was served, missed, and not looked up', async () => {
    await loadAll(grants, [KEY, ['7', '13']]);
    bench.served(grants, KEY);
    bench.served(grants, KEY);
    bench.served(grants, ['7', '13']);
    bench.served(grants, ['8', '12']);
    expect(grants.stats).toEqual({ hits: 2, negativeHits: 1, misses: 1, unproven: 0 });
    bench.lease.endEpoch();
    bench.served(grants, KEY);
    expect(grants.stats).toEqual({ hits: 2, negativeHits: 1, misses: 1, unproven: 1 });
  });
});

describe('an answer from elsewhere', () => {
  const elsewhere = { serverId: 'primary/2', inRecovery: false, serverTimeMs: 900_000 };
  const standby = { serverId: SERVER_ID, inRecovery: true, serverTimeMs: 900_000 };

  test.each([
    ['another server', elsewhere],
    ['a standby', standby],
  ])('is refused at once when it is %s, and the listener is distrusted', async (_what, server) => {
    bench.source.server = server;
    await expect(bench.loaded(grants, KEY)).rejects.toMatchObject({ code: 'unavailable', reason: 'foreign_reading' });
    expect(bench.foreignReadings).toBe(1);
    expect(grants.size).toBe(0);
    expect(bench.serverClock.nowMs(bench.clock.now())).toBe(-Infinity);
  });

  test('is refused when it is a standby, even while nothing is listened to', async () => {
    bench.lease.endEpoch();
    bench.source.server = standby;
    await expect(bench.loaded(grants, KEY)).rejects.toMatchObject({ reason: 'foreign_reading' });
  });

  test('is believed while it is not settled who is listened to, and not stored', async () => {
    bench.lease.endEpoch();
    bench.source.server = elsewhere;
    expect(await bench.loaded(grants, KEY)).toBe('admin');
    expect(bench.foreignReadings).toBe(0);
    expect(grants.size).toBe(0);
  });

  test('is refused while the pool may be on another server than the listener, even for one request', async () => {
    bench.lease.suspectPool(true);
    bench.lease.endEpoch();
    await expect(bench.loaded(grants, KEY)).rejects.toMatchObject({ reason: 'foreign_reading' });
    expect(bench.foreignReadings).toBe(0);
    bench.goLive('grant');
    expect(await bench.loaded(grants, KEY)).toBe('admin');
  });

  describe('after a reconnect', () => {
    beforeEach(() => {
      bench.goDown();
      bench.lease.beginEpoch();
    });

    test('waits until it is known which server is listened to', async () => {
      const loading = grants.load(KEY);
      await bench.clock.settle();
      bench.lease.setServer(SERVER_ID);
      await bench.clock.settle();
      expect((await loading).value).toBe('admin');
    });

    test('is refused if that is another one', async () => {
      bench.source.server = elsewhere;
      const refused = expect(grants.load(KEY)).rejects.toMatchObject({ reason: 'foreign_reading' });
      await bench.clock.settle();
      bench.lease.setServer(SERVER_ID);
      await bench.clock.settle();
      await refused;
    });

    test('is refused if nobody can tell for a second', async () => {
      const refused = expect(grants.load(KEY)).rejects.toMatchObject({ reason: 'foreign_reading' });
      await bench.clock.advance(1_000);
      await refused;
      expect(bench.foreignReadings).toBe(0);
    });

    test('is refused if the pool is found to be elsewhere meanwhile', async () => {
      const refused = expect(grants.load(KEY)).rejects.toMatchObject({ reason: 'foreign_reading' });
      await bench.clock.settle();
      bench.lease.suspectPool(true);
      bench.lease.endEpoch();
      await bench.clock.settle();
      await refused;
    });

    test('is believed if the connection is lost again meanwhile', async () => {
      const loading = grants.load(KEY);
      await bench.clock.settle();
      bench.goDown();
      await bench.clock.settle();
      expect((await loading).value).toBe('admin');
      expect(grants.size).toBe(0);
    });
  });

  test('leaves nothing behind: the next load is a new one', async () => {
    bench.source.server = elsewhere;
    await expect(bench.loaded(grants, KEY)).rejects.toThrow();
    bench.source.server = { ...standby, inRecovery: false };
    expect(await bench.loaded(grants, KEY)).toBe('admin');
    expect(bench.served(grants, KEY)).toBe('admin');
  });
});
