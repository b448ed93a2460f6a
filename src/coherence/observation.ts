/**
 * Everything noteworthy that happens in the coherence library, as one union. The code says what happened, once; logs,
 * metrics and tests each make of it what they need.
 */
import type { FlushCause } from './signal.js';

/** What the listener is doing; each is an observation of the moment, see `listener.ts`. */
export type ListenerState = 'down' | 'connecting' | 'listening' | 'live' | 'unproven';

/** Why a connection, and with it the epoch, was given up. */
export const DOWN_CAUSES = [
  'stopped',
  'connection_lost',
  'fence_overdue',
  'channel_mismatch',
  'server_changed',
  'schema_changed',
  'standby',
  'foreign_reading',
  'foreign_pool',
] as const;
/** One of {@link DOWN_CAUSES}. */
export type DownCause = (typeof DOWN_CAUSES)[number];

/** Why a fence proved nothing. */
export type FenceFailure = 'send_failed' | 'clock_jump' | 'channel_mismatch' | 'overdue' | 'epoch_ended';

/** One thing that happened. */
export type CoherenceObservation =
  | { readonly event: 'listener_state'; readonly from: ListenerState; readonly to: ListenerState }
  | { readonly event: 'connection_opened' }
  | { readonly event: 'connection_failed'; readonly error: unknown; readonly retryMs: number }
  | { readonly event: 'connection_closed'; readonly cause: DownCause; readonly error: unknown }
  | { readonly event: 'fence_proven'; readonly rttMs: number | null; readonly queueUsage: number }
  | { readonly event: 'fence_failed'; readonly cause: FenceFailure; readonly error: unknown }
  | { readonly event: 'fence_slow'; readonly ageMs: number; readonly leaseMs: number }
  | { readonly event: 'signal'; readonly topic: string; readonly keys: number | null }
  | { readonly event: 'message_malformed'; readonly problem: string; readonly payloadBytes: number }
  | { readonly event: 'flush'; readonly cause: FlushCause }
  | { readonly event: 'invalidation'; readonly topic: string; readonly entries: number }
  | {
      readonly event: 'handler_failed';
      readonly topic: string;
      readonly handler: 'cache' | 'subscriber';
      readonly error: unknown;
    }
  | { readonly event: 'watch_changed'; readonly topic: string; readonly problem: string | null }
  | { readonly event: 'load_batch'; readonly topic: string; readonly keys: number; readonly durationMs: number }
  | { readonly event: 'load_failed'; readonly topic: string; readonly keys: number; readonly error: unknown }
  | { readonly event: 'load_refused'; readonly topic: string }
  /** Facts were read again and compared; those that differ may merely be about to be forgotten. */
  | { readonly event: 'audit'; readonly topic: string; readonly facts: number; readonly differences: number }
  /** Facts were served that Postgres no longer states; age in milliseconds of the oldest, since its load. */
  | { readonly event: 'audit_stale'; readonly topic: string; readonly facts: number; readonly ageMs: number }
  | { readonly event: 'audit_failed'; readonly topic: string; readonly error: unknown };

/** Receives observations. Must not throw. */
export type Observe = (observation: CoherenceObservation) => void;
