/**
 * What each proven fence says about the triggers: a subject whose triggers are in place is trusted, every other is not served (P11).
 *
 * A subject whose triggers were touched since the last fence, or were not in place then, may have changed unheard: it
 * starts from nothing. So do the loads that are under way: they may be older than the triggers.
 */
import type { SignalBus } from './bus.js';
import type { Lease } from './lease.js';
import type { Observe } from './observation.js';

/** State of one watched table. */
export interface WatchState {
  readonly subject: string;
  /** What is wrong, or null. */
  readonly problem: string | null;
  /** Changes whenever a trigger was touched. */
  readonly fingerprint: string;
}

/** See the head of the file. */
export interface Watches {
  /** Watched subjects whose triggers are not in place, with what is wrong, as of the newest proven fence. */
  readonly problems: ReadonlyMap<string, string>;
  /** Forgets what the triggers were. */
  beginEpoch(): void;
  /** A fence was proven, and this is what the statement that sent it has read. */
  settle(states: readonly WatchState[]): void;
}

/** The problem of each subject that is watched, null if there is none, and the fingerprint of all its tables. */
function summarise(
  states: readonly WatchState[],
): Map<string, { readonly problem: string | null; readonly fingerprint: string }> {
  const found = new Map<string, { readonly problem: string | null; readonly fingerprint: string }>();
  for (const { subject, problem, fingerprint } of states) {
    const before = found.get(subject);
    found.set(subject, {
      problem: problem ?? before?.problem ?? null,
      fingerprint: `${before?.fingerprint ?? ''}/${fingerprint}/${problem ?? ''}`,
    });
  }
  return found;
}

/** Creates watches that know nothing yet. */
export function createWatches(deps: {
  readonly lease: Lease;
  readonly bus: SignalBus;
  readonly observe: Observe;
}): Watches {
  const { lease, bus, observe } = deps;
  let problems: ReadonlyMap<string, string> = new Map();
  let fingerprints = new Map<string, string>();

  /** Notes what is wrong now, and says what has changed in that. */
  const note = (now: ReadonlyMap<string, string>): void => {
    for (const subject of new Set([...now.keys(), ...problems.keys()])) {
      const problem = now.get(subject) ?? null;
      if (problem !== (problems.get(subject) ?? null)) {
        observe({ event: 'watch_changed', subject, problem });
      }
    }
    problems = now;
  };

  return {
    get problems() {
      return problems;
    },
    beginEpoch() {
      fingerprints = new Map();
    },
    settle(states) {
      const found = summarise(states);
      const trusted = new Set<string>();
      const wrong = new Map<string, string>();
      for (const [subject, { problem }] of found) {
        if (problem === null) {
          trusted.add(subject);
        } else {
          wrong.set(subject, problem);
        }
      }
      for (const subject of fingerprints.keys()) {
        if (!found.has(subject)) {
          wrong.set(subject, 'the table is no longer watched');
        }
      }
      const unheard = new Set([...trusted].filter(subject => !lease.trusts(subject)));
      lease.settleTrust(trusted);
      for (const [subject, { fingerprint }] of found) {
        const before = fingerprints.get(subject) ?? fingerprint;
        if (unheard.has(subject) || before !== fingerprint) {
          bus.emit({ type: 'change', subject, keys: null });
        }
        fingerprints.set(subject, fingerprint);
      }
      note(wrong);
    },
  };
}
