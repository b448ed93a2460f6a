/** The results as a table: aligned columns, in Markdown, so that it can be read as it is and pasted. */
import type { Result } from './chaos.js';

const COLUMNS: readonly (readonly [string, (result: Result) => string])[] = [
  ['nemesis', ({ nemesis }) => nemesis],
  ['in force (s)', ({ seconds }) => seconds.toFixed(1)],
  ['commits', ({ commits }) => String(commits)],
  ['decisions checked', ({ decisions }) => String(decisions)],
  ['of them strong', ({ strongDecisions }) => String(strongDecisions)],
  ['503s', ({ unavailable }) => String(unavailable)],
  ['violations', ({ violations }) => String(violations)],
  ['worst staleness (ms)', ({ worstStalenessMs }) => worstStalenessMs.toFixed(0)],
  ['time to recover (ms)', ({ recoverMs }) => recoverMs.toFixed(0)],
];

export function formatTable(results: readonly Result[]): string {
  const rows = [COLUMNS.map(([title]) => title), ...results.map(result => COLUMNS.map(([, text]) => text(result)))];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const aligned = (cells: readonly string[]): string =>
    line(cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))));
  const rule = line(widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)));
  return [aligned(rows[0]!), rule, ...rows.slice(1).map(aligned)].join('\n');
}

/** The sums that tell how much was checked. */
export function formatSummary(results: readonly Result[]): string {
  const sum = (count: (result: Result) => number): number =>
    results.reduce((total, result) => total + count(result), 0);
  const worst = Math.max(...results.map(({ worstStalenessMs }) => worstStalenessMs));
  return (
    `${results.length} nemeses, ${sum(({ commits }) => commits)} commits, ${sum(({ decisions }) => decisions)} ` +
    `decisions checked, ${sum(({ violations }) => violations)} violations, worst staleness ${worst.toFixed(0)} ms`
  );
}
