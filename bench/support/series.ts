/** Collects series while an experiment runs, value by value. */
import type { Series } from '../experiment.js';

export interface SeriesLog {
  readonly all: readonly Series[];
  /** Adds a round to a series, which begins with its first one. */
  add(series: Omit<Series, 'rounds'>, value: number): void;
}

/** Creates an empty log. */
export function createSeriesLog(): SeriesLog {
  const byName = new Map<string, Series & { readonly rounds: number[] }>();
  return {
    get all() {
      return [...byName.values()];
    },
    add(series, value) {
      const name = JSON.stringify([series.scenario, series.metric, series.variant]);
      const known = byName.get(name);
      if (known === undefined) {
        byName.set(name, { ...series, rounds: [value] });
      } else {
        known.rounds.push(value);
      }
    },
  };
}
