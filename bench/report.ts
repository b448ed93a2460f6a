/** Makes docs/performance.md and docs/charts/ of the results: `npm run bench:report [folder of the results]`. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { EXPERIMENTS } from './experiments/index.js';
import { createPage } from './page.js';
import { readResult, RESULTS_DIRECTORY } from './results.js';

const PAGE = 'docs/performance.md';
const CHARTS = 'docs/charts';

const directory = process.argv[2] ?? RESULTS_DIRECTORY;
const measured = [];
for (const experiment of EXPERIMENTS) {
  measured.push({ experiment, result: await readResult(directory, experiment.name) });
}
const { markdown, charts } = createPage(measured);
await rm(CHARTS, { recursive: true, force: true });
await mkdir(CHARTS, { recursive: true });
for (const [file, svg] of charts) {
  await writeFile(path.join(CHARTS, file), svg);
}
await writeFile(PAGE, markdown);
console.log(`${PAGE}, ${charts.size} charts`);
