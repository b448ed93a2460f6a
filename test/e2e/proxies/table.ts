/**
 * The table proxy × behaviour of docs/proxies.md: made of the results of the tests, and read again to be compared with
 * them.
 */
import type { Behaviour } from './behaviours.js';
import { markdownTable, readMarked, replaceMarked } from '../../support/marked-table.js';
import type { TestProxy } from '../../support/proxies/proxy.js';

/** A test's result in the JSON that vitest writes. */
export interface TestResult {
  readonly ancestorTitles: readonly string[];
  readonly title: string;
  readonly status: string;
  readonly meta?: { readonly told?: string };
}

export const BEGIN = '<!-- made by npm run proxies:report -->';

/** The cell of a test that passed and had nothing to add. */
const PASSED = 'yes';

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
  return markdownTable([
    ['behaviour', ...proxies.map(columnOf)],
    ...behaviours.map(({ title }) => [title, ...proxies.map(({ name }) => cell(name, title))]),
  ]);
}

export const replaceTable = (page: string, table: string): string => replaceMarked(page, BEGIN, table);

/** The cells of the table, row by row, the first being the heads. */
export const readTable = (page: string): readonly (readonly string[])[] => readMarked(page, BEGIN);
