/** The results of the races as they are kept: one JSON file, `bench/results/races.json`. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { packageVersion, thisCommit, thisMachine } from '../results.js';
import { gatebellCache } from './libraries/gatebell.js';
import type { Race } from './races.js';
import type { Library } from './subject.js';
import type { Cell } from './suite.js';

export interface RaceResults {
  /** ISO 8601. */
  readonly date: string;
  /** Git's name of the state that was raced; ends with `+` if files were changed since. Null outside a repository. */
  readonly commit: string | null;
  readonly node: string;
  readonly rounds: number;
  readonly seed: string;
  readonly seconds: number;
  /** In the order of the columns. */
  readonly libraries: readonly Pick<Library, 'name' | 'keeps'>[];
  /** By name; of Gatebell there is none. */
  readonly versions: Readonly<Record<string, string>>;
  /** In the order of the rows; cells in the order of the libraries. */
  readonly races: readonly { readonly name: string; readonly title: string; readonly cells: readonly Cell[] }[];
}

const FILE = 'races.json';

/** The versions of the packages that are raced; ours is the commit. */
export function versionsOf(libraries: readonly Pick<Library, 'name'>[]): Record<string, string> {
  const packages = libraries.filter(({ name }) => name !== gatebellCache.name);
  return Object.fromEntries(packages.map(({ name }) => [name, packageVersion(name)]));
}

export function createResults(
  {
    libraries,
    races,
    rounds,
    seed,
  }: {
    readonly libraries: readonly Library[];
    readonly races: readonly Race[];
    readonly rounds: number;
    readonly seed: string;
  },
  cells: readonly (readonly Cell[])[],
  seconds: number,
): RaceResults {
  return {
    date: new Date().toISOString(),
    commit: thisCommit(),
    node: thisMachine().node,
    rounds,
    seed,
    seconds,
    libraries: libraries.map(({ name, keeps }) => ({ name, keeps })),
    versions: versionsOf(libraries),
    races: races.map(({ name, title }, index) => ({ name, title, cells: cells[index]! })),
  };
}

export async function writeRaceResults(directory: string, results: RaceResults): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(path.join(directory, FILE), JSON.stringify(results, null, 2) + '\n');
}

export async function readRaceResults(directory: string): Promise<RaceResults> {
  return JSON.parse(await readFile(path.join(directory, FILE), 'utf8')) as RaceResults;
}
