/**
 * Room for so many entries: when it is full, an entry that was not used lately makes way for the new one.
 *
 * SIEVE (Zhang et al., NSDI 2024): entries stand in the order in which they came; a hand goes over them, round and round, forgives those
 * used since it was there last, and takes the first that was not. A hit only notes that the entry was used, which costs next to nothing.
 */

/** What can be in a room, found by its text. The rest is the room's to write, except that who uses the entry sets `used`. */
export interface Guest<E> {
  readonly text: string;
  used: boolean;
  /** Its neighbours, in the order in which they came. */
  older: E | null;
  newer: E | null;
}

export interface Room<E extends Guest<E>> {
  readonly size: number;
  /** Using the entry is for the caller to note: `entry.used = true`. */
  get(text: string): E | undefined;
  set(entry: E): void;
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
export function createRoom<E extends Guest<E>>(sizeMax: number, onLeft: (entry: E) => void): Room<E> {
  // Their order is kept in the entries: a map's iterator that waits in its place keeps alive all that has left the map since.
  const entries = new Map<string, E>();
  let oldest: E | null = null;
  let newest: E | null = null;
  /** Null: it goes on from the oldest. */
  let hand: E | null = null;

  const arrive = (entry: E): void => {
    entries.set(entry.text, entry);
    entry.older = newest;
    if (newest === null) {
      oldest = entry;
    } else {
      newest.newer = entry;
    }
    newest = entry;
  };

  const leave = (entry: E): void => {
    entries.delete(entry.text);
    const { older, newer } = entry;
    if (older === null) {
      oldest = newer;
    } else {
      older.newer = newer;
    }
    if (newer === null) {
      newest = older;
    } else {
      newer.older = older;
    }
    if (hand === entry) {
      hand = newer;
    }
    entry.older = null;
    entry.newer = null;
  };

  /** The room is full. */
  const makeWay = (): void => {
    let entry = hand ?? oldest!;
    while (entry.used) {
      entry.used = false;
      entry = entry.newer ?? oldest!;
    }
    hand = entry;
    leave(entry);
    onLeft(entry);
  };

  return {
    get size() {
      return entries.size;
    },
    get: text => entries.get(text),
    set(entry) {
      const before = entries.get(entry.text);
      if (before !== undefined) {
        leave(before);
        onLeft(before);
      } else if (entries.size >= sizeMax) {
        makeWay();
      }
      arrive(entry);
    },
    delete(text) {
      const entry = entries.get(text);
      if (entry !== undefined) {
        leave(entry);
      }
      return entry;
    },
    clear() {
      entries.clear();
      oldest = null;
      newest = null;
      hand = null;
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
