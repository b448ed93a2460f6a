/** Options of programs: each bad value is refused when it is given, with its name and what is allowed. */
import { afterAll, describe, expect, test } from 'vitest';
import { createGatebell, type CacheKey, type GatebellOptions } from '../../../src/cache.js';
import { readKey } from '../../../src/postgres/gatebell-options.js';

describe('createGatebell refuses', () => {
  test.each([
    ['poolMax', 1, 'a whole number from 2 to 100'],
    ['poolMax', '4', 'a whole number from 2 to 100'],
    ['poolMax', 2.5, 'a whole number from 2 to 100'],
    ['timeoutMs', 0, 'a whole number from 100 to 600000'],
    ['leaseMs', 3, 'a whole number from 100 to 600000'],
    ['leaseMs', Number.NaN, 'a whole number from 100 to 600000'],
    ['leaseMs', null, 'a whole number from 100 to 600000'],
    ['fenceIntervalMs', 1_501, 'at most half of leaseMs, which is 3000'],
    ['auditIntervalMs', 50, '0, or a whole number from 100 to 3600000'],
    ['replica', 'two words', '1 to 48 printable ASCII characters'],
    ['signalChannel', 'x'.repeat(64), 'a name of 1 to 63 bytes'],
    ['observe', 'console', 'a function'],
  ])('%s %j', (name, value, allowed) => {
    // Programs in JavaScript are not held by the types.
    const options = { [name]: value } as GatebellOptions;
    expect(() => createGatebell(options)).toThrow(TypeError);
    expect(() => createGatebell(options)).toThrow(allowed);
    expect(() => createGatebell(options)).toThrow(new RegExp(`^${name} `));
  });

  test('a name that is no option, and says which there are', () => {
    const options: object = { leaseMS: 1_000 };
    expect(() => createGatebell(options)).toThrow(/^leaseMS is no option of createGatebell: there are .*leaseMs/);
  });

  test('a connection string without showing it', () => {
    const options = { connectionString: 0x5ec3e7 } as unknown as GatebellOptions;
    expect(() => createGatebell(options)).toThrow('connectionString is not allowed: it must be a connection string');
  });
});

describe('of a gatebell', () => {
  // It tries to connect where nobody listens, until it is closed.
  const gatebell = createGatebell({ connectionString: 'postgres://nobody@127.0.0.1:1/none' });
  afterAll(() => gatebell.close());
  const load = { text: 'select 1 where $1 is null', key: () => 'k', value: () => 1 };

  test.each([
    [{ topic: 'Price', load }, 'topic "Price" is not allowed: it must be a small letter'],
    [{ load }, 'topic undefined is not allowed'],
    [{ topic: 'price' }, 'load undefined is not allowed: it must be an object with text or read, key and value'],
    [{ topic: 'price', load: { ...load, text: 'select 1' } }, 'one SELECT with the parameter $1'],
    [{ topic: 'price', load: { ...load, text: `${load.text};` } }, 'without a semicolon at its end'],
    [{ topic: 'price', load: { ...load, key: 'sku' } }, 'load.key "sku" is not allowed: it must be a function'],
    [{ topic: 'price', load: { text: load.text, key: load.key } }, 'load.value undefined is not allowed'],
    [{ topic: 'price', load: { ...load, read: load.key } }, 'either by text or by read, not both'],
    [{ topic: 'price', load: { read: 'f', key: load.key, value: load.value } }, 'load.read "f" is not allowed'],
    [{ topic: 'price', load, maxAge: 5 }, 'maxAge is no option of cache: there are topic'],
    [{ topic: 'price', load, entriesMax: 0 }, 'entriesMax 0 is not allowed: it must be a whole number from 1'],
  ])('cache(%j) is refused', (options, message) => {
    const cache = (): unknown => gatebell.cache(options as never);
    expect(cache).toThrow(TypeError);
    expect(cache).toThrow(message);
  });

  test('on() refuses what is no topic', () => {
    expect(() => gatebell.on('Price!', () => undefined)).toThrow(TypeError);
  });

  test('channel() and publish() refuse the channel of the triggers, and names that Postgres would cut', async () => {
    for (const name of ['gatebell', '', 'ü'.repeat(32), 'a\0b']) {
      expect(() => gatebell.channel(name, () => undefined), name).toThrow(TypeError);
      await expect(gatebell.publish(name, ''), name).rejects.toThrow(TypeError);
    }
  });

  test('publish() refuses a payload that Postgres would', async () => {
    for (const payload of ['x'.repeat(8_000), 'ü'.repeat(4_000), 'a\0b', 7 as unknown as string]) {
      await expect(gatebell.publish('orders', payload)).rejects.toThrow('text of at most 7999 bytes');
    }
  });

  test('undefined means the default', () => {
    expect(() =>
      gatebell.cache({ topic: 'price', load, entriesMax: undefined, negativeEntriesMax: undefined }),
    ).not.toThrow();
  });
});

test('a key is a text or texts, and nothing else', () => {
  expect(readKey('7')).toEqual(['7']);
  expect(readKey(['7', '12'])).toEqual(['7', '12']);
  for (const key of [7, null, undefined, [], ['7', 12], {}]) {
    expect(() => readKey(key as CacheKey), JSON.stringify(key)).toThrow(TypeError);
  }
});
