/**
 * Explores many seeds, or tells the story of one.
 *
 *   npx tsx test/sim/explore.ts [--profile chaos] [--first 1] [--seeds 1000]
 *   npx tsx test/sim/explore.ts --profile chaos --seed 7
 */
import { parseArgs } from 'node:util';
import { PROFILES, type Profile } from './faults.js';
import { simulate } from './world.js';

const { values } = parseArgs({
  options: {
    profile: { type: 'string' },
    first: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1000' },
    seed: { type: 'string' },
    failures: { type: 'string', default: '5' },
  },
});
const all = Object.keys(PROFILES) as Profile[];
const profiles = all.filter(profile => values.profile === undefined || values.profile === profile);
/** Worlds that live side by side: they share the turns of the real event loop and nothing else. */
const WORLDS = 24;

async function explore(profile: Profile, first: number, end: number): Promise<number> {
  const startedMs = performance.now();
  const sums = { answers: 0, strongAnswers: 0, refusals: 0, reads: 0, audits: 0 };
  let [next, failures] = [first, 0];
  const worker = async (): Promise<void> => {
    while (next < end && failures < Number(values.failures)) {
      const verdict = await simulate(profile, next++);
      for (const name of Object.keys(sums) as (keyof typeof sums)[]) {
        sums[name] += verdict[name];
      }
      if (verdict.violation !== null) {
        failures += 1;
        console.log(`${profile} ${verdict.seed}: ${verdict.violation}`);
      }
    }
  };
  await Promise.all(Array.from({ length: WORLDS }, worker));
  const seconds = (performance.now() - startedMs) / 1000;
  const seeds = next - first;
  console.log(
    `${profile}: ${seeds} seeds in ${seconds.toFixed(1)} s, ${failures} failed; ${sums.answers} answers (${sums.strongAnswers} strong), ${sums.refusals} refusals, ${sums.reads} reads, ${sums.audits} audits`,
  );
  return failures;
}

if (values.seed !== undefined) {
  for (const profile of profiles) {
    const { trace, violation } = await simulate(profile, Number(values.seed), true);
    console.log([...trace, violation ?? 'nothing is wrong'].join('\n'));
  }
} else {
  const first = Number(values.first);
  let failures = 0;
  for (const profile of profiles) {
    failures += await explore(profile, first, first + Number(values.seeds));
  }
  process.exitCode = failures === 0 ? 0 : 1;
}
