/** lru-cache: `fetch` with a `fetchMethod`, and for refreshes in the background `allowStale`. */
import { LRUCache } from 'lru-cache';
import type { Library, Opener, Subject } from '../subject.js';
import type { Truth } from '../truth.js';

const ENTRIES_MAX = 10_000;
const TTL_MS = 3_600_000;

/** What a library did not give is no answer; `fetch` of lru-cache resolves with undefined, or rejects, if aborted. */
function given(value: number | undefined): number {
  if (value === undefined) {
    throw new Error('no value');
  }
  return value;
}

const createCache = (load: (key: string) => Promise<number>): LRUCache<string, number> =>
  new LRUCache<string, number>({ max: ENTRIES_MAX, ttl: TTL_MS, fetchMethod: load });

const close = (): Promise<void> => Promise.resolve();

const open =
  (forget: (cache: LRUCache<string, number>, key: string) => void) =>
  (truth: Truth): Promise<Subject> => {
    const cache = createCache(truth.load);
    return Promise.resolve({
      get: async key => given(await cache.fetch(key)),
      async change(key, commit) {
        await commit();
        forget(cache, key);
      },
      close,
    });
  };

const openRefreshed: Opener = truth => {
  let nowMs = 1;
  const cache = new LRUCache<string, number>({
    max: ENTRIES_MAX,
    ttl: TTL_MS,
    allowStale: true,
    fetchMethod: truth.load,
    // Entries become due when this says so, without waiting.
    perf: { now: () => nowMs },
    ttlResolution: 0,
  });
  return Promise.resolve({
    async prepare(key) {
      await cache.fetch(key);
      nowMs += TTL_MS + 1;
    },
    get: async key => given(await cache.fetch(key)),
    async change(key, commit) {
      await commit();
      cache.delete(key);
    },
    close,
  });
};

const openDerived: Opener = truth => {
  const source = createCache(truth.load);
  const derived = createCache(async key => {
    const version = given(await source.fetch(key));
    await truth.pass(key, version);
    return version;
  });
  return Promise.resolve({
    async prepare(key) {
      await source.fetch(key);
    },
    get: async key => given(await derived.fetch(key)),
    async change(key, commit) {
      await commit();
      source.delete(key);
      derived.delete(key);
    },
    close,
  });
};

export const lruCache: Library = {
  name: 'lru-cache',
  docs: ['https://isaacs.github.io/node-lru-cache/classes/LRUCache.html#fetch'],
  keeps: 'until it expires',
  byKey: open((cache, key) => {
    cache.delete(key);
  }),
  all: open(cache => {
    cache.clear();
  }),
  refreshed: openRefreshed,
  derived: openDerived,
  replicas: { says: 'no way to' },
};
