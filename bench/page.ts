/** Results as a page of Markdown and its charts. The same results always make the same page. */
import { drawChart, type ChartGroup } from './chart.js';
import type { Experiment } from './experiment.js';
import type { Machine, Result } from './results.js';
import { formatNumber, groupBy, summarise, type Summary } from './statistics.js';
import { judge } from './table.js';

/** An experiment and its result; null if there is none. */
export interface Measured {
  readonly experiment: Experiment;
  readonly result: Result | null;
}

export interface Page {
  readonly markdown: string;
  /** By file name. */
  readonly charts: ReadonlyMap<string, string>;
}

const INTRODUCTION = `# Performance

Every figure here is measured beside its baseline, in the same run: the programs take turns, round by round, and what is compared are the two
of one round. A figure is the median of the rounds; half of the rounds lie between the quartiles. *First ÷ this* is the first program of a table's group
divided by this one.

Absolute numbers say more about the machine than about the program; the ratios are what to look at. To measure on yours:

\`\`\`sh
npm run bench                 # all experiments; --quick for a check of about four minutes
npm run bench -- --bars       # and whether all that must hold does
npm run bench:report          # makes this page of the results
npm run bench:against -- HEAD~1   # this checkout and another commit, side by side
\`\`\`

It needs \`redis-server\`, and \`wrk\` for load that does not bound what it measures (on Debian: \`apt-get install wrk redis-server\`). This page is generated; do not edit it.
`;

const cell = (text: string): string => text.replaceAll('|', '\\|');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
}

function withUnit(value: number, unit: string): string {
  return `${formatNumber(value)} ${unit}`.trimEnd();
}

function tellMachine({ cpus, cpuModel, memoryGiB, system, node, packages }: Machine): string {
  const versions = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  return `${cpus} × ${cpuModel}, ${memoryGiB} GiB, ${system}, Node ${node}; ${versions.join(', ')}`;
}

function tellBars(measured: readonly Measured[]): string {
  const rows = measured.flatMap(({ experiment, result }) =>
    judge(experiment, result?.findings ?? null).map(({ name, target, value, met }) => [
      name,
      target,
      value === null ? 'not measured' : formatNumber(value),
      met ? 'yes' : '**no**',
    ]),
  );
  return `## What must hold\n\n${table(['', 'target', 'measured', 'met'], rows)}\n`;
}

/** The groups of one metric's chart: one a scenario. */
function chartGroups(summaries: readonly Summary[]): ChartGroup[] {
  return [...groupBy(summaries, ({ series }) => series.scenario)].map(([title, group]) => ({
    title,
    bars: group.map(({ series, median, quartiles }, index) => ({
      label: series.variant,
      value: median,
      spread: quartiles,
      text: withUnit(median, series.unit),
      ours: index === 0,
    })),
  }));
}

function tellExperiment({ experiment, result }: Measured, charts: Map<string, string>): string {
  const head = `## ${experiment.title}\n\n${experiment.about}\n`;
  if (result === null) {
    return `${head}\nNot measured.\n`;
  }
  const summaries = summarise(result.findings);
  const images: string[] = [];
  for (const [metric, group] of groupBy(summaries, ({ series }) => series.metric)) {
    const file = `${experiment.name}-${slug(metric)}.svg`;
    const title = `${experiment.title}: ${metric}`;
    charts.set(file, drawChart(title, chartGroups(group)));
    images.push(`![${title}](charts/${file})`);
  }
  const rows = summaries.map(({ series, median, quartiles, ratio }) => [
    series.scenario,
    series.metric,
    series.variant,
    withUnit(median, series.unit),
    `${formatNumber(quartiles[0])} – ${formatNumber(quartiles[1])}`,
    ratio === null ? '' : formatNumber(ratio),
  ]);
  const notes = [
    ...result.findings.notes,
    `Measured ${result.date.slice(0, 10)}${result.commit === null ? '' : ` at ${result.commit}`}${result.quick ? ', **quick**' : ''}, in ${result.seconds} s, on ${tellMachine(result.machine)}.`,
  ];
  return [
    head,
    `${images.join('\n\n')}\n`,
    `<details><summary>All figures</summary>\n\n${table(['scenario', 'metric', 'variant', 'median', 'quartiles', 'first ÷ this'], rows)}\n\n</details>\n`,
    `${notes.map(note => `- ${note}`).join('\n')}\n`,
  ].join('\n');
}

/** Makes the page. */
export function createPage(measured: readonly Measured[]): Page {
  const charts = new Map<string, string>();
  const sections = measured.map(one => tellExperiment(one, charts));
  return { markdown: [INTRODUCTION, tellBars(measured), ...sections].join('\n'), charts };
}
