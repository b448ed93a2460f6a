/**
 * A replica: owns the order of start and stop.
 *
 * Start: the listeners of HTTP first (a probe that finds nobody learns nothing), then LISTEN. Until the first fence was
 * heard, decisions are read from Postgres. Stop: not ready, finish what is under way, close.
 */
import type { Config } from '../config/config.js';
import { createGate, socketFileOf, type GateGroup } from './gate.js';
import { close, createHttpServer, listen } from '../http/server.js';
import type { Observation } from '../ops/observation.js';
import { createOpsListener } from '../ops/server.js';
import type { Status } from '../ops/status.js';
import { VERSION } from '../ops/version.js';
import { createSupervisor } from './workers/supervisor.js';

/** A replica. */
export interface Replica {
  /** Resolves when both ports, or socket and port, accept connections. Rejects when one is taken. */
  start(): Promise<{ readonly auth: string; readonly ops: string }>;
  /** Drains and closes everything. Idempotent. */
  stop(signal: string): Promise<void>;
  /** Closes everything at once, after a start that failed. */
  abandon(): Promise<void>;
}

function createSingle(config: Config, log: (observation: Observation) => void): GateGroup {
  const gate = createGate(config, log);
  const socket = socketFileOf(config);
  return {
    ...gate,
    status: async () => ({ joint: await gate.status(), workers: [] }),
    async listen() {
      if (socket === null) {
        return gate.listen();
      }
      await gate.listenOnSocket(socket.privatePath);
      await socket.publish();
      return socket.url;
    },
    async close() {
      await socket?.remove();
      await gate.close();
    },
  };
}

/** Creates a replica that does nothing yet. `log` receives every observation. */
export function createReplica(config: Config, log: (observation: Observation) => void): Replica {
  const startedMs = Date.now();
  const deciders = config.workers === 1 ? createSingle(config, log) : createSupervisor(config, log);
  let auth: string | null = null;
  let stopping: Promise<void> | null = null;

  const status = async (): Promise<Status> => {
    const { joint, workers } = await deciders.status();
    return {
      replica: config.replica,
      version: VERSION,
      auth,
      ready: joint.canDecide && stopping === null,
      fromMemory: joint.state === 'live',
      ...joint,
      problem: stopping === null ? joint.problem : 'stopping',
      leaseMs: config.leaseMs,
      uptimeSeconds: Math.round((Date.now() - startedMs) / 1000),
      workers,
    };
  };
  const opsServer = createHttpServer(
    createOpsListener({
      status,
      metrics: deciders.metrics,
      token: config.opsToken,
      failed: error => {
        log({ event: 'ops_failed', error });
      },
    }),
  );

  const abandon = async (): Promise<void> => {
    await deciders.close();
    await close(opsServer);
  };
  const stop = async (signal: string): Promise<void> => {
    log({ event: 'stopping', signal });
    await deciders.drain(signal);
    await abandon();
    log({ event: 'stopped' });
  };

  return {
    async start() {
      auth = await deciders.listen();
      const urls = { auth, ops: await listen(opsServer, config.host, config.opsPort) };
      log({ event: 'listening', replica: config.replica, ...urls });
      deciders.start();
      return urls;
    },
    stop(signal) {
      stopping ??= stop(signal);
      return stopping;
    },
    abandon,
  };
}
