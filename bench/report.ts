/**
 * Makes docs/performance.md and the pages and charts of docs/performance/ of the results:
 * `npm run bench:report [folder of the results]`.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { EXPERIMENTS } from './experiments/index.js';
import { createPages, PAGES_FOLDER } from './page.js';
import { readResults, RESULTS_DIRECTORY } from './results.js';

const DOCS = 'docs';

const pages = await createPages(await readResults(process.argv[2] ?? RESULTS_DIRECTORY, EXPERIMENTS));
await rm(path.join(DOCS, PAGES_FOLDER), { recursive: true, force: true });
for (const [file, text] of pages) {
  const target = path.join(DOCS, file);
  await mkdir(path.dirname(target), { recursive: true });
  await writeFile(target, text);
}
console.log(`${pages.size} files of ${DOCS}/`);
