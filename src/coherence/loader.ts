/**
 * Loads facts in batches: a missing key joins the pending batch of its subject, and a batch leaves when one of the few
 * slots is free. Under a burst the slots are busy, the batches fill, and hundreds of misses become a handful of queries.
 * No timers: an idle loader sends in the turn after the first miss.
 *
 * Each subject has at most one batch in flight, and each queue has a bound; beyond it the miss is refused.
 * Keys never seen as existing wait in a lane of their own, so that a flood of made-up hosts or tokens cannot starve
 * the keys of real users (P18).
 */
import type { Acceptance } from './acceptance.js';
import type { Clock, Instant, Sequence } from './clock.js';
import { UnavailableError } from './errors.js';
import type { ServerClock } from './lease.js';
import type { Observe } from './observation.js';
import { keyText, type Key } from './signal.js';

/** One row as the database driver returns it. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * How facts of one subject are read.
 *
 * `text` is one SELECT, without a semicolon at its end; `$1`, `$2`… are arrays of text, one for each part of the key, of equal
 * length. It returns one row for each fact that exists. One statement is one snapshot (P4).
 */
export interface FactQuery<V> {
  readonly text: string;
  /** The key that a row belongs to. */
  readonly key: (row: Row) => Key;
  /** The fact that a row states. If it throws, only this key fails. */
  readonly value: (row: Row) => V;
}

/** What came back, and where and when it was read (P5). */
export interface Reading {
  readonly origin: string;
  readonly inRecovery: boolean;
  readonly serverTimeMs: number;
  readonly rows: readonly Row[];
}

/** What facts are read for: to answer, or to compare with what is cached. */
export type ReadPurpose = 'load' | 'audit';

/** Facts of one subject, as part of a reading of several. */
export interface ReadPart {
  readonly subject: string;
  readonly text: string;
  readonly keys: readonly Key[];
}

/** Reads facts from Postgres; rejects when it cannot, within bounded time. */
export interface FactSource {
  read(subject: string, text: string, keys: readonly Key[], purpose: ReadPurpose): Promise<Reading>;
  /** The same for several subjects, all in one snapshot; the readings come in the order of the parts. */
  readTogether(parts: readonly ReadPart[]): Promise<readonly Reading[]>;
  /** Whether the error is about the data asked for, so that other keys may still load. */
  isDataError(error: unknown): boolean;
}

/** One fact as loaded: null if the row does not exist. */
export interface Loaded<V> {
  readonly value: V | null;
  /** When its batch was sent, in logical time. */
  readonly sentAt: number;
  /** When the answer came, in logical time. */
  readonly receivedAt: number;
}

/** One key that somebody waits for; its identity is the generation guard (P14). */
export interface Ticket<V> {
  readonly key: Key;
  readonly text: string;
  readonly promise: Promise<Loaded<V>>;
  readonly resolve: (loaded: Loaded<V>) => void;
  readonly reject: (error: unknown) => void;
}

/** What a cache does around the batches of its subject. */
export interface BatchOwner<V> {
  readonly subject: string;
  readonly query: FactQuery<V>;
  /** The tickets leave now; returns what must still be so when they come back, see `onLoaded`. */
  onSent(tickets: readonly Ticket<V>[], sent: Instant): BatchGuard<V>;
}

/** Closes over the state of the cache as of when a batch was sent. */
export interface BatchGuard<V> {
  /** Stores the fact if nothing has happened to its key since. */
  onLoaded(ticket: Ticket<V>, loaded: Loaded<V>): void;
  onFailed(ticket: Ticket<V>): void;
}

/** A subject's queue; made by `Loader.queue`. */
export interface LoadQueue<V> {
  /**
   * The ticket of a key: the one that waits for it already, or a new one.
   * @throws UnavailableError `queue_full` when the lane is at its bound.
   */
  enqueue(key: Key, text: string, known: boolean): Ticket<V>;
}

/** One of several facts that are read together. */
export interface Wanted {
  readonly subject: string;
  readonly query: FactQuery<unknown>;
  readonly key: Key;
}

/** See the head of the file. */
export interface Loader {
  queue<V>(owner: BatchOwner<V>): LoadQueue<V>;
  /**
   * Reads these facts as they all are at one moment after this call, past every cache. Those who ask while a reading is under way
   * share the next.
   * @throws UnavailableError (as a rejection)
   */
  readTogether(wanted: readonly Wanted[]): Promise<readonly Loaded<unknown>[]>;
  /**
   * Runs the task, as soon as it can, in a slot that no load misses: while another slot is free, or nothing is under way. Null
   * if the signal was aborted before that.
   */
  inSpareSlot<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | null>;
}

/** Bounds of a loader. */
export interface LoaderLimits {
  /** Batches in flight over all subjects. */
  readonly slotsMax: number;
  /** Keys in one batch. */
  readonly batchKeysMax: number;
  /** Keys that wait in one subject's queue; keys not known to exist may take a quarter of it. */
  readonly waitingKeysMax: number;
}

/** Questions that may wait for the next snapshot. */
const TOGETHER_WAITING_MAX = 2_000;
/** Share of a queue, and of a batch when both lanes are full, that unknown keys may take. */
const UNKNOWN_SHARE = 0.25;

function createTicket<V>(key: Key, text: string): Ticket<V> {
  let resolve!: (loaded: Loaded<V>) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<Loaded<V>>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => undefined);
  return { key, text, promise, resolve, reject };
}

function rejectAll<V>(tickets: readonly Ticket<V>[], error: unknown): void {
  for (const ticket of tickets) {
    ticket.reject(error);
  }
}

function unavailable(what: string, cause: unknown): UnavailableError {
  return new UnavailableError('database', `${what} could not be loaded`, cause);
}

function foreign(what: string): UnavailableError {
  return new UnavailableError('foreign_reading', `${what} were read from another server, or a standby`);
}

/** A question whose facts are to be read together. */
interface Together {
  readonly wanted: readonly Wanted[];
  readonly resolve: (loaded: readonly Loaded<unknown>[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Facts that one query of a snapshot reads, by the text of their keys. */
interface Part {
  readonly subject: string;
  readonly query: FactQuery<unknown>;
  readonly keys: Map<string, Key>;
}

/** What the questions want, each fact once. */
function partsOf(questions: readonly Together[]): Part[] {
  const parts = new Map<FactQuery<unknown>, Part>();
  for (const { subject, query, key } of questions.flatMap(({ wanted }) => wanted)) {
    const part = parts.get(query) ?? { subject, query, keys: new Map<string, Key>() };
    parts.set(query, part);
    part.keys.set(keyText(key), key);
  }
  return [...parts.values()];
}

/**
 * What the rows of a reading say of each key that was asked for, by its text: null if it has no row. Throws where that
 * cannot be said.
 */
export function understand<V>(
  subject: string,
  query: FactQuery<V>,
  texts: readonly string[],
  rows: readonly Row[],
): (text: string) => V | null {
  const asked = new Set(texts);
  const found = new Map<string, Row>();
  let stray: { readonly error: unknown } | null = null;
  for (const row of rows) {
    try {
      const key = query.key(row);
      if (!asked.has(keyText(key))) {
        throw new TypeError(
          `the load of ${subject} returned a row of key ${JSON.stringify(key)}, which was not asked for`,
        );
      }
      found.set(keyText(key), row);
    } catch (error) {
      stray = { error };
    }
  }
  return text => {
    const row = found.get(text);
    if (row === undefined && stray !== null) {
      // It may be this one's row: a fact must not be called absent because its row could not be read.
      throw stray.error;
    }
    return row === undefined ? null : query.value(row);
  };
}

/** Creates a loader. */
export function createLoader(deps: {
  readonly source: FactSource;
  readonly clock: Clock;
  readonly sequence: Sequence;
  readonly serverClock: ServerClock;
  readonly acceptance: Acceptance;
  readonly observe: Observe;
  readonly limits: LoaderLimits;
}): Loader {
  const { source, clock, sequence, serverClock, acceptance, observe, limits } = deps;
  const departures: (() => boolean)[] = [];
  /** Tasks that wait for a spare slot, oldest first. */
  const spares = new Set<() => Promise<unknown>>();
  let slotsUsed = 0;
  let next = 0;
  let pumping = false;

  const requestPump = (): void => {
    if (!pumping) {
      pumping = true;
      clock.defer(pump);
    }
  };

  // Round robin over the subjects, so that a busy one cannot hold all the slots.
  const pump = (): void => {
    pumping = false;
    for (let idle = 0; idle < departures.length && slotsUsed < limits.slotsMax;) {
      const depart = departures[next++ % departures.length]!;
      idle = depart() ? 0 : idle + 1;
    }
    for (const spare of spares) {
      if (slotsUsed >= Math.max(1, limits.slotsMax - 1)) {
        return;
      }
      spares.delete(spare);
      occupy(spare());
    }
  };

  const occupy = (work: Promise<unknown>): void => {
    slotsUsed += 1;
    const leave = (): void => {
      slotsUsed -= 1;
      requestPump();
    };
    work.then(leave, leave);
  };

  /** Loads the tickets, in several batches if it must; false when Postgres is not there to ask. */
  async function load<V>(owner: BatchOwner<V>, tickets: readonly Ticket<V>[]): Promise<boolean> {
    const sent = clock.now();
    const sentAt = sequence.next();
    const guard = owner.onSent(tickets, sent);
    const accepts = acceptance.begin();
    let reading: Reading;
    try {
      reading = await source.read(
        owner.subject,
        owner.query.text,
        tickets.map(ticket => ticket.key),
        'load',
      );
    } catch (error) {
      observe({ event: 'load_failed', subject: owner.subject, keys: tickets.length, error });
      for (const ticket of tickets) {
        guard.onFailed(ticket);
      }
      const isDataError = source.isDataError(error);
      if (tickets.length > 1 && isDataError) {
        // One bad value must have one victim (P6): halving finds it in few queries.
        const middle = tickets.length >> 1;
        const rest = tickets.slice(middle);
        if (await load(owner, tickets.slice(0, middle))) {
          return load(owner, rest);
        }
        rejectAll(rest, unavailable(`facts of ${owner.subject}`, error));
        return false;
      }
      rejectAll(tickets, unavailable(`facts of ${owner.subject}`, error));
      return isDataError;
    }
    const receivedAt = sequence.next();
    observe({
      event: 'load_batch',
      subject: owner.subject,
      keys: tickets.length,
      durationMs: clock.now().monoMs - sent.monoMs,
    });
    if (!(await accepts(reading))) {
      for (const ticket of tickets) {
        guard.onFailed(ticket);
      }
      rejectAll(tickets, foreign(`facts of ${owner.subject}`));
      return false;
    }
    serverClock.observe(sent, reading.serverTimeMs);
    const factOf = understand(
      owner.subject,
      owner.query,
      tickets.map(ticket => ticket.text),
      reading.rows,
    );
    for (const ticket of tickets) {
      let value: V | null;
      try {
        value = factOf(ticket.text);
      } catch (error) {
        observe({ event: 'load_failed', subject: owner.subject, keys: 1, error });
        guard.onFailed(ticket);
        ticket.reject(new UnavailableError('database', `a row of ${owner.subject} could not be understood`, error));
        continue;
      }
      const loaded: Loaded<V> = { value, sentAt, receivedAt };
      guard.onLoaded(ticket, loaded);
      ticket.resolve(loaded);
    }
    return true;
  }

  const together: Together[] = [];
  let isReadingTogether = false;

  /** How many of the questions that wait fit into one snapshot: at least one. */
  const countTogether = (): number => {
    const keys = new Map<FactQuery<unknown>, Set<string>>();
    for (const [count, { wanted }] of together.entries()) {
      for (const { query, key } of wanted) {
        const texts = keys.get(query) ?? new Set();
        keys.set(query, texts.add(keyText(key)));
        if (count > 0 && texts.size > limits.batchKeysMax) {
          return count;
        }
      }
    }
    return together.length;
  };

  departures.push(() => {
    if (isReadingTogether || together.length === 0) {
      return false;
    }
    const questions = together.splice(0, countTogether());
    isReadingTogether = true;
    occupy(
      readTogether(questions).finally(() => {
        isReadingTogether = false;
      }),
    );
    return true;
  });

  /** Answers the questions from one snapshot, or from several if one of them asks for what cannot be read (P6). */
  async function readTogether(questions: readonly Together[]): Promise<void> {
    const sent = clock.now();
    const sentAt = sequence.next();
    const accepts = acceptance.begin();
    const parts = partsOf(questions);
    const reject = (error: unknown): void => {
      for (const question of questions) {
        question.reject(error);
      }
    };
    let readings: readonly Reading[];
    try {
      readings = await source.readTogether(
        parts.map(({ subject, query, keys }) => ({ subject, text: query.text, keys: [...keys.values()] })),
      );
    } catch (error) {
      for (const { subject, keys } of parts) {
        observe({ event: 'load_failed', subject, keys: keys.size, error });
      }
      if (questions.length > 1 && source.isDataError(error)) {
        const middle = questions.length >> 1;
        await readTogether(questions.slice(0, middle));
        await readTogether(questions.slice(middle));
      } else {
        reject(unavailable('facts that are wanted together', error));
      }
      return;
    }
    const receivedAt = sequence.next();
    const durationMs = clock.now().monoMs - sent.monoMs;
    for (const { subject, keys } of parts) {
      observe({ event: 'load_batch', subject, keys: keys.size, durationMs });
    }
    for (const reading of readings) {
      if (!(await accepts(reading))) {
        reject(foreign('facts that are wanted together'));
        return;
      }
      serverClock.observe(sent, reading.serverTimeMs);
    }
    const facts = new Map(
      parts.map(({ subject, query, keys }, index) => [
        query,
        understand(subject, query, [...keys.keys()], readings[index]!.rows),
      ]),
    );
    for (const question of questions) {
      try {
        question.resolve(
          question.wanted.map(({ query, key }) => ({ value: facts.get(query)!(keyText(key)), sentAt, receivedAt })),
        );
      } catch (error) {
        question.reject(unavailable('facts that are wanted together', error));
      }
    }
  }

  return {
    readTogether(wanted) {
      return new Promise((resolve, reject) => {
        if (together.length >= TOGETHER_WAITING_MAX) {
          reject(new UnavailableError('queue_full', 'too many questions wait for facts that are read together'));
          return;
        }
        together.push({ wanted, resolve, reject });
        requestPump();
      });
    },
    queue<V>(owner: BatchOwner<V>): LoadQueue<V> {
      const known = new Map<string, Ticket<V>>();
      const unknown = new Map<string, Ticket<V>>();
      let inFlight = false;

      const take = (lane: Map<string, Ticket<V>>, keysMax: number, batch: Ticket<V>[]): void => {
        for (const [text, ticket] of lane) {
          if (batch.length >= keysMax) {
            break;
          }
          lane.delete(text);
          batch.push(ticket);
        }
      };

      departures.push(() => {
        if (inFlight || known.size + unknown.size === 0) {
          return false;
        }
        const reserved = Math.min(unknown.size, Math.floor(limits.batchKeysMax * UNKNOWN_SHARE));
        const batch: Ticket<V>[] = [];
        take(known, limits.batchKeysMax - reserved, batch);
        take(unknown, limits.batchKeysMax, batch);
        inFlight = true;
        occupy(
          load(owner, batch).finally(() => {
            inFlight = false;
          }),
        );
        return true;
      });

      return {
        enqueue(key, text, isKnown) {
          const waiting = known.get(text) ?? unknown.get(text);
          if (waiting !== undefined) {
            return waiting;
          }
          const lane = isKnown ? known : unknown;
          if (lane.size >= Math.ceil(limits.waitingKeysMax * (isKnown ? 1 : UNKNOWN_SHARE))) {
            observe({ event: 'load_refused', subject: owner.subject });
            throw new UnavailableError('queue_full', `too many facts of ${owner.subject} are waiting to be loaded`);
          }
          const ticket = createTicket<V>(key, text);
          lane.set(text, ticket);
          requestPump();
          return ticket;
        },
      };
    },
    inSpareSlot<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
      return new Promise((resolve, reject) => {
        const giveUp = (): void => {
          spares.delete(spare);
          resolve(null);
        };
        const spare = (): Promise<unknown> => {
          signal.removeEventListener('abort', giveUp);
          return task().then(resolve, reject);
        };
        if (signal.aborted) {
          resolve(null);
          return;
        }
        signal.addEventListener('abort', giveUp);
        spares.add(spare);
        requestPump();
      });
    },
  };
}
