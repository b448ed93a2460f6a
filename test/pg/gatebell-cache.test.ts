/**
 * The face `gatebell/cache`, on a real Postgres: what programs are promised of caches, signals, channels and closing.
 */
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  createGatebell,
  UnavailableError,
  type Cache,
  type ChannelEvent,
  type Gatebell,
  type GatebellObservation,
  type GatebellOptions,
  type Key,
} from '../../src/cache.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let opened: Gatebell[];

beforeEach(async () => {
  opened = [];
  database = await createTestDatabase();
  await database.sql(`
    create table prices (shop text not null, sku text not null, cents integer not null, primary key (shop, sku));
    create table names (sku text primary key, name text not null);
    insert into names values ('apple', 'Apple'), ('plum', 'Plum');
    insert into prices values ('here', 'apple', 120), ('there', 'apple', 110)`);
  await database.sql(`select gatebell.watch('names', 'name', '{sku}', '{name}')`);
  await database.sql(`select gatebell.watch('prices', 'price', '{shop,sku}', '{cents}')`);
});

afterEach(async () => {
  await Promise.all(opened.map(gatebell => gatebell.close()));
  await database.drop();
});

interface Opened {
  readonly gatebell: Gatebell;
  readonly observations: GatebellObservation[];
  /** Statements of this name so far. */
  queries(name: string): number;
  /** Resolves when the replica is live, now or the next time. */
  becomesLive(): Promise<void>;
  /** Resolves when every topic is served from memory: no transaction of before has yet to end, on a busy server. */
  servesFromMemory(): Promise<void>;
}

function open(options: GatebellOptions = {}): Opened {
  const observations: GatebellObservation[] = [];
  const waiting = new Set<() => void>();
  const gatebell = createGatebell({
    connectionString: database.url,
    ...options,
    observe: observation => {
      observations.push(observation);
      if (observation.event === 'listener_state' && observation.to === 'live') {
        for (const resolve of waiting) {
          resolve();
        }
        waiting.clear();
      }
    },
  });
  opened.push(gatebell);
  const becomesLive = async (): Promise<void> => {
    if (gatebell.state !== 'live') {
      await new Promise<void>(resolve => waiting.add(resolve));
    }
  };
  return {
    gatebell,
    observations,
    queries: name => observations.filter(seen => seen.event === 'query' && seen.query === name).length,
    becomesLive,
    servesFromMemory: async () => {
      await becomesLive();
      await expect.poll(() => [...gatebell.watchProblems.values()], { timeout: 60_000 }).toEqual([]);
    },
  };
}

const nameCache = (gatebell: Gatebell): Cache<string> =>
  gatebell.cache({
    topic: 'name',
    load: {
      text: 'select n.sku, n.name from names n where n.sku = any ($1::text[])',
      key: (row: { sku: string; name: string }) => row.sku,
      value: row => row.name,
    },
  });

/** Resolves with the next change of the topic. */
const changeOf = (gatebell: Gatebell, topic: string): Promise<unknown> =>
  new Promise(resolve => {
    const unsubscribe = gatebell.on(topic, change => {
      unsubscribe();
      resolve(change);
    });
  });

test('get answers from memory until the row changes', async () => {
  const { gatebell, queries, servesFromMemory } = open();
  const names = nameCache(gatebell);
  await servesFromMemory();
  expect(await names.get('apple')).toBe('Apple');
  expect(await names.get(['apple'])).toBe('Apple');
  expect(await names.get('pear')).toBeNull();
  expect(await names.get('pear')).toBeNull();
  expect(queries('load_name')).toBe(2);
  expect(names.stats).toMatchObject({ hits: 2, negativeHits: 2 });
  expect(names.size).toBe(1);

  const changed = changeOf(gatebell, 'name');
  await database.sql(`update names set name = 'Pomme' where sku = 'apple'`);
  expect(await changed).toEqual({ type: 'change', topic: 'name', keys: [['apple']] });
  expect(await names.get('apple')).toBe('Pomme');
});

test('getMany loads what is lacking in one query, keeps the order, and says null of what is not there', async () => {
  const { gatebell, queries, servesFromMemory } = open();
  const names = nameCache(gatebell);
  await servesFromMemory();
  await names.get('plum');
  const before = queries('load_name');
  expect(await names.getMany(['pear', 'plum', 'apple', 'pear', 'fig'])).toEqual([null, 'Plum', 'Apple', null, null]);
  expect(queries('load_name')).toBe(before + 1);
  expect(await names.getMany(['fig', 'apple'])).toEqual([null, 'Apple']);
  expect(await names.getMany([])).toEqual([]);
  expect(queries('load_name')).toBe(before + 1);
});

test('strong sees each commit that was acknowledged before the call', async () => {
  const { gatebell, servesFromMemory } = open();
  const names = nameCache(gatebell);
  await servesFromMemory();
  for (let version = 0; version < 30; version++) {
    await database.sql(`update names set name = $1 where sku = 'apple'`, [`v${version}`]);
    expect(await names.strong('apple')).toBe(`v${version}`);
  }
  await database.sql(`delete from names where sku = 'apple'`);
  expect(await names.strong('apple')).toBeNull();
});

test('a key of several columns, as an array in the order in which the table is watched', async () => {
  const { gatebell } = open();
  const prices = gatebell.cache<number, { shop: string; sku: string; cents: number }>({
    topic: 'price',
    load: {
      text: `select p.shop, p.sku, p.cents from unnest($1::text[], $2::text[]) as k (shop, sku)
             join prices p on p.shop = k.shop and p.sku = k.sku`,
      key: row => [row.shop, row.sku],
      value: row => row.cents,
    },
  });
  expect(
    await prices.getMany([
      ['there', 'apple'],
      ['here', 'apple'],
      ['nowhere', 'apple'],
    ]),
  ).toEqual([110, 120, null]);
  await expect(prices.get('apple')).rejects.toThrow(TypeError);
});

test('state, problem and the bound of staleness are there to see', async () => {
  const { gatebell, servesFromMemory } = open({ leaseMs: 5_000 });
  expect(gatebell.state).not.toBe('live');
  expect(gatebell.stalenessBoundMs).toBeNull();
  expect(gatebell.problem).toEqual(expect.any(String));
  await servesFromMemory();
  expect(gatebell.problem).toBeNull();
  expect(gatebell.stalenessBoundMs).toBeGreaterThanOrEqual(0);
  expect(gatebell.stalenessBoundMs).toBeLessThanOrEqual(5_000);
});

test('a topic that no table is watched for is read from Postgres, and named among the problems', async () => {
  const { gatebell, queries, becomesLive } = open();
  await database.sql(`select gatebell.unwatch('names', 'name')`);
  const names = nameCache(gatebell);
  await becomesLive();
  await names.strong('apple');
  const before = queries('load_name');
  await names.get('apple');
  await database.sql(`update names set name = 'Pomme' where sku = 'apple'`);
  expect(await names.get('apple')).toBe('Pomme');
  expect(queries('load_name')).toBe(before + 2);
  await expect.poll(() => [...gatebell.watchProblems.keys()], { timeout: 60_000 }).toEqual(['name']);
});

test('a value that would look like a missing row fails its key alone', async () => {
  const { gatebell } = open();
  const odd = gatebell.cache<string | undefined>({
    topic: 'name',
    load: {
      text: 'select n.sku, n.name from names n where n.sku = any ($1::text[])',
      key: row => String(row['sku']),
      value: row => (row['sku'] === 'apple' ? undefined : String(row['name'])),
    },
  });
  const [apple, plum] = await Promise.allSettled([odd.get('apple'), odd.get('plum')]);
  expect(apple).toMatchObject({ status: 'rejected', reason: { code: 'unavailable', reason: 'database' } });
  expect(plum).toEqual({ status: 'fulfilled', value: 'Plum' });
});

/** What a channel's handler is called with, to be waited for. */
function createInbox(): { readonly receive: (event: ChannelEvent) => void; take(): Promise<ChannelEvent> } {
  const events: ChannelEvent[] = [];
  const takers: ((event: ChannelEvent) => void)[] = [];
  return {
    receive: event => {
      const taker = takers.shift();
      if (taker === undefined) {
        events.push(event);
      } else {
        taker(event);
      }
    },
    take: () => {
      const event = events.shift();
      return event === undefined ? new Promise(resolve => takers.push(resolve)) : Promise.resolve(event);
    },
  };
}

test('channels share the one listening connection, and start over after it was lost', async () => {
  const { gatebell, observations, servesFromMemory } = open({ replica: 'shared' });
  const orders = createInbox();
  const news = createInbox();
  gatebell.channel('orders', orders.receive);
  gatebell.channel('Odd "name"', () => {
    throw new Error('a handler of the program');
  });
  await servesFromMemory();
  gatebell.channel('news', news.receive);
  expect(await orders.take()).toEqual({ type: 'listening' });
  expect(await news.take()).toEqual({ type: 'listening' });

  await gatebell.publish('Odd "name"', 'x');
  await gatebell.publish('orders', 'one apple');
  await database.sql(`select pg_notify('news', ''), pg_notify('orders', $1)`, ['ü'.repeat(3_999)]);
  expect(await orders.take()).toEqual({ type: 'message', payload: 'one apple' });
  expect(await orders.take()).toEqual({ type: 'message', payload: 'ü'.repeat(3_999) });
  expect(await news.take()).toEqual({ type: 'message', payload: '' });
  expect(observations.filter(({ event }) => event === 'handler_failed')).toMatchObject([
    { topic: 'Odd "name"' },
    { topic: 'Odd "name"' },
  ]);

  const listeners = `from pg_stat_activity where application_name like 'gatebell/shared#%'`;
  expect(await database.sql(`select count(*)::int as n ${listeners}`)).toEqual([{ n: 1 }]);
  await database.sql(`select pg_terminate_backend(pid) ${listeners}`);
  expect(await orders.take()).toEqual({ type: 'listening' });
  await database.sql(`select pg_notify('orders', 'after')`);
  expect(await orders.take()).toEqual({ type: 'message', payload: 'after' });
});

test('an unsubscribed channel brings nothing more, and the connection stops listening', async () => {
  const { gatebell } = open();
  const [one, other, later] = [createInbox(), createInbox(), createInbox()];
  const leave = gatebell.channel('orders', one.receive);
  gatebell.channel('orders', other.receive);
  expect(await one.take()).toEqual({ type: 'listening' });
  expect(await other.take()).toEqual({ type: 'listening' });
  leave();
  leave();
  await gatebell.publish('orders', '1');
  expect(await other.take()).toEqual({ type: 'message', payload: '1' });
  gatebell.channel('orders', later.receive);
  expect(await later.take()).toEqual({ type: 'listening' });
  await gatebell.publish('orders', '2');
  expect(await later.take()).toEqual({ type: 'message', payload: '2' });
  expect(await Promise.race([one.take(), Promise.resolve('nothing')])).toBe('nothing');
});

test('messages of other channels are no signals: nothing is forgotten', async () => {
  const { gatebell, queries, observations, servesFromMemory } = open();
  const names = nameCache(gatebell);
  const orders = createInbox();
  gatebell.channel('orders', orders.receive);
  await servesFromMemory();
  expect(await orders.take()).toEqual({ type: 'listening' });
  await names.get('apple');
  const before = queries('load_name');
  await gatebell.publish('orders', '{"v":1,"s":"name"}');
  await orders.take();
  await names.get('apple');
  expect(queries('load_name')).toBe(before);
  expect(observations.some(({ event }) => event === 'message_malformed')).toBe(false);
});

test('a barrier resolves when this process has applied what was committed before', async () => {
  const { gatebell, servesFromMemory } = open({ replica: 'barred' });
  const names = nameCache(gatebell);
  await servesFromMemory();
  await names.get('apple');
  await database.sql(`update names set name = 'Pomme' where sku = 'apple'`);
  const { replicas } = await gatebell.barrier();
  expect(replicas.map(({ replica }) => replica)).toEqual(['barred']);
  expect(await names.get('apple')).toBe('Pomme');
});

test('close ends every connection; what is asked for afterwards is unavailable', async () => {
  const { gatebell } = open({ replica: 'closing' });
  const names = nameCache(gatebell);
  await names.get('apple');
  await gatebell[Symbol.asyncDispose]();
  await gatebell.close();
  const stopped = { code: 'unavailable', reason: 'stopped' };
  await expect(names.get('apple')).rejects.toMatchObject(stopped);
  await expect(names.get('apple')).rejects.toBeInstanceOf(UnavailableError);
  await expect(gatebell.publish('orders', 'x')).rejects.toMatchObject(stopped);
  const connections = `from pg_stat_activity where application_name like 'gatebell/closing%'`;
  await expect.poll(() => database.sql(`select pid ${connections}`)).toEqual([]);
});

test('without a Postgres, get and publish fail closed within the time-out', async () => {
  const gatebell = createGatebell({ connectionString: 'postgres://nobody@127.0.0.1:1/none', timeoutMs: 200 });
  opened.push(gatebell);
  await expect(nameCache(gatebell).get('apple')).rejects.toMatchObject({ code: 'unavailable', reason: 'database' });
  await expect(gatebell.publish('orders', 'x')).rejects.toMatchObject({ code: 'unavailable', reason: 'database' });
});

describe('a load by a function', () => {
  interface Named {
    readonly sku: string;
    readonly name: string;
  }
  type Read = (keys: readonly Key[], client: pg.ClientBase) => Promise<readonly Named[]>;

  const readNames: Read = async (keys, client) =>
    (await client.query<Named>('select n.sku, n.name from names n where n.sku = any ($1)', [keys.map(([sku]) => sku)]))
      .rows;
  const cacheBy = (gatebell: Gatebell, read: Read): Cache<string> =>
    gatebell.cache({ topic: 'name', load: { read, key: row => row.sku, value: row => row.name } });

  test('is called once for a batch, answers from memory until the row changes; strong sees each commit', async () => {
    const { gatebell, servesFromMemory } = open();
    const calls: (readonly Key[])[] = [];
    const names = cacheBy(gatebell, (keys, client) => {
      calls.push(keys);
      return readNames(keys, client);
    });
    await servesFromMemory();
    expect(await names.getMany(['plum', 'pear', 'apple'])).toEqual(['Plum', null, 'Apple']);
    expect(await names.getMany(['apple', 'pear'])).toEqual(['Apple', null]);
    // A key without a row may be another spelling of one that has: it is asked for alone.
    expect(calls).toEqual([[['plum'], ['pear'], ['apple']], [['pear']]]);
    for (let version = 0; version < 20; version++) {
      await database.sql(`update names set name = $1 where sku = 'apple'`, [`v${version}`]);
      expect(await names.strong('apple')).toBe(`v${version}`);
    }
  });

  test('reads in one read-only snapshot, and what it read before a change is not kept', async () => {
    const { gatebell, servesFromMemory } = open();
    const seen: string[] = [];
    let isFirst = true;
    const names = cacheBy(gatebell, async (keys, client) => {
      seen.push((await client.query('select name from names')).rows.length.toString());
      if (isFirst) {
        isFirst = false;
        const changed = changeOf(gatebell, 'name');
        await database.sql(`update names set name = 'Pomme' where sku = 'apple'`);
        await changed;
      }
      return readNames(keys, client);
    });
    await servesFromMemory();
    expect(await names.get('apple')).toBe('Apple');
    expect(names.size).toBe(0);
    expect(await names.get('apple')).toBe('Pomme');
    expect(seen).toEqual(['2', '2']);
    const writing = cacheBy(gatebell, async (_, client) => (await client.query('delete from names')).rows as Named[]);
    await expect(writing.get('pear')).rejects.toMatchObject({ reason: 'database', cause: { code: '25006' } });
  });

  test('another spelling of a key is refused, for its row would change unheard', async () => {
    const { gatebell } = open();
    const names = cacheBy(gatebell, (keys, client) =>
      readNames(
        keys.map(([sku]) => [sku!.trim()]),
        client,
      ),
    );
    const [padded, apple] = await Promise.allSettled([names.get(' apple'), names.get('apple')]);
    expect(padded).toMatchObject({ status: 'rejected', reason: { reason: 'database' } });
    expect(apple).toEqual({ status: 'fulfilled', value: 'Apple' });
  });

  test('a key that Postgres refuses fails alone, though the query builder wraps the error', async () => {
    const { gatebell } = open();
    const names = cacheBy(gatebell, async (keys, client) => {
      try {
        await client.query('select $1::integer[]', [keys.map(([sku]) => (sku === 'odd' ? 'odd' : '1'))]);
      } catch (error) {
        throw new Error('wrapped', { cause: error });
      }
      return readNames(keys, client);
    });
    const [odd, apple] = await Promise.allSettled([names.get('odd'), names.get('apple')]);
    expect(odd).toMatchObject({ status: 'rejected', reason: { reason: 'database' } });
    expect(apple).toEqual({ status: 'fulfilled', value: 'Apple' });
  });

  test.each<[string, Read, RegExp]>([
    ['ends the transaction', async (keys, client) => (await client.query('commit'), readNames(keys, client)), /ended/],
    ['returns no rows', () => Promise.resolve('Apple' as never), /array of rows/],
    ['never comes back', () => new Promise(() => undefined), /longer than 300 ms/],
    ['throws', () => Promise.reject(new Error('of the program')), /of the program/],
  ])('is unavailable where the function %s; others are served on', async (_, read, message) => {
    const { gatebell } = open({ timeoutMs: 300, poolMax: 2 });
    const bad = cacheBy(gatebell, read);
    const good = nameCache(gatebell);
    for (let round = 0; round < 3; round++) {
      await expect(bad.get('apple')).rejects.toMatchObject({
        reason: 'database',
        cause: { message: expect.stringMatching(message) as unknown },
      });
    }
    expect(await good.get('apple')).toBe('Apple');
  });
});
