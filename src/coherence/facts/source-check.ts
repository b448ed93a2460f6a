/**
 * Whether what the pool has read may be believed (P5). What decides is the state of the listener:
 *
 * - It was not started, or it cannot listen: a primary is believed, unless the pool was found to lead to another server
 *   than the one that was listened to.
 * - It connects for the first time, or has just begun to listen: nothing is believed until it is known whether the pool
 *   leads to the server that is listened to. A question that writes nothing shows it at once; if not, the first fence
 *   does. What was read waits for that, for a second at most, and then is not believed.
 * - It is known: what was read there, from the same schema, is believed; whatever else was read is not, and ends the
 *   epoch.
 */
import { sleep, type Clock } from '../../time/clock.js';
import type { Freshness } from '../proof/lease.js';
import type { DownCause } from '../observation.js';
import { changeOf } from '../proof/server.js';
import type { QueryResult } from './source.js';

export interface SourceCheck {
  /** A statement is sent now. Returns the judge of its answer, which may need a round trip to know. */
  begin(): (reading: Pick<QueryResult, 'serverId' | 'inRecovery'>) => Promise<boolean>;
}

/**
 * What was read waits so long, in milliseconds, to learn which server is listened to: a round trip, when nothing is
 * wrong.
 */
const SERVER_WAIT_MS = 1_000;

/**
 * @param onForeignResult called when another server than the one that is listened to has answered, another schema, or
 *   a standby
 */
export function createSourceCheck(deps: {
  readonly lease: Freshness;
  readonly clock: Clock;
  readonly onForeignResult: (cause: DownCause) => void;
}): SourceCheck {
  const { lease, clock, onForeignResult } = deps;
  return {
    begin() {
      const { epoch } = lease;
      return async ({ serverId, inRecovery }) => {
        const pending = lease.serverPending;
        if (pending !== null) {
          await sleep(clock, SERVER_WAIT_MS, pending);
        }
        if (lease.suspectsPool || lease.serverPending !== null) {
          return false;
        }
        if (!inRecovery && (lease.serverId === null || lease.serverId === serverId)) {
          return true;
        }
        // A load that is older than the epoch says nothing against the server that is listened to now.
        if (epoch !== null && epoch === lease.epoch) {
          const change = lease.serverId === null ? null : changeOf(lease.serverId, serverId);
          onForeignResult(change === 'schema_changed' && !inRecovery ? change : 'foreign_reading');
        }
        return false;
      };
    },
  };
}
