/**
 * The composition root of a replica: wires the rooms together, and owns the order of start and stop.
 *
 * Start: the listeners of HTTP first (a probe that finds nobody learns nothing), then LISTEN. Until the first fence has come
 * back, decisions are read from Postgres. Stop: not ready, finish what is under way, close.
 */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { createAuthHandler } from './auth/handler.js';
import type { Config } from './config.js';
import { createMetrics } from './ops/metrics.js';
import type { Observation } from './ops/observation.js';
import { createOpsApp } from './ops/server.js';
import { createPostgresCoherence } from './store/coherence.js';
import { createFactReader } from './store/facts.js';
import { VERSION } from './version.js';

/** A replica. */
export interface Daemon {
  /** Resolves when both ports accept connections. Rejects when one is taken. */
  start(): Promise<{ readonly auth: string; readonly ops: string }>;
  /** Drains and closes everything. Idempotent. */
  stop(signal: string): Promise<void>;
  /** Closes everything at once, after a start that failed. */
  abandon(): Promise<void>;
}

/**
 * While draining, answers go on, each with `Connection: close`, until nobody has come anew for a while: by then proxies have
 * seen `/readyz` fail and go elsewhere. A connection that still waits to be accepted when a port is closed is reset.
 */
const QUIET_MS = 500;
const DRAIN_MAX_MS = 5_000;
/** What is still open after this long is cut off. */
const CLOSE_MS = 5_000;
/** Longer than proxies keep idle connections (nginx: 60 s), so that it is never us who closes one that is about to be used. */
const KEEP_ALIVE_MS = 75_000;
const HEADERS_MS = 15_000;
/** How often half-sent requests are looked at; Node's default of 30 s would let them live longer than the limits say. */
const CHECK_MS = 5_000;
const REQUEST_MS = 30_000;

function createHttpServer(listener: RequestListener): Server {
  const server = createServer({ keepAlive: true, connectionsCheckingInterval: CHECK_MS }, listener);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = REQUEST_MS;
  // Without this, Node answers 417 to what a client expects of the app, and nginx makes 500 of that.
  server.on('checkExpectation', listener);
  return server;
}

async function listen(server: Server, host: string, port: number): Promise<string> {
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new Error('not listening on a port');
  }
  return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
}

async function close(server: Server): Promise<void> {
  if (!server.listening) {
    return;
  }
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  const cut = setTimeout(() => {
    server.closeAllConnections();
  }, CLOSE_MS);
  await closed;
  clearTimeout(cut);
}

/** Creates a replica that does nothing yet. `log` receives every observation. */
export function createDaemon(config: Config, log: (observation: Observation) => void): Daemon {
  const startedMs = Date.now();
  let observers = [log];
  const observe = (observation: Observation): void => {
    for (const observer of observers) {
      observer(observation);
    }
  };
  const coherence = createPostgresCoherence({
    connectionString: config.databaseUrl ?? undefined,
    listenConnectionString: config.listenUrl ?? undefined,
    poolMax: config.poolMax,
    replica: config.replica,
    channel: config.channel,
    leaseMs: config.leaseMs,
    fenceIntervalMs: config.fenceIntervalMs,
    auditIntervalMs: config.auditIntervalMs,
    observe,
  });
  const reader = createFactReader(coherence, row => {
    observe({ event: 'bad_row', ...row });
  });
  const metrics = createMetrics(coherence);
  observers = [
    observation => {
      metrics.observe(observation);
    },
    log,
  ];

  let stopping: Promise<void> | null = null;
  const auth = createAuthHandler({
    reader,
    cookieName: config.cookie,
    loginUrl: config.loginUrl,
    trustedProxies: config.trustedProxies,
    observe,
  });
  // Everything else on the auth port is Express' to answer: so far, that there is nothing.
  const rest = express();
  rest.disable('x-powered-by');
  const authServer = createHttpServer((request, response) => {
    response.shouldKeepAlive &&= stopping === null;
    auth(request, response, () => {
      // Express cannot read the target of a proxy request or of OPTIONS *.
      if (request.url?.startsWith('/') === true) {
        rest(request, response);
      } else {
        response.writeHead(404, { 'Content-Length': 0 }).end();
      }
    });
  });
  const opsServer = createHttpServer(
    createOpsApp({
      replica: config.replica,
      version: VERSION,
      leaseMs: config.leaseMs,
      coherence,
      metrics,
      pool: coherence.database,
      isStopping: () => stopping !== null,
      startedMs,
    }),
  );

  let newestConnectionMs = 0;
  authServer.on('connection', () => {
    newestConnectionMs = performance.now();
  });

  const drain = async (signal: string): Promise<void> => {
    observe({ event: 'stopping', signal });
    const startedDrainingMs = performance.now();
    for (let now = startedDrainingMs; ; now = performance.now()) {
      const waitMs =
        Math.min(Math.max(newestConnectionMs, startedDrainingMs) + QUIET_MS, startedDrainingMs + DRAIN_MAX_MS) - now;
      if (waitMs <= 0) {
        break;
      }
      await sleep(waitMs);
    }
    await abandon();
    observe({ event: 'stopped' });
  };

  const abandon = async (): Promise<void> => {
    await close(authServer);
    await coherence.stop();
    await close(opsServer);
  };

  return {
    async start() {
      const urls = {
        auth: await listen(authServer, config.host, config.port),
        ops: await listen(opsServer, config.host, config.opsPort),
      };
      observe({ event: 'listening', replica: config.replica, ...urls });
      coherence.start();
      return urls;
    },
    stop(signal) {
      stopping ??= drain(signal);
      return stopping;
    },
    abandon,
  };
}
