/**
 * Turns observations into series for Prometheus, and nothing else does. What is counted on every look-up is kept as
 * plain numbers where it happens and collected at the scrape. Labels are bounded: never a user, a path or a host.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Coherence } from '../coherence/coherence.js';
import { DOWN_CAUSES, type ListenerState } from '../coherence/observation.js';
import type { MetricsJson } from './joint-metrics.js';
import type { Observation } from './observation.js';
import { createPlainHistogram } from './plain-histogram.js';
import { REFUSALS } from '../sign-in/refusal.js';
import { outcomeOf, REASONS, type DecisionOutcome, type Reason } from '../auth/decide.js';
import { JWT_RESULTS } from '../auth/jwt/verifier.js';

/** Series of one replica. */
export interface Metrics {
  readonly contentType: string;
  observe(observation: Observation): void;
  /** The exposition text. */
  scrape(): Promise<string>;
  /** The same, to be added up with that of other processes. */
  collect(): Promise<MetricsJson>;
}

/** What a decision can come to. */
const OUTCOMES: readonly DecisionOutcome[] = ['allow', 'deny', 'error'];
const STATES: readonly ListenerState[] = ['down', 'connecting', 'listening', 'live', 'unproven'];
const DECISION_BUCKETS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
];
const FENCE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
/** Gauges named `_total`, which Prometheus' own format check refuses. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** Creates the series. The coherence is read at each scrape. */
export function createMetrics(
  coherence: Pick<Coherence, 'state' | 'stalenessBoundMs' | 'caches' | 'watchProblems' | 'audits'>,
): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) {
    registry.removeSingleMetric(name);
  }

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
    help: 'Requests answered 503 at once, because their source has asked for what does not exist too often.',
    registers,
  });
  new Counter({
    name: 'gatebell_cache_lookups_total',
    help: 'Look-ups of facts: hit, absent (known not to exist), miss, unproven (not looked up, because nothing may be served).',
    labelNames: ['topic', 'result'],
    registers,
    collect() {
      this.reset();
      for (const { topic, stats } of coherence.caches) {
        this.inc({ topic, result: 'hit' }, stats.hits);
        this.inc({ topic, result: 'absent' }, stats.negativeHits);
        this.inc({ topic, result: 'miss' }, stats.misses);
        this.inc({ topic, result: 'unproven' }, stats.unproven);
      }
    },
  });
  new Gauge({
    name: 'gatebell_cache_entries',
    help: 'Facts in memory, those known not to exist included.',
    labelNames: ['topic'],
    registers,
    collect() {
      for (const { topic, size, negativeEntries } of coherence.caches) {
        this.set({ topic }, size + negativeEntries);
      }
    },
  });
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
  new Gauge({
    name: 'gatebell_listener_state',
    help: '1 for the state that the listener is in; with workers, how many of them are in it.',
    labelNames: ['state'],
    registers,
    collect() {
      for (const state of STATES) {
        this.set({ state }, Number(state === coherence.state));
      }
    },
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
  new Gauge({
    name: 'gatebell_staleness_bound_seconds',
    help: 'How far what is served from memory may lie behind Postgres; 0 while nothing is served from memory.',
    aggregator: 'max',
    registers,
    collect() {
      this.set((coherence.stalenessBoundMs ?? 0) / 1000);
    },
  });
  new Gauge({
    name: 'gatebell_watch_problems',
    help: '1 while the triggers of a topic are not in place, so that nothing of it is served from memory.',
    aggregator: 'max',
    labelNames: ['topic'],
    registers,
    collect() {
      for (const { topic } of coherence.caches) {
        this.set({ topic }, Number(coherence.watchProblems.has(topic)));
      }
    },
  });
  new Counter({
    name: 'gatebell_audit_facts_total',
    help: 'Facts in memory that audits have compared with Postgres.',
    labelNames: ['topic'],
    registers,
    collect() {
      this.reset();
      for (const { topic, facts } of coherence.audits) {
        this.inc({ topic }, facts);
      }
    },
  });
  new Counter({
    name: 'gatebell_audit_stale_facts_total',
    help: 'Facts in memory that audits have found to be stale; must stay 0.',
    labelNames: ['topic'],
    registers,
    collect() {
      this.reset();
      for (const { topic, stale } of coherence.audits) {
        this.inc({ topic }, stale);
      }
    },
  });
  new Gauge({
    name: 'gatebell_audit_stale_age_seconds',
    help: 'Age, since its load, of the oldest stale fact that an audit has found; 0 if there was none.',
    aggregator: 'max',
    labelNames: ['topic'],
    registers,
    collect() {
      for (const { topic, staleAgeMs } of coherence.audits) {
        this.set({ topic }, staleAgeMs / 1000);
      }
    },
  });
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
  const queueUsage = new Gauge({
    name: 'gatebell_notify_queue_usage_ratio',
    help: "Share of Postgres' notification queue in use; when it is full, writers fail at COMMIT.",
    aggregator: 'max',
    registers,
  });

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

  // A label set that exists from the start is seen by rate() from the first event on.
  for (const reason of REASONS) {
    decided.set(reason, { allow: 0, deny: 0, error: 0 });
  }
  for (const { topic } of coherence.caches) {
    signals.inc({ topic }, 0);
    invalidations.inc({ topic }, 0);
    queries.inc({ query: `load_${topic}` }, 0);
    queries.inc({ query: `audit_${topic}` }, 0);
  }
  for (const result of JWT_RESULTS) {
    jwtVerifications.inc({ result }, 0);
  }
  for (const result of ['ok', 'failed']) {
    jwksRefreshes.inc({ result }, 0);
  }
  for (const cause of DOWN_CAUSES) {
    closures.inc({ cause }, 0);
  }
  flushes.inc({ cause: 'down' }, 0);
  flushes.inc({ cause: 'malformed' }, 0);
  for (const result of ['signed_in', ...REFUSALS]) {
    signIns.inc({ result }, 0);
  }
  const noteDecision = (decision: DecisionOutcome, reason: Reason): void => {
    decided.get(reason)![decision] += 1;
  };
  const watched = new Set(coherence.caches.map(({ topic }) => topic));

  return {
    contentType: registry.contentType,
    scrape: () => registry.metrics(),
    collect: () => registry.getMetricsAsJSON(),
    observe(observation) {
      switch (observation.event) {
        case 'decision':
          noteDecision(observation.decision, observation.reason);
          decisionDuration.observe(observation.durationMs / 1000);
          break;
        case 'waiting':
          waiting.set(observation.requests);
          break;
        case 'shed':
          shed.inc();
          break;
        case 'limited':
          limited.inc();
          break;
        case 'jwt_verified':
          jwtVerifications.inc({ result: observation.result });
          break;
        case 'jwks_refreshed':
          jwksRefreshes.inc({ result: 'ok' });
          break;
        case 'jwks_failed':
          jwksRefreshes.inc({ result: 'failed' });
          break;
        case 'signal':
          // Anyone can NOTIFY, so a topic that is not ours must not become a label.
          signals.inc({ topic: watched.has(observation.topic) ? observation.topic : 'other' });
          break;
        case 'invalidation':
          invalidations.inc({ topic: observation.topic }, observation.entries);
          break;
        case 'flush':
          flushes.inc({ cause: observation.cause });
          break;
        case 'connection_opened':
          connections.inc();
          break;
        case 'connection_closed':
          closures.inc({ cause: observation.cause });
          break;
        case 'fence_proven':
          if (observation.rttMs !== null) {
            fenceRtt.observe(observation.rttMs / 1000);
          }
          queueUsage.set(observation.queueUsage);
          break;
        case 'query':
          queries.inc({ query: observation.query });
          break;
        case 'sign_in':
          signIns.inc({ result: 'signed_in' });
          break;
        case 'sign_in_refused':
          signIns.inc({ result: observation.reason });
          break;
        case 'sign_out':
          signOuts.inc();
          break;
        case 'load_batch':
          batchSize.observe(observation.keys);
          break;
        default:
          break;
      }
    },
  };
}
