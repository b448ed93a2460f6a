/**
 * Lives of simulated worlds, each decided by its seed; see `world.ts`. `GATEBELL_SIM_SEEDS` says how many of each profile
 * (default 20), `GATEBELL_SIM_FIRST` where to begin. A failure names its seed, and tells the end of its story.
 */
import { describe, expect, test } from 'vitest';
import { PROFILES, type Profile } from './faults.js';
import { simulate } from './world.js';

const SEEDS = Number(process.env['GATEBELL_SIM_SEEDS'] ?? 20);
const FIRST = Number(process.env['GATEBELL_SIM_FIRST'] ?? 1);
/** Worlds that live side by side share the turns of the real event loop, and nothing else. */
const WORLDS = 20;
const LINES_MAX = 80;

async function firstFailure(profile: Profile): Promise<string | null> {
  const failed: number[] = [];
  let next = FIRST;
  const worker = async (): Promise<void> => {
    while (next < FIRST + SEEDS && failed.length === 0) {
      const { seed, violation } = await simulate(profile, next++);
      if (violation !== null) {
        failed.push(seed);
      }
    }
  };
  await Promise.all(Array.from({ length: WORLDS }, worker));
  const [seed] = failed;
  if (seed === undefined) {
    return null;
  }
  const { trace, violation } = await simulate(profile, seed, true);
  return [
    ...trace.slice(-LINES_MAX),
    violation,
    `npx tsx test/sim/explore.ts --profile ${profile} --seed ${seed}`,
  ].join('\n');
}

describe('keeps the promises', () => {
  test.each(Object.keys(PROFILES) as Profile[])('%s', async profile => {
    expect(await firstFailure(profile)).toBeNull();
  });
});

describe('a seed', () => {
  test('is the whole world: the same one tells the same story', async () => {
    const [one, other] = [await simulate('chaos', 3, true), await simulate('chaos', 3, true)];
    expect(one.trace.length).toBeGreaterThan(100);
    expect(other.trace).toEqual(one.trace);
  });

  test('makes a world in which much happens', async () => {
    const { answers, strongAnswers, reads } = await simulate('calm', 1);
    expect(answers).toBeGreaterThan(100);
    expect(strongAnswers).toBeGreaterThan(10);
    expect(reads).toBeGreaterThan(50);
  });
});
