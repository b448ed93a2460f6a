/** A bar chart as SVG: horizontal bars in groups, each with a line for its spread and its figure beside it. Numbers start at zero. */

export interface ChartBar {
  readonly label: string;
  readonly value: number;
  /** From where to where the spread goes. */
  readonly spread: readonly [number, number];
  /** The value as it is written. */
  readonly text: string;
  /** Whether it stands out from the others. */
  readonly ours: boolean;
}

export interface ChartGroup {
  /** Empty if there is only one group. */
  readonly title: string;
  readonly bars: readonly ChartBar[];
}

const WIDTH = 760;
const LABEL_WIDTH = 190;
const VALUE_WIDTH = 110;
const PLOT_WIDTH = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
const HEAD = 36;
const ROW = 20;
const BAR = 13;
const GROUP_TITLE = 26;
const PADDING = 12;

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const round = (value: number): number => Math.round(value * 10) / 10;

function drawBar(bar: ChartBar, top: number, scale: (value: number) => number): string[] {
  const middle = top + ROW / 2;
  const [low, high] = bar.spread.map(value => round(LABEL_WIDTH + scale(value))) as [number, number];
  return [
    `<text x="${LABEL_WIDTH - 8}" y="${middle + 4}" text-anchor="end">${escape(bar.label)}</text>`,
    `<rect x="${LABEL_WIDTH}" y="${middle - BAR / 2}" width="${round(scale(bar.value))}" height="${BAR}" class="${bar.ours ? 'ours' : 'other'}"/>`,
    `<path d="M${low} ${middle}H${high}M${low} ${middle - 3}v6M${high} ${middle - 3}v6" class="spread"/>`,
    `<text x="${round(LABEL_WIDTH + Math.max(scale(bar.value), high - LABEL_WIDTH) + 6)}" y="${middle + 4}">${escape(bar.text)}</text>`,
  ];
}

/** Draws the chart. */
export function drawChart(title: string, groups: readonly ChartGroup[]): string {
  const most = Math.max(...groups.flatMap(({ bars }) => bars.flatMap(({ value, spread }) => [value, spread[1]])));
  const scale = (value: number): number => (most > 0 ? (value / most) * PLOT_WIDTH : 0);
  const parts: string[] = [];
  let top = HEAD;
  for (const group of groups) {
    if (group.title !== '') {
      parts.push(`<text x="${PADDING}" y="${top + 17}" class="group">${escape(group.title)}</text>`);
      top += GROUP_TITLE;
    }
    for (const bar of group.bars) {
      parts.push(...drawBar(bar, top, scale));
      top += ROW;
    }
  }
  const height = top + PADDING;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(title)}">
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.group { font-weight: 600 }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
.spread { stroke: #1f2328; fill: none }
</style>
<rect width="${WIDTH}" height="${height}" rx="6" fill="#ffffff"/>
<text x="${PADDING}" y="24" class="title">${escape(title)}</text>
${parts.join('\n')}
</svg>
`;
}
