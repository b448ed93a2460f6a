/** The generation guard: nothing that was read before a change is served after it (G2, P8, P14, P16). */
import { beforeEach, describe, expect, test } from 'vitest';
import { createCache, type Cache } from '../../../../src/coherence/facts/cache.js';
import type { BatchOwner, Loaded, PendingLoad } from '../../../../src/coherence/facts/loader.js';
import { keyText, type Key } from '../../../../src/coherence/signal.js';
import { createCacheBench, type CacheBench } from '../../../support/cache-harness.js';
import { SERVER_ID } from '../../../support/fake-fences.js';
import { fakeQuery } from '../../../support/fake-source.js';

const KEY: Key = ['7', '12'];
let bench: CacheBench;
let grants: Cache<string>;

beforeEach(() => {
  bench = createCacheBench();
  grants = bench.cache('grant');
  bench.source.set('grant', KEY, 'old');
  bench.goLive('grant', 'user');
});

/** A load of `KEY` is under way: its snapshot is taken, its answer is held. Then the row changes. */
async function holdOldLoad(): Promise<{ readonly loading: Promise<Loaded<string>> }> {
  bench.source.hold = true;
  const loading = grants.load(KEY);
  await bench.clock.settle();
  bench.source.set('grant', KEY, 'new');
  return { loading };
}

async function release(): Promise<void> {
  bench.source.hold = false;
  bench.source.newest.answer();
  await bench.clock.settle();
}

describe('a load under way', () => {
  test('is stored when nothing happens to its key', async () => {
    const { loading } = await holdOldLoad();
    await release();
    expect((await loading).value).toBe('old');
    expect(bench.served(grants, KEY)).toBe('old');
  });

  test.each<[string, () => void]>([
    ['its key', () => bench.change('grant', [KEY])],
    ['its key among others', () => bench.change('grant', [['1', '1'], KEY])],
    ['its whole topic', () => bench.change('grant', null)],
    ['everything, for a malformed message', () => bench.bus.emit({ type: 'flush', cause: 'malformed' })],
    ['everything, for the end of the epoch', () => bench.goDown()],
    [
      'everything, for the end of the epoch, and a new one begins',
      () => {
        bench.goDown();
        bench.goLive('grant');
      },
    ],
  ])('is not stored when the signal names %s', async (_what, signal) => {
    const { loading } = await holdOldLoad();
    signal();
    await release();
    await loading;
    expect(grants.size + grants.negativeEntries).toBe(0);
    expect(bench.served(grants, KEY)).toBeUndefined();
  });

  test('is stored when the signal names another key, or another topic', async () => {
    const { loading } = await holdOldLoad();
    bench.change('grant', [['7', '13']]);
    bench.change('user', null);
    await release();
    await loading;
    expect(bench.served(grants, KEY)).toBe('old');
  });

  test('is not joined by who comes after the signal: they get the new fact', async () => {
    const { loading: old } = await holdOldLoad();
    bench.change('grant', [KEY]);
    const fresh = grants.load(KEY);
    await release();
    expect((await old).value).toBe('old');
    expect((await fresh).value).toBe('new');
    expect(bench.served(grants, KEY)).toBe('new');
    expect(bench.source.reads).toHaveLength(2);
  });

  test('is not stored over an absence that became a fact', async () => {
    bench.source.remove('grant', KEY);
    bench.source.hold = true;
    const loading = grants.load(KEY);
    await bench.clock.settle();
    bench.source.set('grant', KEY, 'new');
    bench.change('grant', [KEY]);
    await release();
    expect((await loading).value).toBeNull();
    expect(bench.served(grants, KEY)).toBeUndefined();
  });
});

describe('an epoch', () => {
  test('that begins while a load is under way does not adopt it, even without any signal', async () => {
    bench.lease.endEpoch();
    const { loading } = await holdOldLoad();
    bench.goLive('grant');
    await release();
    await loading;
    expect(grants.size).toBe(0);
  });

  test('that ended and began anew does not adopt a load of the one before, even without any signal', async () => {
    const { loading } = await holdOldLoad();
    bench.lease.endEpoch();
    bench.goLive('grant');
    await release();
    await loading;
    expect(grants.size).toBe(0);
  });

  test('stores nothing before it is settled which server is listened to', async () => {
    const unproven = createCacheBench();
    const cache = unproven.cache('grant');
    unproven.source.set('grant', KEY, 'old');
    unproven.lease.beginEpoch();
    unproven.lease.setTrustedTopics(new Set(['grant']));
    const loading = cache.load(KEY);
    await unproven.clock.settle();
    unproven.lease.setServer(SERVER_ID);
    expect((await loading).value).toBe('old');
    expect(cache.size).toBe(1);
    unproven.lease.endEpoch();
    unproven.lease.beginEpoch();
    unproven.lease.setTrustedTopics(new Set(['grant']));
    const refused = expect(cache.load(['another'])).rejects.toMatchObject({ reason: 'foreign_reading' });
    await unproven.clock.advance(1_000);
    await refused;
  });

  test('stores nothing of a topic whose triggers are not known to be in place', async () => {
    bench.lease.setTrustedTopics(new Set(['user']));
    expect(await bench.loaded(grants, KEY)).toBe('old');
    expect(grants.size).toBe(0);
  });

  test('stores while the lease has run out, for the late echo that proves it again', async () => {
    await bench.clock.advance(3_001);
    expect(await bench.loaded(grants, KEY)).toBe('old');
    expect(bench.served(grants, KEY)).toBeUndefined();
    bench.lease.prove(bench.clock.now());
    expect(bench.served(grants, KEY)).toBe('old');
  });
});

describe('a key that waits in an unsent batch', () => {
  test('keeps its place when it is invalidated, and gets the new fact in one query', async () => {
    const waiting = grants.load(KEY);
    bench.source.set('grant', KEY, 'new');
    bench.change('grant', [KEY]);
    const later = grants.load(KEY);
    await bench.clock.settle();
    expect((await waiting).value).toBe('new');
    expect((await later).value).toBe('new');
    expect(bench.source.reads).toHaveLength(1);
    expect(bench.served(grants, KEY)).toBe('new');
  });

  test('keeps its place across the end of the epoch', async () => {
    const waiting = grants.load(KEY);
    bench.goDown();
    bench.goLive('grant');
    await bench.clock.settle();
    expect((await waiting).value).toBe('old');
    expect(bench.served(grants, KEY)).toBe('old');
    expect(bench.source.reads).toHaveLength(1);
  });
});

describe('a batch that was sent', () => {
  test('is joined while live', async () => {
    const { loading: first } = await holdOldLoad();
    const second = grants.load(KEY);
    await release();
    expect((await second).sentAt).toBe((await first).sentAt);
    expect(bench.source.reads).toHaveLength(1);
  });

  test.each<[string, () => void]>([
    ['the lease has run out', () => bench.clock.stepWall(3_001)],
    ['there is no epoch', () => bench.lease.endEpoch()],
    ['the topic is not trusted', () => bench.lease.setTrustedTopics(new Set(['user']))],
  ])('is not joined while %s', async (_why, prevent) => {
    const { loading: first } = await holdOldLoad();
    prevent();
    const second = grants.load(KEY);
    await release();
    expect((await first).value).toBe('old');
    expect((await second).value).toBe('new');
  });

  test('is not joined, but one that is not sent yet is, by all who come while unproven', async () => {
    bench.lease.endEpoch();
    const { loading: first } = await holdOldLoad();
    const others = [1, 2, 3].map(() => grants.load(KEY));
    await release();
    await first;
    expect((await Promise.all(others)).map(({ value }) => value)).toEqual(['new', 'new', 'new']);
    expect(bench.source.reads).toHaveLength(2);
  });
});

describe('with batches that overlap', () => {
  /** A cache over a loader that the test plays: it alone decides when tickets leave and come back. */
  function playLoader(): {
    readonly cache: Cache<string>;
    readonly owner: BatchOwner<string>;
  } {
    const owners: BatchOwner<string>[] = [];
    const cache = createCache<string>(
      { topic: 'grant', load: fakeQuery() },
      {
        lease: bench.lease,
        bus: bench.bus,
        clock: bench.clock,
        observe: bench.log.observe,
        loader: {
          queue: <V>(owner: BatchOwner<V>) => {
            // The cache under test is the only one that asks, and its facts are strings.
            owners.push(owner as unknown as BatchOwner<string>);
            return {
              enqueue: (key: Key, text: string) => ticketOf<V>(key, text),
            };
          },
        },
      },
    );
    return { cache, owner: owners[0]! };
  }

  function ticketOf<V>(key: Key, text: string): PendingLoad<V> {
    let resolve!: (loaded: Loaded<V>) => void;
    let reject!: (error: unknown) => void;
    const promise = new Promise<Loaded<V>>((onResolve, onReject) => {
      resolve = onResolve;
      reject = onReject;
    });
    return { key, text, promise, resolve, reject };
  }

  const ticket = (): PendingLoad<string> => ticketOf(KEY, keyText(KEY));
  const loaded = (value: string): Loaded<string> => ({
    value,
    sentAt: 1,
    sent: { monoMs: 0, wallMs: 0 },
    receivedAt: 2,
  });

  test.each<[string, (guard: ReturnType<BatchOwner<string>['onSent']>, old: PendingLoad<string>) => void]>([
    ['result', (guard, old) => guard.onLoaded(old, loaded('old'))],
    ['failure', (guard, old) => guard.onFailed(old)],
  ])('the %s of an older flight does not end a newer one', async (_what, comeBack) => {
    const { cache, owner } = playLoader();
    const [older, newer] = [ticket(), ticket()];
    const olderGuard = owner.onSent([older], bench.clock.now());
    bench.change('grant', [KEY]);
    const newerGuard = owner.onSent([newer], bench.clock.now());

    comeBack(olderGuard, older);
    expect(bench.served(cache, KEY)).toBeUndefined();
    const joined = cache.load(KEY);
    newerGuard.onLoaded(newer, loaded('new'));
    newer.resolve(loaded('new'));

    expect((await joined).value).toBe('new');
    expect(bench.served(cache, KEY)).toBe('new');
  });

  test('the guard is the flight itself: an older result that comes last is not stored', () => {
    const { cache, owner } = playLoader();
    const [older, newer] = [ticket(), ticket()];
    const olderGuard = owner.onSent([older], bench.clock.now());
    bench.change('grant', [KEY]);
    const newerGuard = owner.onSent([newer], bench.clock.now());

    newerGuard.onLoaded(newer, loaded('new'));
    olderGuard.onLoaded(older, loaded('old'));

    expect(bench.served(cache, KEY)).toBe('new');
  });
});
