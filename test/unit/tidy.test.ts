/** What a machine can see of the house style: how long lines, functions and files are, and that nothing is a stub. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Visitor, parseSync } from 'oxc-parser';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const COLUMNS = 120;
const LINES_OF_A_FUNCTION = 70;
const LINES_OF_A_FILE = 300;

/** What may be longer, and why. An exception that nothing needs any more fails, too. */
interface Exception {
  readonly where: string;
  readonly reason: string;
}

/** By file, or by folder with a slash at its end. */
const LONG_LINES: readonly Exception[] = [
  { where: 'bench/results/', reason: 'recorded by a run, as JSON' },
  { where: 'test/chaos/longest-run.json', reason: 'recorded by a run, as JSON' },
  { where: 'deploy/envoy/envoy.yaml', reason: 'the type URL of a filter is one word, which YAML cannot break' },
];

/** By file and name. */
const LONG_FUNCTIONS: readonly Exception[] = [
  { where: 'src/ops/log-lines.ts describe', reason: 'a table: what each observation says in the log' },
  { where: 'src/auth/facts.ts factCaches', reason: 'a table: the query, the key and the parser of each kind of facts' },
  { where: 'src/auth/decide.ts decide', reason: 'the decision, in the order in which its reasons count' },
  { where: 'src/replica/gate.ts createGate', reason: 'a composition root: each part is made once, and given on' },
  { where: 'src/coherence/coherence.ts createCoherence', reason: 'a composition root: each part is made once' },
  { where: 'src/coherence/facts/loader.ts load', reason: 'one load: each step reads what the steps before it found' },
];

const LONG_FILES: readonly Exception[] = [
  {
    where: 'src/auth/facts.ts',
    reason: 'eight kinds of facts, each with its query and its parser, one after the other',
  },
  { where: 'src/auth/jwt/verifier.ts', reason: 'one JWT from its text to its claims' },
  {
    where: 'src/auth/request/path-interpretations.ts',
    reason: 'what upstreams make of a path, one rule after the other',
  },
];

const STUBS: readonly RegExp[] = [
  /\b(?:TODO|FIXME|XXX|HACK)\b/,
  /not (?:yet )?implemented/i,
  /\b(?:test|it|describe)(?:\.\w+)*\.(?:only|skip|todo)\b/,
  /@ts-(?:ignore|nocheck)/,
  /What happens in here|See the head of the file/,
];

/** The text files below a folder, as paths from the root. */
const filesIn = (folder: string): string[] =>
  readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => path.relative(root, path.join(entry.parentPath, entry.name)).replaceAll(path.sep, '/'))
    .filter(file => !/(?:^|\/)(?:node_modules|dist)\/|\.(?:png|svg)$/.test(file));
const text = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const linesOf = (file: string): string[] => text(file).split('\n');
const sources = filesIn('src');

/** Fails with what is too long and is no exception, and with exceptions that nothing needs. */
function expectOnly(
  found: readonly string[],
  exceptions: readonly Exception[],
  placeOf: (one: string) => string,
): void {
  const isAt = (place: string, { where }: Exception): boolean =>
    where.endsWith('/') ? place.startsWith(where) : place === where;
  expect(found.filter(one => !exceptions.some(exception => isAt(placeOf(one), exception)))).toEqual([]);
  const unneeded = exceptions.filter(exception => !found.some(one => isAt(placeOf(one), exception)));
  expect(unneeded, 'exceptions that nothing needs').toEqual([]);
}

/** Each line that is too long, as `file:line`. */
const longLines = (files: readonly string[]): string[] =>
  files.flatMap(file =>
    // By characters, not by UTF-16 units.
    linesOf(file).flatMap((line, index) => ([...line].length > COLUMNS ? [`${file}:${index + 1}`] : [])),
  );

interface OwnLines {
  readonly name: string;
  readonly count: number;
}

/** The functions of a source, with the lines of their own: of a nested function the first line alone. */
function functionsOf(file: string, source: string): OwnLines[] {
  const { program, errors } = parseSync(file, source);
  expect(errors, file).toEqual([]);
  const lineAt = (offset: number): number => source.slice(0, offset).split('\n').length;
  const found: { readonly name: string; readonly first: number; readonly last: number }[] = [];
  const names = new Map<number, string>();
  const add = (node: { readonly start: number; readonly end: number }, name: string): void => {
    found.push({ name: names.get(node.start) ?? name, first: lineAt(node.start), last: lineAt(node.end) });
  };
  const nameOf = (key: { readonly start: number; readonly end: number }): string => source.slice(key.start, key.end);
  new Visitor({
    VariableDeclarator({ id, init }) {
      names.set(init?.start ?? -1, nameOf(id));
    },
    Property({ key, value }) {
      names.set(value.start, nameOf(key));
    },
    MethodDefinition({ key, value }) {
      names.set(value.start, nameOf(key));
    },
    FunctionDeclaration(node) {
      add(node, node.id?.name ?? 'default');
    },
    FunctionExpression(node) {
      add(node, node.id?.name ?? 'anonymous');
    },
    ArrowFunctionExpression(node) {
      add(node, 'anonymous');
    },
  }).visit(program);
  return found.map(outer => {
    const nested = new Set(
      found
        .filter(one => one !== outer && one.first >= outer.first && one.last <= outer.last)
        .flatMap(({ first, last }) => Array.from({ length: last - first }, (_, index) => first + 1 + index)),
    );
    return { name: outer.name, count: outer.last - outer.first + 1 - nested.size };
  });
}

test(`lines outside of src have at most ${COLUMNS} columns, comments included`, () => {
  const files = ['test', 'bench', 'migrations', 'examples', 'deploy', '.ci'].flatMap(filesIn);
  expect(files.length).toBeGreaterThan(300);
  expectOnly(longLines([...files, 'Dockerfile', 'docker-compose.yml']), LONG_LINES, place => place.split(':')[0]!);
});

test(`lines of src have at most ${COLUMNS} columns, comments included`, () => {
  expect(longLines(sources)).toEqual([]);
});

describe('functions', () => {
  const lines = (count: number): string => '\n'.repeat(count);

  test.each([
    ['a declaration', `function one() {${lines(9)}}`, [['one', 10]]],
    ['a method', `const x = {\nmethod() {${lines(4)}},\n};`, [['method', 5]]],
    ['an arrow', `const arrow = async () => {${lines(2)}};`, [['arrow', 3]]],
    [
      'a nested one, of whose lines the first counts for both',
      `function outer() {\nconst inner = () => {${lines(9)}};\n}`,
      [
        ['outer', 3],
        ['inner', 10],
      ],
    ],
    [
      'nested ones on one line',
      'const sum = () =>\n  [1].map(one => one).filter(one => one);',
      [
        ['sum', 2],
        ['anonymous', 1],
        ['anonymous', 1],
      ],
    ],
  ])('are measured: %s', (_, source, expected) => {
    expect(functionsOf('example.ts', source).map(({ name, count }) => [name, count])).toEqual(expected);
  });

  test(`of src have at most ${LINES_OF_A_FUNCTION} lines of their own`, () => {
    const all = sources.flatMap(file => functionsOf(file, text(file)).map(one => ({ ...one, file })));
    expect(all.length).toBeGreaterThan(1000);
    const long = all.filter(({ count }) => count > LINES_OF_A_FUNCTION);
    expectOnly(
      long.map(({ file, name, count }) => `${file} ${name}: ${count}`),
      LONG_FUNCTIONS,
      place => place.split(': ')[0]!,
    );
  });
});

test(`files of src have at most ${LINES_OF_A_FILE} lines`, () => {
  const long = sources.filter(file => linesOf(file).length - 1 > LINES_OF_A_FILE);
  expectOnly(long, LONG_FILES, file => file);
});

test('nothing is a stub, left for later, or switched off', () => {
  const files = [...sources, ...filesIn('test')].filter(file => file !== 'test/unit/tidy.test.ts');
  const found = files.flatMap(file =>
    linesOf(file).flatMap((line, index) =>
      STUBS.filter(stub => stub.test(line)).map(stub => `${file}:${index + 1}: ${stub.source}`),
    ),
  );
  expect(found).toEqual([]);
});

test('a source that a comment names is there', () => {
  const files = ['src', 'test', 'bench', 'migrations', 'examples'].flatMap(filesIn);
  const known = new Set(files.map(file => path.basename(file)));
  const named = files.flatMap(file =>
    [...text(file).matchAll(/`([\w./-]+\.ts)`/g)].map(([, name]) => ({ file, name: name! })),
  );
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter(({ name }) => !known.has(path.basename(name)))).toEqual([]);
});
