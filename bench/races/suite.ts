/** Plays the races against the libraries, and counts. */
import { createDice } from '../../test/sim/dice.js';
import type { Outcome, Prepared, Race } from './races.js';
import type { Library } from './subject.js';
import { openTruth } from './truth.js';

/** How a race has gone against a library. */
export type Cell =
  | { readonly lacks: string }
  | {
      readonly rounds: number;
      /** Rounds with a stale answer. */
      readonly stale: number;
      /** Rounds after which the old value was still served, with nothing under way any more. */
      readonly kept: number;
      /** Rounds in which an answer that was to be judged was an error. */
      readonly failed: number;
    };

export interface SuiteOptions {
  /** A migrated database that nobody else uses. */
  readonly url: string;
  readonly libraries: readonly Library[];
  readonly races: readonly Race[];
  readonly rounds: number;
  readonly seed: string;
  /** Told of each cell. */
  readonly onCell?: (race: Race, library: Library, cell: Cell) => void;
}

/** Nothing is judged by time: this only says which round hangs. */
const HANGS_MS = 60_000;

async function playWithin(prepared: Prepared, seed: string, key: string): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`not over after ${HANGS_MS} ms`));
    }, HANGS_MS);
  });
  try {
    return await Promise.race([prepared.play(createDice(seed), key), late]);
  } catch (cause) {
    throw new Error(`${seed} failed`, { cause });
  } finally {
    clearTimeout(timer);
  }
}

/** Plays one race against one library. @throws if the library did not serve from memory in any round */
async function playCell({ url, rounds, seed }: SuiteOptions, race: Race, library: Library): Promise<Cell> {
  const prepare = race.prepare(library);
  if (typeof prepare !== 'function') {
    return { lacks: prepare.says };
  }
  const count = Math.ceil(rounds / race.every);
  const keys = Array.from({ length: count }, (_, index) => `sku-${index}`);
  const truth = await openTruth(url, keys);
  try {
    const prepared = await prepare(truth);
    try {
      const outcomes: Outcome[] = [];
      for (const [index, key] of keys.entries()) {
        outcomes.push(await playWithin(prepared, `${seed}/${race.name}/${library.name}/${index}`, key));
      }
      if (!outcomes.some(({ cached }) => cached)) {
        throw new Error(`${library.name} served nothing from memory in the race '${race.title}'`);
      }
      const countOf = (is: (outcome: Outcome) => boolean): number => outcomes.filter(is).length;
      return {
        rounds: count,
        stale: countOf(({ stale }) => stale),
        kept: countOf(({ kept }) => kept),
        failed: countOf(({ failed }) => failed),
      };
    } finally {
      await prepared.close();
    }
  } finally {
    await truth.close();
  }
}

/** The cells, race by race, in the order of the libraries. */
export async function playRaces(options: SuiteOptions): Promise<Cell[][]> {
  const rows: Cell[][] = [];
  for (const race of options.races) {
    const row: Cell[] = [];
    for (const library of options.libraries) {
      const cell = await playCell(options, race, library);
      options.onCell?.(race, library, cell);
      row.push(cell);
    }
    rows.push(row);
  }
  return rows;
}
