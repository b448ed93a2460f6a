/**
 * Looks for the dearest request by breeding: those that take longest have children, and what is best of all generations
 * is measured once more against an ordinary request, in turns, so that both meet the same machine.
 */
import { breed, createDice, ORDINARY, type Genome } from './genome.js';
import { createMeter, type Meter } from './meter.js';

/** What was found. */
export interface Dearest {
  readonly genome: Genome;
  /** How many times the time of an ordinary request it takes. */
  readonly ratio: number;
  readonly microseconds: number;
  readonly ordinaryMicroseconds: number;
  readonly status: number;
  readonly tried: number;
}

/** How long to look. */
export interface SearchLimits {
  readonly seed: number;
  /** Requests that are bred. */
  readonly requests: number;
  /** Requests to begin with, besides an ordinary one. */
  readonly begin?: readonly Genome[];
  readonly onProgress?: (tried: number, dearest: Dearest) => void;
}

const POPULATION = 24;
/** How many of each generation are made up from nothing: else one idea would win for ever. */
const FRESH = 4;
const RUNS = 3;
const RUNS_OF_BEST = 40;
/** A request that cost much once may have met code that was not compiled yet; who sends it all day meets that once. */
const RUNS_TO_COMPILE = 300;
const FINALISTS = 5;
const WARM_UP = 2_000;

interface Measured {
  readonly genome: Genome;
  readonly ms: number;
}

async function compare(meter: Meter, genome: Genome, tried: number): Promise<Dearest> {
  await meter.measure(genome, RUNS_TO_COMPILE);
  let dear = Infinity;
  let ordinary = Infinity;
  for (let run = 0; run < RUNS_OF_BEST; run += 1) {
    ordinary = Math.min(ordinary, await meter.measure(ORDINARY, 1));
    dear = Math.min(dear, await meter.measure(genome, 1));
  }
  return {
    genome,
    ratio: dear / ordinary,
    microseconds: dear * 1_000,
    ordinaryMicroseconds: ordinary * 1_000,
    status: meter.status,
    tried,
  };
}

/** Breeds requests, and tells of the dearest. */
export async function searchDearest({ seed, requests, begin = [], onProgress }: SearchLimits): Promise<Dearest> {
  const meter = createMeter();
  const dice = createDice(seed);
  await meter.measure(ORDINARY, WARM_UP);
  const madeUp = (): Genome => {
    let genome = ORDINARY;
    for (let changes = 4 + dice(8); changes > 0; changes -= 1) {
      genome = breed(dice, genome, ORDINARY);
    }
    return genome;
  };
  let population: Measured[] = [];
  let tried = 0;
  const add = async (genome: Genome): Promise<void> => {
    population.push({ genome, ms: await meter.measure(genome, RUNS) });
    tried += 1;
  };
  for (const genome of begin) {
    await add(genome);
  }
  while (population.length < POPULATION) {
    await add(madeUp());
  }
  const generations = Math.ceil(requests / POPULATION);
  for (let generation = 1; generation <= generations; generation += 1) {
    const parents = population;
    for (let child = 0; child < POPULATION; child += 1) {
      const one = parents[Math.min(dice(parents.length), dice(parents.length))]!;
      const other = parents[dice(parents.length)]!;
      await add(child < FRESH ? madeUp() : breed(dice, one.genome, other.genome));
    }
    population = population.toSorted((one, other) => other.ms - one.ms).slice(0, POPULATION);
    if (onProgress !== undefined && generation % 50 === 0) {
      onProgress(tried, await compare(meter, population[0]!.genome, tried));
    }
  }
  // What seemed dear may have met other work on the machine.
  let dearest: Dearest | null = null;
  for (const { genome } of population.slice(0, FINALISTS)) {
    const measured = await compare(meter, genome, tried);
    dearest = dearest === null || measured.ratio > dearest.ratio ? measured : dearest;
  }
  return dearest!;
}
