/** The report of a life that broke a promise. */
import type { Outcome } from './simulated-world.js';

/** What tells the story of this life again. @param mutant the mistake that was built in, if any */
export function command({ profile, seed, plan, leftOut }: Outcome, mutant: string | null): string {
  return [
    `npm run sim -- --profile ${profile} --seed ${seed}`,
    ...(leftOut > 0 ? [`--only ${plan.map(({ id }) => id).join(',') || 'nothing'}`] : []),
    ...(mutant === null ? [] : [`--mutant ${mutant}`]),
  ].join(' ');
}

/** The end of its story, what was wrong, and how to have it told again. */
export function tell(outcome: Outcome, mutant: string | null, linesMax: number = Infinity): string {
  const { violation, story, plan, leftOut } = outcome;
  return [
    ...story.slice(-linesMax),
    violation === null ? 'nothing is wrong' : `${violation.kind}: ${violation.problem}`,
    `${plan.length} planned events took place, ${leftOut} were left out`,
    command(outcome, mutant),
  ].join('\n');
}
