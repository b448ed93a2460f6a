/**
 * Whether what the pool has read may be believed: only if it was read from the server that is listened to, and that is no standby
 * (P5). While nothing is listened to, a primary is believed, unless the pool was found to be elsewhere.
 */
import { sleep, type Clock } from './clock.js';
import type { Freshness } from './lease.js';
import type { Reading } from './source.js';

/** See the head of the file. */
export interface Acceptance {
  /** A statement is sent now. Returns the judge of its answer, which may need a round trip to know. */
  begin(): (reading: Pick<Reading, 'origin' | 'inRecovery'>) => Promise<boolean>;
}

/** What was read waits so long to learn which server is listened to: a round trip, when nothing is wrong. */
const ORIGIN_WAIT_MS = 1_000;

/** @param onForeignReading called when another server than the one that is listened to has answered, or a standby */
export function createAcceptance(deps: {
  readonly lease: Freshness;
  readonly clock: Clock;
  readonly onForeignReading: () => void;
}): Acceptance {
  const { lease, clock, onForeignReading } = deps;
  return {
    begin() {
      const { epoch } = lease;
      return async ({ origin, inRecovery }) => {
        const pending = lease.originPending;
        if (pending !== null) {
          await sleep(clock, ORIGIN_WAIT_MS, pending);
        }
        if (lease.doubtsReadings || lease.originPending !== null) {
          return false;
        }
        if (!inRecovery && (lease.origin === null || lease.origin === origin)) {
          return true;
        }
        // A load that is older than the epoch says nothing against the server that is listened to now.
        if (epoch !== null && epoch === lease.epoch) {
          onForeignReading();
        }
        return false;
      };
    },
  };
}
