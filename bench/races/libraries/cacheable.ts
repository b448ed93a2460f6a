/** cacheable: `getOrSet`, tags for derived values, and `CacheSync` between replicas. */
import { Cacheable, type CacheableOptions } from 'cacheable';
import { createLine, type LineMember } from '../line.js';
import type { Library, Opener, ReplicaSubject, Subject } from '../subject.js';
import type { Truth } from '../truth.js';

type MessageProvider = Exclude<NonNullable<CacheableOptions['sync']>, { publish: unknown }>['qified'];

const TTL = '1h';

/** What a library did not give is no answer. */
function given(value: number | undefined): number {
  if (value === undefined) {
    throw new Error('no value');
  }
  return value;
}

const open =
  (forget: (cache: Cacheable, key: string) => Promise<unknown>) =>
  (truth: Truth): Promise<Subject> => {
    const cache = new Cacheable({ ttl: TTL });
    return Promise.resolve({
      get: async key => given(await cache.getOrSet(key, () => truth.load(key))),
      async change(key, commit) {
        await commit();
        await forget(cache, key);
      },
      close: () => cache.disconnect(),
    });
  };

/** `getOrSet` takes no tags, so this is the pattern of the documentation of tags: get, else load and set. */
const openDerived: Opener = truth => {
  const cache = new Cacheable({ ttl: TTL, tags: true });
  const tagged = async (key: string, tag: string, load: () => Promise<number>): Promise<number> => {
    const cached = await cache.get<number>(key);
    if (cached !== undefined) {
      return cached;
    }
    const loaded = await load();
    await cache.set(key, loaded, { tags: [tag] });
    return loaded;
  };
  const source = (key: string): Promise<number> => tagged(key, key, () => truth.load(key));
  return Promise.resolve({
    async prepare(key) {
      await source(key);
    },
    get: key =>
      tagged(`label:${key}`, key, async () => {
        const version = await source(key);
        await truth.pass(key, version);
        return version;
      }),
    async change(key, commit) {
      await commit();
      await cache.tags.invalidateTag(key);
    },
    close: () => cache.disconnect(),
  });
};

/** A provider of messages for CacheSync. */
const providerOn = (member: LineMember): MessageProvider => ({
  id: 'line',
  subscriptions: new Map(),
  publish: (topic, message) => member.publish(topic, { ...message, providerId: 'line' }),
  async subscribe(topic, { handler }) {
    // The line carries what the publisher gave it.
    member.subscribe(topic, message => handler(message as Parameters<typeof handler>[0]));
  },
  async unsubscribe(topic) {
    member.unsubscribe(topic);
  },
  disconnect: () => Promise.resolve(),
});

const openReplicas = (truth: Truth): Promise<ReplicaSubject> => {
  const line = createLine();
  const [near, far] = [line.join(), line.join()];
  const writer = new Cacheable({ ttl: TTL, sync: { qified: providerOn(near) } });
  const reader = new Cacheable({ ttl: TTL, sync: { qified: providerOn(far) } });
  return Promise.resolve({
    get: async key => given(await reader.getOrSet(key, () => truth.load(key))),
    async change(key, commit) {
      await commit();
      await writer.delete(key);
    },
    async cut() {
      far.cut();
    },
    async restore() {
      far.restore();
    },
    async close() {
      await writer.disconnect();
      await reader.disconnect();
    },
  });
};

export const cacheable: Library = {
  name: 'cacheable',
  docs: [
    'https://cacheable.org/docs/cacheable/#get-or-set-memoization-function',
    'https://cacheable.org/docs/cacheable/#tag-based-invalidation',
    'https://cacheable.org/docs/cacheable/#cacheablesync---distributed-updates',
  ],
  keeps: 'until it expires',
  byKey: open((cache, key) => cache.delete(key)),
  all: open(cache => cache.clear()),
  refreshed: { says: 'has none' },
  derived: openDerived,
  replicas: openReplicas,
};
