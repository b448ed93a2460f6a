/**
 * Reads facts of several topics as they all are at one moment: what a strong answer needs when no fence can be had.
 * Nothing of it is cached. Questions that come while a snapshot is being read share the next one, which is not begun
 * yet (P4, P19).
 *
 * The queue of questions has the bounds of the queues of loads, and the same two halves (P18).
 */
import type { SourceCheck } from './source-check.js';
import type { Clock, Sequence } from '../../time/clock.js';
import { foreignReading, notLoaded, UnavailableError } from '../errors.js';
import type { ServerClock } from '../proof/lease.js';
import type { Loaded, LoaderLimits } from './loader.js';
import type { Observe } from '../observation.js';
import { createFairQueue } from '../../collections/fair-queue.js';
import { keyText, type Key } from '../signal.js';
import type { Slots } from './slots.js';
import { keyProblem, StrayRowError, matchRows, type FactQuery, type FactSource, type QueryResult } from './source.js';

/** One of several facts that are read together. */
export interface Wanted {
  readonly topic: string;
  readonly query: FactQuery<unknown>;
  readonly key: Key;
}

export interface Snapshots {
  /**
   * Reads these facts as they all are at one moment after this call, past every cache.
   * @param isKnown whether all of them were lately seen to exist
   * @throws UnavailableError (as a rejection)
   */
  read(wanted: readonly Wanted[], isKnown: boolean): Promise<readonly Loaded<unknown>[]>;
}

/** Facts that wait for a snapshot; all who want just these wait together. */
interface Waiting {
  readonly wanted: readonly Wanted[];
  readonly promise: Promise<readonly Loaded<unknown>[]>;
  readonly resolve: (loaded: readonly Loaded<unknown>[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Facts that one statement of a snapshot reads, by the text of their keys. */
interface Part {
  readonly topic: string;
  readonly query: FactQuery<unknown>;
  readonly keys: Map<string, Key>;
}

const WHAT = 'facts that are wanted together';

function createWaiting(wanted: readonly Wanted[]): Waiting {
  let resolve!: Waiting['resolve'];
  let reject!: Waiting['reject'];
  const promise = new Promise<readonly Loaded<unknown>[]>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { wanted, promise, resolve, reject };
}

/** What the questions want, each fact once, so many in one part at most. */
function partsOf(questions: readonly Waiting[], keysMax: number): Part[] {
  const parts: Part[] = [];
  const newest = new Map<FactQuery<unknown>, Part>();
  const seen = new Map<FactQuery<unknown>, Set<string>>();
  for (const { topic, query, key } of questions.flatMap(({ wanted }) => wanted)) {
    const text = keyText(key);
    const texts = seen.get(query) ?? new Set();
    if (!texts.has(text)) {
      seen.set(query, texts.add(text));
      let part = newest.get(query);
      if (part === undefined || part.keys.size >= keysMax) {
        part = { topic, query, keys: new Map() };
        newest.set(query, part);
        parts.push(part);
      }
      part.keys.set(text, key);
    }
  }
  return parts;
}

/** What the readings of the parts say of a key; throws where that cannot be said. */
function understandAll(
  parts: readonly Part[],
  readings: readonly QueryResult[],
): (query: FactQuery<unknown>, text: string) => unknown {
  const facts = new Map<FactQuery<unknown>, Map<string, (text: string) => unknown>>();
  for (const [index, { topic, query, keys }] of parts.entries()) {
    const ofQuery = facts.get(query) ?? new Map<string, (text: string) => unknown>();
    const factOf = matchRows(topic, query, [...keys.keys()], readings[index]!.rows, 'load');
    for (const text of keys.keys()) {
      ofQuery.set(text, factOf);
    }
    facts.set(query, ofQuery);
  }
  return (query, text) => facts.get(query)!.get(text)!(text);
}

/** Creates a reader of snapshots. */
export function createSnapshots(deps: {
  readonly source: FactSource;
  readonly slots: Pick<Slots, 'lane'>;
  readonly clock: Clock;
  readonly sequence: Sequence;
  readonly serverClock: ServerClock;
  readonly acceptance: SourceCheck;
  readonly observe: Observe;
  readonly limits: LoaderLimits;
}): Snapshots {
  const { source, clock, sequence, serverClock, acceptance, observe, limits } = deps;
  const waiting = createFairQueue<Waiting>(limits.waitingKeysMax);

  async function answerHalves(questions: readonly Waiting[]): Promise<void> {
    const middle = Math.ceil(questions.length / 2);
    for (const half of [questions.slice(0, middle), questions.slice(middle)]) {
      if (half.length > 0) {
        await answer(half);
      }
    }
  }

  /**
   * Answers the questions from one snapshot, or from several if one of them asks for what cannot be read (P6).
   * @param keysMax with 1 each key is asked for alone, so that what comes back is its own
   */
  async function answer(questions: readonly Waiting[], keysMax = limits.batchKeysMax): Promise<void> {
    const sent = clock.now();
    const sentAt = sequence.next();
    const accepts = acceptance.begin();
    const parts = partsOf(questions, keysMax);
    const reject = (error: unknown): void => {
      for (const question of questions) {
        question.reject(error);
      }
    };
    let readings: readonly QueryResult[];
    try {
      readings = await source.readTogether(
        parts.map(({ topic, query, keys }) => ({ topic, text: query.text, keys: [...keys.values()] })),
      );
    } catch (error) {
      for (const { topic, keys } of parts) {
        observe({ event: 'load_failed', topic, keys: keys.size, error });
      }
      if (questions.length > 1 && source.isDataError(error)) {
        await answerHalves(questions);
      } else {
        reject(notLoaded(WHAT, error));
      }
      return;
    }
    const receivedAt = sequence.next();
    const durationMs = clock.now().monoMs - sent.monoMs;
    for (const { topic, keys } of parts) {
      observe({ event: 'load_batch', topic, keys: keys.size, durationMs });
    }
    for (const reading of readings) {
      if (!(await accepts(reading))) {
        reject(foreignReading(WHAT));
        return;
      }
      serverClock.observe(sent, reading.serverTimeMs);
    }
    const valueOf = understandAll(parts, readings);
    const undecided: Waiting[] = [];
    for (const question of questions) {
      const { wanted, resolve, reject: rejectOne } = question;
      try {
        resolve(wanted.map(({ query, key }) => ({ value: valueOf(query, keyText(key)), sentAt, sent, receivedAt })));
      } catch (error) {
        if (error instanceof StrayRowError && keysMax > 1) {
          undecided.push(question);
        } else {
          rejectOne(notLoaded(WHAT, error));
        }
      }
    }
    if (undecided.length > 0) {
      await answer(undecided, undecided.length < questions.length ? keysMax : 1);
    }
  }

  const depart = deps.slots.lane(() => (waiting.size === 0 ? null : answer(waiting.take(limits.batchKeysMax))));

  return {
    async read(wanted, isKnown) {
      for (const { topic, query, key } of wanted) {
        const problem = keyProblem(topic, query, key);
        if (problem !== null) {
          throw problem;
        }
      }
      // A separator could stand in a key, and one question be taken for another.
      const name = keyText(wanted.flatMap(({ topic, key }) => [topic, keyText(key)]));
      const joined = waiting.get(name);
      if (joined !== undefined) {
        return joined.promise;
      }
      const question = createWaiting(wanted);
      if (!waiting.add(name, question, isKnown)) {
        throw new UnavailableError('queue_full', 'too many questions wait for facts that are read together');
      }
      depart();
      return question.promise;
    },
  };
}
