/**
 * The ops listener, on a port of its own, for people, probes and Prometheus: `/livez` says that the process answers, `/readyz` that it
 * answers from proven memory. Nothing here tells a user, a token or a connection string.
 */
import express, { type Express } from 'express';
import type { AuditTotals } from '../coherence/audit.js';
import type { Coherence } from '../coherence/coherence.js';
import type { Metrics } from './metrics.js';

/** What the ops listener shows. */
export interface OpsOptions {
  readonly replica: string;
  readonly version: string;
  readonly leaseMs: number;
  readonly coherence: Coherence;
  readonly metrics: Metrics;
  readonly pool: { readonly poolSize: number; readonly poolMax: number };
  /** Whether this replica is about to stop. */
  readonly isStopping: () => boolean;
  readonly startedMs: number;
}

/** `/status`, as JSON. */
export interface Status {
  readonly replica: string;
  readonly version: string;
  readonly ready: boolean;
  readonly state: string;
  readonly problem: string | null;
  readonly watchProblems: Readonly<Record<string, string>>;
  readonly leaseMs: number;
  readonly stalenessBoundMs: number | null;
  readonly pool: { readonly size: number; readonly max: number };
  readonly caches: readonly object[];
  readonly audits: readonly AuditTotals[];
  readonly uptimeSeconds: number;
}

function readStatus({ replica, version, leaseMs, coherence, pool, isStopping, startedMs }: OpsOptions): Status {
  const stopping = isStopping();
  return {
    replica,
    version,
    ready: coherence.state === 'live' && !stopping,
    state: coherence.state,
    problem: stopping ? 'stopping' : coherence.problem,
    watchProblems: Object.fromEntries(coherence.watchProblems),
    leaseMs,
    stalenessBoundMs: coherence.stalenessBoundMs,
    pool: { size: pool.poolSize, max: pool.poolMax },
    caches: coherence.caches.map(({ subject, size, absences, stats }) => ({
      subject,
      entries: size,
      absences,
      ...stats,
    })),
    audits: coherence.audits,
    uptimeSeconds: Math.round((Date.now() - startedMs) / 1000),
  };
}

const INDEX = `Gatebell, ops listener

/livez    this process answers
/readyz   it answers from proven memory: LISTEN in place, and a fence within the lease
/status   the same and more, as JSON
/metrics  for Prometheus
`;

/** Creates the application. */
export function createOpsApp(options: OpsOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use((_, response, next) => {
    response.set({ 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' });
    next();
  });
  app.get('/', (_, response) => {
    response.type('text/plain').send(INDEX);
  });
  app.get('/livez', (_, response) => {
    response.type('text/plain').send('ok\n');
  });
  app.get('/readyz', (_, response) => {
    const { ready, state, problem, watchProblems } = readStatus(options);
    response.status(ready ? 200 : 503).json({ ready, state, problem, watchProblems });
  });
  app.get('/status', (_, response) => {
    response.json(readStatus(options));
  });
  app.get('/metrics', async (_, response) => {
    response.set('Content-Type', options.metrics.contentType).send(await options.metrics.scrape());
  });
  return app;
}
