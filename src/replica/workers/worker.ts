/** One worker: decides requests, and listens through its supervisor. */
import { leastConnections } from '../../config/agreement.js';
import type { Config } from '../../config/config.js';
import { createGate } from '../gate.js';
import { errorText } from '../../ops/log-lines.js';
import type { Observation } from '../../ops/observation.js';
import { createRemoteSubscription } from './remote-subscription.js';
import type { FromWorker, ToWorker } from './messages.js';

/** What a worker hears and says; a process has `process`. */
export interface WorkerPort {
  send(message: FromWorker): void;
  onMessage(hear: (message: ToWorker) => void): void;
  /** Called when the supervisor is gone. */
  onGone(end: () => void): void;
}

/** Each worker's share of the pool, which must not be too small for one process. */
const poolShare = (config: Config): number =>
  Math.max(leastConnections(config), Math.floor(config.poolMax / config.workers));

/** Runs a worker; the promise resolves when it has stopped. */
export function runWorker(config: Config, log: (observation: Observation) => void, port: WorkerPort): Promise<void> {
  const remote = createRemoteSubscription(message => {
    port.send(message);
  });
  const gate = createGate({ ...config, poolMax: poolShare(config) }, log, remote.open);

  const answer = async (what: 'status' | 'metrics', question: number): Promise<void> => {
    if (what === 'status') {
      port.send({ type: 'status', question, status: await gate.status() });
    } else {
      const metrics = await gate.metrics.collect();
      port.send({ type: 'metrics', question, metrics });
    }
  };

  const listen = async (socket: string | null): Promise<void> => {
    try {
      if (socket === null) {
        port.send({ type: 'listening', url: await gate.listen() });
      } else {
        await gate.listenOnSocket(socket);
        port.send({ type: 'listening', url: `unix:${socket}` });
      }
    } catch (error) {
      port.send({ type: 'failed', problem: errorText(error) });
    }
  };

  return new Promise(resolve => {
    let stopping = false;
    const stop = async (): Promise<void> => {
      if (!stopping) {
        stopping = true;
        await gate.drain();
        remote.leave();
        await gate.close();
        resolve();
      }
    };
    port.onGone(() => {
      void stop();
    });
    port.onMessage(message => {
      switch (message.type) {
        case 'listen':
          void listen(message.socket);
          return;
        case 'start':
          gate.start();
          return;
        case 'ask':
          void answer(message.what, message.question);
          return;
        case 'stop':
          void stop();
          return;
        default:
          remote.receive(message);
      }
    });
    port.send({ type: 'up' });
  });
}
