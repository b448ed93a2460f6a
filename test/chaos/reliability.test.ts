/**
 * docs/reliability.md says what is so: its commands are run by CI, its table is the recorded run's, what it names is
 * there.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { Result } from './chaos.js';
import { NEMESES } from './nemeses/index.js';
import { formatSummary, formatTable } from './table.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const file = (name: string): string => readFileSync(path.join(root, name), 'utf8');
const page = file('docs/reliability.md');
const recorded = JSON.parse(file('test/chaos/longest-run.json')) as { ok: boolean; results: readonly Result[] };

test('every command stands in .ci/run and is a script of the package', () => {
  const commands = [...page.matchAll(/^```sh\n([^]*?)^```/gm)].flatMap(([, block]) => block!.trim().split('\n'));
  expect(commands.length).toBeGreaterThan(0);
  const { scripts } = JSON.parse(file('package.json')) as { scripts: Record<string, string> };
  for (const command of commands) {
    expect(file('.ci/run').split('\n')).toContain(command);
    expect(scripts).toHaveProperty(/^npm run (\w+)/.exec(command)?.[1] ?? 'none');
  }
});

test('the table is that of the recorded run, which met every nemesis and was clean', () => {
  expect(recorded.ok).toBe(true);
  expect(recorded.results.map(({ nemesis }) => nemesis)).toEqual(NEMESES.map(({ name }) => name));
  expect(recorded.results.flatMap(({ problems }) => problems)).toEqual([]);
  expect(page).toContain(formatTable(recorded.results));
  expect(page).toContain(formatSummary(recorded.results));
});

test('the page says what each nemesis does', () => {
  for (const { name, does } of NEMESES) {
    expect(page).toContain(`- \`${name}\`: ${does}`);
  }
});

test('every file and folder that is named is there', () => {
  const named = [...page.matchAll(/`((?:test|src|docs)\/[^`]*)`/g)].map(([, name]) => name!);
  const linked = [...page.matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, link]) => path.join('docs', link!));
  expect(named.length).toBeGreaterThan(0);
  expect([...named, ...linked].filter(name => !existsSync(path.join(root, name)))).toEqual([]);
});
