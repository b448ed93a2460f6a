/**
 * The auditor: now and then it reads some cached facts again, compares, and says so when one is stale. Nothing here
 * keeps the promises; it is how a replica would notice that something else does not.
 *
 * A difference alone says nothing: the fact may have changed a moment ago, and its signal may still be under way. It is
 * *confirmed* when the very same entry is still cached, in the same epoch, after a fence that was sent after the
 * reading had been answered has come back. For what the reading saw was committed, hence in the queue of notifications,
 * before that fence was; so each invalidation that is due has been applied when the fence comes back; and the entry was
 * stored, from an older snapshot of the same server, before the reading was sent. Whoever changed the row did not
 * signal: a trigger that nobody watches, a query that reads more than the watched columns, a value that was changed in
 * memory, or a flaw in here.
 *
 * Then signals were evidently missed, and nobody knows how many: all facts of the topic are forgotten (P31).
 *
 * A reading of another server, of a standby, or one that may not be believed (P5) counts for nothing; so does one of a
 * topic whose triggers are not known to be in place, because nothing of it is served. An audit goes through a slot that
 * no load wants, is one query of at most 100 keys, and is never two at once. Values are compared as plain data.
 */
import { isDeepStrictEqual } from 'node:util';
import type { SignalBus } from '../bus.js';
import type { AuditedCache, Held } from './cache.js';
import { sleep, type Clock, type Random, type Sequence } from '../../time/clock.js';
import type { Freshness } from '../proof/lease.js';
import type { FenceOutcome } from '../proof/fence.js';
import type { Observe } from '../observation.js';
import { keyText } from '../signal.js';
import type { Slots } from './slots.js';
import { matchRows, type FactSource, type QueryResult } from './source.js';

/** What audits of one topic have found so far. */
export interface AuditTotals {
  readonly topic: string;
  /** Facts compared. */
  readonly facts: number;
  /** Confirmed to be stale; anything but 0 is a broken promise. */
  readonly stale: number;
  /** Age in milliseconds, since its load, of the oldest of those; 0 if there are none. */
  readonly staleAgeMs: number;
}

/** What an auditor needs of its surroundings. */
export interface AuditorDeps {
  /** May grow while the auditor runs. */
  readonly caches: readonly AuditedCache<unknown>[];
  /** From one audit to the next, in milliseconds, on average; 0: never. */
  readonly intervalMs: number;
  readonly lease: Freshness;
  readonly slots: Pick<Slots, 'inSpareSlot'>;
  readonly source: FactSource;
  readonly bus: SignalBus;
  readonly clock: Clock;
  readonly random: Random;
  readonly sequence: Sequence;
  readonly observe: Observe;
  /** A fence that is sent after this call. */
  readonly fence: () => Promise<FenceOutcome>;
}

export interface Auditor {
  readonly totals: readonly AuditTotals[];
  /** Idempotent. */
  start(): void;
  /** Resolves when no audit is under way any more. Idempotent. */
  stop(): Promise<void>;
}

/** Facts that differ from their reading, and when the answer came, in logical time. */
interface Suspicion {
  readonly cache: AuditedCache<unknown>;
  readonly epoch: number;
  readonly answeredAt: number;
  readonly facts: readonly Held<unknown>[];
}

const FACTS_MAX = 100;

/** Creates an auditor that does nothing yet. */
export function createAuditor(deps: AuditorDeps): Auditor {
  const { caches, intervalMs, lease, source, bus, clock, random, sequence, observe } = deps;
  const found = new Map<AuditedCache<unknown>, { facts: number; stale: number; staleAgeMs: number }>();
  const stopping = new AbortController();
  let running: Promise<void> | null = null;
  let next = 0;

  const totalsOf = (cache: AuditedCache<unknown>): { facts: number; stale: number; staleAgeMs: number } => {
    const totals = found.get(cache) ?? { facts: 0, stale: 0, staleAgeMs: 0 };
    found.set(cache, totals);
    return totals;
  };

  const isServed = (cache: AuditedCache<unknown>): boolean => lease.serves(cache.topic, clock.now());

  /** The next cache, in turn, that has anything to serve. */
  const draw = (): { readonly cache: AuditedCache<unknown>; readonly facts: readonly Held<unknown>[] } | null => {
    for (let tried = 0; tried < caches.length; tried++) {
      const cache = caches[next++ % caches.length]!;
      const facts = isServed(cache) ? cache.draw(FACTS_MAX, random) : [];
      if (facts.length > 0) {
        return { cache, facts };
      }
    }
    return null;
  };

  const counts = (reading: QueryResult, epoch: number): boolean =>
    epoch === lease.epoch && !lease.suspectsPool && !reading.inRecovery && reading.serverId === lease.serverId;

  /** Reads some facts again; null if nothing differs, or nothing can be said. */
  const suspect = async (): Promise<Suspicion | null> => {
    const { epoch } = lease;
    const drawn = draw();
    if (drawn === null || epoch === null) {
      return null;
    }
    const { cache, facts } = drawn;
    const { topic, query } = cache;
    let reading: QueryResult;
    try {
      const keys = facts.map(({ key }) => key);
      reading = await source.read(topic, query.text, keys, 'audit');
    } catch (error) {
      observe({ event: 'audit_failed', topic, error });
      return null;
    }
    const answeredAt = sequence.next();
    if (!counts(reading, epoch)) {
      return null;
    }
    const texts = facts.map(({ key }) => keyText(key));
    const factOf = matchRows(topic, query, texts, reading.rows, 'audit');
    const differs = ({ key, value }: Held<unknown>): boolean => {
      try {
        return !isDeepStrictEqual(factOf(keyText(key)), value);
      } catch {
        // Its row cannot be understood now, so there is nothing to compare with.
        return false;
      }
    };
    const suspected = facts.filter(fact => cache.holds(fact) && differs(fact));
    totalsOf(cache).facts += facts.length;
    observe({ event: 'audit', topic, facts: facts.length, differences: suspected.length });
    return suspected.length > 0 ? { cache, epoch, answeredAt, facts: suspected } : null;
  };

  const confirm = async ({ cache, epoch, answeredAt, facts }: Suspicion): Promise<void> => {
    const fence = await deps.fence();
    if (fence === null || fence.sentAt <= answeredAt || fence.epoch !== epoch || !isServed(cache)) {
      return;
    }
    const stale = facts.filter(fact => cache.holds(fact));
    if (stale.length === 0) {
      return;
    }
    const { topic } = cache;
    const ageMs = clock.now().monoMs - Math.min(...stale.map(({ sentMonoMs }) => sentMonoMs));
    const totals = totalsOf(cache);
    totals.stale += stale.length;
    totals.staleAgeMs = Math.max(totals.staleAgeMs, ageMs);
    observe({ event: 'audit_stale', topic, facts: stale.length, ageMs });
    bus.emit({ type: 'change', topic, keys: null });
  };

  const run = async (): Promise<void> => {
    const { signal } = stopping;
    while (!signal.aborted) {
      await sleep(clock, intervalMs * (0.5 + random.uniform()), signal);
      const suspicion = await deps.slots.inSpareSlot(suspect, signal);
      if (suspicion !== null && !signal.aborted) {
        await confirm(suspicion);
      }
    }
  };

  return {
    get totals() {
      return caches.map(cache => ({ topic: cache.topic, ...totalsOf(cache) }));
    },
    start() {
      if (intervalMs > 0) {
        running ??= run();
      }
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
