/** The table of docs/races.md is that of bench/results/races.json, which has the races and libraries of the suite. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { gatebellCache, LIBRARIES } from '../../bench/races/libraries/index.js';
import { RACES } from '../../bench/races/races.js';
import { readRaceResults, versionsOf, type RaceResults } from '../../bench/races/results.js';
import { BEGIN, formatRaces, lostBy, renderRaces, tellCell } from '../../bench/races/table.js';
import { RESULTS_DIRECTORY } from '../../bench/results.js';
import { END, readMarked } from '../support/marked-table.js';

const PAGE = readFileSync(new URL('../../docs/races.md', import.meta.url), 'utf8');

describe('docs/races.md', async () => {
  const results = await readRaceResults(RESULTS_DIRECTORY);

  test('has the table of bench/results/races.json', () => {
    const made = renderRaces(results);
    expect(readMarked(PAGE, BEGIN)).toEqual(readMarked(`${BEGIN}\n${made}\n${END}`, BEGIN));
    expect(PAGE).toContain(made.slice(made.lastIndexOf('\n') + 1));
  });

  test('has a row for each race and a column for each library of the suite, in the version that is installed', () => {
    expect(results.races.map(({ name, title }) => [name, title])).toEqual(
      RACES.map(({ name, title }) => [name, title]),
    );
    expect(results.libraries).toEqual(LIBRARIES.map(({ name, keeps }) => ({ name, keeps })));
    expect(results.versions).toEqual(versionsOf(LIBRARIES));
  });

  test('says that gatebell/cache lost no race', () => {
    expect(lostBy(results, gatebellCache.name)).toEqual([]);
  });

  test('explains each race in a paragraph, and links what of its documentation each library is used by', () => {
    const explained = [...PAGE.matchAll(/^- \*\*(.+?)\*\*/gms)].map(([, title]) => title!.replaceAll(/\s+/g, ' '));
    for (const { title } of RACES) {
      expect(explained.map(text => text.toLowerCase())).toContain(`${title}.`);
    }
    const followed = LIBRARIES.flatMap(({ docs }) => docs);
    expect(followed.filter(link => !PAGE.includes(`(${link})`))).toEqual([]);
  });
});

describe('a cell', () => {
  const cell = { rounds: 9, stale: 0, kept: 0, failed: 0 };

  test.each([
    [{ lacks: 'has none' }, 'has none'],
    [cell, '0 of 9'],
    [{ ...cell, failed: 2 }, '0 of 9, 2 errors'],
    [{ ...cell, stale: 4 }, '*4 of 9*, that answer alone'],
    [{ ...cell, stale: 4, kept: 1, failed: 1 }, '*4 of 9*, until it expires, 1 errors'],
  ])('%j is told as %s', (value, text) => {
    expect(tellCell(value, 'until it expires', count => `*${count}*`)).toBe(text);
  });
});

test('a library lost a race when it gave a stale answer or an error, or was not raced', () => {
  const cell = { rounds: 1, stale: 0, kept: 0, failed: 0 };
  const results: RaceResults = {
    date: '2026-01-02T03:04:05.000Z',
    commit: null,
    node: 'v20.19.0',
    rounds: 1,
    seed: '1',
    seconds: 2,
    libraries: [{ name: 'one', keeps: 'for ever' }],
    versions: { one: '1.0.0' },
    races: [
      { name: 'a', title: 'won', cells: [cell] },
      { name: 'b', title: 'stale', cells: [{ ...cell, stale: 1 }] },
      { name: 'c', title: 'failed', cells: [{ ...cell, failed: 1 }] },
      { name: 'd', title: 'not raced', cells: [] },
      { name: 'e', title: 'has none', cells: [{ lacks: 'has none' }] },
    ],
  };
  expect(lostBy(results, 'one')).toEqual(['stale', 'failed', 'not raced']);
  expect(formatRaces({ ...results, races: results.races.slice(0, 1) })).toBe('won\n  one 1.0.0  0 of 1');
});
