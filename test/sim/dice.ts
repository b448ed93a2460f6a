/** All chance of a simulated world comes from one seed: the same seed, the same world, down to the last nonce. */
import type { Random } from '../../src/time/clock.js';

export interface Dice extends Random {
  /** A number from `min` to below `max`. */
  between(min: number, max: number): number;
  /** A whole number from 0 to below `end`. */
  integer(end: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
}

/** FNV-1a: a seed out of any text. */
function hash(text: string): number {
  let digest = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    digest = Math.imul(digest ^ text.charCodeAt(index), 0x01000193);
  }
  return digest >>> 0;
}

/** Mulberry32: small, fast, and good enough to explore with. */
export function createDice(seed: string): Dice {
  let state = hash(seed);
  let nonces = 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const integer = (end: number): number => Math.floor(uniform() * end);
  return {
    uniform,
    nonce: () => `nonce-${++nonces}-${integer(1e9)}`,
    between: (min, max) => min + uniform() * (max - min),
    integer,
    chance: probability => uniform() < probability,
    pick: list => list[integer(list.length)]!,
  };
}
