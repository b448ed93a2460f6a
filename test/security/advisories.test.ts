/** Every class of PROXIES' holes has its test, and `docs/security-tests.md` says where. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ADVISORIES } from './advisories.js';

const here = new URL('.', import.meta.url);
const DESCRIBE = /\bdescribe(?:\.each\([^\n]*\))?\(\s*'([^'\n]+)'/g;

/** Titles of the blocks of this suite, and their files. */
const BLOCKS = readdirSync(here)
  .filter(file => file.endsWith('.test.ts'))
  .flatMap(file =>
    [...readFileSync(new URL(file, here), 'utf8').matchAll(DESCRIBE)].map(([, title]) => ({ file, title: title! })),
  );

const filesOf = (name: string, ids: readonly string[]): readonly string[] =>
  BLOCKS.filter(({ title }) => title.startsWith(`${name} (${ids.join(', ')})`)).map(({ file }) => file);

test.each(Object.entries(ADVISORIES))('%s is tested, under the names of its advisories', (name, ids) => {
  expect(filesOf(name, ids)).toHaveLength(1);
});

test('docs/security-tests.md says where', () => {
  const rows = Object.entries(ADVISORIES).map(
    ([name, ids]) => `| ${name} | ${ids.join(', ')} | \`test/security/${filesOf(name, ids).join()}\` |`,
  );
  const table = ['| class of holes | seen as | its tests |', '| --- | --- | --- |', ...rows].join('\n');
  const docs = readFileSync(fileURLToPath(new URL('../../docs/security-tests.md', here)), 'utf8');
  // Prettier pads the columns.
  const unpadded = docs.replace(/ +\|/g, ' |').replace(/\| -+/g, '| ---');
  expect(unpadded).toContain(table);
});
