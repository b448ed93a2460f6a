/**
 * gatebell/cache: nothing is deleted by hand. The commit is the invalidation, and a process that wants to know when it
 * has arrived listens with `gatebell.on`. Reads are `get`; `strong` needs no race.
 */
import { createGatebell, type Cache, type Gatebell, type GatebellOptions } from '../../../src/cache.js';
import { freePort } from '../../../src/dev/postgres.js';
import { startTcpProxy } from '../../../test/support/tcp-proxy.js';
import type { Library, ReplicaSubject, Subject } from '../subject.js';
import type { Truth } from '../truth.js';

interface Opened {
  readonly gatebell: Gatebell;
  readonly prices: Cache<number>;
  /** Resolves when answers come from memory. */
  serves(): Promise<void>;
  /** Resolves when the replica does not listen. */
  isDown(): Promise<void>;
  /** Resolves with the next change of this key, after the caches have forgotten it. */
  heard(key: string): Promise<void>;
}

/** @param topic `label` is what is derived of a price: a topic of its own on the same table */
async function open(truth: Truth, topic: 'price' | 'label', options: GatebellOptions = {}): Promise<Opened> {
  const waiting = new Set<() => void>();
  const gatebell = createGatebell({
    connectionString: truth.url,
    // Loads are held: no hour at which a busy machine holds them longer must change what is raced.
    timeoutMs: 30_000,
    // A reading of the auditor would be held like any other load.
    auditIntervalMs: 0,
    ...options,
    observe: observation => {
      if (observation.event === 'query' && observation.query === 'begin') {
        truth.begin();
      }
      for (const check of waiting) {
        setImmediate(check);
      }
    },
  });
  const until = (isSo: () => boolean): Promise<void> =>
    new Promise(resolve => {
      const check = (): void => {
        if (isSo()) {
          waiting.delete(check);
          resolve();
        }
      };
      waiting.add(check);
      check();
    });
  const prices = gatebell.cache({
    topic,
    load: {
      read: async (keys, client) => {
        const { rows } = await client.query<{ sku: string; version: number }>(
          'select sku, version from prices where sku = any ($1)',
          [keys.map(([sku]) => sku)],
        );
        await Promise.all(rows.map(({ sku, version }) => truth.pass(sku, version)));
        return rows;
      },
      key: ({ sku }: { sku: string; version: number }) => sku,
      value: ({ version }) => version,
    },
  });
  const opened: Opened = {
    gatebell,
    prices,
    serves: () => until(() => gatebell.state === 'live' && gatebell.watchProblems.size === 0),
    isDown: () => until(() => !['live', 'unproven', 'listening'].includes(gatebell.state)),
    heard: key =>
      new Promise(resolve => {
        const unsubscribe = gatebell.on(topic, ({ keys }) => {
          if (keys === null || keys.some(([sku]) => sku === key)) {
            unsubscribe();
            resolve();
          }
        });
      }),
  };
  await opened.serves();
  return opened;
}

async function read({ prices }: Opened, key: string): Promise<number> {
  const version = await prices.get(key);
  if (version === null) {
    throw new Error('no row');
  }
  return version;
}

const openTopic =
  (topic: 'price' | 'label') =>
  async (truth: Truth): Promise<Subject> => {
    const opened = await open(truth, topic);
    return {
      get: key => read(opened, key),
      async change(key, commit) {
        const heard = opened.heard(key);
        await commit();
        await heard;
      },
      close: () => opened.gatebell.close(),
    };
  };

const openReplicas = async (truth: Truth): Promise<ReplicaSubject> => {
  const postgresPort = Number(new URL(truth.url).port);
  const nobodyThere = await freePort();
  const proxy = await startTcpProxy(postgresPort);
  const proxied = new URL(truth.url);
  proxied.port = String(proxy.port);
  const writer = await open(truth, 'price', { replica: 'writer' });
  const reader = await open(truth, 'price', { replica: 'reader', listenConnectionString: proxied.href });
  let isCut = false;
  return {
    get: key => read(reader, key),
    async change(key, commit) {
      const heard = [writer, ...(isCut ? [] : [reader])].map(replica => replica.heard(key));
      await commit();
      await Promise.all(heard);
    },
    async cut() {
      isCut = true;
      proxy.retarget(nobodyThere);
      proxy.cut();
      await reader.isDown();
    },
    async restore() {
      isCut = false;
      proxy.retarget(postgresPort);
      await reader.serves();
    },
    async close() {
      await Promise.all([writer, reader].map(({ gatebell }) => gatebell.close()));
      await proxy.close();
    },
  };
};

export const gatebellCache: Library = {
  name: 'gatebell/cache',
  docs: ['library.md'],
  keeps: 'until it is audited',
  byKey: openTopic('price'),
  all: openTopic('price'),
  refreshed: { says: 'has none' },
  derived: openTopic('label'),
  replicas: openReplicas,
};
