/** Hosts in their one spelling, and what is remembered of them. */
import { expect, test } from 'vitest';
import { parseHost } from '../../../src/http/host.js';
import { heapMiB } from '../../support/heap.js';

test('a host that is remembered keeps nothing of the URL that it was read from', () => {
  const before = heapMiB();
  for (let n = 0; n < 2_000; n += 1) {
    // As nginx tells it, in memory of its own.
    const url = Buffer.from(`https://Host-number-${n}.example.test/${'x'.repeat(50_000)}`).toString('latin1');
    const [, sent] = /^https:\/\/([^/]+)/.exec(url)!;
    expect(parseHost(sent!)?.host).toBe(`host-number-${n}.example.test`);
    expect(parseHost(sent!.toLowerCase())?.wildcards).toEqual(['*.example.test', '*.test']);
  }
  expect(heapMiB() - before).toBeLessThan(20);
});

test('a letter that is not ASCII is taken for none that is', () => {
  expect(parseHost('wiki\u0161.example.test')).toBeNull();
  expect(parseHost('wi\u212ai.example.test')).toBeNull();
  expect(parseHost('wiki.example.test')?.host).toBe('wiki.example.test');
});
