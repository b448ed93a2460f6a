/** A table in a page of documentation that a program makes: between a mark that says which program, and the end. */

export const END = '<!-- end -->';

/** Where the table is in a page. @throws when it is not marked */
function placeOf(page: string, begin: string): { readonly from: number; readonly to: number } {
  const from = page.indexOf(begin);
  const to = page.indexOf(END, from);
  if (from === -1 || to === -1) {
    throw new Error(`no table between ${begin} and ${END}`);
  }
  return { from: from + begin.length, to };
}

export function replaceMarked(page: string, begin: string, table: string): string {
  const { from, to } = placeOf(page, begin);
  return `${page.slice(0, from)}\n\n${table}\n\n${page.slice(to)}`;
}

/** The cells of the table, row by row, the first being the heads. */
export function readMarked(page: string, begin: string): readonly (readonly string[])[] {
  const { from, to } = placeOf(page, begin);
  return page
    .slice(from, to)
    .split('\n')
    .filter(line => line.startsWith('|') && !/^\|[\s|:-]+\|$/.test(line))
    .map(line =>
      line
        .slice(1, -1)
        .split('|')
        .map(text => text.trim()),
    );
}

/** A table of Markdown; the first row has the heads. */
export function markdownTable([heads = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n');
}
