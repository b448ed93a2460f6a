/** Everything that can happen in a replica: what the log and the metrics are made from. */
import type { AuthObservation } from '../auth/handler.js';
import type { CoherenceObservation } from '../coherence/observation.js';
import type { RefusedRequest } from '../http/lingering.js';
import type { SignInObservation } from '../sign-in/shared.js';
import type { ProviderObservation } from '../sign-in/provider.js';
import type { BadRow } from '../auth/facts.js';
import type { StoreObservation } from '../postgres/pool.js';

/** One thing that happened. */
export type Observation =
  | CoherenceObservation
  | AuthObservation
  | SignInObservation
  | ProviderObservation
  | ({ readonly event: 'bad_row' } & BadRow)
  | StoreObservation
  /** A request was answered before anything could look at it: it was malformed, too large, too slow, or CONNECT. */
  | ({ readonly event: 'request_refused' } & RefusedRequest)
  | { readonly event: 'listening'; readonly replica: string; readonly auth: string; readonly ops: string }
  /** A page of the ops listener could not be made. */
  | { readonly event: 'ops_failed'; readonly error: unknown }
  /** A page of the auth port could not be made. */
  | { readonly event: 'page_failed'; readonly error: unknown }
  | { readonly event: 'worker_started'; readonly worker: number }
  /** `retryMs`: when another one is started in its place. */
  | { readonly event: 'worker_ended'; readonly worker: number; readonly reason: string; readonly retryMs: number }
  | { readonly event: 'stopping'; readonly signal: string }
  | { readonly event: 'stopped' };
