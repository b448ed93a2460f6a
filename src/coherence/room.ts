/**
 * Room for so many entries: when it is full, an entry that was not used lately makes way for the new one.
 *
 * SIEVE (Zhang et al., NSDI 2024): entries stand in the order in which they came; a hand goes over them, round and round, forgives those
 * used since it was there last, and takes the first that was not. A hit only notes that the entry was used, which costs next to nothing.
 */

/** What can be in a room; `used` is the room's to write, except that who uses the entry sets it. */
export interface Guest {
  used: boolean;
}

/** See the head of the file. */
export interface Room<E extends Guest> {
  readonly size: number;
  /** Using the entry is for the caller to note: `entry.used = true`. */
  get(text: string): E | undefined;
  set(text: string, entry: E): void;
  /** The entry that was there. */
  delete(text: string): E | undefined;
  clear(): void;
}

/**
 * Creates an empty room.
 *
 * @param sizeMax at least 1
 * @param onLeft called with every entry that made way, or was replaced
 */
export function createRoom<E extends Guest>(sizeMax: number, onLeft: (entry: E) => void): Room<E> {
  const entries = new Map<string, E>();
  // An iterator of a map stays in its place whatever comes and goes; what comes is ahead of it.
  let hand = entries.entries();

  const makeWay = (): void => {
    for (;;) {
      const { value, done } = hand.next();
      if (done === true) {
        hand = entries.entries();
        continue;
      }
      const [text, entry] = value;
      if (!entry.used) {
        entries.delete(text);
        onLeft(entry);
        return;
      }
      entry.used = false;
    }
  };

  return {
    get size() {
      return entries.size;
    },
    get: text => entries.get(text),
    set(text, entry) {
      const before = entries.get(text);
      if (before !== undefined) {
        onLeft(before);
      } else if (entries.size >= sizeMax) {
        makeWay();
      }
      entries.set(text, entry);
    },
    delete(text) {
      const entry = entries.get(text);
      entries.delete(text);
      return entry;
    },
    clear() {
      entries.clear();
      hand = entries.entries();
    },
  };
}

/** Texts that were seen lately, at most so many: the older half goes when the younger is full. */
export class Recent {
  readonly #halfMax: number;
  #young = new Set<string>();
  #old = new Set<string>();

  constructor(sizeMax: number) {
    this.#halfMax = Math.max(1, Math.floor(sizeMax / 2));
  }

  has(text: string): boolean {
    return this.#young.has(text) || this.#old.has(text);
  }

  add(text: string): void {
    if (this.#young.size >= this.#halfMax && !this.#young.has(text)) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(text);
  }
}
