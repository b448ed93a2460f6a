/** The table race × library: for the terminal, and for docs/races.md. */
import { markdownTable } from '../../test/support/marked-table.js';
import type { RaceResults } from './results.js';
import type { Cell } from './suite.js';

export const BEGIN = '<!-- made by npm run races:report -->';

/** What the table says of a race and a library; `keeps` is how long a value that was kept stays. */
export function tellCell(cell: Cell, keeps: string, strong: (text: string) => string = text => text): string {
  if ('lacks' in cell) {
    return cell.lacks;
  }
  const { rounds, stale, kept, failed } = cell;
  const errors = failed === 0 ? '' : `, ${failed} errors`;
  const count = `${stale} of ${rounds}`;
  return stale === 0 ? count + errors : `${strong(count)}, ${kept > 0 ? keeps : 'that answer alone'}${errors}`;
}

function rowsOf({ libraries, versions, races }: RaceResults, strong?: (text: string) => string): string[][] {
  return [
    ['stale in', ...libraries.map(({ name }) => `${name} ${versions[name] ?? ''}`.trimEnd())],
    ...races.map(({ title, cells }) => [
      title,
      ...cells.map((cell, index) => tellCell(cell, libraries[index]!.keeps, strong)),
    ]),
  ];
}

/** For the terminal: a paragraph for each race, a line for each library. */
export function formatRaces(results: RaceResults): string {
  const [[, ...heads] = [], ...rows] = rowsOf(results);
  const width = Math.max(...heads.map(head => head.length));
  return rows
    .map(([title, ...cells]) =>
      [title, ...cells.map((cell, index) => `  ${heads[index]!.padEnd(width)}  ${cell}`)].join('\n'),
    )
    .join('\n\n');
}

/** For docs/races.md. */
export function renderRaces(results: RaceResults): string {
  const { date, commit, node, rounds, seed, seconds } = results;
  const at = commit === null ? '' : ` at ${commit}`;
  return [
    markdownTable(rowsOf(results, text => `**${text}**`)),
    `Raced ${date.slice(0, 10)}${at}: ${rounds} rounds of seed ${seed} in ${seconds} s, on Node ${node}.`,
  ].join('\n\n');
}

/** Races in which a library gave a stale answer, or none. */
export function lostBy({ libraries, races }: RaceResults, name: string): string[] {
  const column = libraries.findIndex(library => library.name === name);
  return races
    .filter(({ cells }) => {
      const cell = cells[column];
      return cell === undefined || (!('lacks' in cell) && cell.stale + cell.failed > 0);
    })
    .map(({ title }) => title);
}
