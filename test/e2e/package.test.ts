/** The package as it is published: packed, installed in a project of its own, and used there from each of its faces. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run, type Outcome } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tsc = path.join(root, 'node_modules/.bin/tsc');

interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

let project: string;
let database: TestDatabase;
let faces: string[];

/** Runs a program in the project. */
const inProject = (program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> =>
  run('sh', ['-c', 'cd "$0" && exec "$@"', project, program, ...args], env);

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(path.join(project, name), text)));
}

beforeAll(async () => {
  project = await mkdtemp(path.join(tmpdir(), 'gatebell-package-'));
  database = await createTestDatabase();
  await database.sql('create table names (sku text primary key, name text not null)');
  await database.sql(`insert into names values ('apple', 'Apple')`);
  await database.sql(`select gatebell.watch('names', 'name', '{sku}', '{name}')`);
  const { exports, devDependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as Manifest;
  faces = Object.keys(exports)
    .filter(name => name !== './package.json')
    .map(name => path.posix.join('gatebell', name));
  const packed = await run('npm', ['pack', root, '--ignore-scripts', '--silent', '--pack-destination', project]);
  expect(packed).toMatchObject({ code: 0 });
  await write({ 'package.json': JSON.stringify({ name: 'a-program', private: true, type: 'module' }) });
  const types = ['node', 'express']
    .map(name => `@types/${name}`)
    .map(name => `${name}@${devDependencies[name] ?? 'latest'}`);
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--silent'];
  const installed = await inProject('npm', ['install', ...quiet, `./${packed.stdout.trim()}`, ...types]);
  expect(installed).toMatchObject({ code: 0 });
});

afterAll(async () => {
  await database.drop();
  await rm(project, { recursive: true, force: true });
});

test('it holds nothing that leads nowhere: no tests, no source maps', async () => {
  const files = await readdir(path.join(project, 'node_modules/gatebell'), { recursive: true });
  expect(files).toEqual(expect.arrayContaining(['package.json', 'README.md', 'LICENSE', 'dist/cli.js']));
  expect(files.filter(file => /\.map$|^(src|test|bench)\b/.test(file))).toEqual([]);
  for (const file of files.filter(name => name.endsWith('.js'))) {
    expect(await readFile(path.join(project, 'node_modules/gatebell', file), 'utf8'), file).not.toContain(
      'sourceMappingURL',
    );
  }
});

/** What a program does with a cache, whatever its module system. */
const USE = `
  const gatebell = createGatebell({ connectionString: process.env.DATABASE_URL });
  const names = gatebell.cache({
    topic: 'name',
    load: {
      text: 'select n.sku, n.name from names n where n.sku = any ($1::text[])',
      key: row => row.sku,
      value: row => row.name,
    },
  });
  console.log(JSON.stringify([await names.getMany(['pear', 'apple']), await names.strong('apple')]));
  await gatebell.close();`;

const PROGRAMS = {
  'use.mjs': () => `import { createGatebell } from 'gatebell/cache';
    ${USE}
    for (const face of ${JSON.stringify(faces)}) console.log(face, Object.keys(await import(face)).sort().join());`,
  'use.cjs': () => `const { createGatebell } = require('gatebell/cache');
    (async () => {
      ${USE}
      for (const face of ${JSON.stringify(faces)}) console.log(face, Object.keys(require(face)).sort().join());
    })();`,
};

/** This Node, and those of the registry. */
const NODES: Readonly<Record<string, readonly string[]>> = {
  'the Node of the tests': [process.execPath],
  'Node 22': ['npx', '--yes', '--prefer-offline', '-p', 'node@22', 'node'],
  'Node 24': ['npx', '--yes', '--prefer-offline', '-p', 'node@24', 'node'],
};

describe.each(Object.entries(NODES))('%s', (_, [program, ...args]) => {
  test.each(['use.mjs', 'use.cjs'] as const)('runs %s, which finds the same exports either way', async name => {
    await write({ [name]: PROGRAMS[name]() });
    const outcome = await inProject(program!, [...args, name], { DATABASE_URL: database.url });
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    const [values, ...found] = outcome.stdout.trim().split('\n');
    expect(values).toBe('[[null,"Apple"],"Apple"]');
    expect(found).toEqual(
      await Promise.all(
        faces.map(async face => {
          const file = path.posix.join(root, 'dist', `${face === 'gatebell' ? 'index' : path.basename(face)}.js`);
          return `${face} ${Object.keys((await import(file)) as object)
            .sort()
            .join()}`;
        }),
      ),
    );
  });
});

const TYPED = `
export interface Named { readonly sku: string; readonly name: string }
export async function use(options: GatebellOptions): Promise<string | null> {
  await using gatebell: Gatebell = createGatebell(options);
  const names: Cache<string> = gatebell.cache({
    topic: 'name',
    load: { text: 'select 1 where $1 is null', key: (row: Named) => row.sku, value: row => row.name },
  });
  const numbers = gatebell.cache<number>({
    topic: 'number',
    load: { text: 'select 1 where $1 is null', key: row => [String(row['sku'])], value: row => Number(row['n']) },
  });
  const unsubscribe: () => void = gatebell.on('name', ({ keys }) => { console.log(keys?.length); });
  gatebell.channel('orders', event => { if (event.type === 'message') { console.log(event.payload.length); } });
  await gatebell.publish('orders', String((await numbers.get('one')) ?? 0));
  unsubscribe();
  const bound: number | null = gatebell.stalenessBoundMs;
  console.log(bound, gatebell.state satisfies ListenerState, (await gatebell.barrier()).replicas.length);
  // @ts-expect-error a number is no key
  await names.get(7);
  // @ts-expect-error nobody would wait for it
  gatebell.on('name', async () => {});
  return names.strong('apple');
}
`;

test.each(['mts', 'cts'])(
  'a strict TypeScript program compiles as .%s, and checks the types of the package',
  async suffix => {
    const reexports = faces.map((face, index) => `export type * as face${index} from '${face}';`).join('\n');
    const compilerOptions = {
      target: 'ES2022',
      lib: ['ES2023', 'ESNext.Disposable'],
      module: 'NodeNext',
      types: ['node'],
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      noPropertyAccessFromIndexSignature: true,
      skipLibCheck: false,
      noEmit: true,
    };
    await write({
      [`typed.${suffix}`]: `
      import { createGatebell } from 'gatebell/cache';
      import type { Cache, Gatebell, GatebellOptions, ListenerState } from 'gatebell/cache';
      import { createAuthHandler, type Reason } from 'gatebell';
      import { createServer } from 'node:http';
      ${reexports}
      ${TYPED}
      export const reason: Reason = 'granted';
      export const serve = (gatebell: Gatebell): unknown =>
        createServer(createAuthHandler(gatebell, { trustedProxies: ['127.0.0.1'] }));`,
      'tsconfig.json': JSON.stringify({ compilerOptions, files: [`typed.${suffix}`] }),
    });
    const outcome = await inProject(process.execPath, [tsc, '-p', '.']);
    expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
  },
);
