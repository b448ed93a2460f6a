/**
 * Judges answers by what was true. An answer may use a fact as it was at any moment since the bound before its request
 * arrived (G1), or, if it took long, since the bound before it was given, or since the newest change of it that the
 * replica had already been told of (G2); a strong one only as all of its facts were at one moment since the request
 * arrived (G3).
 */
import { ABSENT, type Held, type History } from './history.js';
import type { Answered } from './replica.js';

/**
 * What an answer, or a life, went against: a guarantee, the expiry by Postgres' clock (P7), the cost that was promised,
 * or the rest in which all is well again.
 */
export type ViolationKind = 'G1' | 'G2' | 'G3' | 'G4' | 'G5' | 'G6' | 'P7' | 'rates' | 'rest';

/** Sums of fractions are not exact. */
const EXACT_MS = 1e-3;

export interface Bounds {
  /** The lease; when nothing goes wrong, the longest delivery. */
  readonly staleMs: number;
  /** The lease: nothing that was read before decides, however long the answer took. */
  readonly leaseMs: number;
  /** How far ahead the replica's idea of Postgres' clock may be; null where clocks are stepped. */
  readonly clockAheadMs: number | null;
}

/** What is wrong with the answer, or null. */
export function judge(
  answer: Pick<Answered, 'arrivedMs' | 'decidedMs' | 'isStrong' | 'floors' | 'expiry'> & {
    readonly facts: readonly Held[];
  },
  history: History,
  clockMs: (atMs: number) => number,
  bounds: Bounds,
): string | null {
  const { arrivedMs, decidedMs, facts, floors, expiry } = answer;
  for (const fact of facts) {
    const { name } = fact;
    const floorMs = floors.get(name) ?? -Infinity;
    const since = (fromMs: number): string =>
      `${name} was ${fact.text}; the truth since ${fromMs.toFixed(3)}: ` +
      history.describe(fact.topic, fact.key, fromMs, decidedMs);
    if (!history.wasHeld(fact, arrivedMs - bounds.staleMs - EXACT_MS, decidedMs)) {
      return `G1: stale ${since(arrivedMs - bounds.staleMs)}`;
    }
    if (!history.wasHeld(fact, decidedMs - bounds.leaseMs - EXACT_MS, decidedMs)) {
      return `G1: outdated when it was answered: ${since(decidedMs - bounds.leaseMs)}`;
    }
    if (!history.wasHeld(fact, floorMs - EXACT_MS, decidedMs)) {
      return `G2: resurrected ${since(floorMs)}`;
    }
    if (answer.isStrong && !history.wasHeld(fact, arrivedMs - EXACT_MS, decidedMs)) {
      return `G3: strong, but ${since(arrivedMs)}`;
    }
  }
  if (answer.isStrong && !history.wereHeldTogether(facts, arrivedMs - EXACT_MS, decidedMs)) {
    const values = facts.map(
      ({ topic, key, name, text }) =>
        `${name} = ${text} (truth: ${history.describe(topic, key, arrivedMs, decidedMs)})`,
    );
    return `G3: strong, and its facts were never true together: ${values.join('; ')}`;
  }
  if (expiry !== null) {
    const { expiresAtMs, believedMs } = expiry;
    if (believedMs < clockMs(arrivedMs) - EXACT_MS) {
      return (
        `P7: an expiry at ${expiresAtMs.toFixed(1)} was judged by ${believedMs.toFixed(1)} when it was ` +
        clockMs(arrivedMs).toFixed(1)
      );
    }
    if (bounds.clockAheadMs !== null && believedMs > clockMs(decidedMs) + bounds.clockAheadMs) {
      const aheadMs = believedMs - clockMs(decidedMs);
      return `P7: Postgres' clock was believed to be ${aheadMs.toFixed(1)} ms ahead of itself`;
    }
  }
  return null;
}

/** Whether an answer rests on a fact of which the replica had heard that it was no longer so (G2). */
export function judgeHeard({ facts, floorOrders }: Answered, history: History): string | null {
  for (const fact of facts) {
    const { name } = fact;
    if (!history.wasHeldSince(fact, floorOrders.get(name) ?? -1)) {
      return `G2: resurrected ${name} as ${fact.text}, after it had heard of a change of it`;
    }
  }
  return null;
}

/**
 * Whether somebody was let in (G4) without the facts that let in, or although the grant had expired when the request
 * arrived.
 */
export function judgeAdmission(
  { asked, boundTo, decision, facts, arrivedMs }: Answered,
  clockMs: (atMs: number) => number,
): string | null {
  if (decision?.status !== 200) {
    return null;
  }
  const { jwt } = asked;
  const revoked = facts.find(({ topic }) => topic === 'revoked_jwt');
  if (jwt !== undefined && (revoked?.text !== ABSENT || revoked.key[0] !== jwt.jti)) {
    return `G4: allowed by a JWT that is revoked, or of which that was not asked`;
  }
  const user = facts.find(({ topic }) => topic === 'user');
  if (jwt !== undefined && boundTo !== null && user?.key[0] !== boundTo) {
    return `G4: allowed as ${user?.name} by a JWT whose subject was bound to ${boundTo}`;
  }
  const named = jwt === undefined ? ['credential'] : boundTo === null ? ['identity'] : [];
  for (const needed of [...named, 'user', 'grant']) {
    const fact = facts.find(({ topic }) => topic === needed);
    if (fact === undefined || fact.text === ABSENT) {
      return `G4: allowed without a ${needed}`;
    }
    if (fact.expiresAtMs !== null && fact.expiresAtMs <= clockMs(arrivedMs) - EXACT_MS) {
      return `G4: allowed by a ${needed} that had expired`;
    }
  }
  return null;
}
