/** bentocache: `getOrSet` in memory, grace periods for refreshes in the background, tags, and its bus. */
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { createLine, type LineMember } from '../line.js';
import type { Library, Opener, ReplicaSubject, Subject } from '../subject.js';
import type { Truth } from '../truth.js';

type BusDriver = ReturnType<Parameters<ReturnType<typeof bentostore>['useBus']>[0]['factory']>;

const TTL = '1h';
const GRACE = '6h';

const driver = memoryDriver({ maxItems: 10_000 });

const inMemory = () => new BentoCache({ default: 'prices', stores: { prices: bentostore().useL1Layer(driver) } });

const open =
  (forget: (cache: ReturnType<typeof inMemory>, key: string) => Promise<unknown>) =>
  (truth: Truth): Promise<Subject> => {
    const cache = inMemory();
    return Promise.resolve({
      get: key => cache.getOrSet({ key, ttl: TTL, factory: () => truth.load(key) }),
      async change(key, commit) {
        await commit();
        await forget(cache, key);
      },
      close: () => cache.disconnectAll(),
    });
  };

/** With `timeout: 0`, the default, an entry in its grace period is served while the factory runs. */
const openRefreshed: Opener = truth => {
  const cache = inMemory();
  const get = (key: string): Promise<number> =>
    cache.getOrSet({ key, ttl: TTL, grace: GRACE, timeout: 0, factory: () => truth.load(key) });
  return Promise.resolve({
    async prepare(key) {
      await get(key);
      await cache.expire({ key });
    },
    get,
    async change(key, commit) {
      await commit();
      await cache.delete({ key });
    },
    close: () => cache.disconnectAll(),
  });
};

const openDerived: Opener = truth => {
  const cache = inMemory();
  const source = (key: string): Promise<number> =>
    cache.getOrSet({ key, ttl: TTL, tags: [key], factory: () => truth.load(key) });
  return Promise.resolve({
    async prepare(key) {
      await source(key);
    },
    get: key =>
      cache.getOrSet({
        key: `label:${key}`,
        ttl: TTL,
        tags: [key],
        factory: async () => {
          const version = await source(key);
          await truth.pass(key, version);
          return version;
        },
      }),
    async change(key, commit) {
      await commit();
      await cache.deleteByTag({ tags: [key] });
    },
    close: () => cache.disconnectAll(),
  });
};

/** A driver of the bus, of one's own: https://bentocache.dev/docs/custom-bus-driver */
function driverOn(member: LineMember): BusDriver {
  const transport: BusDriver = {
    setId: () => transport,
    onReconnect: handler => {
      member.onReconnect(handler);
    },
    publish: (channel, message) => member.publish(channel, message),
    async subscribe(channel, handler) {
      // The line carries what the publisher gave it.
      member.subscribe(channel, message => handler(message as Parameters<typeof handler>[0]));
    },
    async unsubscribe(channel) {
      member.unsubscribe(channel);
    },
    disconnect: () => Promise.resolve(),
  };
  return transport;
}

const onBus = (member: LineMember) =>
  new BentoCache({
    default: 'prices',
    stores: {
      prices: bentostore()
        .useL1Layer(driver)
        .useBus({ options: {}, factory: () => driverOn(member) }),
    },
  });

const openReplicas = (truth: Truth): Promise<ReplicaSubject> => {
  const line = createLine();
  const [near, far] = [line.join(), line.join()];
  const writer = onBus(near);
  const reader = onBus(far);
  return Promise.resolve({
    get: key => reader.getOrSet({ key, ttl: TTL, factory: () => truth.load(key) }),
    async change(key, commit) {
      await commit();
      await writer.delete({ key });
    },
    async cut() {
      far.cut();
    },
    async restore() {
      far.restore();
    },
    async close() {
      await writer.disconnectAll();
      await reader.disconnectAll();
    },
  });
};

export const bentocache: Library = {
  name: 'bentocache',
  docs: [
    'https://bentocache.dev/docs/methods#getorset',
    'https://bentocache.dev/docs/grace-periods',
    'https://bentocache.dev/docs/tags',
    'https://bentocache.dev/docs/multi-tier#bus',
  ],
  keeps: 'until it expires',
  byKey: open((cache, key) => cache.delete({ key })),
  all: open(cache => cache.clear()),
  refreshed: openRefreshed,
  derived: openDerived,
  replicas: openReplicas,
};
