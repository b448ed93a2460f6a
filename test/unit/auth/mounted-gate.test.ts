/** The gate on a program's own server: what it is given is checked when it is given. */
import { afterAll, expect, test } from 'vitest';
import { createAuthHandler, createFactReader, createGatebell } from '../../../src/index.js';

const gatebell = createGatebell({ connectionString: 'postgres://nobody@127.0.0.1:1/none' });
afterAll(() => gatebell.close());

test.each(['', 'localhost', '10.0.0.0/33', '::1/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0', '10.0.0.1, 10.0.0.2'])(
  'a proxy cannot be trusted by the address %j',
  range => {
    const create = (): unknown => createAuthHandler(gatebell, { trustedProxies: ['::1', range] });
    expect(create).toThrow(TypeError);
    expect(create).toThrow(JSON.stringify(range));
  },
);

test('addresses and ranges of both families are taken', () => {
  const trustedProxies = ['127.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8', '0.0.0.0/0'];
  expect(createAuthHandler(gatebell, { trustedProxies })).toBeTypeOf('function');
});

test('all readers of one gatebell share its caches', () => {
  expect(createFactReader(gatebell)).toBe(createFactReader(gatebell, () => undefined));
});

test('what createGatebell has not made is refused', () => {
  expect(() => createFactReader({ ...gatebell })).toThrow(TypeError);
});
