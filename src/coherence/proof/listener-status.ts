/**
 * What is reported of the listener: its state, when the state changes, and why nothing is proven now, in words for an
 * operator.
 */
import type { Clock } from '../../time/clock.js';
import type { DownCause, ListenerState, Observe } from '../observation.js';
import type { Lease } from './lease.js';
import { nextState, type ListenerEvent } from './listener-states.js';

export interface ListenerStatus {
  /** As of now: no timer ends a lease, so each look at the state compares the clocks. */
  readonly state: ListenerState;
  /** Why the cache is not proven now; null while live. */
  readonly problem: string | null;
  /** Something has happened that changes the state. */
  step(event: ListenerEvent): void;
  /** Observes the state if it is not the one that was observed last. */
  note(): void;
  /** Says why nothing is proven; null: it was proven. */
  explain(problem: string | null): void;
}

/** Its message is what an operator should know. */
export class FenceError extends Error {}

/** Why the answer of another server, or of another schema, has ended an epoch. */
export function mismatchError(cause: DownCause, serverId: string): FenceError {
  switch (cause) {
    case 'foreign_pool':
      return new FenceError(
        `the pool reads from another server (${serverId}) than the one that the listening connection leads to: an ` +
          'old primary still runs, Postgres has crashed and the listening connection does not know it, ' +
          'DATABASE_URL and GATEBELL_LISTEN_URL name different servers, or a transaction-mode pooler is in between ' +
          '(set GATEBELL_LISTEN_URL to a direct connection)',
      );
    case 'schema_changed':
      return new FenceError('schema gatebell was restored or created again');
    case 'standby':
      return new FenceError(`the pool leads to a standby (${serverId})`);
    default:
      return new FenceError(
        `another server or database answers (${serverId}): Postgres was restarted, or another took its place`,
      );
  }
}

/** Why no fence came back that was sent. @param signalled the channel that the triggers use */
export function overdueError(signalled: string, listened: string): FenceError {
  return new FenceError(
    signalled === listened
      ? 'fences were sent and did not arrive: the listening connection is broken, sees another server than the pool, ' +
          'or goes through a transaction-mode pooler, which cannot deliver notifications: ' +
          'set GATEBELL_LISTEN_URL to a direct connection'
      : `the triggers signal on channel '${signalled}', this replica listens on '${listened}': set GATEBELL_CHANNEL`,
  );
}

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Creates the status of a listener that was not started. */
export function createListenerStatus(deps: {
  readonly lease: Lease;
  readonly clock: Clock;
  readonly observe: Observe;
}): ListenerStatus {
  const { lease, clock, observe } = deps;
  let current: ListenerState = 'down';
  let observed: ListenerState = 'down';
  let problem: string | null = 'not started';

  const step = (event: ListenerEvent): void => {
    current = nextState(current, event);
  };

  const state = (): ListenerState => {
    step(lease.isFresh(clock.now()) ? 'lease_holds' : 'lease_expired');
    return current;
  };

  return {
    get state() {
      return state();
    },
    get problem() {
      return state() === 'live' ? null : (problem ?? 'the lease has run out, and no fence has come back since');
    },
    step,
    note() {
      const now = state();
      if (now !== observed) {
        observe({ event: 'listener_state', from: observed, to: now });
        observed = now;
      }
    },
    explain(why) {
      problem = why;
    },
  };
}
