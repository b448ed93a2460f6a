/** The table proxy × behaviour of docs/proxies.md: made of the results of the tests, and read again to be compared with them. */
import type { Behaviour } from './behaviours.js';
import type { TestProxy } from '../../support/proxies/proxy.js';

/** A test's result in the JSON that vitest writes. */
export interface TestResult {
  readonly ancestorTitles: readonly string[];
  readonly title: string;
  readonly status: string;
  readonly meta?: { readonly told?: string };
}

export const BEGIN = '<!-- made by npm run proxies:report -->';
export const END = '<!-- end -->';

/** What a cell says of a test that passed and had nothing to tell. */
const PASSED = 'yes';

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** How a proxy is called in the table; a dagger means that it is no running program. */
export const columnOf = ({ name, kind }: Pick<TestProxy, 'name' | 'kind'>): string =>
  kind === 'real' ? name : `${name} †`;

/** Makes the table. A test that is not there, or did not pass, says so in its cell. */
export function renderTable(
  proxies: readonly Pick<TestProxy, 'name' | 'kind'>[],
  behaviours: readonly Pick<Behaviour, 'title'>[],
  results: readonly TestResult[],
): string {
  const cell = (proxy: string, title: string): string => {
    const result = results.find(({ ancestorTitles, title: of }) => ancestorTitles.includes(proxy) && of === title);
    if (result === undefined) {
      return 'NOT RUN';
    }
    return result.status === 'passed' ? (result.meta?.told ?? PASSED) : 'FAILS';
  };
  return [
    row(['behaviour', ...proxies.map(columnOf)]),
    row(['---', ...proxies.map(() => '---')]),
    ...behaviours.map(({ title }) => row([title, ...proxies.map(({ name }) => cell(name, title))])),
  ].join('\n');
}

/** Where the table is in a page. @throws when it is not marked */
function placeOf(page: string): { readonly from: number; readonly to: number } {
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  if (from === -1 || to < from) {
    throw new Error(`no table between ${BEGIN} and ${END}`);
  }
  return { from: from + BEGIN.length, to };
}

export function replaceTable(page: string, table: string): string {
  const { from, to } = placeOf(page);
  return `${page.slice(0, from)}\n\n${table}\n\n${page.slice(to)}`;
}

/** The cells of the table, row by row, the first being the heads. */
export function readTable(page: string): readonly (readonly string[])[] {
  const { from, to } = placeOf(page);
  return page
    .slice(from, to)
    .split('\n')
    .filter(line => line.startsWith('|') && !/^\|[\s|:-]+\|$/.test(line))
    .map(line =>
      line
        .slice(1, -1)
        .split('|')
        .map(text => text.trim()),
    );
}
