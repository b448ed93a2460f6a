/**
 * The lease: whether what is cached may be served now. It owns the epoch, the proof, and the clock of the server; the
 * listener writes it, the caches read it.
 *
 * An *epoch* begins when LISTEN is acknowledged and ends when the connection is given up; between two epochs there is
 * none (P8). A *proof* is both clocks as of just before the newest question for which a fence has come back, no matter
 * which replica sent the fence: every commit acknowledged before that moment has been applied here. Cached facts may be
 * served while both elapsed times are within the lease, compared at each decision (P10): a timer would be late exactly
 * when it matters, after a pause.
 *
 * What this cannot see: a hypervisor that stops the machine and hides the pause from both clocks.
 */
import type { Clock, Instant } from '../../time/clock.js';

/** The readers' side of the lease. */
export interface Freshness {
  /** Number of the running epoch, or null when there is none. */
  readonly epoch: number | null;
  /** The server and the schema that the listener listens to, once it is known that the pool reads from there. */
  readonly serverId: string | null;
  /**
   * Not null while it is to be found out which server is listened to: from when an epoch, or the first attempt to begin
   * one, has begun. The pool may lead to an old primary. Aborted when it is known, or the epoch has ended. Nothing read
   * is to be believed before (P24).
   */
  readonly serverPending: AbortSignal | null;
  /**
   * Whether readings may not be believed, not even for one request: the pool was found to read from another server than
   * the one that is listened to, or fences once came back and none did on the newest connection, so it may (P5). Until
   * it is known that both see the same server.
   */
  readonly suspectsPool: boolean;
  /** Whether facts of this topic may be stored now: the epoch runs and its triggers are known to be in place. */
  trusts(topic: string): boolean;
  /** Whether cached facts of this topic may be served at this instant. */
  serves(topic: string, now: Instant): boolean;
  /** Whether the proof is within the lease at this instant. */
  isFresh(now: Instant): boolean;
  /**
   * The server that changes may be sent to: the one that is listened to, and the pool read from it when a fence came
   * back last; else null.
   */
  provenServerId(now: Instant): string | null;
}

export interface Lease extends Freshness {
  readonly leaseMs: number;
  /** Whether any epoch was ever proven. */
  readonly everProven: boolean;
  /**
   * Upper bound, in milliseconds, of how far what is served now may lie behind Postgres; null when nothing is served.
   */
  stalenessBoundMs(): number | null;
  /** The first attempt to listen begins: its outcome is waited for. */
  expectEpoch(): void;
  beginEpoch(): number;
  endEpoch(): void;
  /**
   * Notes that the pool reads from another server; if that is not certain, it counts once a fence has ever come back.
   */
  suspectPool(isCertain: boolean): void;
  /** Notes where this epoch listens, and the pool reads from. */
  setServer(serverId: string): void;
  /** Notes the topics whose triggers are in place; all others are not served. */
  setTrustedTopics(topics: ReadonlySet<string>): void;
  /**
   * Notes that the fence of a question asked at `sent` has come back. A proof never goes backwards: an older one
   * changes nothing.
   */
  prove(sent: Instant): void;
}

/** Creates a lease without an epoch. @param leaseMs how long a proof holds, in milliseconds. */
export function createLease(clock: Clock, leaseMs: number): Lease {
  let epochs = 0;
  let epoch: number | null = null;
  let serverId: string | null = null;
  /** While it is to be found out which server is listened to. */
  let inquiry: AbortController | null = null;
  let trusted: ReadonlySet<string> = new Set();
  let proof: Instant | null = null;
  let everProven = false;
  let doubted = false;

  const isFresh = (now: Instant): boolean => {
    if (proof === null) {
      return false;
    }
    const monoElapsedMs = now.monoMs - proof.monoMs;
    const wallElapsedMs = now.wallMs - proof.wallMs;
    return monoElapsedMs >= 0 && monoElapsedMs <= leaseMs && wallElapsedMs >= 0 && wallElapsedMs <= leaseMs;
  };

  const endInquiry = (): void => {
    const ending = inquiry;
    inquiry = null;
    ending?.abort();
  };

  return {
    leaseMs,
    get everProven() {
      return everProven;
    },
    get epoch() {
      return epoch;
    },
    get serverId() {
      return serverId;
    },
    get serverPending() {
      return inquiry?.signal ?? null;
    },
    get suspectsPool() {
      return doubted;
    },
    trusts: topic => epoch !== null && trusted.has(topic),
    serves: (topic, now) => isFresh(now) && trusted.has(topic),
    isFresh,
    provenServerId: now => (isFresh(now) && !doubted ? serverId : null),
    stalenessBoundMs() {
      const now = clock.now();
      return proof !== null && isFresh(now) ? Math.max(now.monoMs - proof.monoMs, now.wallMs - proof.wallMs) : null;
    },
    expectEpoch() {
      inquiry ??= new AbortController();
    },
    beginEpoch() {
      epoch = ++epochs;
      inquiry ??= new AbortController();
      return epoch;
    },
    endEpoch() {
      epoch = null;
      serverId = null;
      trusted = new Set();
      proof = null;
      endInquiry();
    },
    suspectPool(isCertain) {
      doubted ||= isCertain || everProven;
    },
    setServer(found) {
      serverId = found;
      doubted = false;
      endInquiry();
    },
    setTrustedTopics(topics) {
      trusted = topics;
    },
    prove(sent) {
      if (epoch !== null && (proof === null || sent.monoMs >= proof.monoMs)) {
        proof = sent;
        everProven = true;
      }
    },
  };
}

/**
 * Postgres' clock as known here. Every answer of the server carries its time; it is counted from when the question was
 * *sent*, on whichever of our clocks ran further, so the estimate is never behind: what has expired there has expired
 * here (P7).
 */
export interface ServerClock {
  observe(sent: Instant, serverTimeMs: number): void;
  /**
   * Milliseconds since 1970 by Postgres' clock, at most one round trip ahead; -Infinity before the first observation.
   */
  nowMs(now: Instant): number;
}

/** Creates a server clock that has not seen the server yet. */
export function createServerClock(): ServerClock {
  let sample: { readonly sent: Instant; readonly serverTimeMs: number } | null = null;
  return {
    observe(sent, serverTimeMs) {
      if (sample === null || sent.monoMs >= sample.sent.monoMs) {
        sample = { sent, serverTimeMs };
      }
    },
    nowMs(now) {
      return sample === null
        ? -Infinity
        : sample.serverTimeMs + Math.max(now.monoMs - sample.sent.monoMs, now.wallMs - sample.sent.wallMs, 0);
    },
  };
}
