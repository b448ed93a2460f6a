/**
 * What happens to a world from outside, planned before it begins: transactions, requests, barriers and faults, each
 * with its hour and a seed of its own. So a life can be lived again with some of them left out, and the others stay
 * what they were: see `shrink.ts`.
 */
import type { Dice } from './dice.js';
import type { Profile } from './profiles.js';

/** One thing that happens. */
export interface Planned {
  /** Short, and the same in every life of the seed: `w3`, `r12`, `b2`, `f1`. */
  readonly id: string;
  readonly kind: 'write' | 'request' | 'barrier' | 'fault';
  readonly atMs: number;
}

/** How long writers write, people ask and things go wrong. */
export const BUSY_MS = 4_000;
const FIRST_WRITES = 16;
/** Mean time from one barrier to the next. */
const BARRIERS_MS = 1_000;

/** Everything that will happen, in no order. */
export function planLife({ faultMeansMs, writeMeansMs }: Profile, dice: Dice): Planned[] {
  const plan: Planned[] = [];
  const add = (kind: Planned['kind'], hours: readonly number[]): void => {
    hours.forEach((atMs, index) => {
      plan.push({ id: `${kind[0]}${index + 1}`, kind, atMs });
    });
  };
  const [writesMs, requestsMs] = [dice.pick(writeMeansMs), dice.pick([20, 50, 120])];
  const faultsMs = dice.pick(faultMeansMs);
  add('write', [
    ...Array.from({ length: FIRST_WRITES }, () => 0),
    // Some come in bursts.
    ...hours(0, () => (dice.chance(0.4) ? dice.between(0, 4) : dice.between(0, 2 * writesMs))),
  ]);
  add(
    'request',
    hours(0, () => (dice.chance(0.5) ? dice.between(0, 1) : dice.between(0, 2 * requestsMs))),
  );
  add(
    'barrier',
    hours(dice.between(0, BARRIERS_MS), () => dice.between(0, 2 * BARRIERS_MS)),
  );
  add(
    'fault',
    hours(dice.between(0, 2 * faultsMs), () => dice.between(0, 2 * faultsMs)),
  );
  return plan;
}

function hours(firstMs: number, pauseMs: () => number): number[] {
  const found: number[] = [];
  for (let atMs = firstMs; atMs < BUSY_MS; atMs += pauseMs()) {
    found.push(atMs);
  }
  return found;
}
