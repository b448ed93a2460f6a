/** It tells what the library's own histogram tells. */
import { AggregatorRegistry, Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { createPlainHistogram } from '../../../src/ops/plain-histogram.js';

const OPTIONS = { name: 'duration_seconds', help: 'How long.', buckets: [0.1, 0.5, 2] };
const VALUES = [0, 0.05, 0.1, 0.10001, 0.5, 1, 2, 2.5, 100];

function registries(): { readonly plain: Registry; readonly own: Registry } {
  const [plain, own] = [new Registry(), new Registry()];
  const histogram = createPlainHistogram(OPTIONS, plain);
  const reference = new Histogram({ ...OPTIONS, registers: [own] });
  for (const value of VALUES) {
    histogram.observe(value);
    reference.observe(value);
  }
  return { plain, own };
}

test('as text', async () => {
  const { plain, own } = registries();
  expect(await plain.metrics()).toBe(await own.metrics());
});

test('added up with that of other processes', async () => {
  const { plain, own } = registries();
  const twice = async (registry: Registry): Promise<string> => {
    const json = await registry.getMetricsAsJSON();
    return AggregatorRegistry.aggregate([json, json]).metrics();
  };
  expect(await twice(plain)).toBe(await twice(own));
});

test('before anything was observed', async () => {
  const plain = new Registry();
  createPlainHistogram(OPTIONS, plain);
  expect(await plain.metrics()).toContain('duration_seconds_bucket{le="+Inf"} 0\nduration_seconds_sum 0\n');
});
