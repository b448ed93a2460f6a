/** What `/status` and `/readyz` report of a replica, which may be several processes. */
import type { AuditTotals } from '../coherence/facts/audit.js';
import type { CacheStats } from '../coherence/facts/cache.js';
import type { ListenerState } from '../coherence/observation.js';

/** What is cached of one topic, and how often it was looked up. */
export interface CacheStatus extends CacheStats {
  readonly topic: string;
  readonly entries: number;
  readonly negativeEntries: number;
}

/** The state of one process, or of several together. */
export interface GateStatus {
  /** Whether it can answer requests now, from memory or from Postgres. */
  readonly canDecide: boolean;
  readonly state: ListenerState;
  readonly problem: string | null;
  /** Topics whose triggers are not in place, and what is wrong. */
  readonly watchProblems: Readonly<Record<string, string>>;
  /**
   * Server, database and schema that are listened to and read, as in `gatebell.server`; null while that is not known.
   */
  readonly serverId: string | null;
  readonly stalenessBoundMs: number | null;
  readonly pool: { readonly size: number; readonly max: number };
  readonly caches: readonly CacheStatus[];
  readonly audits: readonly AuditTotals[];
}

/** `/status`, as JSON. */
export interface Status extends GateStatus {
  readonly replica: string;
  readonly version: string;
  /** Where proxies ask: a URL, or `unix:` and the path of a socket; null: nowhere yet. */
  readonly auth: string | null;
  /** Whether proxies should ask it: it can decide, and does not stop. */
  readonly ready: boolean;
  /** Whether it answers from memory; if not, it reads Postgres for every decision. */
  readonly fromMemory: boolean;
  readonly leaseMs: number;
  readonly uptimeSeconds: number;
  /** One for each worker that is up, in the order of their numbers; none if there are no workers. */
  readonly workers: readonly GateStatus[];
}

/** The worst first. */
const STATES: readonly ListenerState[] = ['down', 'connecting', 'listening', 'unproven', 'live'];

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/**
 * Several processes as one: the worst state, the server id if all have the same, the greatest staleness, the sum of
 * what is counted.
 */
export function joinStatus(all: readonly GateStatus[]): GateStatus {
  const worst = STATES.find(state => all.some(one => one.state === state)) ?? 'down';
  const bounds = all.map(one => one.stalenessBoundMs);
  const topics = [...new Set(all.flatMap(one => one.caches.map(({ topic }) => topic)))];
  const audited = [...new Set(all.flatMap(one => one.audits.map(({ topic }) => topic)))];
  return {
    canDecide: all.length > 0 && all.every(one => one.canDecide),
    state: worst,
    problem: all.find(one => one.problem !== null)?.problem ?? (all.length === 0 ? 'no worker is up' : null),
    watchProblems: Object.assign({}, ...all.map(one => one.watchProblems)) as Record<string, string>,
    serverId: all.every(one => one.serverId === all[0]?.serverId) ? (all[0]?.serverId ?? null) : null,
    stalenessBoundMs:
      bounds.length === 0 || bounds.includes(null) ? null : Math.max(...bounds.map(bound => bound ?? 0)),
    pool: { size: sum(all.map(({ pool }) => pool.size)), max: sum(all.map(({ pool }) => pool.max)) },
    caches: topics.map(topic => {
      const caches = all.flatMap(one => one.caches.filter(cache => cache.topic === topic));
      const total = (key: Exclude<keyof CacheStatus, 'topic'>): number => sum(caches.map(cache => cache[key]));
      return {
        topic,
        entries: total('entries'),
        negativeEntries: total('negativeEntries'),
        hits: total('hits'),
        negativeHits: total('negativeHits'),
        misses: total('misses'),
        unproven: total('unproven'),
      };
    }),
    audits: audited.map(topic => {
      const audits = all.flatMap(one => one.audits.filter(audit => audit.topic === topic));
      return {
        topic,
        facts: sum(audits.map(({ facts }) => facts)),
        stale: sum(audits.map(({ stale }) => stale)),
        staleAgeMs: Math.max(...audits.map(({ staleAgeMs }) => staleAgeMs)),
      };
    }),
  };
}
