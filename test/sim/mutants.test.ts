/**
 * The simulation has teeth: each mistake of `mutants.ts` is built in, and must be seen. The seed that showed it last is
 * tried first, then the others up to the number that the table states.
 *
 * `npm run sim -- --profile network --mutant 31` shows what a mistake leads to, as a small story.
 */
import { describe, expect, test } from 'vitest';
import { bundleSimulation, type Patch } from './bundle.js';
import { startLives } from './lives.js';
import { MUTANTS, type Mutant } from './mutants.js';
import type { ProfileName } from './profiles.js';
import type { Outcome } from './simulated-world.js';

/** Lives one seed after the other, and returns the first that broke a promise. */
async function firstFailure(
  patches: readonly Patch[],
  profile: ProfileName,
  seeds: readonly number[],
): Promise<Outcome | null> {
  const lives = startLives(await bundleSimulation(patches), 1);
  try {
    for (const seed of seeds) {
      const outcome = await lives.live(profile, seed);
      if (outcome.violation !== null) {
        return outcome;
      }
    }
    return null;
  } finally {
    await lives.close();
  }
}

async function check({ patches, without = [], profile, seed, seeds, expects }: Mutant): Promise<void> {
  const order = [seed, ...Array.from({ length: seeds }, (_, index) => index + 1)];
  const failed = await firstFailure([...without, ...patches], profile, order);
  expect(failed?.violation, `none of ${seeds} seeds of ${profile} shows it`).toBeDefined();
  expect(expects, failed!.violation!.problem).toContain(failed!.violation!.kind);
  if (without.length > 0) {
    const alone = await firstFailure(without, profile, [failed!.seed]);
    expect(alone?.violation, 'what is taken away besides is what the simulation sees').toBeUndefined();
  }
}

describe.concurrent('sees that', () => {
  test.for(MUTANTS)('$mistake ($name)', { timeout: 300_000 }, mutant => check(mutant));
});

test('every mistake of the protocol is in the table', () => {
  const numbers = new Set(MUTANTS.map(({ name }) => Number.parseInt(name, 10)));
  expect(Array.from({ length: 38 }, (_, index) => index + 1).filter(number => !numbers.has(number))).toEqual([]);
});

test('a patch that finds nothing is refused', async () => {
  const patch = { file: 'src/coherence/proof/lease.ts', find: 'what is not there', replace: '' };
  await expect(bundleSimulation([patch])).rejects.toThrow('must find its text once, and finds it 0 times');
});
