/** Puts the table of the races into docs/races.md: `npm run races:report`. */
import { readFile, writeFile } from 'node:fs/promises';
import { format } from 'prettier';
import { replaceMarked } from '../../test/support/marked-table.js';
import { RESULTS_DIRECTORY } from '../results.js';
import { readRaceResults } from './results.js';
import { BEGIN, renderRaces } from './table.js';

const PAGE = 'docs/races.md';

const table = renderRaces(await readRaceResults(RESULTS_DIRECTORY));
const made = replaceMarked(await readFile(PAGE, 'utf8'), BEGIN, table);
await writeFile(PAGE, await format(made, { parser: 'markdown', proseWrap: 'preserve', printWidth: 120 }));
console.log(PAGE);
