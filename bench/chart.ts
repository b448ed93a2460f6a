/**
 * A bar chart as SVG: horizontal bars in groups, each with a line for its spread and its figure beside it. Numbers
 * start at zero.
 */

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

const LABEL_WIDTH_MIN = 190;
/** Of one character of a label, about. */
const LETTER_WIDTH = 6.5;
const PLOT_WIDTH = 460;
const VALUE_WIDTH = 110;
const HEAD = 36;
const ROW = 20;
const BAR = 13;
const GROUP_TITLE = 26;
const PADDING = 12;

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const round = (value: number): number => Math.round(value * 10) / 10;

/** How wide the longest label is. */
function labelWidth(groups: readonly ChartGroup[]): number {
  const longest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ label }) => label.length)));
  return Math.max(LABEL_WIDTH_MIN, Math.ceil(longest * LETTER_WIDTH) + 2 * PADDING);
}

/** @param left where the bar begins */
function drawBar(bar: ChartBar, left: number, top: number, scale: (value: number) => number): string[] {
  const middle = top + ROW / 2;
  const [low, high] = bar.spread.map(value => round(left + scale(value))) as [number, number];
  return [
    `<text x="${left - 8}" y="${middle + 4}" text-anchor="end">${escape(bar.label)}</text>`,
    `<rect x="${left}" y="${middle - BAR / 2}" width="${round(scale(bar.value))}" height="${BAR}" ` +
      `class="${bar.ours ? 'ours' : 'other'}"/>`,
    `<path d="M${low} ${middle}H${high}M${low} ${middle - 3}v6M${high} ${middle - 3}v6" class="spread"/>`,
    `<text x="${round(left + Math.max(scale(bar.value), high - left) + 6)}" ` +
      `y="${middle + 4}">${escape(bar.text)}</text>`,
  ];
}

/** Draws the chart. */
export function drawChart(title: string, groups: readonly ChartGroup[]): string {
  const most = Math.max(...groups.flatMap(({ bars }) => bars.flatMap(({ value, spread }) => [value, spread[1]])));
  const scale = (value: number): number => (most > 0 ? (value / most) * PLOT_WIDTH : 0);
  const left = labelWidth(groups);
  const width = left + PLOT_WIDTH + VALUE_WIDTH;
  const parts: string[] = [];
  let top = HEAD;
  for (const group of groups) {
    if (group.title !== '') {
      parts.push(`<text x="${PADDING}" y="${top + 17}" class="group">${escape(group.title)}</text>`);
      top += GROUP_TITLE;
    }
    for (const bar of group.bars) {
      parts.push(...drawBar(bar, left, top, scale));
      top += ROW;
    }
  }
  const height = top + PADDING;
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${escape(title)}">
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.group { font-weight: 600 }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
.spread { stroke: #1f2328; fill: none }
</style>
<rect width="${width}" height="${height}" rx="6" fill="#ffffff"/>
<text x="${PADDING}" y="24" class="title">${escape(title)}</text>
${parts.join('\n')}
</svg>
`;
}
