/** What the rounds of a series come to: its middle, its spread, and how it compares. */
import { median, medianRatio, type Findings, type Series } from './experiment.js';

/** A series in short. */
export interface Summary {
  readonly series: Series;
  readonly median: number;
  /** Half of the rounds lie between these two. */
  readonly quartiles: readonly [number, number];
  /**
   * The first variant of the same scenario and metric, divided by this one, round by round: the median of that. Null
   * for the first itself, and where a division says nothing.
   */
  readonly ratio: number | null;
}

/** The quantile, interpolated. @param q from 0 to 1 */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}

/** The items by what `nameOf` calls them, each group in its order. */
export function groupBy<T>(items: readonly T[], nameOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = nameOf(item);
    const group = groups.get(name);
    if (group === undefined) {
      groups.set(name, [item]);
    } else {
      group.push(item);
    }
  }
  return groups;
}

/** All series in short, those of one scenario and metric together, in the order in which they were first seen. */
export function summarise({ series }: Findings): Summary[] {
  const measured = series.filter(({ rounds }) => rounds.length > 0);
  const groups = groupBy(measured, ({ scenario, metric }) => JSON.stringify([scenario, metric]));
  return [...groups.values()].flatMap(group =>
    group.map(one => {
      const first = group[0]!;
      const isComparable = one !== first && one.rounds.length === first.rounds.length;
      const ratio = isComparable ? medianRatio(first, one) : null;
      return {
        series: one,
        median: median(one.rounds),
        quartiles: [quantile(one.rounds, 0.25), quantile(one.rounds, 0.75)],
        ratio: ratio !== null && Number.isFinite(ratio) ? ratio : null,
      };
    }),
  );
}

/** A number as a reader wants it: three digits that count, or all before the point. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) {
    return '—';
  }
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en', { maximumFractionDigits: Math.min(digits, 6) });
}
