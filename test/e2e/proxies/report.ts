/**
 * Puts the results of the proxies' tests into docs/proxies.md, or with `--check` fails where the page says something
 * else: `tsx test/e2e/proxies/report.ts [--check] <results in vitest's JSON>`
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { format } from 'prettier';
import { PROXIES } from '../../support/proxies/index.js';
import { NEIGHBOURS } from '../neighbours/behaviours.js';
import { BEHAVIOURS } from './behaviours.js';
import { readTable, renderTable, replaceTable, type TestResult } from './table.js';

const PAGE = 'docs/proxies.md';

interface Results {
  readonly testResults: readonly { readonly name: string; readonly assertionResults: readonly TestResult[] }[];
}

const { values, positionals } = parseArgs({ options: { check: { type: 'boolean' } }, allowPositionals: true });
const [file] = positionals;
if (file === undefined) {
  throw new Error('which results? The file that vitest wrote with --reporter=json is needed');
}
// The shape is vitest's.
const { testResults } = JSON.parse(await readFile(file, 'utf8')) as Results;
const results = testResults
  .filter(({ name }) => /\/test\/e2e\/(?:proxies|neighbours)\//.test(name))
  .flatMap(result => result.assertionResults);
const page = await readFile(PAGE, 'utf8');
const made = replaceTable(page, renderTable(PROXIES, [...BEHAVIOURS, ...NEIGHBOURS], results));

if (values.check === true) {
  const written = readTable(page).map(cells => cells.join(' | '));
  const differences = readTable(made)
    .map(cells => cells.join(' | '))
    .filter(line => !written.includes(line));
  for (const line of differences) {
    console.error(`${PAGE} says something else than: ${line}`);
  }
  process.exitCode = differences.length === 0 ? 0 : 1;
} else {
  await writeFile(PAGE, await format(made, { parser: 'markdown', proseWrap: 'preserve', printWidth: 120 }));
}
