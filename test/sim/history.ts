/** What was true when: every value that every fact has had, as the primary of the moment saw it. */
export interface Held {
  readonly topic: string;
  readonly key: readonly string[];
  /** See `factName`. */
  readonly name: string;
  /** The value as text; no two versions of a row have the same. */
  readonly text: string;
}

/** A value, from the first to the last moment at which it may have been true. */
interface Span {
  readonly fromMs: number;
  toMs: number;
  /** Place among all changes of all facts. */
  readonly order: number;
  readonly text: string;
}

/** What a fact without a row is. */
export const ABSENT = 'absent';

export const factName = (topic: string, key: readonly string[]): string => `${topic}[${key.join(', ')}]`;

const EXACT_MS = 1e-6;

export class History {
  /** Changes so far. */
  order = 0;
  readonly #spans = new Map<string, Span[]>();

  /** From now on the fact is this. */
  note(topic: string, key: readonly string[], text: string, nowMs: number): void {
    this.noteBetween(topic, key, text, nowMs, nowMs);
  }

  /**
   * The fact became this at some moment between the two: a commit was sent, and acknowledged. In between, the old value
   * and the new may both have been true.
   */
  noteBetween(topic: string, key: readonly string[], text: string, sentMs: number, acknowledgedMs: number): void {
    const name = factName(topic, key);
    const spans = this.#spans.get(name) ?? [{ fromMs: -Infinity, toMs: Infinity, order: 0, text: ABSENT }];
    this.#spans.set(name, spans);
    const last = spans.at(-1)!;
    if (last.text !== text) {
      last.toMs = acknowledgedMs;
      this.order += 1;
      spans.push({ fromMs: sentMs, toMs: Infinity, order: this.order, text });
    }
  }

  now(topic: string, key: readonly string[]): string {
    return this.#spans.get(factName(topic, key))?.at(-1)?.text ?? ABSENT;
  }

  /** Whether the fact was so at some moment between the two. */
  wasHeld(fact: Held, fromMs: number, toMs: number): boolean {
    return this.#held(fact, fromMs, toMs).next().done !== true;
  }

  /**
   * Which of the fact's values, counted from the first, this can be that was so at some moment between the two: the
   * oldest that is not older than `least`; null if there is none.
   */
  ordinalHeld(fact: Held, fromMs: number, toMs: number, least = 0): number | null {
    return [...this.#held(fact, fromMs, toMs)].findLast(ordinal => ordinal >= least) ?? null;
  }

  /** The last moment at which the fact may have been so, of the times that had begun by then; null if it never was. */
  lastHeldMs(fact: Held, byMs: number): number | null {
    const newest = this.#held(fact, -Infinity, byMs).next();
    return newest.done === true ? null : this.#spansOf(fact)[newest.value]!.toMs;
  }

  /** Whether the fact was so when that many changes had happened, or later. */
  wasHeldSince(fact: Held, order: number): boolean {
    const spans = this.#spansOf(fact);
    return spans.some(({ text }, index) => text === fact.text && (spans[index + 1]?.order ?? Infinity) > order);
  }

  /** Whether all the facts were so at one moment between the two. */
  wereHeldTogether(facts: readonly Held[], fromMs: number, toMs: number): boolean {
    let together: (readonly [number, number])[] = [[fromMs, toMs]];
    for (const fact of facts) {
      const intervals = this.#intervals(fact, fromMs, toMs);
      together = together.flatMap(([from, to]) =>
        intervals
          .map(([begin, end]) => [Math.max(from, begin), Math.min(to, end)] as const)
          .filter(([begin, end]) => begin <= end + EXACT_MS),
      );
    }
    return together.length > 0;
  }

  /** What the fact was in that time, for the reader of a trace. */
  describe(topic: string, key: readonly string[], fromMs: number, toMs: number): string {
    const spans = this.#spans.get(factName(topic, key)) ?? [];
    const shown = spans.filter(span => span.fromMs <= toMs && span.toMs >= fromMs);
    return (
      shown
        .slice(0, 6)
        .map(
          ({ text, fromMs, toMs }) =>
            `${text} from ${fromMs.toFixed(3)}${toMs === Infinity ? '' : ` to ${toMs.toFixed(3)}`}`,
        )
        .join(', ') + (shown.length > 6 ? ', …' : '') || ABSENT
    );
  }

  #spansOf(fact: Held): readonly Span[] {
    return this.#spans.get(fact.name) ?? [{ fromMs: -Infinity, toMs: Infinity, order: 0, text: ABSENT }];
  }

  #intervals(fact: Held, fromMs: number, toMs: number): (readonly [number, number])[] {
    const spans = this.#spansOf(fact);
    return Array.from(this.#held(fact, fromMs, toMs), ordinal => {
      const span = spans[ordinal]!;
      return [Math.max(span.fromMs, fromMs), Math.min(span.toMs, toMs)];
    });
  }

  /** Ordinals of the spans with this text that meet the time, the newest first. */
  *#held(fact: Held, fromMs: number, toMs: number): Generator<number, void> {
    const spans = this.#spansOf(fact);
    // Spans begin and end in order, so those that meet the time lie side by side: found by halving, or long histories
    // take long.
    let [low, high] = [0, spans.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (spans[middle]!.fromMs <= toMs + EXACT_MS) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    for (let ordinal = low - 1; ordinal >= 0 && spans[ordinal]!.toMs + EXACT_MS >= fromMs; ordinal--) {
      if (spans[ordinal]!.text === fact.text) {
        yield ordinal;
      }
    }
  }
}
