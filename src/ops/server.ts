/**
 * The ops listener, on a port of its own, for people, probes and Prometheus: `/livez` says that the process answers, `/readyz` that it
 * answers from proven memory. Nothing here tells a user, a token or a connection string.
 */
import express, { type Express } from 'express';
import type { Status } from './status.js';

/** What the ops listener shows. */
export interface OpsOptions {
  readonly status: () => Promise<Status>;
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> };
}

const INDEX = `Gatebell, ops listener

/livez    this process answers
/readyz   it answers from proven memory: LISTEN in place, and a fence within the lease
/status   the same and more, as JSON
/metrics  for Prometheus
`;

/** Creates the application. */
export function createOpsApp({ status, metrics }: OpsOptions): Express {
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
  app.get('/readyz', async (_, response) => {
    const { ready, state, problem, watchProblems } = await status();
    response.status(ready ? 200 : 503).json({ ready, state, problem, watchProblems });
  });
  app.get('/status', async (_, response) => {
    response.json(await status());
  });
  app.get('/metrics', async (_, response) => {
    response.set('Content-Type', metrics.contentType).send(await metrics.scrape());
  });
  return app;
}
