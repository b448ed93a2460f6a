/** What was true when: every value that every fact has had, as the primary of the moment saw it. */
export interface Held {
  readonly subject: string;
  readonly key: readonly string[];
  /** The value as text; no two versions of a row have the same. */
  readonly text: string;
}

interface Span {
  readonly fromMs: number;
  readonly text: string;
}

/** What a fact without a row is. */
export const ABSENT = 'absent';

export const factName = (subject: string, key: readonly string[]): string => `${subject}[${key.join(', ')}]`;

const EXACT_MS = 1e-6;

export class History {
  readonly #spans = new Map<string, Span[]>();

  /** From now on the fact is this. */
  note(subject: string, key: readonly string[], text: string, nowMs: number): void {
    const name = factName(subject, key);
    const spans = this.#spans.get(name) ?? [{ fromMs: -Infinity, text: ABSENT }];
    this.#spans.set(name, spans);
    if (spans.at(-1)!.text !== text) {
      spans.push({ fromMs: nowMs, text });
    }
  }

  now(subject: string, key: readonly string[]): string {
    return this.#spans.get(factName(subject, key))?.at(-1)?.text ?? ABSENT;
  }

  /** Whether the fact was so at some moment between the two. */
  wasHeld(fact: Held, fromMs: number, toMs: number): boolean {
    return this.#intervals(fact, fromMs, toMs).length > 0;
  }

  /** Whether all the facts were so at one moment between the two. */
  wereHeldTogether(facts: readonly Held[], fromMs: number, toMs: number): boolean {
    let together: (readonly [number, number])[] = [[fromMs, toMs]];
    for (const fact of facts) {
      together = together.flatMap(([from, to]) => this.#intervals(fact, from, to));
    }
    return together.length > 0;
  }

  /** What the fact was in that time, for the reader of a trace. */
  describe(subject: string, key: readonly string[], fromMs: number, toMs: number): string {
    const spans = this.#spans.get(factName(subject, key)) ?? [];
    const shown = spans.filter(
      ({ fromMs: from }, index) => from <= toMs && (spans[index + 1]?.fromMs ?? Infinity) >= fromMs,
    );
    return (
      shown
        .slice(0, 6)
        .map(({ fromMs: from, text }) => `${text} from ${from.toFixed(3)}`)
        .join(', ') + (shown.length > 6 ? ', …' : '') || ABSENT
    );
  }

  #intervals(fact: Held, fromMs: number, toMs: number): (readonly [number, number])[] {
    const spans = this.#spans.get(factName(fact.subject, fact.key)) ?? [{ fromMs: -Infinity, text: ABSENT }];
    const found: (readonly [number, number])[] = [];
    for (let index = spans.length - 1; index >= 0; index--) {
      const span = spans[index]!;
      const from = Math.max(span.fromMs, fromMs);
      const to = Math.min(spans[index + 1]?.fromMs ?? Infinity, toMs);
      if (span.text === fact.text && from <= to + EXACT_MS) {
        found.push([from, to]);
      }
      if (span.fromMs < fromMs) {
        break;
      }
    }
    return found;
  }
}
