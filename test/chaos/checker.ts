/**
 * Judges answers by the history of commits, as the simulation does, with what can be known from outside: a commit took
 * effect at some moment between being sent and being acknowledged, a question arrived at some moment after it was sent.
 *
 * - G1: no answer to a question sent later than a commit's acknowledgement plus the lease uses what the commit
 *   replaced.
 * - G2: once a replica's answer showed a version, no answer to a question sent after it shows an older one. What a
 *   strong answer showed binds strong ones only: it may come from Postgres itself, before the replica hears of the
 *   change.
 * - G3: a strong answer uses facts that were all true at one moment after it was sent.
 * - G4: no allow by facts that never were, nor of somebody else.
 */
import { judge } from '../sim/checker.js';
import type { Held, History } from '../sim/history.js';
import { factsOf, isAllow, isStrong, type Answer } from './answer.js';

/** What is wrong with an answer, in words that tell the story. */
export interface Violation {
  readonly promise: 'G1' | 'G2' | 'G3' | 'G4';
  readonly answer: Answer;
  readonly problem: string;
}

export interface Checker {
  /** Judges answers whose commits are all known. Batches must come in their order. */
  judge(answers: readonly Answer[]): readonly Violation[];
}

/**
 * How long before the question was sent the oldest of its facts was replaced, in milliseconds; 0 if all were still
 * true.
 */
export function stalenessMs(answer: Answer, history: History): number {
  const read = factsOf(answer);
  const facts = 'facts' in read ? read.facts : [];
  return Math.max(0, ...facts.map(fact => answer.sentMs - (history.lastHeldMs(fact, answer.answeredMs) ?? -Infinity)));
}

/** Newest versions that a replica's answers have shown, each as the ordinal of the fact's value. */
class Shown {
  readonly #ordinals = new Map<string, number>();

  of(fact: Held): number {
    return this.#ordinals.get(fact.name) ?? 0;
  }

  raise(fact: Held, ordinal: number): void {
    this.#ordinals.set(fact.name, Math.max(ordinal, this.of(fact)));
  }
}

interface Replica {
  /** By answers that were not strong, and by all. */
  readonly bounded: Shown;
  readonly all: Shown;
  /** Answered, but not yet taken as shown: questions that were sent before may still be judged. */
  answered: Answer[];
}

export function createChecker(history: History, leaseMs: number): Checker {
  const replicas = new Map<string, Replica>();

  const show = (replica: Replica, answer: Answer): void => {
    const read = factsOf(answer);
    for (const fact of 'facts' in read ? read.facts : []) {
      for (const shown of isStrong(answer) ? [replica.all] : [replica.all, replica.bounded]) {
        const ordinal = history.ordinalHeld(fact, answer.sentMs - leaseMs, answer.answeredMs, shown.of(fact));
        shown.raise(fact, ordinal ?? 0);
      }
    }
  };

  const judgeOne = (answer: Answer, replica: Replica): Violation | null => {
    const { sentMs, answeredMs } = answer;
    const violation = (promise: Violation['promise'], problem: string): Violation => ({ promise, answer, problem });
    const read = factsOf(answer);
    if ('problem' in read) {
      return violation('G4', read.problem);
    }
    const truth = ({ topic, key }: Held): string => history.describe(topic, key, sentMs - leaseMs - 1_000, answeredMs);
    const invented = read.facts.find(fact => history.lastHeldMs(fact, answeredMs) === null);
    if (invented !== undefined) {
      const { name } = invented;
      return violation(
        isAllow(answer) ? 'G4' : 'G1',
        `${name} was never ${invented.text} until then; the truth: ${truth(invented)}`,
      );
    }
    const problem = judge(
      {
        arrivedMs: sentMs,
        decidedMs: answeredMs,
        isStrong: isStrong(answer),
        facts: read.facts,
        floors: new Map(),
        expiry: null,
      },
      history,
      () => 0,
      // When an answer was decided is not known here, only when it came.
      { staleMs: leaseMs, leaseMs: Infinity, clockAheadMs: null },
    );
    if (problem !== null) {
      return violation(isStrong(answer) ? 'G3' : 'G1', problem.replace(/^G\d: /, ''));
    }
    const shown = isStrong(answer) ? replica.all : replica.bounded;
    const older = read.facts.find(
      fact => history.ordinalHeld(fact, sentMs - leaseMs, answeredMs, shown.of(fact)) === null,
    );
    return older === undefined
      ? null
      : violation(
          'G2',
          `${older.name} was ${older.text} after a newer version had been shown; the truth: ${truth(older)}`,
        );
  };

  const judgeProcess = (name: string, answers: readonly Answer[]): (Violation | null)[] => {
    const replica = replicas.get(name) ?? { bounded: new Shown(), all: new Shown(), answered: [] };
    replicas.set(name, replica);
    replica.answered = [...replica.answered, ...answers].toSorted((one, other) => one.answeredMs - other.answeredMs);
    let shown = 0;
    const found = answers
      .toSorted((one, other) => one.sentMs - other.sentMs)
      .map(answer => {
        for (let next = replica.answered[shown]; next !== undefined && next.answeredMs < answer.sentMs; shown++) {
          show(replica, next);
          next = replica.answered[shown + 1];
        }
        return judgeOne(answer, replica);
      });
    replica.answered = replica.answered.slice(shown);
    return found;
  };

  return {
    judge(answers) {
      return [...new Set(answers.map(({ process }) => process))]
        .flatMap(name =>
          judgeProcess(
            name,
            answers.filter(({ process }) => process === name),
          ),
        )
        .filter(violation => violation !== null);
    },
  };
}

/** The violation and what is known around it, for people. */
export function describeViolation({ promise, answer, problem }: Violation): string {
  const { replica, person, route, sentMs, answeredMs, status, reason, role, email } = answer;
  const said = [`${status} ${reason}`, role && `role ${role}`, email && `email ${email}`].filter(Boolean).join(', ');
  return (
    `${promise} on ${replica}: asked about ${person} (${route}) at ${sentMs.toFixed(3)}, answered at ` +
    `${answeredMs.toFixed(3)}: ${said}\n  ${problem}`
  );
}
