/** A histogram that is observed on every request: plain numbers, made into series at the scrape. */
import type { Metric, Registry } from 'prom-client';

export interface PlainHistogram {
  observe(value: number): void;
}

/** Its name, its help and its buckets. */
export interface PlainHistogramOptions {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, the least first. */
  readonly buckets: readonly number[];
}

/** Creates a histogram without labels, and registers it. */
export function createPlainHistogram(
  { name, help, buckets }: PlainHistogramOptions,
  registry: Registry,
): PlainHistogram {
  const counts = new Float64Array(buckets.length + 1);
  let sum = 0;

  const get = (): Promise<object> => {
    let count = 0;
    const values = [...buckets, '+Inf'].map((le, index) => {
      count += counts[index]!;
      return { metricName: `${name}_bucket`, labels: { le }, value: count };
    });
    return Promise.resolve({
      name,
      help,
      type: 'histogram',
      aggregator: 'sum',
      values: [
        ...values,
        { metricName: `${name}_sum`, labels: {}, value: sum },
        { metricName: `${name}_count`, labels: {}, value: count },
      ],
    });
  };
  // A registry needs of a metric what is called here; its own aggregation registers such objects, too.
  registry.registerMetric({ name, get } as unknown as Metric);

  return {
    observe(value) {
      let bucket = 0;
      while (bucket < buckets.length && value > buckets[bucket]!) {
        bucket += 1;
      }
      counts[bucket]! += 1;
      sum += value;
    },
  };
}
