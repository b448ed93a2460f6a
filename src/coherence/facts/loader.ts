/**
 * Loads facts in batches: a missing key joins the pending batch of its topic, and a batch leaves when one of the few
 * slots is free. Under a burst the slots are busy, the batches fill, and hundreds of misses become a handful of
 * queries.
 *
 * Each topic has at most one batch in flight, and each queue has a bound; beyond it the miss is refused (P33).
 */
import type { SourceCheck } from './source-check.js';
import type { Clock, Instant, Sequence } from '../../time/clock.js';
import { foreignReading, notLoaded, UnavailableError } from '../errors.js';
import type { ServerClock } from '../proof/lease.js';
import type { Observe } from '../observation.js';
import { createFairQueue } from '../../collections/fair-queue.js';
import type { Key } from '../signal.js';
import type { Slots } from './slots.js';
import { StrayRowError, matchRows, type FactQuery, type FactSource, type QueryResult } from './source.js';

/** One fact as loaded: null if the row does not exist. */
export interface Loaded<V> {
  readonly value: V | null;
  /** When its batch was sent, in logical time. */
  readonly sentAt: number;
  /** The same, by the clocks. */
  readonly sent: Instant;
  /** When the answer came, in logical time. */
  readonly receivedAt: number;
}

/** One key that somebody waits for; its identity is the generation guard (P14). */
export interface PendingLoad<V> {
  readonly key: Key;
  readonly text: string;
  readonly promise: Promise<Loaded<V>>;
  readonly resolve: (loaded: Loaded<V>) => void;
  readonly reject: (error: unknown) => void;
}

/** What a cache does around the batches of its topic. */
export interface BatchOwner<V> {
  readonly topic: string;
  readonly query: FactQuery<V>;
  /** The tickets leave now; returns what must still be so when they come back, see `onLoaded`. */
  onSent(tickets: readonly PendingLoad<V>[], sent: Instant): BatchGuard<V>;
}

/** Closes over the state of the cache as of when a batch was sent. */
export interface BatchGuard<V> {
  /** Stores the fact if nothing has happened to its key since. */
  onLoaded(ticket: PendingLoad<V>, loaded: Loaded<V>): void;
  onFailed(ticket: PendingLoad<V>): void;
}

/** A topic's queue; made by `Loader.queue`. */
export interface LoadQueue<V> {
  /**
   * The ticket of a key: the one that waits for it already, or a new one.
   * @throws UnavailableError `queue_full` when the lane is at its bound.
   */
  enqueue(key: Key, text: string, known: boolean): PendingLoad<V>;
}

export interface Loader {
  queue<V>(owner: BatchOwner<V>): LoadQueue<V>;
}

/** Bounds of a loader. */
export interface LoaderLimits {
  /** Keys in one batch. */
  readonly batchKeysMax: number;
  /** Keys that wait in one topic's queue; keys not known to exist may take a quarter of it. */
  readonly waitingKeysMax: number;
}

function createTicket<V>(key: Key, text: string): PendingLoad<V> {
  let resolve!: (loaded: Loaded<V>) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<Loaded<V>>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => undefined);
  return { key, text, promise, resolve, reject };
}

function rejectAll<V>(tickets: readonly PendingLoad<V>[], error: unknown): void {
  for (const ticket of tickets) {
    ticket.reject(error);
  }
}

/** Creates a loader. */
export function createLoader(deps: {
  readonly source: FactSource;
  readonly slots: Pick<Slots, 'lane'>;
  readonly clock: Clock;
  readonly sequence: Sequence;
  readonly serverClock: ServerClock;
  readonly acceptance: SourceCheck;
  readonly observe: Observe;
  readonly limits: LoaderLimits;
}): Loader {
  const { source, slots, clock, sequence, serverClock, acceptance, observe, limits } = deps;

  /** One bad value must have one victim (P6): halving finds it in few queries. */
  async function loadHalves<V>(
    owner: BatchOwner<V>,
    tickets: readonly PendingLoad<V>[],
    error: unknown,
  ): Promise<boolean> {
    const middle = Math.ceil(tickets.length / 2);
    const rest = tickets.slice(middle);
    if (await load(owner, tickets.slice(0, middle))) {
      return rest.length === 0 || load(owner, rest);
    }
    rejectAll(rest, notLoaded(`facts of ${owner.topic}`, error));
    return false;
  }

  /** Loads the tickets, in several batches if it must; false when Postgres is not there to ask. */
  async function load<V>(owner: BatchOwner<V>, tickets: readonly PendingLoad<V>[]): Promise<boolean> {
    const sent = clock.now();
    const sentAt = sequence.next();
    const guard = owner.onSent(tickets, sent);
    const accepts = acceptance.begin();
    let reading: QueryResult;
    try {
      reading = await source.read(
        owner.topic,
        owner.query.text,
        tickets.map(ticket => ticket.key),
        'load',
      );
    } catch (error) {
      observe({ event: 'load_failed', topic: owner.topic, keys: tickets.length, error });
      for (const ticket of tickets) {
        guard.onFailed(ticket);
      }
      const isDataError = source.isDataError(error);
      if (tickets.length > 1 && isDataError) {
        return loadHalves(owner, tickets, error);
      }
      rejectAll(tickets, notLoaded(`facts of ${owner.topic}`, error));
      return isDataError;
    }
    const receivedAt = sequence.next();
    observe({
      event: 'load_batch',
      topic: owner.topic,
      keys: tickets.length,
      durationMs: clock.now().monoMs - sent.monoMs,
    });
    if (!(await accepts(reading))) {
      for (const ticket of tickets) {
        guard.onFailed(ticket);
      }
      rejectAll(tickets, foreignReading(`facts of ${owner.topic}`));
      return false;
    }
    serverClock.observe(sent, reading.serverTimeMs);
    const factOf = matchRows(
      owner.topic,
      owner.query,
      tickets.map(ticket => ticket.text),
      reading.rows,
      'load',
    );
    const undecided: PendingLoad<V>[] = [];
    let stray: unknown = null;
    for (const ticket of tickets) {
      let value: V | null;
      try {
        value = factOf(ticket.text);
      } catch (error) {
        if (error instanceof StrayRowError && tickets.length > 1) {
          guard.onFailed(ticket);
          undecided.push(ticket);
          stray = error;
          continue;
        }
        observe({ event: 'load_failed', topic: owner.topic, keys: 1, error });
        guard.onFailed(ticket);
        const reason = error instanceof StrayRowError ? `: ${error.message}` : '';
        ticket.reject(
          new UnavailableError('database', `a row of ${owner.topic} could not be understood${reason}`, error),
        );
        continue;
      }
      const loaded: Loaded<V> = { value, sentAt, sent, receivedAt };
      guard.onLoaded(ticket, loaded);
      ticket.resolve(loaded);
    }
    if (undecided.length === 0) {
      return true;
    }
    // Without those that have a row it may be clear at once.
    return undecided.length < tickets.length ? load(owner, undecided) : loadHalves(owner, undecided, stray);
  }

  return {
    queue<V>(owner: BatchOwner<V>): LoadQueue<V> {
      const waiting = createFairQueue<PendingLoad<V>>(limits.waitingKeysMax);
      const depart = slots.lane(() => (waiting.size === 0 ? null : load(owner, waiting.take(limits.batchKeysMax))));
      return {
        enqueue(key, text, isKnown) {
          const joined = waiting.get(text);
          if (joined !== undefined) {
            return joined;
          }
          const ticket = createTicket<V>(key, text);
          if (!waiting.add(text, ticket, isKnown)) {
            observe({ event: 'load_refused', topic: owner.topic });
            throw new UnavailableError('queue_full', `too many facts of ${owner.topic} are waiting to be loaded`);
          }
          depart();
          return ticket;
        },
      };
    },
  };
}
