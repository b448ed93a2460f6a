/**
 * What each proven fence says about the triggers: a topic whose triggers are in place is trusted, every other is not
 * served (P11).
 *
 * A topic whose triggers were touched since the last fence, or were not in place then, may have changed unheard: it
 * starts from nothing. So do the loads that are under way: they may be older than the triggers.
 *
 * It may also change unheard once more: a transaction may have written while the triggers were others, and commit
 * later. So a topic whose fingerprint is new here, as each is when an epoch begins, is trusted when all those
 * transactions have ended that had begun to write when it was first seen (P25). Later ones do not matter, for they saw
 * the triggers as they are now.
 */
import type { SignalBus } from '../bus.js';
import type { Lease } from './lease.js';
import type { Observe } from '../observation.js';

/** State of one watched table. */
export interface WatchState {
  readonly topic: string;
  /** What is wrong, or null. */
  readonly problem: string | null;
  /** Changes whenever a trigger was touched. */
  readonly fingerprint: string;
  /**
   * Transactions that may have written to the table and have not ended; null: not known at that moment. Empty where it
   * was not asked.
   */
  readonly writers: readonly string[] | null;
}

export interface Watches {
  /** Watched topics that are not trusted, with what is wrong, as of the newest proven fence. */
  readonly problems: ReadonlyMap<string, string>;
  /** Fingerprints of the tables whose writers need not be read any more. */
  readonly trusted: readonly string[];
  /** How soon, in milliseconds, the next fence is wanted because a topic waits for writers; Infinity if none does. */
  readonly againMs: number;
  /** Forgets what the triggers were. */
  beginEpoch(): void;
  /** A fence was proven, and this is what the statement that sent it has read. */
  apply(states: readonly WatchState[]): void;
}

/** Transactions that may have written and have not ended; `unknown`: not all of them could be read. */
type Writers = ReadonlySet<string> | 'unknown';

/** All tables of one topic together. */
interface Summary {
  problem: string | null;
  fingerprint: string;
  readonly tables: string[];
  writers: Writers;
}

/** What is known of a topic without a problem. */
interface Standing {
  readonly fingerprint: string;
  readonly tables: readonly string[];
  /** Transactions that have to end before it is trusted. */
  readonly left: Writers;
}

/**
 * Most writers end within milliseconds: the first fences after a wait has begun come fast, each after twice the time.
 */
const FIRST_AGAIN_MS = 25;
/** So many proven fences find a topic waiting before it is observed: every start beside busy writers would be. */
const QUIET_FENCES = 4;
const WAITING = 'waiting for writers: open transactions may have written before its triggers were seen as they are now';
/** Transactions that a problem names. */
const NAMED_MAX = 3;

function summarise(states: readonly WatchState[]): Map<string, Summary> {
  const found = new Map<string, Summary>();
  for (const { topic, problem, fingerprint, writers } of states) {
    const summary: Summary = found.get(topic) ?? { problem: null, fingerprint: '', tables: [], writers: new Set() };
    summary.problem = problem ?? summary.problem;
    summary.fingerprint += `/${fingerprint}`;
    summary.tables.push(fingerprint);
    summary.writers =
      writers === null || summary.writers === 'unknown' ? 'unknown' : new Set([...summary.writers, ...writers]);
    found.set(topic, summary);
  }
  return found;
}

/** Who of those that had to end has not; those who came later do not matter. */
function remaining(before: Writers, writers: Writers): Writers {
  if (before === 'unknown') {
    return writers;
  }
  return writers === 'unknown' ? before : new Set([...before].filter(one => writers.has(one)));
}

/** Whether it is known that all have ended. */
function haveEnded(writers: Writers): boolean {
  return writers !== 'unknown' && writers.size === 0;
}

/** Names them as pg_locks does, where an operator finds out whose they are. */
function waitProblem(left: Writers): string {
  if (left === 'unknown') {
    return WAITING;
  }
  const named = [...left].slice(0, NAMED_MAX);
  return `${WAITING} (${left.size}; pg_locks.virtualtransaction ${named.join(', ')})`;
}

/** Creates watches that know nothing yet. */
export function createWatches(deps: {
  readonly lease: Lease;
  readonly bus: SignalBus;
  readonly observe: Observe;
}): Watches {
  const { lease, bus, observe } = deps;
  let problems: ReadonlyMap<string, string> = new Map();
  let reported: ReadonlyMap<string, string> = new Map();
  /** Topics that were watched in this epoch. */
  let watched = new Set<string>();
  let standings = new Map<string, Standing>();
  /** Proven fences in a row that found the same topics waiting. */
  let waits = 0;

  /** Says what has changed in what is wrong. */
  const report = (wrong: ReadonlyMap<string, string>, waiting: Iterable<string>): void => {
    const now = new Map(wrong);
    for (const topic of waiting) {
      if (waits > QUIET_FENCES || reported.has(topic)) {
        now.set(topic, WAITING);
      }
    }
    for (const topic of new Set([...now.keys(), ...reported.keys()])) {
      const problem = now.get(topic) ?? null;
      if (problem !== (reported.get(topic) ?? null)) {
        observe({ event: 'watch_changed', topic, problem });
      }
    }
    reported = now;
  };

  /** Sorts the topics, and notes how each stands: what is trusted, what waits for writers, and what is wrong. */
  const sort = (
    found: ReadonlyMap<string, Summary>,
  ): {
    readonly trusted: ReadonlySet<string>;
    readonly waiting: ReadonlyMap<string, string>;
    readonly wrong: ReadonlyMap<string, string>;
  } => {
    const trusted = new Set<string>();
    const waiting = new Map<string, string>();
    const wrong = new Map<string, string>();
    for (const [topic, { problem, fingerprint, tables, writers }] of found) {
      if (problem !== null) {
        standings.delete(topic);
        wrong.set(topic, problem);
        continue;
      }
      const before = standings.get(topic);
      const left = before?.fingerprint === fingerprint ? remaining(before.left, writers) : writers;
      standings.set(topic, { fingerprint, tables, left });
      if (haveEnded(left)) {
        trusted.add(topic);
        continue;
      }
      waiting.set(topic, waitProblem(left));
      if (before?.fingerprint !== fingerprint) {
        waits = 0;
      }
    }
    for (const topic of watched) {
      if (!found.has(topic)) {
        standings.delete(topic);
        wrong.set(topic, 'the table is no longer watched');
      }
    }
    return { trusted, waiting, wrong };
  };

  return {
    get problems() {
      return problems;
    },
    get trusted() {
      return [...standings.values()].flatMap(({ left, tables }) => (haveEnded(left) ? tables : []));
    },
    get againMs() {
      return waits === 0 ? Infinity : FIRST_AGAIN_MS * 2 ** (waits - 1);
    },
    beginEpoch() {
      watched = new Set();
      standings = new Map();
    },
    apply(states) {
      const found = summarise(states);
      const before = new Map(standings);
      const { trusted, waiting, wrong } = sort(found);
      for (const topic of found.keys()) {
        watched.add(topic);
      }
      const wasTouched = (topic: string): boolean =>
        before.has(topic) && before.get(topic)?.fingerprint !== found.get(topic)?.fingerprint;
      const unheard = [...trusted].filter(topic => !lease.trusts(topic) || wasTouched(topic));
      // Who hears of the first of them may ask for the last: nothing is trusted before it is forgotten.
      lease.setTrustedTopics(new Set([...trusted].filter(topic => !unheard.includes(topic))));
      for (const topic of unheard) {
        bus.emit({ type: 'change', topic, keys: null });
      }
      lease.setTrustedTopics(trusted);
      waits = waiting.size === 0 ? 0 : waits + 1;
      problems = new Map([...wrong, ...waiting]);
      report(wrong, waiting.keys());
    },
  };
}
