/**
 * A bounded map. When it is full, it evicts an entry that was not used lately.
 *
 * The algorithm is SIEVE (Zhang et al., NSDI 2024). Entries stand in the order in which they came. A hand moves over
 * them in circles. It spares each entry that was used since its last visit, and evicts the first that was not. A hit
 * only sets a flag.
 */

/** An entry of a map, found by its text. Callers set `used`; the map alone writes the rest. */
export interface SieveNode<E> {
  readonly text: string;
  used: boolean;
  /** Its neighbours, in the order in which they came. */
  older: E | null;
  newer: E | null;
}

export interface SieveMap<E extends SieveNode<E>> {
  readonly size: number;
  /** The caller sets `entry.used = true` when it uses the entry. */
  get(text: string): E | undefined;
  set(entry: E): void;
  /** Returns the entry that was removed. */
  delete(text: string): E | undefined;
  clear(): void;
}

/**
 * Creates an empty map.
 *
 * @param sizeMax at least 1
 * @param onLeft called with each entry that was evicted or replaced
 */
export function createSieveMap<E extends SieveNode<E>>(sizeMax: number, onLeft: (entry: E) => void): SieveMap<E> {
  // Their order is kept in the entries: a map's iterator that waits in its place keeps alive all that has left the map
  // since.
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

  /** Evicts an entry. */
  const evict = (): void => {
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
        evict();
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
      // A reference to one entry must not keep all others alive.
      for (const entry of entries.values()) {
        entry.older = null;
        entry.newer = null;
      }
      entries.clear();
      oldest = null;
      newest = null;
      hand = null;
    },
  };
}
