/**
 * Answers a question from facts: asks, loads what is lacking, asks again from the start.
 *
 * A question is a pure, synchronous function of facts. It is answered from the cache if it can be, else from the cache
 * as it is after the loads plus the request's own *evidence*: facts from batches that were sent after the request
 * arrived, which may decide it whether or not they could be stored (P15). Rounds are bounded.
 *
 * No invalidation takes evidence away, so it has a bound of its own: after a lease it is read again. Until then a
 * barrier waits for the reads that may hold it (P26). So whoever has waited for a barrier, or for the lease, knows that
 * no answer rests on what was before.
 *
 * A strong answer sees every commit acknowledged before the request arrived: all its facts were loaded before a fence
 * that was sent after the request arrived, and are still in the cache after the fence came back; so they were all true
 * at one moment (P19). If no fence can be had, all its facts are read from Postgres in one snapshot. (To read them one
 * by one and then again does not do: what is the same both times may have been another in between.)
 */
import type { Cache } from './cache.js';
import { isYoungerThan, delay, type Clock, type Sequence } from '../../time/clock.js';
import { UnavailableError } from '../errors.js';
import type { Lease, ServerClock } from '../proof/lease.js';
import type { FenceOutcome } from '../proof/fence.js';
import { evidenceText, Pass, type Evidence, type Kept } from './pass.js';
import type { RunningReads } from './running-reads.js';
import type { Key } from '../signal.js';
import type { Snapshots, Wanted } from './snapshots.js';

/** A fact that an answer needs and that is not there. */
export interface FactRef<Types> {
  readonly topic: keyof Types & string;
  readonly key: Key;
}

/** Facts as a question sees them: the value, null if the row does not exist, undefined if not known yet. */
export interface Facts<Types> {
  get<S extends keyof Types & string>(topic: S, key: Key): Types[S] | null | undefined;
  /** Whether a moment has come by Postgres' clock. @param timeMs milliseconds since 1970 */
  hasCome(timeMs: number): boolean;
  /** Milliseconds since 1970 by Postgres' clock. An answer that looks at it is not kept: it may be another one soon. */
  readonly serverTimeMs: number;
}

/** An answer, or what it lacks. `strong` asks for strong consistency. */
export type Outcome<T, Types> =
  { readonly answer: T; readonly strong: boolean } | { readonly lacks: readonly FactRef<Types>[] };

/** Pure and synchronous. */
export type Question<T, Types> = (facts: Facts<Types>) => Outcome<T, Types>;

/** One cache a topic. */
export type Caches<Types> = { readonly [S in keyof Types & string]: Cache<Types[S]> };

/** Answers questions from facts. */
export interface Reader<Types> {
  /**
   * The answer: at once when memory has all facts, else a promise.
   * @param keep called with an answer that may be given again, if there is one
   * @throws UnavailableError (as a rejection) when the facts cannot be had.
   */
  read<T>(question: Question<T, Types>, keep?: (kept: Kept<T>) => void): T | Promise<T>;
}

/** What a reader needs of its surroundings. */
export interface ReaderDeps {
  readonly clock: Clock;
  readonly sequence: Sequence;
  readonly lease: Lease;
  readonly serverClock: ServerClock;
  readonly snapshots: Snapshots;
  readonly fence: () => Promise<FenceOutcome>;
  /** Told of each read that waits for Postgres. */
  readonly runningReads: Pick<RunningReads, 'add'>;
  /** How long a strong answer waits for fences, in milliseconds, before it reads Postgres instead. */
  readonly strongWaitMs: number;
}

/** Most rounds of loading for one answer; seven were the most ever needed in simulation. */
const ROUNDS_MAX = 12;
/** Most fences for one strong answer. */
const FENCES_MAX = 8;
/** Most snapshots for one strong answer without a fence: one a step from fact to fact is usual. */
const READINGS_MAX = 8;

/** Creates a reader over caches. */
export function createReader<Types>(caches: Caches<Types>, deps: ReaderDeps): Reader<Types> {
  const { clock, sequence, lease, serverClock, snapshots, runningReads, strongWaitMs } = deps;

  const pass = (cached: boolean, evidence: Evidence<Types> | null, keeps = false): Pass<Types> =>
    new Pass(caches, serverClock, clock.now(), cached, evidence, keeps);

  /** Has an answer kept, unless it is strong or rests on what cannot be looked at again. */
  const keepAnswer = <T>(
    facts: Pass<Types>,
    { answer, strong }: { readonly answer: T; readonly strong: boolean },
    keep?: (kept: Kept<T>) => void,
  ): void => {
    const kept = strong || keep === undefined ? null : facts.keep(answer, deps);
    if (kept !== null) {
      keep?.(kept);
    }
  };

  /**
   * Forgets the evidence if any of it is too old. Returns what is to be read again, unless memory has it: all at once,
   * or some would always be too old.
   */
  const dropOutdated = (evidence: Evidence<Types>): readonly FactRef<Types>[] => {
    const now = clock.now();
    const held = [...evidence.values()];
    if (held.every(({ loaded }) => isYoungerThan(lease.leaseMs, loaded.sent, now))) {
      return [];
    }
    evidence.clear();
    return held.map(({ ref }) => ref).filter(({ topic, key }) => caches[topic].lookup(key, now) === undefined);
  };

  /** Loads what is lacking; what was loaded after `arrivedAt` is evidence. */
  const load = async (
    lacks: readonly FactRef<Types>[],
    arrivedAt: number,
    evidence: Evidence<Types>,
  ): Promise<void> => {
    await Promise.all(
      lacks.map(async ref => {
        const { topic, key } = ref;
        const loaded = await caches[topic].load(key);
        if (loaded.sentAt > arrivedAt) {
          evidence.set(evidenceText(topic, key), { ref, loaded });
        }
      }),
    );
  };

  /** Asks over evidence and the cache, until nothing is lacking. */
  async function answerFromCache<T>(
    question: Question<T, Types>,
    arrivedAt: number,
    evidence: Evidence<Types>,
    keep?: (kept: Kept<T>) => void,
  ): Promise<{ answer: T; strong: boolean }> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const outdated = dropOutdated(evidence);
      const facts = pass(true, evidence, keep !== undefined);
      const outcome = question(facts);
      if ('answer' in outcome) {
        keepAnswer(facts, outcome, keep);
        return outcome;
      }
      await load([...outcome.lacks, ...outdated], arrivedAt, evidence);
    }
    throw new UnavailableError('rounds_exhausted', `the facts did not hold still for ${ROUNDS_MAX} rounds of loading`);
  }

  async function answerStrongly<T>(
    question: Question<T, Types>,
    arrivedAt: number,
    evidence: Evidence<Types>,
  ): Promise<T> {
    const deadline = delay(clock, strongWaitMs);
    const timedOut = deadline.over.then(() => null);
    try {
      for (let round = 0; round < FENCES_MAX; round++) {
        const fence = await Promise.race([deps.fence(), timedOut]);
        if (fence === null) {
          break;
        }
        const fenced = pass(lease.epoch === fence.epoch, null);
        const outcome = question(fenced);
        if ('lacks' in outcome) {
          if (outcome.lacks.some(({ topic }) => !lease.trusts(caches[topic].topic))) {
            // Its triggers are not in place: no load of it is remembered, and no fence vouches for it.
            break;
          }
          await load(outcome.lacks, arrivedAt, evidence);
        } else if (!outcome.strong || fenced.newestAt < fence.sentAt) {
          return outcome.answer;
        }
      }
    } finally {
      deadline.wake();
    }
    return answerFromSnapshot(question, evidence);
  }

  /**
   * Answers from one snapshot of Postgres. Which facts the question needs may depend on facts; so it is read again,
   * with what was found to be lacking, until nothing is.
   */
  async function answerFromSnapshot<T>(question: Question<T, Types>, before: Evidence<Types>): Promise<T> {
    const wanted = new Map<string, { readonly ref: FactRef<Types>; readonly fact: Wanted }>();
    let isKnown = true;
    // One fact alone was true at one moment anyway.
    let evidence: Evidence<Types> = before.size === 1 ? before : new Map();
    for (let reading = 0; reading <= READINGS_MAX; reading++) {
      dropOutdated(evidence);
      const outcome = question(pass(false, evidence));
      if ('answer' in outcome) {
        return outcome.answer;
      }
      for (const ref of outcome.lacks) {
        const { topic, key } = ref;
        const cache = caches[topic];
        wanted.set(evidenceText(topic, key), { ref, fact: { topic: cache.topic, query: cache.query, key } });
        isKnown &&= cache.knows(key);
      }
      const facts = [...wanted.values()].map(({ fact }) => fact);
      const loaded = await snapshots.read(facts, isKnown);
      evidence = new Map([...wanted].map(([name, { ref }], index) => [name, { ref, loaded: loaded[index]! }]));
    }
    throw new UnavailableError('rounds_exhausted', `the facts did not hold still for ${READINGS_MAX} readings`);
  }

  async function readSlowly<T>(
    question: Question<T, Types>,
    arrivedAt: number,
    keep?: (kept: Kept<T>) => void,
  ): Promise<T> {
    const evidence: Evidence<Types> = new Map();
    const settled = await answerFromCache(question, arrivedAt, evidence, keep);
    return settled.strong ? answerStrongly(question, arrivedAt, evidence) : settled.answer;
  }

  return {
    read(question, keep) {
      const arrivedAt = sequence.next();
      const facts = pass(true, null, keep !== undefined);
      const outcome = question(facts);
      if ('lacks' in outcome || outcome.strong) {
        return runningReads.add(readSlowly(question, arrivedAt, keep));
      }
      keepAnswer(facts, outcome, keep);
      return outcome.answer;
    },
  };
}
