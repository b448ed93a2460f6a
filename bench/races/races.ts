/**
 * The races. Each is one order of events, and within it every freedom is drawn from a seed: how many callers wait for
 * the load, when the load ends, who else reads meanwhile. Promises say when a thing has happened; nothing sleeps.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Dice } from '../../test/sim/dice.js';
import type { Lack, Library, Opener, ReplicaSubject, Subject } from './subject.js';
import { OLD, type Hold, type Truth } from './truth.js';

/** What one round has shown. */
export interface Outcome {
  /** An answer to a question that was asked after the invalidation was acknowledged was the old value. */
  readonly stale: boolean;
  /** It is still the old value after everything has come to rest. */
  readonly kept: boolean;
  /** The answer was an error. */
  readonly failed: boolean;
  /** The last answer came from memory. If none ever does, there was no cache to race against. */
  readonly cached: boolean;
}

interface Round<S extends Subject> {
  readonly subject: S;
  readonly truth: Truth;
  readonly dice: Dice;
  readonly key: string;
}

/** A race against one library, ready to be played round by round. */
export interface Prepared {
  play(dice: Dice, key: string): Promise<Outcome>;
  close(): Promise<void>;
}

export interface Race {
  readonly name: string;
  /** The row of the table. */
  readonly title: string;
  /** Only every so many rounds are played: each takes long. */
  readonly every: number;
  /** What opens the library's caches; a lack if it has nothing of the kind. */
  prepare(library: Library): ((truth: Truth) => Promise<Prepared>) | Lack;
}

/** When the load that is held goes on: before the invalidation is asked for, while it is under way, or after it. */
type Moment = 'before' | 'while' | 'after';

const MOMENTS: readonly Moment[] = ['before', 'while', 'after'];
/** After so many turns of the event loop, everything that waits for nobody has happened. */
const REST_TURNS = 10;

async function turns(count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    await turn();
  }
}

/** A few steps of promises, within one turn. */
async function steps(count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    await Promise.resolve();
  }
}

/** Libraries compare times in whole milliseconds: what happens after this is later to them, too. */
async function nextMillisecond(): Promise<void> {
  for (const nowMs = Date.now(); Date.now() === nowMs;) {
    await turn();
  }
}

const several = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

/** Reads once everything has come to rest, and judges these answers, or else what was read then. */
async function judge(
  { subject, truth, key }: Round<Subject>,
  answers: readonly PromiseSettledResult<number>[] | null,
): Promise<Outcome> {
  await turns(REST_TURNS);
  const [last] = await Promise.allSettled([subject.get(key)]);
  await turns(REST_TURNS);
  const loads = truth.loads(key);
  const [rest] = await Promise.allSettled([subject.get(key)]);
  const isOld = (answer: PromiseSettledResult<number>): boolean =>
    answer.status === 'fulfilled' && answer.value === OLD;
  const judged = answers ?? [last];
  return {
    stale: judged.some(isOld),
    kept: isOld(rest),
    failed: judged.some(({ status }) => status === 'rejected'),
    cached: truth.loads(key) === loads,
  };
}

/** A load is under way while its value changes and is invalidated. */
async function raceWithLoad(
  round: Round<Subject>,
  { moments, joins, all }: { readonly moments: readonly Moment[]; readonly joins: boolean; readonly all: boolean },
): Promise<Outcome> {
  const { subject, truth, dice, key } = round;
  await subject.prepare?.(key);
  await nextMillisecond();
  const hold = truth.hold(key);
  const callers = Promise.allSettled(several(1 + dice.integer(3), () => subject.get(key)));
  const seen = await hold.reached;
  if (seen !== OLD) {
    throw new Error(`the load was to read the old value, and has read ${seen}`);
  }

  // Callers who did not join that load have loads of their own: they have ended.
  await truth.quiet();
  await turns(REST_TURNS);

  const moment = dice.pick(moments);
  let onCommitted = (): void => undefined;
  const committed = new Promise<void>(resolve => {
    onCommitted = resolve;
  });
  const acknowledged = subject.change(key, async () => {
    await truth.change(key, all);
    if (moment === 'before') {
      hold.release();
      await steps(dice.integer(4));
    }
    onCommitted();
  });
  await committed;
  if (moment === 'while') {
    await steps(dice.integer(9));
    hold.release();
  }
  await acknowledged;

  await nextMillisecond();
  const late = await readLate(round, hold, joins ? 1 + dice.integer(3) : dice.integer(3));
  await callers;
  return judge(round, joins ? late : null);
}

/**
 * Lets the load that is held go on, while others ask. Where the library begins a new load for them, it is drawn which
 * of the two loads ends first.
 */
async function readLate(
  { subject, truth, dice, key }: Round<Subject>,
  oldLoad: Hold,
  count: number,
): Promise<PromiseSettledResult<number>[]> {
  const newLoad = truth.hold(key);
  const { begun } = truth;
  const answers = Promise.allSettled(several(count, () => subject.get(key)));
  await turns(REST_TURNS);
  if (truth.begun > begun) {
    await newLoad.reached;
    if (dice.chance(0.5)) {
      newLoad.release();
      await answers;
      await turns(REST_TURNS);
    }
  }
  oldLoad.release();
  await turns(REST_TURNS);
  newLoad.release();
  return answers;
}

const commit = ({ truth, key }: Round<Subject>): Promise<void> => truth.change(key, false);

async function changeWhileCut(round: Round<ReplicaSubject>): Promise<void> {
  const { subject, key } = round;
  await subject.cut();
  await subject.change(key, () => commit(round));
  await subject.restore();
}

/** The value is cached when it changes. */
async function raceWithCached(round: Round<Subject>, change: () => Promise<void>): Promise<Outcome> {
  const { subject, key } = round;
  const seen = await subject.get(key);
  if (seen !== OLD) {
    throw new Error(`the old value was to be cached, and ${seen} was`);
  }
  await change();
  return judge(round, null);
}

interface RaceOf<S extends Subject> {
  readonly name: string;
  readonly title: string;
  readonly every?: number;
  readonly against: (library: Library) => Opener<S>;
  readonly play: (round: Round<S>) => Promise<Outcome>;
}

function race<S extends Subject>({ name, title, every = 1, against, play }: RaceOf<S>): Race {
  return {
    name,
    title,
    every,
    prepare(library) {
      const open = against(library);
      if (typeof open !== 'function') {
        return open;
      }
      return async truth => {
        const subject = await open(truth);
        return { play: (dice, key) => play({ subject, truth, dice, key }), close: () => subject.close() };
      };
    },
  };
}

export const RACES: readonly Race[] = [
  race({
    name: 'loading',
    title: 'a key is invalidated while it is being loaded',
    against: ({ byKey }) => byKey,
    play: round => raceWithLoad(round, { moments: MOMENTS, joins: false, all: false }),
  }),
  race({
    name: 'joining',
    title: 'a caller asks after the invalidation, while that load is still under way',
    against: ({ byKey }) => byKey,
    play: round => raceWithLoad(round, { moments: ['after'], joins: true, all: false }),
  }),
  race({
    name: 'clearing',
    title: 'everything is cleared while a key is being loaded',
    against: ({ all }) => all,
    play: round => raceWithLoad(round, { moments: MOMENTS, joins: false, all: true }),
  }),
  race({
    name: 'refreshing',
    title: 'a key is invalidated while it is refreshed in the background',
    against: ({ refreshed }) => refreshed,
    play: round => raceWithLoad(round, { moments: MOMENTS, joins: false, all: false }),
  }),
  race({
    name: 'deriving',
    title: 'a source is invalidated while a value is derived from it',
    against: ({ derived }) => derived,
    play: round => raceWithLoad(round, { moments: ['after'], joins: false, all: false }),
  }),
  race({
    name: 'elsewhere',
    title: 'a value changes on one replica, and another has it cached',
    against: ({ replicas }) => replicas,
    play: round => raceWithCached(round, () => round.subject.change(round.key, () => commit(round))),
  }),
  race({
    name: 'loading-elsewhere',
    title: 'a value changes on one replica, and another is loading it',
    against: ({ replicas }) => replicas,
    play: round => raceWithLoad(round, { moments: MOMENTS, joins: false, all: false }),
  }),
  race({
    name: 'cut',
    title: 'a value changes on one replica while another is cut off, and is connected again',
    every: 10,
    against: ({ replicas }) => replicas,
    play: round => raceWithCached(round, () => changeWhileCut(round)),
  }),
];
