/**
 * True time, which nobody in the world can read, and what will happen in it. Events run one after the other in the
 * order of their hour; those of the same hour in the order in which they were planned.
 */
interface Event {
  readonly dueMs: number;
  readonly order: number;
  readonly run: () => void;
}

const before = (one: Event, other: Event): boolean =>
  one.dueMs < other.dueMs || (one.dueMs === other.dueMs && one.order < other.order);

export class Timeline {
  nowMs = 0;
  #planned = 0;
  /** A binary heap, the next event first. */
  readonly #heap: Event[] = [];

  at(dueMs: number, run: () => void): void {
    const event = { dueMs: Math.max(dueMs, this.nowMs), order: this.#planned++, run };
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(event, heap[parent]!)) {
        break;
      }
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = event;
  }

  after(ms: number, run: () => void): void {
    this.at(this.nowMs + ms, run);
  }

  /** Lets everything happen up to an hour, unless told to end before. */
  runUntil(endMs: number, isOver: () => boolean): void {
    while (!isOver()) {
      const next = this.#heap[0];
      if (next === undefined || next.dueMs > endMs) {
        this.nowMs = endMs;
        return;
      }
      this.#dropFirst();
      this.nowMs = next.dueMs;
      next.run();
    }
  }

  #dropFirst(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) {
      return;
    }
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) {
        break;
      }
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) {
        child += 1;
      }
      if (!before(heap[child]!, last)) {
        break;
      }
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}
