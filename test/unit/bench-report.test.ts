/**
 * The page says what was measured: medians, spreads, ratios, bars, charts; and the command refuses what it does
 * not know.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { readArguments } from '../../bench/arguments.js';
import { atLeast, atMost } from '../../bench/bar.js';
import { drawChart } from '../../bench/chart.js';
import { medianRatio, seriesOf, type Experiment, type Findings, type Series } from '../../bench/experiment.js';
import { EXPERIMENTS } from '../../bench/experiments/index.js';
import { createPages } from '../../bench/page.js';
import { readResults, RESULTS_DIRECTORY, type Result } from '../../bench/results.js';
import { formatNumber, quantile, summarise } from '../../bench/statistics.js';
import { CHAPTERS, type Chapter } from '../../bench/story.js';
import { formatFindings, formatVerdicts, judge } from '../../bench/table.js';
import { UsageError } from '../support/usage.js';

const series = (variant: string, rounds: readonly number[], metric = 'requests per second'): Series => ({
  variant,
  scenario: 'cookie, 32 connections',
  metric,
  unit: metric === 'p99' ? 'ms' : '1/s',
  rounds,
});

const FINDINGS: Findings = {
  series: [
    series('gatebell', [80, 90, 100]),
    series('floor', [100, 100, 200]),
    series('gatebell', [1, 2, 3], 'p99'),
    series('floor', [0, 0, 0], 'p99'),
  ],
  notes: ['3 rounds of <1 s>'],
};

const ratio = (findings: Findings): number | null =>
  medianRatio(
    seriesOf(findings, 'gatebell', 'cookie, 32 connections', 'requests per second'),
    seriesOf(findings, 'floor', 'cookie, 32 connections', 'requests per second'),
  );

const EXPERIMENT: Experiment = {
  name: 'hot-path',
  title: 'Hot path',
  about: 'What an answer costs.',
  bars: [
    atLeast('against the floor', 0.8, ratio),
    atMost('at most half of it', 0.5, ratio),
    atLeast('never measured', 1, () => null),
    atLeast('nothing by nothing', 1, () => NaN),
  ],
  run: () => Promise.resolve(FINDINGS),
};

const RESULT: Result = {
  experiment: 'hot-path',
  date: '2026-01-02T03:04:05.000Z',
  commit: '0123456789ab',
  quick: true,
  seconds: 12,
  machine: {
    cpus: 2,
    cpuModel: 'Test CPU',
    memoryGiB: 8,
    system: 'Linux x64',
    node: 'v20.19.0',
    packages: { pg: '8.0.0' },
  },
  findings: FINDINGS,
};

describe('summaries', () => {
  test('tell the median, the quartiles, and the first variant divided by each other one, round by round', () => {
    const [gatebell, floor] = summarise(FINDINGS);
    expect(gatebell).toMatchObject({ median: 90, quartiles: [85, 95], ratio: null });
    expect(floor).toMatchObject({ median: 100, quartiles: [100, 150], ratio: 0.8 });
  });

  test('tell no ratio where the division says nothing', () => {
    expect(summarise(FINDINGS)[3]).toMatchObject({ median: 0, ratio: null });
    expect(summarise({ series: [series('a', [1]), series('b', [1, 2])], notes: [] })[1]).toMatchObject({ ratio: null });
    expect(summarise({ series: [series('a', [])], notes: [] })).toEqual([]);
  });

  test('quantiles are interpolated, and need no order', () => {
    expect(quantile([3, 1, 2, 4], 0.5)).toBe(2.5);
    expect(quantile([7], 0.25)).toBe(7);
  });

  test.each([
    [0, '0'],
    [0.012345, '0.0123'],
    [0.8, '0.8'],
    [1.2345, '1.23'],
    [12_345.6, '12,346'],
    [Infinity, '—'],
  ])('%d is written as %s', (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });
});

describe('bars', () => {
  test('are met, missed, or not measured', () => {
    expect(judge(EXPERIMENT, FINDINGS).map(({ target, value, met }) => [target, value, met])).toEqual([
      ['≥ 0.8', 0.8, true],
      ['≤ 0.5', 0.8, false],
      ['≥ 1', null, false],
      ['≥ 1', null, false],
    ]);
    expect(judge(EXPERIMENT, null).every(({ value, met }) => value === null && !met)).toBe(true);
  });

  test('are printed with target, figure and verdict', () => {
    const lines = formatVerdicts(judge(EXPERIMENT, FINDINGS)).split('\n');
    expect(lines[1]).toMatch(/^met +against the floor +≥ 0\.8 +0\.8$/);
    expect(lines[2]).toMatch(/^MISSED +at most half of it/);
    expect(lines[3]).toMatch(/^NOT MEASURED +never measured +≥ 1 +—$/);
  });

  test('have names of their own', () => {
    const names = EXPERIMENTS.flatMap(({ bars }) => bars.map(({ name }) => name));
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(EXPERIMENTS.map(({ name }) => name)).size).toBe(EXPERIMENTS.length);
  });

  test('find what they judge in the results that the pages are made of', async () => {
    const results = await readResults(RESULTS_DIRECTORY, EXPERIMENTS);
    const verdicts = results.flatMap(({ experiment, result }) =>
      result === null ? [] : judge(experiment, result.findings),
    );
    expect(verdicts.length).toBeGreaterThan(20);
    expect(verdicts.filter(({ value }) => value === null).map(({ name }) => name)).toEqual([]);
  });
});

test('the table shows every series and the notes', () => {
  const text = formatFindings(FINDINGS);
  expect(text).toMatch(/cookie, 32 connections +requests per second +floor +100 1\/s +100 – 150 +0\.8/);
  expect(text).toContain('3 rounds of <1 s>');
});

describe('the pages', async () => {
  const other: Experiment = { ...EXPERIMENT, name: 'other', title: 'Other', bars: [] };
  const chapter: Chapter = {
    experiment: 'hot-path',
    title: 'An answer',
    charts: [
      { title: 'All of it', metric: 'requests per second' },
      { title: 'What was not measured', metric: 'requests per second', scenarios: 'bearer' },
    ],
    tell: ({ of, variants, scenarios }) => {
      const [scenario = ''] = scenarios('p99');
      const [first = '', ...others] = variants(scenario, 'p99');
      const ours = `${of(first, scenario, 'requests per second')} beside ${others.join()}`;
      return `${ours}, at ${of(first, scenario, 'p99')}; ${of('none', '', '')}`;
    },
  };
  const pages = await createPages(
    [
      { experiment: EXPERIMENT, result: RESULT },
      { experiment: other, result: null },
    ],
    [chapter, { ...chapter, experiment: 'other', title: 'No answer' }],
  );
  const page = (file: string): string => pages.get(file) ?? '';

  test('of an experiment tells figures, notes and the machine, with a chart for each metric', () => {
    const markdown = page('performance/hot-path.md');
    expect(markdown).toContain('| cookie, 32 connections | requests per second | floor | 100 1/s | 100 – 150 | 0.8 |');
    expect(markdown).toContain('- 3 rounds of <1 s>');
    expect(markdown).toContain(
      'Measured 2026-01-02 at 0123456789ab, **quick**, in 12 s, on 2 × Test CPU, 8 GiB, Linux x64, Node ' +
        'v20.19.0; pg 8.0.0.',
    );
    for (const file of ['charts/hot-path-requests-per-second.svg', 'charts/hot-path-p99.svg']) {
      expect(markdown).toContain(`(${file})`);
      expect(page(`performance/${file}`)).toMatch(/^<svg /);
    }
    expect(page('performance/other.md')).toMatch(/# Other\n[^#]*Not measured\./);
  });

  test('tell how each bar stands, and the story which are not met', () => {
    expect(page('performance/bars.md')).toContain('| against the floor | ≥ 0.8 | 0.8 | yes |');
    expect(page('performance/bars.md')).toContain('| never measured | ≥ 1 | not measured | **no** |');
    expect(page('performance.md')).toContain('Of 4 figures that [must hold](performance/bars.md), 1 do.');
    expect(page('performance.md')).toContain('- at most half of it: 0.8, to be ≤ 0.5\n');
    expect(page('performance.md')).not.toContain('- against the floor');
  });

  test('tell the story with figures and charts of the results', () => {
    const story = page('performance.md');
    expect(story).toContain('## An answer\n\n90 beside floor, at 2 ms; —\n');
    expect(story).toContain('![All of it](performance/charts/story-hot-path-1.svg)');
    expect(page('performance/charts/story-hot-path-1.svg')).toContain('90 1/s');
    expect(story).not.toContain('What was not measured');
    expect(story).toContain('[All figures](performance/hot-path.md), measured with fewer rounds');
    expect(story).toMatch(/## No answer\n\nNot measured\.\n/);
  });

  test('are those of docs/, to the last byte, and no other page or chart is there', async () => {
    const made = await createPages(await readResults(RESULTS_DIRECTORY, EXPERIMENTS));
    const docs = new URL('../../docs/', import.meta.url);
    const there = readdirSync(new URL('performance/', docs), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(({ parentPath, name }) => path.relative(fileURLToPath(docs), path.join(parentPath, name)));
    expect(new Set(['performance.md', ...there])).toEqual(new Set(made.keys()));
    for (const [file, text] of made) {
      expect(readFileSync(new URL(file, docs), 'utf8'), `${file}: npm run bench:report`).toBe(text);
    }
  });

  test('tell a chapter of each experiment, with all its charts and figures', async () => {
    expect(CHAPTERS.map(({ experiment }) => experiment).toSorted()).toEqual(
      EXPERIMENTS.map(({ name }) => name).toSorted(),
    );
    const made = await createPages(await readResults(RESULTS_DIRECTORY, EXPERIMENTS));
    expect(made.get('performance.md')).not.toContain('—');
    const charts = [...made.keys()].filter(file => file.includes('/story-'));
    expect(charts).toHaveLength(CHAPTERS.flatMap(chapter => chapter.charts).length);
  });
});

test('a chart is drawn to scale, with ours standing out and text escaped', () => {
  const bar = { spread: [40, 60], text: '50 <ms>', ours: false } as const;
  const svg = drawChart('a & b', [
    { title: 'group', bars: [{ ...bar, label: 'one', value: 50, ours: true }] },
    { title: '', bars: [{ ...bar, label: 'two', value: 100, spread: [90, 115] }] },
  ]);
  const widths = [...svg.matchAll(/width="([\d.]+)" height="13" class="(\w+)"/g)].map(([, width, kind]) => [
    kind,
    width,
  ]);
  expect(widths).toEqual([
    ['ours', '200'],
    ['other', '400'],
  ]);
  expect(svg).toContain('a &amp; b');
  expect(svg).toContain('width="760"');
  expect(svg).toContain('50 &lt;ms&gt;');
  expect(
    drawChart('nothing', [{ title: '', bars: [{ ...bar, label: 'zero', value: 0, spread: [0, 0] }] }]),
  ).not.toMatch(/NaN|Infinity/);
});

test('a chart is as wide as its longest label needs', () => {
  const bar = { value: 1, spread: [1, 1], text: '1', ours: true } as const;
  const svg = drawChart('', [{ title: '', bars: [{ ...bar, label: 'x'.repeat(50) }] }]);
  expect(Number(/ width="(\d+)"/.exec(svg)?.[1])).toBeGreaterThan(50 * 6 + 460);
});

describe('the command', () => {
  test('knows its options', () => {
    expect(readArguments([])).toEqual({ experiments: EXPERIMENTS, quick: false, bars: false, json: 'bench/results' });
    expect(readArguments(['--quick', '--bars', '--only', 'hot-path', '--json', 'out'])).toMatchObject({
      experiments: [{ name: 'hot-path' }],
      quick: true,
      bars: true,
      json: 'out',
    });
    expect(readArguments(['--help'])).toBe('help');
  });

  test.each([
    [['--fast'], /--fast/],
    [['quick'], /quick/],
    [['--only', 'hot-path,nothing'], /there is no experiment 'nothing'/],
    [['--only', ''], /there is no experiment ''/],
    [['--json', ''], /--json/],
  ])('refuses %j', (args, said) => {
    expect(() => readArguments(args)).toThrow(UsageError);
    expect(() => readArguments(args)).toThrow(said);
  });
});
