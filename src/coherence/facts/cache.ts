/**
 * A coherent cache: facts of one topic, true or not served.
 *
 * The generation guard. At most one load is under way for a key: its *flight*. An invalidation deletes the entry and
 * forgets the flight, so that a result which was read before the change is never stored (G2), and whoever asks after it
 * starts a new load. The guard is the identity of the flight, not the presence of the key (P14). It starts when the
 * batch is sent; a key that still waits in an unsent batch keeps its place.
 *
 * What is stored was loaded in the epoch that still runs (P8), from the server that the listener listens to (P5), while
 * the triggers were known to be in place (P11). What is served is stored, and the lease is fresh (P10). An entry's age
 * counts from its load; use extends nothing (P32).
 *
 * Facts that exist and facts that do not have a bound each, so that a flood of made-up keys cannot evict real ones
 * (P18).
 */
import type { SignalBus } from '../bus.js';
import type { Clock, Instant, Random } from '../../time/clock.js';
import type { Freshness } from '../proof/lease.js';
import type { Loaded, Loader, PendingLoad } from './loader.js';
import type { Observe } from '../observation.js';
import { createSieveMap, type SieveNode } from '../../collections/sieve-map.js';
import { RecentSet } from '../../collections/recent-set.js';
import { createRandomSet, type Member } from '../../collections/random-set.js';
import { keyText, type Key, type Signal } from '../signal.js';
import { keyProblem, type FactQuery } from './source.js';

/** One cached fact; `value` is null if the row does not exist. */
export interface Entry<V> extends Member {
  readonly value: V | null;
  /** When it was loaded, in logical time. */
  readonly receivedAt: number;
  /** Monotonic time, in milliseconds, of when its load was sent. */
  readonly sentMonoMs: number;
  readonly room: Room;
  used: boolean;
}

/** What all entries of a cache share, until all of them are forgotten at once: the next ones have another. */
export interface Room {
  readonly topic: string;
  readonly maxAgeMs: number;
  readonly stats: CacheStats;
  isEmptied: boolean;
}

/** Whether this very entry is still in its cache. */
export function isHeld({ place, room }: Entry<unknown>): boolean {
  return place !== -1 && !room.isEmptied;
}

/** Monotonic time, in milliseconds, after which the entry is too old to be served. */
export function tooOldAfterMs({ sentMonoMs, room }: Entry<unknown>): number {
  return sentMonoMs + room.maxAgeMs;
}

/** Counts an entry as served. */
export function noteServed(entry: Entry<unknown>): void {
  if (!entry.used) {
    entry.used = true;
  }
  const { stats } = entry.room;
  if (entry.value === null) {
    stats.negativeHits += 1;
  } else {
    stats.hits += 1;
  }
}

/** Running totals of one cache. */
export interface CacheStats {
  /** Served: the fact exists. */
  hits: number;
  /** Served: the fact does not exist. */
  negativeHits: number;
  /** Not there, or too old. */
  misses: number;
  /** Not looked up, because nothing of the topic may be served now. */
  unproven: number;
}

/** Bounds of a cache. */
export interface CacheLimits {
  /** Facts that exist. Default 100,000. */
  readonly entriesMax?: number;
  /** Facts that do not. Default 10,000. */
  readonly negativeEntriesMax?: number;
  /** Age in milliseconds, from the load, past which a fact is loaded again. Default one hour. */
  readonly maxAgeMs?: number;
}

/** What a cache caches. */
export interface CacheOptions<V> extends CacheLimits {
  /** The topic that the table is watched under. */
  readonly topic: string;
  /** How its facts are read. */
  readonly load: FactQuery<V>;
}

export interface Cache<V> {
  readonly topic: string;
  /** How its facts are read. */
  readonly query: FactQuery<V>;
  readonly stats: Readonly<CacheStats>;
  readonly size: number;
  readonly negativeEntries: number;
  /** Whether the fact was lately seen to exist. */
  knows(key: Key): boolean;
  /** The fact, if it may be served at this instant. */
  lookup(key: Key, now: Instant): Entry<V> | undefined;
  /**
   * Loads the fact, or joins a load of it. Whether the result may decide a request is for the caller to judge: it is
   * evidence only if its batch was sent after the request arrived (P15).
   * @throws UnavailableError (also as a rejection); TypeError, if the key has too few or too many parts
   */
  load(key: Key): Promise<Loaded<V>>;
}

/** An entry as it is kept. */
export interface Held<V> extends Entry<V>, SieveNode<Held<V>> {
  readonly key: Key;
}

/** The auditor's side of a cache. */
export interface AuditedCache<V> extends Pick<Cache<V>, 'topic' | 'query'> {
  /** Some entries, drawn at random, whether the fact exists or not. None counts as used by this. */
  draw(count: number, random: Random): readonly Held<V>[];
  /** Whether this very entry is still there. */
  holds(entry: Held<V>): boolean;
}

/** What a cache needs of its surroundings. */
export interface CacheDeps {
  readonly lease: Freshness;
  readonly loader: Pick<Loader, 'queue'>;
  readonly bus: SignalBus;
  readonly clock: Clock;
  readonly observe: Observe;
}

const ENTRIES_MAX = 100_000;
const NEGATIVE_ENTRIES_MAX = 10_000;
const MAX_AGE_MS = 3_600_000;

/** Creates a cache and subscribes it to the bus. */
export function createCache<V>(options: CacheOptions<V>, deps: CacheDeps): Cache<V> & AuditedCache<V> {
  const {
    topic,
    load,
    maxAgeMs = MAX_AGE_MS,
    entriesMax = ENTRIES_MAX,
    negativeEntriesMax = NEGATIVE_ENTRIES_MAX,
  } = options;
  const { lease, clock, observe } = deps;
  /** Everything that is cached, for the auditor. */
  const randomSet = createRandomSet<Held<V>>();
  const leave = (entry: Held<V> | undefined): number => {
    if (entry === undefined) {
      return 0;
    }
    randomSet.remove(entry);
    return 1;
  };
  const entries = createSieveMap<Held<V>>(entriesMax, leave);
  const negativeEntries = createSieveMap<Held<V>>(negativeEntriesMax, leave);
  /** Keys lately seen to exist: after a flush they wait in the lane of real keys. */
  const known = new RecentSet(entriesMax);
  const flights = new Map<string, PendingLoad<V>>();
  const stats: CacheStats = { hits: 0, negativeHits: 0, misses: 0, unproven: 0 };
  const openRoom = (): Room => ({ topic, maxAgeMs, stats, isEmptied: false });
  let room = openRoom();

  const forgetAll = (): number => {
    const forgotten = entries.size + negativeEntries.size;
    flights.clear();
    room.isEmptied = true;
    room = openRoom();
    randomSet.clear();
    entries.clear();
    negativeEntries.clear();
    return forgotten;
  };

  const forget = (key: Key): number => {
    const text = keyText(key);
    flights.delete(text);
    return leave(entries.delete(text)) + leave(negativeEntries.delete(text));
  };

  const apply = (signal: Signal): void => {
    let forgotten = 0;
    if (signal.type === 'flush' || signal.keys === null) {
      forgotten = forgetAll();
    } else {
      for (const key of signal.keys) {
        forgotten += forget(key);
      }
    }
    if (signal.type === 'change') {
      observe({ event: 'invalidation', topic, entries: forgotten });
    }
  };

  deps.bus.subscribeCache({ topic, apply, flush: forgetAll });

  const queue = deps.loader.queue<V>({
    topic,
    query: load,
    onSent(tickets, sent) {
      const epoch = lease.epoch;
      for (const ticket of tickets) {
        flights.set(ticket.text, ticket);
      }
      const endFlight = (ticket: PendingLoad<V>): boolean =>
        flights.get(ticket.text) === ticket && flights.delete(ticket.text);
      return {
        onLoaded(ticket, { value, receivedAt }) {
          if (value !== null) {
            known.add(ticket.text);
          }
          // While there is no epoch, nothing is trusted.
          if (!endFlight(ticket) || epoch !== lease.epoch || !lease.trusts(topic)) {
            return;
          }
          forget(ticket.key);
          // What a kept answer looks at stands together: with many users, each line of memory is waited for.
          const entry: Held<V> = {
            value,
            room,
            place: -1,
            used: false,
            receivedAt,
            sentMonoMs: sent.monoMs,
            key: ticket.key,
            text: ticket.text,
            older: null,
            newer: null,
          };
          randomSet.add(entry);
          (value === null ? negativeEntries : entries).set(entry);
        },
        onFailed: endFlight,
      };
    },
  });

  return {
    topic,
    query: load,
    stats,
    draw: (count, random) => randomSet.draw(count, random),
    holds: isHeld,
    get size() {
      return entries.size;
    },
    get negativeEntries() {
      return negativeEntries.size;
    },
    knows: key => known.has(keyText(key)),
    lookup(key, now) {
      if (!lease.serves(topic, now)) {
        stats.unproven += 1;
        return undefined;
      }
      const text = keyText(key);
      const entry = entries.get(text) ?? negativeEntries.get(text);
      if (entry === undefined || now.monoMs > tooOldAfterMs(entry)) {
        stats.misses += 1;
        return undefined;
      }
      noteServed(entry);
      return entry;
    },
    async load(key) {
      const problem = keyProblem(topic, load, key);
      if (problem !== null) {
        throw problem;
      }
      const text = keyText(key);
      // A flight that was sent before we asked proves nothing unless its guard holds and the lease is fresh (P16).
      const flight = lease.serves(topic, clock.now()) ? flights.get(text) : undefined;
      return (flight ?? queue.enqueue(key, text, known.has(text))).promise;
    },
  };
}
