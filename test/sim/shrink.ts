/**
 * Finds a smaller story of a violation: the same seed, with as much of what was planned left out as can be while the
 * same kind of promise is broken. Delta debugging (Zeller and Hildebrandt, 2002): leaves out halves, then quarters, and
 * so on down to single events.
 */
import type { Lives } from './lives.js';
import type { Outcome } from './simulated-world.js';

/**
 * The smallest failing life found.
 *
 * @param failed a life with a violation
 * @param goesOn asked before each attempt: whether another one may be made
 */
export async function shrink(lives: Lives, failed: Outcome, goesOn: () => boolean): Promise<Outcome> {
  const { profile, seed, violation } = failed;
  let smallest = failed;
  const attempt = async (names: readonly string[]): Promise<boolean> => {
    const outcome = await lives.live(profile, seed, { only: new Set(names) });
    const fails = outcome.violation?.kind === violation?.kind;
    if (fails && names.length < smallest.plan.length) {
      smallest = outcome;
    }
    return fails;
  };
  // What was to happen afterwards has nothing to do with it.
  const before = failed.plan.filter(({ atMs }) => atMs <= violation!.atMs).map(({ id }) => id);
  let names: readonly string[] = (await attempt(before)) ? before : failed.plan.map(({ id }) => id);
  let size = Math.ceil(names.length / 2);
  for (let isOver = false; !isOver;) {
    let isSmaller = false;
    for (let from = 0; from < names.length && !isOver;) {
      isOver = !goesOn();
      if (isOver) {
        break;
      }
      const rest = [...names.slice(0, from), ...names.slice(from + size)];
      if (await attempt(rest)) {
        names = rest;
        isSmaller = true;
      } else {
        from += size;
      }
    }
    isOver ||= size === 1 && !isSmaller;
    size = isSmaller && size === 1 ? 1 : Math.ceil(size / 2);
  }
  return lives.live(profile, seed, { only: new Set(smallest.plan.map(({ id }) => id)), tracing: true });
}
