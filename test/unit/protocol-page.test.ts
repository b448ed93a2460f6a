/** docs/protocol.md is the protocol as it is: its rules are those that the source cites, and what it names is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { TRANSITIONS, type ListenerEvent } from '../../src/coherence/proof/listener-states.js';
import { DOWN_CAUSES, type ListenerState } from '../../src/coherence/observation.js';
import { MUTANTS } from '../sim/mutants.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const filesIn = (folder: string, ending: string): string[] =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith(ending))
    .map(file => `${folder}/${file.replaceAll(path.sep, '/')}`);

const page = text('docs/protocol.md');
/** P0 is a class of Postgres' error codes. */
const citedIn = (file: string): string[] => text(file).match(/\bP[1-9]\d*\b/g) ?? [];
const codeSpans = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
const cellsOf = (line: string): string[] => line.split(' | ').map(cell => cell.replace(/^\| | \|$/g, ''));

interface Rule {
  readonly id: string;
  readonly cells: readonly string[];
  readonly keptBy: readonly string[];
  readonly mutants: readonly string[];
  readonly tests: readonly { readonly file: string; readonly title: string }[];
}

const rules = page
  .split('\n')
  .filter(line => line.startsWith('| **P'))
  .map((line): Rule => {
    const cells = cellsOf(line);
    const [rule = '', , keptBy = '', seenBy = ''] = cells;
    return {
      id: /^\*\*(P\d+)\*\* /.exec(rule)?.[1] ?? '',
      cells,
      keptBy: codeSpans(keptBy),
      mutants: codeSpans(seenBy).filter(code => !code.startsWith('test/')),
      tests: [...seenBy.matchAll(/`(test\/[^`]+)`((?:,? “[^”]+”)*)/g)].flatMap(([, file, titles]) =>
        [...(titles ?? '').matchAll(/“([^”]+)”/g)].map(([, title]) => ({ file: file!, title: title! })),
      ),
    };
  });
const names = MUTANTS.map(({ name }) => name);

describe('the rules', () => {
  test('are numbered without a gap, each once', () => {
    const ids = rules.map(({ id }) => Number(id.slice(1))).sort((one, other) => one - other);
    expect(ids).toEqual(ids.map((_, index) => index + 1));
    expect(ids.length).toBeGreaterThan(30);
  });

  test('are those that sources and tests cite', () => {
    for (const file of [...filesIn('src', '.ts'), ...filesIn('test', '.ts'), ...filesIn('migrations', '.sql')]) {
      expect(
        rules.map(({ id }) => id),
        file,
      ).toEqual(expect.arrayContaining(citedIn(file)));
    }
  });

  describe.each(rules)('$id', ({ id, cells, keptBy, mutants, tests }) => {
    test('says what, why, by what it is kept, by what it is seen, and what happens without it', () => {
      expect(cells).toHaveLength(5);
      expect(cells.filter(cell => cell.trim() === '')).toEqual([]);
    });

    test('is kept by files that are there, of which at least one cites it', () => {
      expect(keptBy.filter(file => !existsSync(path.join(root, file)))).toEqual([]);
      expect(keptBy.filter(file => citedIn(file).includes(id))).not.toEqual([]);
    });

    test('is seen by mutants and tests that are there', () => {
      expect(mutants.length + tests.length).toBeGreaterThan(0);
      expect(mutants.filter(name => !names.includes(name))).toEqual([]);
      for (const { file, title } of tests) {
        // A title that is too long for one line of code stands in two.
        expect(text(file).replace(/'\s*\+\s*'/g, ''), file).toContain(title);
      }
    });

    test('names the title of every test that it counts on', () => {
      expect(new Set(tests.map(({ file }) => file))).toEqual(
        new Set(codeSpans(cells[3] ?? '').filter(code => code.startsWith('test/'))),
      );
    });
  });
});

test('every mistake of the simulation breaks a rule, or stands under the other mistakes', () => {
  const others = codeSpans(/### Other mistakes\n([^]*?)\n## /.exec(page)?.[1] ?? '');
  const shown = rules.flatMap(({ mutants }) => mutants);
  expect(names.filter(name => !shown.includes(name) && !others.includes(name))).toEqual([]);
  expect(others.filter(name => shown.includes(name) || (!names.includes(name) && !name.startsWith('test/')))).toEqual(
    [],
  );
});

describe('the states of the listener', () => {
  const states = Object.keys(TRANSITIONS) as ListenerState[];
  const events = Object.keys(TRANSITIONS.down) as ListenerEvent[];
  const code = (word: string): string => `\`${word}\``;

  test('are shown as the code has them', () => {
    const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
    const lines = [
      row(['event', ...states.map(code)]),
      `|${'---|'.repeat(states.length + 1)}`,
      ...events.map(event => {
        const nexts = states.map(state => TRANSITIONS[state][event]);
        return row([code(event), ...nexts.map(next => (next === 'impossible' ? '–' : code(next)))]);
      }),
    ];
    expect(page).toContain(`<!-- transitions -->\n\n${lines.join('\n')}\n\n<!-- /transitions -->`);
  });

  test.each([...Object.keys(TRANSITIONS), ...DOWN_CAUSES])('%s has its row', name => {
    expect(page).toMatch(new RegExp(`^\\| \`${name}\` \\| [A-Z].*\\.( \\|.*)? \\|$`, 'm'));
  });

  test.each(events)('the event %s is explained', event => {
    expect(page.slice(page.indexOf('<!-- /transitions -->'))).toContain(code(event));
  });
});

test.each(['fact', 'signal', 'flight', 'fence', 'proof', 'lease', 'epoch', 'evidence', 'barrier'])(
  'the word %s is defined once',
  word => {
    expect(page.split(`**${word}**`)).toHaveLength(2);
  },
);

test('the pages beside it are where it says', () => {
  const heading = (line: string): string =>
    line
      .replace(/^#+ /, '')
      .toLowerCase()
      .replaceAll(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-');
  for (const [, file, anchor] of page.matchAll(/\]\(([\w-]+\.md)#([\w-]+)\)/g)) {
    const headings = text(`docs/${file!}`)
      .split('\n')
      .filter(line => line.startsWith('#'))
      .map(heading);
    expect(headings, file).toContain(anchor);
  }
});
