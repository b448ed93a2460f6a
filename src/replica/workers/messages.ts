/**
 * What the supervisor and its workers say to each other, over the channel that Node gives them; it keeps the order.
 */
import type { ListeningBackend } from '../../coherence/proof/server.js';
import type { MetricsJson } from '../../ops/joint-metrics.js';
import type { GateStatus } from '../../ops/status.js';

/** About a worker's subscription, which has a number of its own. */
export type FromSubscription =
  | { readonly type: 'open'; readonly subscription: number; readonly channel: string }
  | { readonly type: 'send'; readonly subscription: number; readonly payload: string }
  /**
   * It is given up: its epoch has ended, nothing is served by it any more. `leaving`: the worker stops, nothing was
   * wrong with it.
   */
  | { readonly type: 'close'; readonly subscription: number; readonly leaving: boolean };

/** About a worker's subscription. */
export type ToSubscription =
  | { readonly type: 'opened'; readonly subscription: number; readonly backend: ListeningBackend }
  | { readonly type: 'refused'; readonly subscription: number; readonly problem: string }
  | { readonly type: 'heard'; readonly subscription: number; readonly payload: string }
  | { readonly type: 'lost'; readonly subscription: number; readonly problem: string };

/** What a worker says. */
export type FromWorker =
  | FromSubscription
  /** It hears. */
  | { readonly type: 'up' }
  | { readonly type: 'listening'; readonly url: string }
  | { readonly type: 'failed'; readonly problem: string }
  | { readonly type: 'status'; readonly question: number; readonly status: GateStatus }
  | { readonly type: 'metrics'; readonly question: number; readonly metrics: MetricsJson };

/** What the supervisor says. */
export type ToWorker =
  | ToSubscription
  /** `socket`: the name of the Unix socket that is listened on; null: the port is. */
  | { readonly type: 'listen'; readonly socket: string | null }
  | { readonly type: 'start' }
  | { readonly type: 'ask'; readonly what: 'status' | 'metrics'; readonly question: number }
  | { readonly type: 'stop'; readonly signal: string };
