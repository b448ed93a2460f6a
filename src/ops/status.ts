/** What `/status` and `/readyz` tell of a replica, which may be several processes. */
import type { AuditTotals } from '../coherence/facts/audit.js';
import type { CacheStats } from '../coherence/facts/cache.js';
import type { ListenerState } from '../coherence/observation.js';

/** What is cached of one subject, and how often it was looked up. */
export interface CacheStatus extends CacheStats {
  readonly subject: string;
  readonly entries: number;
  readonly absences: number;
}

/** How one process is, or several together. */
export interface GateStatus {
  /** Whether it can answer requests now, from memory or from Postgres. */
  readonly canDecide: boolean;
  readonly state: ListenerState;
  readonly problem: string | null;
  /** Subjects whose triggers are not in place, and what is wrong. */
  readonly watchProblems: Readonly<Record<string, string>>;
  /** Server, database and schema that are listened to and read, as in `gatebell.origin`; null while that is not known. */
  readonly origin: string | null;
  readonly stalenessBoundMs: number | null;
  readonly pool: { readonly size: number; readonly max: number };
  readonly caches: readonly CacheStatus[];
  readonly audits: readonly AuditTotals[];
}

/** `/status`, as JSON. */
export interface Status extends GateStatus {
  readonly replica: string;
  readonly version: string;
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

/** Several processes as one: the worst state, the origin if all have the same, the greatest staleness, the sum of what is counted. */
export function joinStatus(all: readonly GateStatus[]): GateStatus {
  const worst = STATES.find(state => all.some(one => one.state === state)) ?? 'down';
  const bounds = all.map(one => one.stalenessBoundMs);
  const subjects = [...new Set(all.flatMap(one => one.caches.map(({ subject }) => subject)))];
  const audited = [...new Set(all.flatMap(one => one.audits.map(({ subject }) => subject)))];
  return {
    canDecide: all.length > 0 && all.every(one => one.canDecide),
    state: worst,
    problem: all.find(one => one.problem !== null)?.problem ?? (all.length === 0 ? 'no worker is up' : null),
    watchProblems: Object.assign({}, ...all.map(one => one.watchProblems)) as Record<string, string>,
    origin: all.every(one => one.origin === all[0]?.origin) ? (all[0]?.origin ?? null) : null,
    stalenessBoundMs:
      bounds.length === 0 || bounds.includes(null) ? null : Math.max(...bounds.map(bound => bound ?? 0)),
    pool: { size: sum(all.map(({ pool }) => pool.size)), max: sum(all.map(({ pool }) => pool.max)) },
    caches: subjects.map(subject => {
      const caches = all.flatMap(one => one.caches.filter(cache => cache.subject === subject));
      const total = (key: Exclude<keyof CacheStatus, 'subject'>): number => sum(caches.map(cache => cache[key]));
      return {
        subject,
        entries: total('entries'),
        absences: total('absences'),
        hits: total('hits'),
        absentHits: total('absentHits'),
        misses: total('misses'),
        unproven: total('unproven'),
      };
    }),
    audits: audited.map(subject => {
      const audits = all.flatMap(one => one.audits.filter(audit => audit.subject === subject));
      return {
        subject,
        facts: sum(audits.map(({ facts }) => facts)),
        stale: sum(audits.map(({ stale }) => stale)),
        staleAgeMs: Math.max(...audits.map(({ staleAgeMs }) => staleAgeMs)),
      };
    }),
  };
}
