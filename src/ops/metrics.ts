/**
 * Turns observations into series for Prometheus, and nothing else does. The series are named in `observed-series.ts`,
 * and in `coherence-series.ts` those that are read at a scrape: what is counted on every look-up is kept as plain
 * numbers where it happens. Labels are bounded: never a user, a path or a host.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import { addCoherenceSeries, type ScrapedCoherence } from './coherence-series.js';
import type { MetricsJson } from './joint-metrics.js';
import type { Observation } from './observation.js';
import {
  createIdentitySeries,
  createListenerSeries,
  createQuerySeries,
  createRequestSeries,
} from './observed-series.js';

/** Series of one replica. */
export interface Metrics {
  readonly contentType: string;
  observe(observation: Observation): void;
  /** The exposition text. */
  scrape(): Promise<string>;
  /** The same, to be added up with that of other processes. */
  collect(): Promise<MetricsJson>;
}

/** Gauges named `_total`, which Prometheus' own format check refuses. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** Creates the series. The coherence is read at each scrape. */
export function createMetrics(coherence: ScrapedCoherence): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) {
    registry.removeSingleMetric(name);
  }
  const topics = coherence.caches.map(({ topic }) => topic);
  const requests = createRequestSeries(registry);
  const listener = createListenerSeries(registry, topics);
  const database = createQuerySeries(registry, topics);
  const identities = createIdentitySeries(registry);
  addCoherenceSeries(registry, coherence);
  const watched = new Set(topics);

  return {
    contentType: registry.contentType,
    scrape: () => registry.metrics(),
    collect: () => registry.getMetricsAsJSON(),
    observe(observation) {
      switch (observation.event) {
        case 'decision':
          requests.countDecision(observation.decision, observation.reason);
          requests.decisionDuration.observe(observation.durationMs / 1000);
          break;
        case 'waiting':
          requests.waiting.set(observation.requests);
          break;
        case 'shed':
          requests.shed.inc();
          break;
        case 'limited':
          requests.limited.inc();
          break;
        case 'jwt_verified':
          identities.jwtVerifications.inc({ result: observation.result });
          break;
        case 'jwks_refreshed':
          identities.jwksRefreshes.inc({ result: 'ok' });
          break;
        case 'jwks_failed':
          identities.jwksRefreshes.inc({ result: 'failed' });
          break;
        case 'signal':
          // Anyone can NOTIFY, so a topic that is not ours must not become a label.
          listener.signals.inc({ topic: watched.has(observation.topic) ? observation.topic : 'other' });
          break;
        case 'invalidation':
          listener.invalidations.inc({ topic: observation.topic }, observation.entries);
          break;
        case 'flush':
          listener.flushes.inc({ cause: observation.cause });
          break;
        case 'connection_opened':
          listener.connections.inc();
          break;
        case 'connection_closed':
          listener.closures.inc({ cause: observation.cause });
          break;
        case 'fence_proven':
          if (observation.rttMs !== null) {
            listener.fenceRtt.observe(observation.rttMs / 1000);
          }
          listener.queueUsage.set(observation.queueUsage);
          break;
        case 'query':
          database.queries.inc({ query: observation.query });
          break;
        case 'sign_in':
          identities.signIns.inc({ result: 'signed_in' });
          break;
        case 'sign_in_refused':
          identities.signIns.inc({ result: observation.reason });
          break;
        case 'sign_out':
          identities.signOuts.inc();
          break;
        case 'load_batch':
          database.batchSize.observe(observation.keys);
          break;
        default:
          break;
      }
    },
  };
}
