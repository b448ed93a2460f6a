/**
 * The listener: keeps one LISTEN connection, hands its notifications to the bus, and proves with fences that it has
 * heard everything.
 *
 *           attempt            LISTEN acknowledged          first fence echoed
 *  down ───────────▶ connecting ───────────▶ listening ───────────▶ live ⇄ unproven
 *   ▲                     │                       │                   │  the lease runs out; a late echo proves again
 *   └─────────────────────┴───────────────────────┴───────────────────┘
 *     connection lost, fence overdue, another server or schema, anything odd: at once, and everything cached is flushed
 *
 * Each state is an observation, none is a wish (`listener-states.ts`). Here one attempt follows the other, each with a
 * connection of its own (`connection.ts`). On it messages are received (`messages.ts`), fences are asked for
 * (`fence-loop.ts`), and barriers are answered (`barriers.ts`).
 */
import { backoffMs } from '../../time/backoff.js';
import { sleep } from '../../time/clock.js';
import type { DownCause, ListenerState } from '../observation.js';
import { createConnection, type Connection, type ConnectionDeps } from './connection.js';
import type { FenceOutcome } from './fence.js';
import { createListenerStatus, messageOf, mismatchError } from './listener-status.js';
import { createWatches } from './watches.js';

export interface Listener {
  readonly state: ListenerState;
  /** Why the cache is not proven now, in words for an operator; null while live. */
  readonly problem: string | null;
  /** Watched topics whose triggers are not in place, with what is wrong. */
  readonly watchProblems: ReadonlyMap<string, string>;
  start(): void;
  /** Ends the epoch at once; resolves when the connection is given up. */
  stop(): Promise<void>;
  /** A fence that is asked for after this call, at once. Never rejects. */
  fence(): Promise<FenceOutcome>;
  /** Gives the connection up: what we see does not fit together. */
  reset(cause: DownCause): void;
}

/** Creates a listener that is down. */
export function createListener(deps: ConnectionDeps): Listener {
  const { lease, clock, random, observe } = deps;
  const status = createListenerStatus(deps);
  const watches = createWatches(deps);
  /** The newest; it may have ended. */
  let connection: Connection | null = null;
  let stopped: AbortController | null = null;
  let running: Promise<void> = Promise.resolve();

  const run = async (stop: AbortSignal): Promise<void> => {
    lease.expectEpoch();
    let isFirst = true;
    /** Attempts in a row that came to nothing. */
    let failures = 0;
    while (!stop.aborted) {
      const attempt = createConnection(deps, { status, watches, isFirst });
      connection = attempt;
      isFirst = false;
      const failed = await attempt.run();
      if (attempt.isProven) {
        failures = 0;
      }
      const retryMs = backoffMs(failures++, random);
      if (failed !== null && !stop.aborted) {
        status.explain(`cannot listen: ${messageOf(failed.error)}`);
        observe({ event: 'connection_failed', error: failed.error, retryMs });
      }
      await sleep(clock, retryMs, stop);
    }
  };

  return {
    get state() {
      return status.state;
    },
    get problem() {
      return status.problem;
    },
    get watchProblems() {
      return watches.problems;
    },
    start() {
      if (stopped === null) {
        stopped = new AbortController();
        running = run(stopped.signal);
      }
    },
    async stop() {
      stopped?.abort();
      connection?.end('stopped', null);
      await running;
    },
    fence: () => connection?.fence() ?? Promise.resolve(null),
    reset(cause) {
      connection?.end(cause, cause === 'schema_changed' ? mismatchError(cause, '') : null);
    },
  };
}
