/**
 * The slots: how many readings of Postgres may be under way at once, and whose turn is next. Each *lane* has at most
 * one reading under way; a lane that has something to read gets a slot when one is free, in turn, so that a busy lane
 * cannot hold them all.
 *
 * No timers: what is asked for in one turn leaves in the next, if a slot is free.
 */
import type { Clock } from '../../time/clock.js';

export interface Slots {
  /**
   * Adds a lane. `depart` is called when the lane has a slot: it sends what waits, and returns a promise that settles
   * when the slot is free again; null if nothing waits. Returns what tells that something waits.
   */
  lane(depart: () => Promise<unknown> | null): () => void;
  /**
   * Runs the task, as soon as it can, in a slot that no lane misses: while another slot is free, or nothing is under
   * way. Null if the signal was aborted before that.
   */
  inSpareSlot<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | null>;
}

/** Creates the slots. @param slotsMax readings under way at once */
export function createSlots(clock: Pick<Clock, 'defer'>, slotsMax: number): Slots {
  const departures: (() => boolean)[] = [];
  /** Tasks that wait for a spare slot, oldest first. */
  const spares = new Set<() => Promise<unknown>>();
  let used = 0;
  let next = 0;
  let pumping = false;

  const requestPump = (): void => {
    if (!pumping) {
      pumping = true;
      clock.defer(pump);
    }
  };

  const pump = (): void => {
    pumping = false;
    for (let idle = 0; idle < departures.length; idle++) {
      if (used >= slotsMax) {
        break;
      }
      if (departures[next++ % departures.length]!()) {
        idle = -1;
      }
    }
    for (const spare of spares) {
      if (used >= Math.max(1, slotsMax - 1)) {
        return;
      }
      spares.delete(spare);
      occupy(spare(), () => undefined);
    }
  };

  const occupy = (work: Promise<unknown>, onLeft: () => void): void => {
    used += 1;
    const leave = (): void => {
      used -= 1;
      onLeft();
      requestPump();
    };
    work.then(leave, leave);
  };

  return {
    lane(depart) {
      let inFlight = false;
      departures.push(() => {
        const work = inFlight ? null : depart();
        if (work === null) {
          return false;
        }
        inFlight = true;
        occupy(work, () => {
          inFlight = false;
        });
        return true;
      });
      return requestPump;
    },
    inSpareSlot<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
      return new Promise((resolve, reject) => {
        const giveUp = (): void => {
          spares.delete(spare);
          resolve(null);
        };
        const spare = (): Promise<unknown> => {
          signal.removeEventListener('abort', giveUp);
          return task().then(resolve, reject);
        };
        if (signal.aborted) {
          resolve(null);
          return;
        }
        signal.addEventListener('abort', giveUp);
        spares.add(spare);
        requestPump();
      });
    },
  };
}
