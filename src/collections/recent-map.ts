/**
 * A map that keeps what was used lately, bounded by bytes. It is two maps, a younger and an older one: when the younger
 * holds its half of the bytes, the older is dropped and the younger takes its place. What is found in the older one
 * moves to the younger. So a hit costs one look-up, and nothing is kept in order.
 */

/** A value in the map. */
export interface Sized {
  /** How much memory it and its text take, about. */
  readonly bytes: number;
}

/** Remembers about as many bytes as its constructor is given. */
export class RecentMap<V extends Sized> {
  readonly #halfMax: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  #youngBytes = 0;

  constructor(bytesMax: number) {
    this.#halfMax = bytesMax / 2;
  }

  /** @param textOf the text that the value is kept by: it is used again, so that the caller's need not be kept */
  get(text: string, textOf: (value: V) => string): V | undefined {
    const young = this.#young.get(text);
    if (young !== undefined) {
      return young;
    }
    const old = this.#old.get(text);
    if (old !== undefined) {
      this.set(textOf(old), old);
    }
    return old;
  }

  set(text: string, value: V): void {
    const before = this.#young.get(text);
    this.#youngBytes += value.bytes - (before?.bytes ?? 0);
    if (this.#youngBytes > this.#halfMax && this.#young.size > 0) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = value.bytes;
    }
    this.#young.set(text, value);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = 0;
  }
}
