/**
 * The face `gatebell/cache`: caches over tables of your own that are true in every process, for any Node program. Facts
 * are kept in memory, triggers on the tables say what has changed, and what cannot be proven to be true is read from
 * Postgres instead.
 */
export { createGatebell } from './postgres/gatebell.js';
export type { Gatebell, PassOptions } from './postgres/gatebell.js';
export type {
  CacheKey,
  CacheOptions,
  FunctionLoad,
  GatebellObservation,
  GatebellOptions,
  SqlLoad,
} from './postgres/gatebell-options.js';
export type { Cache } from './postgres/public-cache.js';
export type { CacheStats } from './coherence/facts/cache.js';
export type { Row } from './coherence/facts/source.js';
export type { ChannelEvent, ChannelHandler } from './postgres/channels.js';
export type { ChangeHandler } from './coherence/bus.js';
export type { Change, FlushCause, Key } from './coherence/signal.js';
export type { CoherenceObservation, DownCause, FenceFailure, ListenerState } from './coherence/observation.js';
export type { ReadFunction } from './postgres/reads.js';
export type { StoreObservation } from './postgres/pool.js';
export type { BarrierReplica, BarrierResult } from './postgres/barrier.js';
export { UnavailableError } from './coherence/errors.js';
export type { UnavailableCause } from './coherence/errors.js';
