/**
 * What an experiment is, and what it comes to. Every figure is measured beside its baseline in the same run, round by
 * round: what is compared are the two of one round, and the result is the median of the rounds, with its spread.
 */

/**
 * One metric of one variant, a value a round. Variants of one experiment have the same number of rounds, in the same
 * order.
 */
export interface Series {
  /** What was measured: `gatebell`, `floor`, `express`. */
  readonly variant: string;
  /** In what situation: `cookie, 32 connections`; empty if there is only one. */
  readonly scenario: string;
  /** `requests per second`, `p99`. */
  readonly metric: string;
  /** `1/s`, `ms`, `bytes`. */
  readonly unit: string;
  readonly rounds: readonly number[];
}

/** What an experiment has come to. */
export interface Findings {
  readonly series: readonly Series[];
  /** What a reader must know to read the figures: versions, sizes, what was left out. */
  readonly notes: readonly string[];
}

/** How thorough to be. */
export interface Effort {
  /** All experiments together in about four minutes: fewer rounds and smaller sizes, said in the notes. */
  readonly quick: boolean;
  /** Tells what is going on. */
  readonly log: (line: string) => void;
}

/** What must hold. */
export interface Bar {
  /** As a reader would say it: `hot path, cookie, 32 connections: requests per second against the floor`. */
  readonly name: string;
  /** `≥ 0.80`. */
  readonly target: string;
  /** The figure, from the findings of its experiment; null if it was not measured. */
  measure(findings: Findings): { readonly value: number; readonly met: boolean } | null;
}

/** One question that is asked of the program, by measuring. */
export interface Experiment {
  /** A word for the command line: `hot-path`. */
  readonly name: string;
  readonly title: string;
  /** What is found out, in a sentence or two. */
  readonly about: string;
  readonly bars: readonly Bar[];
  run(effort: Effort): Promise<Findings>;
}

/** The series; null if it was not measured. */
export function seriesOf(findings: Findings, variant: string, scenario: string, metric: string): Series | null {
  return (
    findings.series.find(one => one.variant === variant && one.scenario === scenario && one.metric === metric) ?? null
  );
}

/** The middle of the values; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The median of the ratios, round by round; null if one of the two was not measured. */
export function medianRatio(one: Series | null, other: Series | null): number | null {
  if (one === null || other === null || one.rounds.length === 0) {
    return null;
  }
  return median(one.rounds.map((value, round) => value / other.rounds[round]!));
}
