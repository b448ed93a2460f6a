/**
 * Gatebell as a library: coherent caches over tables of your own, and the auth handler to mount in a server of your own.
 *
 * The safety rule first: a fact is served from memory only while it is proven to be true; otherwise it is read from Postgres;
 * if that cannot be done either, you get an {@link UnavailableError}, never an old value.
 */
export type { AuditTotals } from './coherence/audit.js';
export { createCoherence } from './coherence/coherence.js';
export type { Coherence, CoherenceOptions, CoherentCache } from './coherence/coherence.js';
export type { Cache, CacheLimits, CacheOptions, CacheStats, Entry } from './coherence/cache.js';
export { systemClock, systemRandom } from './coherence/clock.js';
export type { Clock, Instant, Random } from './coherence/clock.js';
export type { FenceMessage } from './coherence/fences.js';
export { UnavailableError } from './coherence/errors.js';
export type { UnavailableCause } from './coherence/errors.js';
export type { FactQuery, FactSource, Reading, ReadPart, ReadPurpose, Row } from './coherence/source.js';
export type {
  AskFence,
  FenceReceipt,
  OpenSubscription,
  Subscription,
  SubscriptionEvents,
} from './coherence/listener.js';
export type { CoherenceObservation, ListenerState, Observe } from './coherence/observation.js';
export type { AskServer, ListeningBackend, ServerReceipt } from './coherence/server.js';
export type { Caches, FactRef, Facts, Outcome, Question, Reader } from './coherence/reader.js';
export { keyText, parseMessage } from './coherence/signal.js';
export type { Change, Flush, Key, Message, Signal } from './coherence/signal.js';
export { createSubscriptionOpener } from './coherence/subscriber.js';
export type { WatchState } from './coherence/watches.js';
export { createAuthHandler } from './auth/handler.js';
export type { AuthHandler, AuthObservation, AuthOptions } from './auth/handler.js';
export { createFactReader } from './store/facts.js';
export type {
  AppFact,
  BadRow,
  CredentialFact,
  FactTypes,
  GrantFact,
  Route,
  RoutesFact,
  UserFact,
} from './store/facts.js';
export { barrier, openBarrier } from './store/barrier.js';
export type { Barrier, BarrierOptions, BarrierReplica, BarrierResult } from './store/barrier.js';
export { createPostgresCoherence } from './store/coherence.js';
export type { PostgresCoherence, PostgresCoherenceOptions } from './store/coherence.js';
export { createDatabase } from './store/pool.js';
export type { Database, DatabaseOptions, StoreObservation } from './store/pool.js';
