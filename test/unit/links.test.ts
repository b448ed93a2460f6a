/** Every relative link of the documentation leads to a file, and to a heading of it, that is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const pages = [
  ...readdirSync(root, { encoding: 'utf8' }),
  ...readdirSync(path.join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map(file => path.join('docs', file)),
].filter(file => file.endsWith('.md'));

/** A page without its blocks of code, which have neither headings nor links. */
const prose = (text: string): string => text.replace(/^(```+)[^]*?^\1$/gm, '');
const page = (file: string): string => prose(readFileSync(path.join(root, file), 'utf8'));

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>();
  return [...text.matchAll(/^#{1,6} +(.+?) *$/gm)].map(([, heading]) => {
    const anchor = heading!
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{Letter}\p{Number}\p{Mark} _-]/gu, '')
      .replaceAll(' ', '-');
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

/** The targets of a page's links and pictures that are relative. */
function linksOf(text: string): string[] {
  const targets = [...text.replace(/`[^`\n]*`/g, 'code').matchAll(/\]\(([^()\s]+)\)/g)].map(([, target]) => target!);
  return targets.filter(target => !/^[a-z][a-z+.-]*:/i.test(target));
}

/** What is wrong with a link of this page; undefined if it leads somewhere. */
function problemWith(file: string, link: string): string | undefined {
  const [target = '', anchor] = link.split('#');
  const found = target === '' ? file : path.join(path.dirname(file), decodeURIComponent(target));
  if (!existsSync(path.join(root, found))) {
    return `${link}: there is no ${found}`;
  }
  return anchor === undefined || (found.endsWith('.md') && anchorsOf(page(found)).includes(anchor))
    ? undefined
    : `${link}: ${found} has no such heading`;
}

describe('every relative link leads to a file and a heading that exist', () => {
  test.each(pages)('%s', file => {
    expect(linksOf(page(file)).flatMap(link => problemWith(file, link) ?? [])).toEqual([]);
  });
});

test('a missing file and a missing heading are noticed', () => {
  expect(linksOf('[one](docs/none.md), [two](README.md#none), [three](https://example.com), `[four](x)`')).toEqual([
    'docs/none.md',
    'README.md#none',
  ]);
  expect(problemWith('README.md', 'docs/none.md')).toContain('there is no docs/none.md');
  expect(problemWith('README.md', 'SECURITY.md#none')).toContain('no such heading');
  expect(problemWith('README.md', 'SECURITY.md')).toBeUndefined();
});

test('anchors are made as GitHub makes them', () => {
  expect(anchorsOf('# One\n## What `a` is, and how\n## [Two](x.md) at once\n### One\n')).toEqual([
    'one',
    'what-a-is-and-how',
    'two-at-once',
    'one-1',
  ]);
});
