/** The table of docs/configuration.md says what the declarations of the settings say. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { variablesOf, type Setting } from '../../../src/config/setting.js';
import { SETTINGS } from '../../../src/config/settings.js';

const page = readFileSync(fileURLToPath(new URL('../../../docs/configuration.md', import.meta.url)), 'utf8');
const table = /^## Settings\n[^|]*((?:\|.*\n)+)/m.exec(page)?.[1] ?? '';

const code = (text: string): string => `\`${text}\``;

function rowOf(setting: Setting): string {
  const { computed, fallback, help, allowed } = setting;
  const shown = computed ?? (fallback === undefined ? 'none' : code(fallback));
  const cells = [variablesOf(setting).map(code).join(', '), shown, help, allowed];
  return `| ${cells.join(' | ')} |`;
}

test('docs/configuration.md has a row for each setting, in order: variables, default, help, values', () => {
  const rows = [
    '| variable | default | what it is | allowed |',
    '|---|---|---|---|',
    ...Object.values(SETTINGS).map(rowOf),
  ];
  expect(table.trimEnd().split('\n')).toEqual(rows);
});
