/**
 * One pass over a question: what it asks for, from the cache or from the request's evidence, and what its answer rests
 * on. That is what a kept answer looks at before it is given again.
 */
import type { Clock, Instant } from '../../time/clock.js';
import type { Lease, ServerClock } from '../proof/lease.js';
import { keyText, type Key } from '../signal.js';
import { isHeld, noteServed, tooOldAfterMs, type Entry } from './cache.js';
import type { Loaded } from './loader.js';
import type { Caches, FactRef, Facts } from './reader.js';

/** An answer from memory that may be given again. */
export interface Kept<T> {
  readonly answer: T;
  /** Whether its facts are still in memory: if not, it is never given again. Cheaper than to look at all else. */
  isHeld(): boolean;
  /**
   * The answer, if the question would be answered with it, from the same cached facts, at this instant; else undefined
   * (P34).
   */
  recall(): T | undefined;
}

/** What decides whether a kept answer may be given again. */
interface KeptDeps {
  readonly clock: Clock;
  readonly lease: Lease;
  readonly serverClock: ServerClock;
}

/**
 * An answer with all that it rests on: the entries that it was made of, and the moments of Postgres' clock between
 * which it holds. It needs no signal of a change: an entry that has left its cache says so itself.
 */
class KeptAnswer<T> implements Kept<T> {
  readonly answer: T;
  readonly #entries: readonly Entry<unknown>[];
  /** Milliseconds since 1970: it is the answer from then on, and not from `untilMs` on. */
  readonly #sinceMs: number;
  readonly #untilMs: number;
  /** Monotonic time after which one of the entries is too old. */
  readonly #tooOldAfterMs: number;
  readonly #deps: KeptDeps;

  constructor(answer: T, entries: readonly Entry<unknown>[], sinceMs: number, untilMs: number, deps: KeptDeps) {
    this.answer = answer;
    this.#entries = entries;
    this.#sinceMs = sinceMs;
    this.#untilMs = untilMs;
    this.#tooOldAfterMs = Math.min(...entries.map(tooOldAfterMs));
    this.#deps = deps;
  }

  isHeld(): boolean {
    return this.#entries.every(isHeld);
  }

  recall(): T | undefined {
    const { clock, lease, serverClock } = this.#deps;
    const now = clock.now();
    if (!lease.isFresh(now) || now.monoMs > this.#tooOldAfterMs) {
      return undefined;
    }
    for (const entry of this.#entries) {
      if (!isHeld(entry) || !lease.trusts(entry.room.topic)) {
        return undefined;
      }
    }
    if (this.#sinceMs !== -Infinity || this.#untilMs !== Infinity) {
      const serverTimeMs = serverClock.nowMs(now);
      if (serverTimeMs < this.#sinceMs || serverTimeMs >= this.#untilMs) {
        return undefined;
      }
    }
    for (const entry of this.#entries) {
      noteServed(entry);
    }
    return this.answer;
  }
}

/** Facts for one pass over a question. */
export class Pass<Types> implements Facts<Types> {
  /** When the newest of the facts used was loaded, in logical time. */
  newestAt = 0;
  /** What the answer rests on; null: it is not to be kept, or rests on what cannot be looked at again. */
  #entries: Entry<unknown>[] | null;
  #sinceMs = -Infinity;
  #untilMs = Infinity;
  readonly #caches: Caches<Types>;
  readonly #serverClock: ServerClock;
  readonly #now: Instant;
  readonly #cached: boolean;
  readonly #evidence: Evidence<Types> | null;

  constructor(
    caches: Caches<Types>,
    serverClock: ServerClock,
    now: Instant,
    cached: boolean,
    evidence: Evidence<Types> | null,
    keeps: boolean,
  ) {
    this.#entries = keeps ? [] : null;
    this.#caches = caches;
    this.#serverClock = serverClock;
    this.#now = now;
    this.#cached = cached;
    this.#evidence = evidence;
  }

  get serverTimeMs(): number {
    this.#entries = null;
    return this.#serverClock.nowMs(this.#now);
  }

  hasCome(timeMs: number): boolean {
    const hasCome = timeMs <= this.#serverClock.nowMs(this.#now);
    if (hasCome) {
      this.#sinceMs = Math.max(this.#sinceMs, timeMs);
    } else {
      this.#untilMs = Math.min(this.#untilMs, timeMs);
    }
    return hasCome;
  }

  keep<T>(answer: T, deps: KeptDeps): Kept<T> | null {
    return this.#entries === null ? null : new KeptAnswer(answer, this.#entries, this.#sinceMs, this.#untilMs, deps);
  }

  get<S extends keyof Types & string>(topic: S, key: Key): Types[S] | null | undefined {
    if (this.#cached) {
      const entry = this.#caches[topic].lookup(key, this.#now);
      if (entry !== undefined) {
        this.newestAt = Math.max(this.newestAt, entry.receivedAt);
        this.#entries?.push(entry);
        return entry.value;
      }
    }
    this.#entries = null;
    // The reader has filled it from the cache of the same topic.
    const held = this.#evidence?.get(evidenceText(topic, key));
    return (held?.loaded as Loaded<Types[S]> | undefined)?.value;
  }
}

/** A fact of which a request holds what was read for it. */
interface Held<Types> {
  readonly ref: FactRef<Types>;
  readonly loaded: Loaded<unknown>;
}

/** What a request has read of Postgres itself since it arrived, by {@link evidenceText}. */
export type Evidence<Types> = Map<string, Held<Types>>;

/** By what a fact is found among the evidence. */
export function evidenceText(topic: string, key: Key): string {
  return `${topic}/${keyText(key)}`;
}
