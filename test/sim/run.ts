/**
 * Lives many lives, or tells the story of one.
 *
 *   npm run sim -- --seeds 2000 --from 1            over all profiles, spread evenly
 *   npm run sim -- --seeds 500 --profile chaos      of one
 *   npm run sim -- --profile chaos --seed 7         the story of one life
 *   npm run sim -- --profile network --mutant 11    with a mistake built in (`mutants.ts`)
 *
 * Exits with 0 if nothing is wrong, 1 if a promise was broken, 2 on wrong usage, 130 if interrupted.
 */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { bundleSimulation } from './bundle.js';
import { startLives, WORKERS, type Lives } from './lives.js';
import { MUTANTS, type Mutant } from './mutants.js';
import { PROFILES, type ProfileName } from './profiles.js';
import { shrink } from './shrink.js';
import { command, tell } from './story.js';
import type { Outcome } from './simulated-world.js';

const OPTIONS = {
  seeds: { type: 'string' },
  from: { type: 'string' },
  profile: { type: 'string' },
  seed: { type: 'string' },
  only: { type: 'string' },
  mutant: { type: 'string' },
  failures: { type: 'string' },
  'shrink-seconds': { type: 'string' },
  help: { type: 'boolean' },
} as const satisfies ParseArgsConfig['options'];

const HELP = `npm run sim -- [options]
  --seeds N            how many lives, over all profiles together (default 2000)
  --from S             the first seed (default 1)
  --profile NAME       one profile: ${Object.keys(PROFILES).join(', ')}
  --seed K             tells the story of this one; needs --profile
  --only w1,r2,f3      with --seed: of what was planned, only this takes place
  --mutant NAME        builds this mistake in; see test/sim/mutants.ts
  --failures N         ends after that many (default 3)
  --shrink-seconds N   looks for a smaller story for so long (default 20)`;

const PROGRESS_MS = 30_000;

class UsageError extends Error {}

function readNumber(name: string, value: string | undefined, otherwise: number): number {
  if (value === undefined) {
    return otherwise;
  }
  if (!/^\d{1,9}$/.test(value)) {
    throw new UsageError(`--${name} is '${value}'; allowed is a whole number from 0 to 999999999`);
  }
  return Number(value);
}

function readName<T extends string>(name: string, value: string | undefined, allowed: readonly T[]): T | null {
  if (value === undefined) {
    return null;
  }
  const found = allowed.find(one => one === value);
  if (found === undefined) {
    throw new UsageError(`--${name} is '${value}'; allowed are ${allowed.join(', ')}`);
  }
  return found;
}

function readUsage(): {
  readonly seeds: number;
  readonly from: number;
  readonly profile: ProfileName | null;
  readonly seed: number | null;
  readonly only: ReadonlySet<string> | null;
  readonly mutant: Mutant | null;
  readonly failuresMax: number;
  readonly shrinkMs: number;
} {
  let values;
  try {
    ({ values } = parseArgs({ options: OPTIONS }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  if (values.help === true) {
    console.log(HELP);
    process.exit(0);
  }
  const profile = readName('profile', values.profile, Object.keys(PROFILES) as ProfileName[]);
  const mutant = readName(
    'mutant',
    values.mutant,
    MUTANTS.map(({ name }) => name),
  );
  const usage = {
    seeds: readNumber('seeds', values.seeds, 2_000),
    from: readNumber('from', values.from, 1),
    profile,
    seed: values.seed === undefined ? null : readNumber('seed', values.seed, 0),
    only: values.only === undefined ? null : new Set(values.only.split(',')),
    mutant: MUTANTS.find(({ name }) => name === mutant) ?? null,
    failuresMax: Math.max(1, readNumber('failures', values.failures, 3)),
    shrinkMs: 1_000 * readNumber('shrink-seconds', values['shrink-seconds'], 20),
  };
  if (usage.seed !== null && profile === null) {
    throw new UsageError(`--seed needs a --profile; allowed are ${Object.keys(PROFILES).join(', ')}`);
  }
  if (usage.only !== null && usage.seed === null) {
    throw new UsageError('--only needs a --seed');
  }
  return usage;
}

/** What the lives of one profile came to. */
class Sums {
  lives = 0;
  failures = 0;
  answers = 0;
  strongAnswers = 0;
  refusals = 0;
  reads = 0;
  recalled = 0;
  audits = 0;
  faults = 0;

  add(outcome: Outcome): void {
    this.lives += 1;
    this.failures += Number(outcome.violation !== null);
    for (const name of ['answers', 'strongAnswers', 'refusals', 'recalled', 'reads', 'audits', 'faults'] as const) {
      this[name] += outcome[name];
    }
  }
}

/** Lives until the seeds, or the failures allowed, are used up. */
async function explore(
  lives: Lives,
  profiles: readonly ProfileName[],
  bounds: {
    readonly seeds: number;
    readonly from: number;
    readonly failuresMax: number;
    readonly mutant: string | null;
  },
  sums: ReadonlyMap<ProfileName, Sums>,
): Promise<Outcome[]> {
  const { seeds, from, failuresMax, mutant } = bounds;
  const failed: Outcome[] = [];
  let next = 0;
  const live = async (): Promise<void> => {
    while (next < seeds && failed.length < failuresMax) {
      const number = next++;
      const outcome = await lives.live(
        profiles[number % profiles.length]!,
        from + Math.floor(number / profiles.length),
      );
      sums.get(outcome.profile)!.add(outcome);
      if (outcome.violation !== null) {
        failed.push(outcome);
        console.log(`${outcome.violation.kind}: ${outcome.violation.problem}\n    ${command(outcome, mutant)}`);
      }
    }
  };
  // Two for each worker: one lives while the other's outcome is noted.
  await Promise.all(Array.from({ length: 2 * WORKERS }, live));
  return failed;
}

/** How far it has come, now and then. */
function startProgress(sums: ReadonlyMap<ProfileName, Sums>, seeds: number, startedMs: number): NodeJS.Timeout {
  return setInterval(() => {
    const lives = [...sums.values()].reduce((sum, one) => sum + one.lives, 0);
    const aSecond = (1_000 * lives) / (performance.now() - startedMs);
    console.error(`${lives} of ${seeds} lives, ${aSecond.toFixed(1)} per second`);
  }, PROGRESS_MS);
}

function report(sums: ReadonlyMap<ProfileName, Sums>, startedMs: number): void {
  const seconds = (performance.now() - startedMs) / 1_000;
  const all = new Sums();
  const rows: Record<string, Omit<Sums, 'add'>> = {};
  for (const [profile, one] of sums) {
    const row = { ...one };
    rows[profile] = row;
    for (const name of Object.keys(row) as (keyof Omit<Sums, 'add'>)[]) {
      all[name] += one[name];
    }
  }
  console.table({ ...rows, all: { ...all } });
  console.log(
    `${all.lives} lives in ${seconds.toFixed(1)} s, ${(all.lives / seconds).toFixed(1)} per second; ` +
      `${all.failures} broke a promise`,
  );
}

async function main(): Promise<number> {
  const { seeds, from, profile, seed, only, mutant, failuresMax, shrinkMs } = readUsage();
  const lives = startLives(await bundleSimulation([...(mutant?.without ?? []), ...(mutant?.patches ?? [])]));
  try {
    if (profile !== null && seed !== null) {
      const outcome = await lives.live(profile, seed, { tracing: true, only });
      console.log(tell(outcome, mutant?.name ?? null));
      return outcome.violation === null ? 0 : 1;
    }
    const profiles = profile === null ? (Object.keys(PROFILES) as ProfileName[]) : [profile];
    const sums = new Map(profiles.map(name => [name, new Sums()]));
    const startedMs = performance.now();
    const progress = startProgress(sums, seeds, startedMs);
    process.once('SIGINT', () => {
      report(sums, startedMs);
      process.exit(130);
    });
    const [failed] = await explore(lives, profiles, { seeds, from, failuresMax, mutant: mutant?.name ?? null }, sums);
    clearInterval(progress);
    report(sums, startedMs);
    if (failed === undefined) {
      return 0;
    }
    console.log(`\nlooking for a smaller story of ${failed.profile} ${failed.seed} …`);
    const endMs = performance.now() + shrinkMs;
    const smallest = await shrink(lives, failed, () => performance.now() < endMs);
    console.log(tell(smallest, mutant?.name ?? null));
    return 1;
  } finally {
    await lives.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) {
    throw error;
  }
  console.error(`${error.message}\n\n${HELP}`);
  process.exitCode = 2;
}
