/**
 * Answers barriers. When a barrier was heard, all that was committed before it has been applied, except what was not
 * signalled; the fence that is sent after it sees the triggers, too (P11, P20).
 *
 * What reads that run now have read may be older. They are waited for, but no longer than for the lease: after that
 * they read again what they have read before (P26).
 */
import { delay, type Clock, type Delay } from '../../time/clock.js';
import type { FenceOutcome } from './fence.js';

export interface Barriers {
  /** Answers as soon as all before it has been applied; not at all if no fence proves it, or too many wait already. */
  answer(id: string): Promise<void>;
  /** The epoch has ended: nobody waits for reads any more. */
  end(): void;
}

/** What barriers need of the rest. */
export interface BarriersDeps {
  /** The name under which they are answered. */
  readonly replica: string;
  readonly leaseMs: number;
  readonly clock: Clock;
  /** Resolves when the reads that run now have settled. */
  readonly readsSettled: () => Promise<void>;
  /** A fence that is asked for after this call. */
  readonly fence: () => Promise<FenceOutcome>;
  /** Sends a message over the listening connection, unless it was given up. */
  readonly send: (payload: string) => void;
}

/** Barriers that may wait at the same time, and the longest name of one: anybody can send them. */
const BARRIERS_MAX = 16;
const BARRIER_ID_MAX = 64;

/** No barrier waits yet. */
export function createBarriers({ replica, leaseMs, clock, readsSettled, fence, send }: BarriersDeps): Barriers {
  /** Those that are not answered yet, by their names, and the wait of each for the reads that run. */
  const waiting = new Map<string, Delay>();
  return {
    async answer(id) {
      if (id.length > BARRIER_ID_MAX || waiting.size >= BARRIERS_MAX || waiting.has(id)) {
        return;
      }
      const reads = delay(clock, leaseMs);
      waiting.set(id, reads);
      void readsSettled().then(reads.wake);
      const outcome = await fence();
      await reads.over;
      // A request that waited for such a read is answered in the turn in which it settles. The barrier is answered in
      // a later one.
      await new Promise<void>(resolve => {
        clock.defer(resolve);
      });
      waiting.delete(id);
      if (outcome !== null) {
        send(JSON.stringify({ v: 1, a: id, r: replica }));
      }
    },
    end() {
      for (const { wake } of waiting.values()) {
        wake();
      }
    },
  };
}
