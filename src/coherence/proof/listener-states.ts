/**
 * The listener's states, and what each event makes of each state. The table is total: a new state or a new event does
 * not compile until every cell of it is filled in. `docs/protocol.md` shows the same table, and a test compares the
 * two.
 */
import type { ListenerState } from '../observation.js';

/** What changes the listener's state. */
export type ListenerEvent =
  /** The listener begins to open a connection. */
  | 'attempt'
  /** Postgres has acknowledged LISTEN: an epoch begins. */
  | 'listen_acknowledged'
  /** A fence that proves what was asked for has come back. */
  | 'fence_proved'
  /** Somebody looked at the clocks, and the newest proof is within the lease. */
  | 'lease_holds'
  /** Somebody looked at the clocks, and no proof is within the lease. */
  | 'lease_expired'
  /** The connection is given up, for any cause: the epoch ends. */
  | 'given_up';

/** The next state; `impossible` where the event cannot happen in this state. */
export const TRANSITIONS: Readonly<
  Record<ListenerState, Readonly<Record<ListenerEvent, ListenerState | 'impossible'>>>
> = {
  down: {
    attempt: 'connecting',
    listen_acknowledged: 'impossible',
    // A subscriber that hears of the proof may stop the listener in the same turn.
    fence_proved: 'down',
    lease_holds: 'impossible',
    lease_expired: 'down',
    given_up: 'impossible',
  },
  connecting: {
    attempt: 'impossible',
    listen_acknowledged: 'listening',
    fence_proved: 'impossible',
    lease_holds: 'impossible',
    lease_expired: 'connecting',
    given_up: 'down',
  },
  listening: {
    attempt: 'impossible',
    listen_acknowledged: 'impossible',
    fence_proved: 'live',
    lease_holds: 'impossible',
    lease_expired: 'listening',
    given_up: 'down',
  },
  live: {
    attempt: 'impossible',
    listen_acknowledged: 'impossible',
    fence_proved: 'live',
    lease_holds: 'live',
    lease_expired: 'unproven',
    given_up: 'down',
  },
  unproven: {
    attempt: 'impossible',
    listen_acknowledged: 'impossible',
    fence_proved: 'live',
    // A clock that was set back has been put right.
    lease_holds: 'live',
    lease_expired: 'unproven',
    given_up: 'down',
  },
};

/** The state after an event. @throws Error if the event cannot happen in this state: the listener has a mistake */
export function nextState(state: ListenerState, event: ListenerEvent): ListenerState {
  const next = TRANSITIONS[state][event];
  if (next === 'impossible') {
    throw new Error(`the listener is ${state}, where ${event} cannot happen`);
  }
  return next;
}
