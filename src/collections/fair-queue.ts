/**
 * A bounded queue with two lanes: one for what was lately seen to exist, and one for what was not. The second lane gets
 * a quarter of the capacity, and of each batch if both lanes have items. So a flood of made-up hosts or tokens cannot
 * starve the keys of real users (P18).
 */

export interface FairQueue<T> {
  readonly size: number;
  get(name: string): T | undefined;
  /** Returns false and changes nothing if the lane is full. */
  add(name: string, item: T, isKnown: boolean): boolean;
  /** Removes and returns at most `count` items, the oldest of each lane first. */
  take(count: number): T[];
}

const UNKNOWN_SHARE = 0.25;

/** Creates an empty queue. @param sizeMax capacity of the lane for known names; the other lane holds a quarter of it */
export function createFairQueue<T>(sizeMax: number): FairQueue<T> {
  const known = new Map<string, T>();
  const unknown = new Map<string, T>();

  const move = (half: Map<string, T>, count: number, taken: T[]): void => {
    for (const [name, item] of half) {
      if (taken.length >= count) {
        break;
      }
      half.delete(name);
      taken.push(item);
    }
  };

  return {
    get size() {
      return known.size + unknown.size;
    },
    get: name => known.get(name) ?? unknown.get(name),
    add(name, item, isKnown) {
      const half = isKnown ? known : unknown;
      if (half.size >= Math.ceil(sizeMax * (isKnown ? 1 : UNKNOWN_SHARE))) {
        return false;
      }
      half.set(name, item);
      return true;
    },
    take(count) {
      const reserved = Math.min(unknown.size, Math.floor(count * UNKNOWN_SHARE));
      const taken: T[] = [];
      move(known, count - reserved, taken);
      move(unknown, count, taken);
      return taken;
    },
  };
}
