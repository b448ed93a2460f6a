/**
 * The face `gatebell`: the gate in a server of your own, its facts, and barriers; and all of `gatebell/cache`.
 *
 * The safety rule first: a fact is served from memory only while it is proven to be true; otherwise it is read from
 * Postgres; if that cannot be done either, you get an {@link UnavailableError}, never an old value.
 */
export * from './cache.js';
export { createAuthHandler, createFactReader } from './auth/mounted-gate.js';
export type { AuthHandlerOptions } from './auth/mounted-gate.js';
export type { AuthHandler } from './auth/handler.js';
export type { Asker, AuthObservation } from './auth/decider.js';
export type { DecisionOutcome, Reason } from './auth/decide.js';
export type { JwksObservation } from './auth/jwt/jwks.js';
export type { JwtObservation } from './auth/jwt/verifier.js';
export type { Kept } from './coherence/facts/pass.js';
export type { FactRef, Facts, Outcome, Question, Reader } from './coherence/facts/reader.js';
export type {
  AppFact,
  BadRow,
  CredentialFact,
  FactTypes,
  GrantFact,
  IdentityFact,
  RevokedJwtFact,
  Route,
  RoutesFact,
  UserFact,
  UserNameFact,
} from './auth/facts.js';
export type { HeaderTemplate, TemplateVariable } from './auth/header-template.js';
export { barrier } from './postgres/barrier.js';
export type { BarrierOptions } from './postgres/barrier.js';
