import { BlockList } from 'node:net';
import { describe, expect, test } from 'vitest';
import { clientNetwork } from '../../../../src/auth/request/client-address.js';
import { singleHeaders } from '../../../../src/auth/request/headers.js';
import { heapMiB } from '../../../support/heap.js';

const trusted = new BlockList();
trusted.addSubnet('10.0.0.0', 8);
trusted.addAddress('::1', 'ipv6');

function networkOf(...values: readonly string[]): string | null {
  return clientNetwork(singleHeaders(values.flatMap(value => ['X-Forwarded-For', value])), 'x-forwarded-for', trusted);
}

describe('the client of a request', () => {
  test.each([
    ['192.0.2.7', '192.0.2.7'],
    ['192.0.2.7, 10.1.2.3', '192.0.2.7'],
    ['192.0.2.7,10.1.2.3 ,  ::1', '192.0.2.7'],
    ['198.51.100.1, 192.0.2.7, 10.1.2.3', '192.0.2.7'],
    ['192.0.2.7, 127.0.0.1', '192.0.2.7'],
    ['192.0.2.7, 127.9.9.9, 10.1.2.3, ::1', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
  ])('told as %j is at %s: the rightmost that is no proxy of ours', (told, network) => {
    expect(networkOf(told)).toBe(network);
  });

  test.each([
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::', '2001:db8:1:2'],
    ['2001:0db8:0001:0002:ffff:ffff:ffff:ffff', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['2001:db8:0:0:0:0:0:9', '2001:db8:0:0'],
    ['::', '0:0:0:0'],
  ])('with IPv6 is its network of 64 bits: %s', (told, network) => {
    expect(networkOf(told)).toBe(network);
  });

  test('is not known where the proxy tells nothing of it, or nothing that is an address', () => {
    expect(networkOf()).toBeNull();
    for (const told of ['', 'unknown', 'unix:', '192.0.2.7:80', '192.0.2', 'fe80::1%eth0', '[::1]', '1.2.3.4, x']) {
      expect(networkOf(told), told).toBeNull();
    }
  });

  test('is not known where all that is told are proxies: what stands left of them may be made up', () => {
    for (const told of ['10.1.1.1', '10.1.1.1, 10.1.2.3', '127.0.0.1', '10.1.1.1, ::1']) {
      expect(networkOf(told), told).toBeNull();
    }
  });

  test('who tells it twice is one with all who do', () => {
    expect(networkOf('192.0.2.7', '192.0.2.8')).toBe('');
  });

  test('a claim to the left of what the proxy saw is never looked at', () => {
    expect(networkOf('not an address, 192.0.2.7')).toBe('192.0.2.7');
  });
});

test('a client that is remembered keeps nothing of the header that told of it', () => {
  const before = heapMiB();
  const networks = Array.from({ length: 2_000 }, (_, n) => {
    // As Node gives it, in memory of its own.
    const told = `${'x'.repeat(50_000)}, 203.100.${100 + (n >> 7)}.${100 + (n & 127)}`;
    return networkOf(Buffer.from(told).toString('latin1'));
  });
  expect(heapMiB() - before).toBeLessThan(20);
  expect(networks[0]).toBe('203.100.100.100');
});
