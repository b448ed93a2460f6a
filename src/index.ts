/**
 * Gatebell as a library: coherent caches over tables of your own, and the auth handler to mount in a server of your own.
 *
 * The safety rule first: a fact is served from memory only while it is proven to be true; otherwise it is read from Postgres;
 * if that cannot be done either, you get an {@link UnavailableError}, never an old value.
 */
export type { AuditTotals } from './coherence/facts/audit.js';
export { createCoherence } from './coherence/coherence.js';
export type { Coherence, CoherenceOptions, CoherentCache } from './coherence/coherence.js';
export type { Cache, CacheLimits, CacheOptions, CacheStats, Entry } from './coherence/facts/cache.js';
export { systemClock, systemRandom } from './time/clock.js';
export type { Clock, Instant, Random } from './time/clock.js';
export type { FenceMessage } from './coherence/proof/fences.js';
export { UnavailableError } from './coherence/errors.js';
export type { UnavailableCause } from './coherence/errors.js';
export type { FactQuery, FactSource, QueryResult, ReadPart, ReadPurpose, Row } from './coherence/facts/source.js';
export type {
  AskFence,
  FenceReceipt,
  OpenSubscription,
  Subscription,
  SubscriptionEvents,
} from './coherence/proof/listener.js';
export type { CoherenceObservation, ListenerState, Observe } from './coherence/observation.js';
export type { AskServer, ListeningBackend, ServerReceipt } from './coherence/proof/server.js';
export type { Caches, FactRef, Facts, Outcome, Question, Reader } from './coherence/facts/reader.js';
export { keyText, parseMessage } from './coherence/signal.js';
export type { Change, Flush, Key, Message, Signal } from './coherence/signal.js';
export { createSubscriptionOpener } from './postgres/listen.js';
export type { WatchState } from './coherence/proof/watches.js';
export { createAuthHandler } from './auth/handler.js';
export type { AuthHandler, AuthObservation, AuthOptions } from './auth/handler.js';
export { createFactReader } from './auth/facts.js';
export type {
  AppFact,
  BadRow,
  CredentialFact,
  FactTypes,
  GrantFact,
  Route,
  RoutesFact,
  UserFact,
} from './auth/facts.js';
export { barrier, openBarrier } from './postgres/barrier.js';
export type { Barrier, BarrierOptions, BarrierReplica, BarrierResult } from './postgres/barrier.js';
export { createPostgresCoherence } from './postgres/coherence.js';
export type { PostgresCoherence, PostgresCoherenceOptions } from './postgres/coherence.js';
export { createDatabase } from './postgres/pool.js';
export type { Database, DatabaseOptions, StoreObservation } from './postgres/pool.js';
