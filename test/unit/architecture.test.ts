/** The house keeps its directions: imports run downwards, and a newcomer finds every file in the code map. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const files = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(file =>
  file.endsWith('.ts'),
);
const source = (file: string): string => readFileSync(path.join(root, 'src', file), 'utf8');

/** What each room may import, besides itself. Files of `src` itself stand on their own line. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  time: [],
  collections: ['time'],
  http: [],
  coherence: ['collections', 'time'],
  postgres: ['coherence', 'time'],
  auth: ['coherence', 'collections', 'http', 'postgres', 'time'],
  'sign-in': ['auth', 'coherence', 'http', 'postgres', 'time'],
  ops: ['auth', 'coherence', 'http', 'postgres', 'sign-in', 'time'],
  config: ['auth', 'http', 'postgres', 'sign-in'],
  replica: ['auth', 'coherence', 'config', 'http', 'ops', 'postgres', 'sign-in', 'time'],
  dev: ['auth'],
  commands: ['auth', 'coherence', 'config', 'dev', 'http', 'ops', 'postgres', 'replica', 'sign-in', 'time'],
  'express.ts': ['auth', 'coherence', 'config', 'postgres'],
  'cache.ts': ['coherence', 'postgres'],
  'index.ts': ['auth', 'cache.ts', 'coherence', 'postgres'],
  'cli.ts': ['commands', 'config', 'ops'],
};

const room = (file: string): string => file.split(path.sep)[0] ?? '';

function imports(file: string): string[] {
  return [...source(file).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map(([, specifier]) =>
    path.normalize(path.join(path.dirname(file), specifier!.replace(/\.js$/, '.ts'))),
  );
}

describe('imports run downwards', () => {
  test.each(files)('%s', file => {
    const allowed = MAY_IMPORT[room(file)];
    expect(allowed, `${room(file)} is a new room: say what it may import`).toBeDefined();
    for (const imported of imports(file)) {
      expect(files, `${file} imports what is not there`).toContain(imported);
      expect([room(file), ...(allowed ?? [])], `${file} imports ${imported}`).toContain(room(imported));
    }
  });

  test('the listener and the cache never import each other: the bus joins them', () => {
    for (const file of files.filter(name => name.startsWith('coherence/proof/'))) {
      expect(imports(file), file).not.toContainEqual(expect.stringMatching(/^coherence\/facts\//));
    }
    // The lease says what may be served, and knows nothing of the listener.
    expect(imports('coherence/facts/cache.ts')).not.toContainEqual(
      expect.stringMatching(/^coherence\/proof\/(?!lease)/),
    );
    expect(imports('coherence/proof/lease.ts')).toEqual(['time/clock.ts']);
  });

  test('coherence and what it stands on do no I/O and know nothing of HTTP', () => {
    for (const file of files.filter(name => ['coherence', 'collections', 'time'].includes(room(name)))) {
      const packages = [...source(file).matchAll(/from '([a-z@][^']*)'/g)].map(([, name]) => name!);
      // Pure functions, and the clock's own source.
      const allowed = ['node:crypto', 'node:util', ...(file === 'time/clock.ts' ? ['node:perf_hooks'] : [])];
      expect(
        packages.filter(name => !allowed.includes(name)),
        file,
      ).toEqual([]);
    }
  });

  test('of a replica, the room of Postgres alone imports its drivers', () => {
    for (const file of files.filter(name => !['postgres', 'commands', 'dev'].includes(room(name)))) {
      expect(source(file), file).not.toMatch(/from '(pg|pg-listen)'/);
    }
    for (const file of files.filter(name => room(name) !== 'postgres')) {
      expect(source(file), file).not.toMatch(/from 'pg-listen'/);
    }
  });

  test('only the log and the metrics make lines and series', () => {
    for (const file of files.filter(name => !['ops', 'commands', 'cli.ts'].includes(room(name)))) {
      expect(source(file), file).not.toMatch(/console\.|process\.std(out|err)|from 'prom-client'/);
    }
  });
});

test('every file opens with what it owns', () => {
  for (const file of files) {
    expect(source(file).replace(/^#!.*\n/, ''), file).toMatch(/^\/\*\*/);
  }
});

test('time, chance and I/O are injected: coherence asks neither the clock nor chance itself', () => {
  for (const file of files.filter(name => ['coherence', 'collections'].includes(room(name)))) {
    expect(source(file), file).not.toMatch(/Date\.now|performance\.|Math\.random|setTimeout|setImmediate|setInterval/);
  }
});

test('the code map names every room and every file of the library', () => {
  const map = readFileSync(path.join(root, 'docs/architecture.md'), 'utf8');
  for (const file of files) {
    // By its path in its room, or from `src/` on.
    const named = [file, file.slice(file.indexOf('/') + 1)].some(name => map.includes(`\`${name}\``));
    expect(named, file).toBe(true);
  }
});

test('what the published types import comes with the package', () => {
  const { dependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const imported = new Set(
    files.flatMap(file => [...source(file).matchAll(/from '([a-z@][^'/]*(?:\/[^']+)?)'/g)].map(([, name]) => name!)),
  );
  for (const name of [...imported].filter(specifier => !specifier.startsWith('node:'))) {
    expect(dependencies, name).toHaveProperty([name]);
  }
  expect(dependencies).toHaveProperty(['@types/pg']);
});
