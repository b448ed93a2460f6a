/** Findings and bars as text, for a terminal. */
import type { Experiment, Findings } from './experiment.js';
import { formatNumber, summarise } from './statistics.js';

/** One bar, and how it stands. */
export interface Verdict {
  readonly name: string;
  readonly target: string;
  /** Null if it was not measured. */
  readonly value: number | null;
  readonly met: boolean;
}

/** Judges the bars of an experiment; with null for findings, none was measured. */
export function judge({ bars }: Experiment, findings: Findings | null): Verdict[] {
  return bars.map(bar => {
    const measured = findings === null ? null : bar.measure(findings);
    // A figure that is no number (nothing was divided by nothing) has not been measured.
    const value = measured === null || !Number.isFinite(measured.value) ? null : measured.value;
    return { name: bar.name, target: bar.target, value, met: value !== null && measured?.met === true };
  });
}

/** Lines up the columns: the first ones to the left, numbers to the right. */
function columns(rows: readonly (readonly string[])[], left: number): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  return rows
    .map(row =>
      row
        .map((cell, column) => (column < left ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Median, quartiles and ratio of each series. */
export function formatFindings(findings: Findings): string {
  const rows = summarise(findings).map(({ series, median, quartiles, ratio }) => [
    series.scenario,
    series.metric,
    series.variant,
    `${formatNumber(median)} ${series.unit}`.trimEnd(),
    `${formatNumber(quartiles[0])} – ${formatNumber(quartiles[1])}`,
    ratio === null ? '' : formatNumber(ratio),
  ]);
  const notes = findings.notes.map(note => `  ${note}`).join('\n');
  return `${columns([['scenario', 'metric', 'variant', 'median', 'quartiles', 'first ÷ this'], ...rows], 3)}\n${notes}`;
}

/** Every bar: its target, what was measured, and whether it is met. */
export function formatVerdicts(verdicts: readonly Verdict[]): string {
  return columns(
    [
      ['', 'bar', 'target', 'measured'],
      ...verdicts.map(({ name, target, value, met }) => [
        met ? 'met' : value === null ? 'NOT MEASURED' : 'MISSED',
        name,
        target,
        value === null ? '—' : formatNumber(value),
      ]),
    ],
    2,
  );
}
