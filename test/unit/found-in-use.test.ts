/** Every fault that was found in use has its tests, and the page that lists it names them. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { FOUND_IN_USE, type FoundInUse } from '../support/found-in-use.js';

const file = (name: string): string => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), 'utf8');

test.each(FOUND_IN_USE.map(({ fault, tests }) => [fault, tests] as const))('%s: its tests are there', (_, tests) => {
  expect(tests.length).toBeGreaterThan(0);
  for (const [name, title] of tests) {
    // A title that is too long for one line of code stands in two.
    expect(file(name).replace(/'\s*\+\s*'/g, ''), name).toContain(title);
  }
});

test.each(['docs/reliability.md', 'docs/security-tests.md'] as const)('%s lists them', (page: FoundInUse['page']) => {
  const rows = FOUND_IN_USE.filter(fault => fault.page === page).map(
    ({ fault, tests }) => `| ${fault} | ${[...new Set(tests.map(([name]) => `\`${name}\``))].join(', ')} |`,
  );
  // Prettier pads the columns.
  const unpadded = file(page).replace(/ +\|/g, ' |').replace(/\| -+/g, '| ---');
  expect(unpadded).toContain(['| found in use | its tests |', '| --- | --- |', ...rows].join('\n'));
});
