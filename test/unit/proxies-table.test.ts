/** The table of docs/proxies.md has the proxies and behaviours of the suite, and tells of failures. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { NEIGHBOURS } from '../e2e/neighbours/behaviours.js';
import { BEHAVIOURS } from '../e2e/proxies/behaviours.js';
import { BEGIN, columnOf, readTable, renderTable, replaceTable } from '../e2e/proxies/table.js';
import { END } from '../support/marked-table.js';
import { PROXIES } from '../support/proxies/index.js';

const ROWS = [...BEHAVIOURS, ...NEIGHBOURS];

describe('docs/proxies.md', () => {
  const table = readTable(readFileSync(new URL('../../docs/proxies.md', import.meta.url), 'utf8'));
  const [heads = [], ...rows] = table;

  test('has a column for each proxy, and a row for each behaviour, in the order of the suite', () => {
    expect(heads.slice(1)).toEqual(PROXIES.map(columnOf));
    expect(rows.map(([title]) => title)).toEqual(ROWS.map(({ title }) => title));
  });

  test('has no cell that is empty, failed, or was not run', () => {
    const cells = rows.flatMap(([, ...results]) => results);
    expect(cells).toHaveLength(ROWS.length * PROXIES.length);
    expect(cells.filter(cell => ['', 'FAILS', 'NOT RUN'].includes(cell))).toEqual([]);
  });
});

test('titles are told apart, and fit into a cell', () => {
  const titles = ROWS.map(({ title }) => title);
  expect(new Set(titles).size).toBe(titles.length);
  expect(titles.filter(title => title.includes('|'))).toEqual([]);
});

describe('the table', () => {
  const proxies = [
    { name: 'nginx', kind: 'real' },
    { name: 'Envoy', kind: 'conformance' },
  ] as const;
  const behaviours = [{ title: 'allows' }, { title: 'denies' }];
  const made = renderTable(proxies, behaviours, [
    { ancestorTitles: ['nginx'], title: 'allows', status: 'passed', meta: {} },
    { ancestorTitles: ['nginx'], title: 'denies', status: 'passed', meta: { told: '403' } },
    { ancestorTitles: ['Envoy'], title: 'allows', status: 'failed', meta: { told: '200' } },
  ]);

  test('says what passed, what was told, what failed and what was not run', () => {
    expect(readTable(replaceTable(`${BEGIN}old${END}`, made))).toEqual([
      ['behaviour', 'nginx', 'Envoy †'],
      ['allows', 'yes', 'FAILS'],
      ['denies', '403', 'NOT RUN'],
    ]);
  });

  test('replaces the one that was there, and nothing around it', () => {
    const page = replaceTable(`before\n${BEGIN}\n| old |\n${END}\nafter`, made);
    expect(page).not.toContain('old');
    expect(page).toMatch(/^before\n[^]*\nafter$/);
    expect(() => replaceTable('no marks', made)).toThrow(/no table between/);
  });
});
