/** cache-manager: `wrap`, with `refreshThreshold` for refreshes in the background. */
import { createCache } from 'cache-manager';
import type { Library, Opener, Subject } from '../subject.js';
import type { Truth } from '../truth.js';

const TTL_MS = 3_600_000;
/** An entry that has less left than this is due. */
const REFRESH_THRESHOLD_MS = 600_000;

const close = (): Promise<void> => Promise.resolve();

const open =
  (forget: (cache: ReturnType<typeof createCache>, key: string) => Promise<unknown>) =>
  (truth: Truth): Promise<Subject> => {
    const cache = createCache({ ttl: TTL_MS });
    return Promise.resolve({
      get: key => cache.wrap(key, () => truth.load(key)),
      async change(key, commit) {
        await commit();
        await forget(cache, key);
      },
      close,
    });
  };

const openRefreshed: Opener = truth => {
  const cache = createCache({ ttl: TTL_MS, refreshThreshold: REFRESH_THRESHOLD_MS });
  return Promise.resolve({
    async prepare(key) {
      await cache.set(key, await truth.load(key), REFRESH_THRESHOLD_MS / 2);
    },
    get: key => cache.wrap(key, () => truth.load(key)),
    async change(key, commit) {
      await commit();
      await cache.del(key);
    },
    close,
  });
};

const openDerived: Opener = truth => {
  const cache = createCache({ ttl: TTL_MS });
  const source = (key: string): Promise<number> => cache.wrap(key, () => truth.load(key));
  return Promise.resolve({
    async prepare(key) {
      await source(key);
    },
    get: key =>
      cache.wrap(`label:${key}`, async () => {
        const version = await source(key);
        await truth.pass(key, version);
        return version;
      }),
    async change(key, commit) {
      await commit();
      await cache.mdel([key, `label:${key}`]);
    },
    close,
  });
};

export const cacheManager: Library = {
  name: 'cache-manager',
  docs: ['https://cacheable.org/docs/cache-manager/#wrap', 'https://cacheable.org/docs/cache-manager/#del'],
  keeps: 'until it expires',
  byKey: open((cache, key) => cache.del(key)),
  all: open(cache => cache.clear()),
  refreshed: openRefreshed,
  derived: openDerived,
  replicas: { says: 'no way to' },
};
