/** The two kinds of bars: a figure that must be at least, or at most, so much. */
import type { Bar, Findings } from './experiment.js';

type Figure = (findings: Findings) => number | null;

function bar(name: string, target: string, figure: Figure, isMet: (value: number) => boolean): Bar {
  return {
    name,
    target,
    measure(findings) {
      const value = figure(findings);
      return value === null ? null : { value, met: isMet(value) };
    },
  };
}

/** @param figure null if it was not measured */
export function atLeast(name: string, least: number, figure: Figure): Bar {
  return bar(name, `≥ ${least}`, figure, value => value >= least);
}

/** @param figure null if it was not measured */
export function atMost(name: string, most: number, figure: Figure): Bar {
  return bar(name, `≤ ${most}`, figure, value => value <= most);
}
