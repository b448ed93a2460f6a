/** A bounded set of texts that were seen lately: the older half is dropped when the younger is full. */

/** Remembers at most as many texts as its constructor is given, rounded down to an even number. */
export class RecentSet {
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
