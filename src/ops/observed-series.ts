/**
 * The series that are counted as things happen, by what they are about. Each label set exists from the start: `rate()`
 * sees it from the first event on.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { outcomeOf, REASONS, type DecisionOutcome, type Reason } from '../auth/decide.js';
import { JWT_RESULTS } from '../auth/jwt/verifier.js';
import { DOWN_CAUSES } from '../coherence/observation.js';
import { REFUSALS } from '../sign-in/refusal.js';
import { createPlainHistogram } from './plain-histogram.js';

/** What a decision can come to. */
const OUTCOMES: readonly DecisionOutcome[] = ['allow', 'deny', 'error'];
const DECISION_BUCKETS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
];
const FENCE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** Decisions and the requests that wait for one. */
export function createRequestSeries(registry: Registry) {
  const registers = [registry];
  // Counted on every request, so in plain numbers. A reason comes with few outcomes: most with one.
  const decided = new Map<Reason, Record<DecisionOutcome, number>>();
  new Counter({
    name: 'gatebell_decisions_total',
    help: 'Decisions by what was decided (allow, deny, error) and why.',
    labelNames: ['decision', 'reason'],
    registers,
    collect() {
      this.reset();
      for (const [reason, counts] of decided) {
        for (const decision of OUTCOMES) {
          if (counts[decision] > 0 || decision === outcomeOf(reason)) {
            this.inc({ decision, reason }, counts[decision]);
          }
        }
      }
    },
  });
  const decisionDuration = createPlainHistogram(
    {
      name: 'gatebell_decision_duration_seconds',
      help: 'From the request read to the answer written.',
      buckets: DECISION_BUCKETS,
    },
    registry,
  );
  const waiting = new Gauge({
    name: 'gatebell_requests_waiting',
    help: 'Requests that wait for facts from Postgres.',
    registers,
  });
  const shed = new Counter({
    name: 'gatebell_requests_shed_total',
    help: 'Requests answered 503 at once, because too many were waiting already.',
    registers,
  });
  const limited = new Counter({
    name: 'gatebell_requests_limited_total',
    help: 'Requests answered 503 at once: their client asked too often for what does not exist or takes much work.',
    registers,
  });
  for (const reason of REASONS) {
    decided.set(reason, { allow: 0, deny: 0, error: 0 });
  }
  return {
    decisionDuration,
    waiting,
    shed,
    limited,
    countDecision(decision: DecisionOutcome, reason: Reason): void {
      decided.get(reason)![decision] += 1;
    },
  };
}

/** What the listener hears, and what is forgotten for it. @param topics those of the caches */
export function createListenerSeries(registry: Registry, topics: readonly string[]) {
  const registers = [registry];
  const signals = new Counter({
    name: 'gatebell_signals_total',
    help: 'Signals received.',
    labelNames: ['topic'],
    registers,
  });
  const invalidations = new Counter({
    name: 'gatebell_invalidations_total',
    help: 'Facts forgotten because of signals.',
    labelNames: ['topic'],
    registers,
  });
  const flushes = new Counter({
    name: 'gatebell_flushes_total',
    help: 'Times that everything was forgotten.',
    labelNames: ['cause'],
    registers,
  });
  const closures = new Counter({
    name: 'gatebell_listener_closures_total',
    help: 'Listening connections that were given up, with all that was remembered.',
    labelNames: ['cause'],
    registers,
  });
  const connections = new Counter({
    name: 'gatebell_listener_connections_total',
    help: 'Listening connections opened.',
    registers,
  });
  const fenceRtt = new Histogram({
    name: 'gatebell_fence_rtt_seconds',
    help: 'From the question for a fence until it was heard, of the fences that this replica had sent at once.',
    buckets: FENCE_BUCKETS,
    registers,
  });
  const queueUsage = new Gauge({
    name: 'gatebell_notify_queue_usage_ratio',
    help: "Share of Postgres' notification queue in use; when it is full, writers fail at COMMIT.",
    aggregator: 'max',
    registers,
  });
  for (const topic of topics) {
    signals.inc({ topic }, 0);
    invalidations.inc({ topic }, 0);
  }
  for (const cause of DOWN_CAUSES) {
    closures.inc({ cause }, 0);
  }
  flushes.inc({ cause: 'down' }, 0);
  flushes.inc({ cause: 'malformed' }, 0);
  return { signals, invalidations, flushes, closures, connections, fenceRtt, queueUsage };
}

/** What is sent to Postgres. @param topics those of the caches */
export function createQuerySeries(registry: Registry, topics: readonly string[]) {
  const registers = [registry];
  const queries = new Counter({
    name: 'gatebell_db_queries_total',
    help: 'Statements sent to Postgres.',
    labelNames: ['query'],
    registers,
  });
  const batchSize = new Histogram({
    name: 'gatebell_load_batch_size',
    help: 'Facts asked for in one load.',
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500],
    registers,
  });
  for (const topic of topics) {
    queries.inc({ query: `load_${topic}` }, 0);
    queries.inc({ query: `audit_${topic}` }, 0);
  }
  return { queries, batchSize };
}

/** JWTs and sign-in. */
export function createIdentitySeries(registry: Registry) {
  const registers = [registry];
  const jwtVerifications = new Counter({
    name: 'gatebell_jwt_verifications_total',
    help: 'JWTs whose signature was looked at (valid, invalid, unknown_key), or could not be (no_keys, busy).',
    labelNames: ['result'],
    registers,
  });
  const jwksRefreshes = new Counter({
    name: 'gatebell_jwks_refreshes_total',
    help: 'Fetches of the JWT key set.',
    labelNames: ['result'],
    registers,
  });
  const signIns = new Counter({
    name: 'gatebell_sign_ins_total',
    help: 'Sign-ins of browsers by what came of them: signed_in, or why not.',
    labelNames: ['result'],
    registers,
  });
  const signOuts = new Counter({
    name: 'gatebell_sign_outs_total',
    help: 'Sessions that were ended by signing out.',
    registers,
  });
  for (const result of JWT_RESULTS) {
    jwtVerifications.inc({ result }, 0);
  }
  for (const result of ['ok', 'failed']) {
    jwksRefreshes.inc({ result }, 0);
  }
  for (const result of ['signed_in', ...REFUSALS]) {
    signIns.inc({ result }, 0);
  }
  return { jwtVerifications, jwksRefreshes, signIns, signOuts };
}
