/**
 * A cache as it is often written by hand: a map, what is being loaded, and a delete. Every race must catch it, or else
 * the race catches nothing.
 */
import type { Library, ReplicaSubject, Subject } from '../../bench/races/subject.js';
import type { Truth } from '../../bench/races/truth.js';

interface NaiveCache {
  get(key: string): Promise<number>;
  /** Makes the entry due: the next `get` answers with it, and loads it again. */
  expire(key: string): void;
  delete(key: string): void;
  clear(): void;
}

function createNaiveCache(load: (key: string) => Promise<number>): NaiveCache {
  const entries = new Map<string, number>();
  const loading = new Map<string, Promise<number>>();
  const due = new Set<string>();
  const fetch = (key: string): Promise<number> => {
    const running = loading.get(key);
    if (running !== undefined) {
      return running;
    }
    const promise = load(key).then(value => {
      entries.set(key, value);
      loading.delete(key);
      return value;
    });
    loading.set(key, promise);
    return promise;
  };
  return {
    async get(key) {
      const entry = entries.get(key);
      if (entry === undefined) {
        return fetch(key);
      }
      if (due.delete(key)) {
        void fetch(key);
      }
      return entry;
    },
    expire: key => due.add(key),
    delete: key => entries.delete(key),
    clear: () => {
      entries.clear();
    },
  };
}

const close = (): Promise<void> => Promise.resolve();

const subjectOf = (cache: NaiveCache, forget: (key: string) => void): Subject => ({
  get: key => cache.get(key),
  async change(key, commit) {
    await commit();
    forget(key);
  },
  close,
});

async function openRefreshed({ load }: Truth): Promise<Subject> {
  const cache = createNaiveCache(load);
  return {
    ...subjectOf(cache, key => {
      cache.delete(key);
    }),
    async prepare(key) {
      await cache.get(key);
      cache.expire(key);
    },
  };
}

async function openDerived(truth: Truth): Promise<Subject> {
  const source = createNaiveCache(truth.load);
  const derived = createNaiveCache(async key => {
    const version = await source.get(key);
    await truth.pass(key, version);
    return version;
  });
  return {
    ...subjectOf(derived, key => {
      source.delete(key);
      derived.delete(key);
    }),
    async prepare(key) {
      await source.get(key);
    },
  };
}

/** Nobody tells the other replica. */
async function openReplicas({ load }: Truth): Promise<ReplicaSubject> {
  const writer = createNaiveCache(load);
  const reader = createNaiveCache(load);
  return {
    ...subjectOf(reader, key => {
      writer.delete(key);
    }),
    cut: close,
    restore: close,
  };
}

export const naiveCache: Library = {
  name: 'naive',
  docs: [],
  keeps: 'for ever',
  async byKey({ load }) {
    const cache = createNaiveCache(load);
    return subjectOf(cache, key => {
      cache.delete(key);
    });
  },
  async all({ load }) {
    const cache = createNaiveCache(load);
    return subjectOf(cache, () => {
      cache.clear();
    });
  },
  refreshed: openRefreshed,
  derived: openDerived,
  replicas: openReplicas,
};
