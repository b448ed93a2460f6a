/** docs/api.md is complete, and every type that a face speaks of has a name there. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const { exports } = JSON.parse(read('package.json')) as { exports: Readonly<Record<string, { types?: string }>> };

/** Face → its file in `src`. */
const FACES: ReadonlyMap<string, string> = new Map(
  Object.entries(exports).flatMap(([name, { types }]) =>
    types === undefined
      ? []
      : [[path.posix.join('gatebell', name), types.replace('./dist/', 'src/').replace('.d.ts', '.ts')] as const],
  ),
);

/** Name → the file that declares it; and the files all of whose exports a face has, too. */
function exportsOf(file: string): { readonly names: ReadonlyMap<string, string>; readonly all: readonly string[] } {
  const source = read(file);
  const at = (specifier: string): string =>
    path.posix.join(path.posix.dirname(file), specifier.replace(/\.js$/, '.ts'));
  const names = new Map<string, string>();
  for (const [, list = '', specifier = ''] of source.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)';/gm)) {
    for (const name of list.split(',').map(one => one.trim())) {
      if (name !== '') {
        names.set(name.replace(/^type /, ''), at(specifier));
      }
    }
  }
  for (const [, name = ''] of source.matchAll(
    /^export (?:async )?(?:function|interface|type|class|const) ([A-Za-z]\w*)/gm,
  )) {
    names.set(name, file);
  }
  const all = [...source.matchAll(/^export \* from '([^']+)';/gm)].map(([, specifier = '']) => at(specifier));
  return { names, all };
}

function everyExportOf(file: string): Map<string, string> {
  const { names, all } = exportsOf(file);
  return new Map([...all.flatMap(other => [...everyExportOf(other)]), ...names]);
}

/** The declaration of a name, without comments, strings and the body of a function. */
function declaration(source: string, name: string): string {
  const plain = source.replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, '').replaceAll(/'[^'\n]*'/g, "''");
  const kinds = [
    new RegExp(`^export (?:async )?function ${name}\\b[^]*?\\{\\n`, 'm'),
    new RegExp(`^export (?:interface|class) ${name}\\b[^]*?^\\}`, 'm'),
    new RegExp(`^export type ${name}\\b[^]*?;\\n(?=\\S|\\n|$)`, 'm'),
    new RegExp(`^export (?:declare )?const ${name}\\b[^]*?;\\n`, 'm'),
  ];
  return kinds.map(kind => kind.exec(plain)?.[0]).find(found => found !== undefined) ?? '';
}

const ofThisPackage = (source: string): Set<string> =>
  new Set([
    ...[...source.matchAll(/^import (?:type )?\{([^}]*)\} from '\.[^']*';/gm)].flatMap(([, list = '']) =>
      list.split(',').map(one => one.trim().replace(/^type /, '')),
    ),
    ...[...source.matchAll(/^(?:export )?(?:interface|type|class) (\w+)/gm)].map(([, name = '']) => name),
  ]);

/** Named where only one member of it is meant: the member is a plain union of texts. */
const MEMBER = /\b\w+\[''\]/g;

describe.each([...FACES])('%s', (face, file) => {
  test('docs/api.md lists each export, and nothing else', () => {
    const section = read('docs/api.md').split(`\n## \`${face}\`\n`)[1]?.split('\n## ')[0] ?? '';
    const listed = [...section.matchAll(/^- `(\w+)`: .+\.$/gm)].map(([, name = '']) => name);
    expect(listed.toSorted()).toEqual([...exportsOf(file).names.keys()].toSorted());
    expect(listed).toHaveLength(new Set(listed).size);
  });

  test('every type that an export speaks of is exported, there or from `gatebell`', () => {
    const names = everyExportOf(file);
    const nameable = new Set([...names.keys(), ...everyExportOf('src/index.ts').keys()]);
    const unnamed: string[] = [];
    for (const [name, from] of names) {
      const source = read(from);
      const text = declaration(source, name);
      expect(text, `${name} of ${from}`).not.toBe('');
      const known = ofThisPackage(source);
      for (const [word] of text.replaceAll(MEMBER, '').matchAll(/\b[A-Z]\w+\b/g)) {
        if (known.has(word) && !nameable.has(word)) {
          unnamed.push(`${word}, of which ${name} speaks`);
        }
      }
    }
    expect(unnamed).toEqual([]);
  });

  test('every function and interface says what it is', () => {
    for (const [name, from] of everyExportOf(file)) {
      const before = new RegExp(`\\*/\\nexport (?:async )?(?:function|interface|type|class) ${name}\\b`);
      expect(read(from), `${name} of ${from}`).toMatch(before);
    }
  });
});

test('docs/api.md has no face that is not there', () => {
  const faces = [...read('docs/api.md').matchAll(/^## `([^`]+)`$/gm)].map(([, name = '']) => name);
  expect(faces.toSorted()).toEqual([...FACES.keys()].toSorted());
});
