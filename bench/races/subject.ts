/**
 * What a race is played against: a library's cache over one table, as its documentation recommends to use it. Each
 * library has one file in `libraries/`.
 */
import type { Truth } from './truth.js';

/** A cache that is open, or one on each of two replicas. */
export interface Subject {
  /** Makes ready what the race is about; called before anything of the key is held. */
  prepare?(key: string): Promise<void>;
  /** The version of the row, or the version that a derived value was made of: from memory, or loaded. */
  get(key: string): Promise<number>;
  /**
   * Commits a change, and then does what the documentation says of a change. Resolves when the library has acknowledged
   * that, and other replicas have heard of it.
   */
  change(key: string, commit: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** Two replicas: `change` is made on the one, and `get` reads on the other. */
export interface ReplicaSubject extends Subject {
  /** Cuts the line on which the reading replica hears of changes. Until `restore`, it does not hear of them. */
  cut(): Promise<void>;
  /** Resolves when the reading replica hears again. */
  restore(): Promise<void>;
}

/** A library has nothing of the kind; `says` is what the table says. */
export interface Lack {
  readonly says: string;
}

export type Opener<S extends Subject = Subject> = ((truth: Truth) => Promise<S>) | Lack;

export interface Library {
  /** As on npm, or as it is imported. */
  readonly name: string;
  /** What of its documentation the file follows. */
  readonly docs: readonly string[];
  /** How long a value that was kept stays if nothing else happens. */
  readonly keeps: string;
  /** A change is followed by forgetting its key. */
  readonly byKey: Opener;
  /** A change of every row is followed by forgetting everything. */
  readonly all: Opener;
  /** The entry is due: the next `get` answers with it, and refreshes it in the background. */
  readonly refreshed: Opener;
  /** `get` reads a value that was made of another cached value. */
  readonly derived: Opener;
  readonly replicas: Opener<ReplicaSubject>;
}
