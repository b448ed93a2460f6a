/**
 * Lives of simulated worlds, each decided by its seed; see `simulated-world.ts`. `GATEBELL_SIM_SEEDS` says how many of
 * each profile (default 12), `GATEBELL_SIM_FIRST` where to begin. A failure names its seed, and tells the end of its
 * smallest story. `npm run sim` lives many more.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundleSimulation } from './bundle.js';
import { startLives, type Lives } from './lives.js';
import { MUTANTS } from './mutants.js';
import { PROFILES, type ProfileName } from './profiles.js';
import { shrink } from './shrink.js';
import { tell } from './story.js';

const SEEDS = Number(process.env['GATEBELL_SIM_SEEDS'] ?? 12);
const FIRST = Number(process.env['GATEBELL_SIM_FIRST'] ?? 1);
const LINES_MAX = 80;
const SHRINK_ATTEMPTS_MAX = 200;

/** Allows this many attempts, however long each takes. */
function atMost(attempts: number): () => boolean {
  let left = attempts;
  return () => left-- > 0;
}

let lives: Lives;
beforeAll(async () => {
  lives = startLives(await bundleSimulation());
});
afterAll(() => lives.close());

async function firstFailure(profile: ProfileName): Promise<string | null> {
  const seeds = Array.from({ length: SEEDS }, (_, index) => FIRST + index);
  const outcomes = await Promise.all(seeds.map(seed => lives.live(profile, seed)));
  const failed = outcomes.find(({ violation }) => violation !== null);
  return failed === undefined ? null : tell(await shrink(lives, failed, atMost(SHRINK_ATTEMPTS_MAX)), null, LINES_MAX);
}

describe('keeps the promises', () => {
  test.each(Object.keys(PROFILES) as ProfileName[])('%s', async profile => {
    expect(await firstFailure(profile)).toBeNull();
  });
});

describe('a seed', () => {
  test('is the whole world: the same one tells the same story', async () => {
    const [one, other] = [
      await lives.live('chaos', 3, { tracing: true }),
      await lives.live('chaos', 3, { tracing: true }),
    ];
    expect(one.story.length).toBeGreaterThan(100);
    expect(other.story).toEqual(one.story);
  });

  test('makes a world in which much happens', async () => {
    const { answers, strongAnswers, reads } = await lives.live('calm', 1);
    expect(answers).toBeGreaterThan(100);
    expect(strongAnswers).toBeGreaterThan(10);
    expect(reads).toBeGreaterThan(50);
  });
});

describe('a seed that fails', () => {
  test('is reported as a small story of the same failure', async () => {
    const { patches, profile, seed } = MUTANTS.find(({ name }) => name === '12')!;
    const mistaken = startLives(await bundleSimulation(patches));
    try {
      const failed = await mistaken.live(profile, seed);
      const { violation, plan, story } = await shrink(mistaken, failed, atMost(SHRINK_ATTEMPTS_MAX));
      expect(violation?.kind).toBe(failed.violation?.kind);
      expect(plan.length).toBeLessThan(failed.plan.length / 5);
      expect(story.at(-1)).toContain('!!!');
      // The story left is the whole story.
      const only = new Set(plan.map(({ id }) => id));
      expect((await mistaken.live(profile, failed.seed, { only, tracing: true })).story).toEqual(story);
    } finally {
      await mistaken.close();
    }
  });
});
