/**
 * What one process does to decide requests: a coherence, and the auth port. A replica is one of these and an ops port
 * (`replica.ts`), or several in processes of their own (`workers/`).
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuthHandler } from '../auth/handler.js';
import { createJwksFetcher } from '../auth/jwt/jwks.js';
import { createJwtVerifier, type JwtVerifier } from '../auth/jwt/verifier.js';
import { systemClock, systemRandom } from '../time/clock.js';
import { createClientRateLimiter } from '../auth/client-rate-limiter.js';
import { createProxyTrust } from '../auth/request/trusted-proxy.js';
import type { Facts, Outcome } from '../coherence/facts/reader.js';
import type { OpenSubscription } from '../coherence/proof/connection.js';
import { reservedConnections } from '../config/agreement.js';
import type { Config } from '../config/config.js';
import type { JwtConfig } from '../config/jwt.js';
import { createApplication, createRouter } from '../http/application.js';
import { close, createHttpServer, listen, listenOnSocket } from '../http/server.js';
import { createSocketFile, type SocketFile } from '../http/unix-socket.js';
import { createMetrics, type Metrics } from '../ops/metrics.js';
import type { Observation } from '../ops/observation.js';
import { createReadiness } from '../ops/readiness.js';
import type { GateStatus } from '../ops/status.js';
import { createSignIn } from '../sign-in/sign-in.js';
import { createPostgresCoherence } from '../postgres/coherence.js';
import { createFactReader, type FactTypes } from '../auth/facts.js';
import { createIdentityBinder } from '../auth/identities.js';
import { createListenedWrites } from '../postgres/listened-writes.js';

export interface Gate {
  readonly metrics: Metrics;
  status(): Promise<GateStatus>;
  /** Resolves with its URL when the auth port accepts connections. Rejects when it is taken. */
  listen(): Promise<string>;
  /** The same on a Unix socket, in place of the port. */
  listenOnSocket(path: string): Promise<void>;
  /** Begins to listen to Postgres. Until the first fence was heard, decisions are read from there. */
  start(): void;
  /** Answers on, and asks those who come to go elsewhere, until nobody has come anew for a while. */
  drain(): Promise<void>;
  /** Closes everything at once. */
  close(): Promise<void>;
}

/** What decides in a replica: one process, or several. */
export interface GateGroup {
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> };
  status(): Promise<{ readonly joint: GateStatus; readonly workers: readonly GateStatus[] }>;
  /** Resolves with the URL of the auth port, or with `unix:` and the path of its socket. */
  listen(): Promise<string>;
  start(): void;
  drain(signal: string): Promise<void>;
  close(): Promise<void>;
}

/** The file of the Unix socket that is listened on; null: a port is. */
export function socketFileOf({ listenPath: path, listenMode: mode, listenGroup: group }: Config): SocketFile | null {
  return path === null ? null : createSocketFile({ path, mode, group });
}

/**
 * While draining, new connections are still accepted, and each answer ends its connection. That lasts until nobody has
 * connected for a while, or for as long as is configured. (A connection that still waits to be accepted when a port is
 * closed is reset.)
 */
const QUIET_MS = 500;

/**
 * Asked by proxies whose health checks reach no other port than the one they use. It tells the same as `/readyz` of the
 * ops port.
 */
const READINESS_PATH = '/readyz';
/** No app has this host: whether a fact can be had does not depend on which rows there are. */
const PROBE_HOST = 'readyz.invalid';

function probeFacts(facts: Facts<FactTypes>): Outcome<true, FactTypes> {
  const key = [PROBE_HOST];
  return facts.get('app', key) === undefined ? { lacks: [{ topic: 'app', key }] } : { answer: true, strong: false };
}

function createVerifier(config: JwtConfig, observe: (observation: Observation) => void): JwtVerifier {
  const { keys } = config;
  return createJwtVerifier({
    ...config,
    keys: keys.source === 'key' ? keys : { ...keys, fetchText: createJwksFetcher(keys.url) },
    clock: systemClock,
    random: systemRandom,
    observe,
  });
}

/**
 * Creates a gate that does nothing yet.
 *
 * @param log receives every observation
 * @param openSubscription how it listens, if not on a connection of its own
 */
export function createGate(
  config: Config,
  log: (observation: Observation) => void,
  openSubscription?: OpenSubscription,
): Gate {
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
    reservedConnections: reservedConnections(config),
    replica: config.replica,
    channel: config.channel,
    leaseMs: config.leaseMs,
    fenceIntervalMs: config.fenceIntervalMs,
    auditIntervalMs: config.auditIntervalMs,
    ...(openSubscription === undefined ? {} : { openSubscription }),
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

  const jwt = config.jwt === null ? null : createVerifier(config.jwt, observe);
  const isTrusted = createProxyTrust(config.trustedProxies, config.proxySecret);
  const limiter = createClientRateLimiter();
  const write = createListenedWrites(coherence.database, () => coherence.listenedServer);
  const signIn = createSignIn(config, { reader, write, isTrusted, limiter, observe });
  const auth = createAuthHandler({
    reader,
    jwt,
    bindIdentity: createIdentityBinder(write),
    cookieName: config.cookie,
    loginUrl: config.loginUrl,
    ...(signIn === null ? {} : { loginPage: signIn.loginPage }),
    trustedProxies: config.trustedProxies,
    proxySecret: config.proxySecret,
    unknownAppStatus: config.unknownAppStatus,
    stripCredentials: config.stripCredentials,
    limiter,
    observe,
  });
  const canDecide = createReadiness({
    state: () => coherence.state,
    probe: () => reader.read(probeFacts),
    nowMs: () => performance.now(),
    sleep: ms => sleep(ms, undefined, { ref: false }),
  });
  const readiness = createRouter();
  readiness.all(READINESS_PATH, async (_, response) => {
    const isTaken = (await canDecide()) && !isDraining;
    response.writeHead(isTaken ? 200 : 503, { 'Cache-Control': 'no-store', 'Content-Length': 0 }).end();
  });
  const pages = createApplication({
    routers: signIn === null ? [readiness] : [readiness, signIn.handle],
    notFound(_, response) {
      response.writeHead(404, { 'Content-Length': 0 }).end();
    },
    failed(error, _, response) {
      observe({ event: 'page_failed', error });
      if (response.headersSent) {
        response.destroy();
      } else {
        response.writeHead(500, { 'Cache-Control': 'no-store', 'Content-Length': 0 }).end();
      }
    },
  });
  let isDraining = false;
  const server = createHttpServer(
    (request, response) => {
      // Ahead of Express' router, which alone costs what the saved query does.
      auth(request, response, () => {
        pages(request, response);
      });
    },
    {
      refused: refusal => {
        observe({ event: 'request_refused', ...refusal });
      },
    },
  );
  let newestConnectionMs = 0;
  server.on('connection', () => {
    newestConnectionMs = performance.now();
  });

  return {
    metrics,
    status: async () => ({
      canDecide: await canDecide(),
      state: coherence.state,
      problem: coherence.problem,
      watchProblems: Object.fromEntries(coherence.watchProblems),
      serverId: coherence.serverId,
      stalenessBoundMs: coherence.stalenessBoundMs,
      pool: { size: coherence.database.poolSize, max: coherence.database.poolMax },
      caches: coherence.caches.map(({ topic, size, negativeEntries, stats }) => ({
        topic,
        entries: size,
        negativeEntries,
        ...stats,
      })),
      audits: coherence.audits,
    }),
    listen: () => listen(server, config.host, config.port),
    listenOnSocket: path => listenOnSocket(server, path),
    start() {
      jwt?.start();
      coherence.start();
      signIn?.start();
    },
    async drain() {
      isDraining = true;
      server.drain();
      const startedMs = performance.now();
      for (let now = startedMs; ; now = performance.now()) {
        const waitMs = Math.min(Math.max(newestConnectionMs, startedMs) + QUIET_MS, startedMs + config.drainMs) - now;
        if (waitMs <= 0) {
          break;
        }
        await sleep(waitMs);
      }
    },
    async close() {
      jwt?.stop();
      await close(server);
      signIn?.stop();
      await coherence.stop();
    },
  };
}
