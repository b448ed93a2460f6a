/**
 * dataloader: one loader, as long as a request. It batches and remembers promises, so it is meant to live for one
 * request; the races ask what happens in one that changes something and clears it.
 */
import DataLoader from 'dataloader';
import type { Library, Opener, Subject } from '../subject.js';
import type { Truth } from '../truth.js';

const createLoader = (load: (key: string) => Promise<number>): DataLoader<string, number> =>
  new DataLoader<string, number>(keys => Promise.all(keys.map(load)));

const close = (): Promise<void> => Promise.resolve();

function openByKey(truth: Truth): Promise<Subject> {
  const loader = createLoader(truth.load);
  return Promise.resolve({
    get: key => loader.load(key),
    async change(key, commit) {
      await commit();
      loader.clear(key);
    },
    close,
  });
}

function openAll(truth: Truth): Promise<Subject> {
  const loader = createLoader(truth.load);
  return Promise.resolve({
    get: key => loader.load(key),
    async change(_key, commit) {
      await commit();
      loader.clearAll();
    },
    close,
  });
}

const openDerived: Opener = truth => {
  const source = createLoader(truth.load);
  const derived = createLoader(async key => {
    const version = await source.load(key);
    await truth.pass(key, version);
    return version;
  });
  return Promise.resolve({
    async prepare(key) {
      await source.load(key);
    },
    get: key => derived.load(key),
    async change(key, commit) {
      await commit();
      source.clear(key);
      derived.clear(key);
    },
    close,
  });
};

export const dataloader: Library = {
  name: 'dataloader',
  docs: ['https://github.com/graphql/dataloader#caching', 'https://github.com/graphql/dataloader#clearing-cache'],
  keeps: 'until the request ends',
  byKey: openByKey,
  all: openAll,
  refreshed: { says: 'has none' },
  derived: openDerived,
  replicas: { says: 'no way to' },
};
