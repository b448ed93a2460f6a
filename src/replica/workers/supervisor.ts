/**
 * A replica of several processes, for a machine of several cores. The supervisor has the listening connection and the
 * ops port; its workers share the auth port, or the Unix socket, and decide. A worker that ends is replaced. The new
 * one has heard nothing, and starts from nothing.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../../time/backoff.js';
import { systemRandom } from '../../time/clock.js';
import { createSubscriptionOpener } from '../../postgres/listen.js';
import type { Config } from '../../config/config.js';
import { BINDING_UMASK } from '../../http/unix-socket.js';
import { socketFileOf, type GateGroup } from '../gate.js';
import { createJointMetrics, type MetricsJson } from '../../ops/joint-metrics.js';
import type { Observation } from '../../ops/observation.js';
import { errorText } from '../../ops/log-lines.js';
import { joinStatus, type GateStatus } from '../../ops/status.js';
import { createDatabase } from '../../postgres/pool.js';
import { applicationNameOf } from '../../postgres/replica-name.js';
import { createSharedSubscription, type SubscriptionMember } from './shared-subscription.js';
import type { FromWorker, ToWorker } from './messages.js';

/** Messages that may wait to be written to one worker; more, and it has fallen behind. */
const BACKLOG_MAX = 10_000;
/** A worker that does not answer a question of the ops port in this time is left out. */
const ANSWER_MS = 1_000;
/** A worker that has run so long was not the one before's cause to end. */
const STEADY_MS = 10_000;
/** A worker that does not stop is ended. Longer than it may drain and close. */
const STOP_MS = 15_000;

interface Running {
  readonly number: number;
  readonly process: Worker;
  readonly member: SubscriptionMember;
  readonly startedMs: number;
  /** Resolves when its port accepts connections. */
  readonly listening: Promise<string>;
  readonly ended: Promise<unknown>;
  /** Questions that wait for an answer. */
  readonly questions: Map<number, (answer: FromWorker) => void>;
  /** As of its last answer. */
  metrics: MetricsJson;
}

/** Creates a replica of several processes, none of which runs yet. */
export function createSupervisor(config: Config, log: (observation: Observation) => void): GateGroup {
  const database = createDatabase({
    connectionString: config.databaseUrl ?? undefined,
    listenConnectionString: config.listenUrl ?? undefined,
    applicationName: applicationNameOf(config.replica),
  });
  const shared = createSharedSubscription(createSubscriptionOpener(database.listenConfig));
  const workers = new Map<number, Running>();
  const metrics = createJointMetrics(() => workers.size);
  const socket = socketFileOf(config);
  if (socket !== null) {
    // It binds what its workers listen on, and makes nothing else.
    process.umask(BINDING_UMASK);
  }
  let questions = 0;
  let failures = 0;
  let stopping = false;
  let started = false;

  const startWorker = (number: number): Running => {
    const process = cluster.fork({ GATEBELL_REPLICA: config.replica });
    let backlog = 0;
    const post = (message: ToWorker): boolean => {
      if (process.isConnected()) {
        backlog += 1;
        process.send(message, undefined, undefined, () => {
          backlog -= 1;
        });
      }
      return backlog <= BACKLOG_MAX;
    };
    const member = shared.join(post);
    const waiting = new Map<number, (answer: FromWorker) => void>();
    let isUp: (url: string) => void = () => undefined;
    let isDown: (error: Error) => void = () => undefined;
    const listening = new Promise<string>((resolve, reject) => {
      isUp = resolve;
      isDown = reject;
    });
    listening.catch(() => undefined);
    /** Why it is ended from here. */
    let problem: string | null = null;
    const fail = (why: string): void => {
      problem = why;
      isDown(new Error(why));
      // Workers ignore the signals by which the whole replica is stopped.
      process.kill('SIGKILL');
    };
    process.on('message', (message: FromWorker) => {
      switch (message.type) {
        case 'up':
          post({ type: 'listen', socket: socket?.privatePath ?? null });
          return;
        case 'listening':
          // When all workers have ended, the next one binds the socket again.
          (socket?.publish() ?? Promise.resolve()).then(
            () => {
              isUp(socket?.url ?? message.url);
              log({ event: 'worker_started', worker: number });
              if (started) {
                post({ type: 'start' });
              }
            },
            (error: unknown) => {
              fail(errorText(error));
            },
          );
          return;
        case 'failed':
          fail(message.problem);
          return;
        case 'status':
        case 'metrics':
          waiting.get(message.question)?.(message);
          waiting.delete(message.question);
          return;
        default:
          member.receive(message);
      }
    });
    const ended = once(process, 'exit').then(([code, signal]) => {
      isDown(new Error('a worker ended before it accepted connections'));
      onEnded(running, problem ?? `exit code ${code ?? signal}`);
    });
    const running: Running = {
      number,
      process,
      member,
      startedMs: Date.now(),
      listening,
      ended,
      questions: waiting,
      metrics: [],
    };
    workers.set(number, running);
    return running;
  };

  const onEnded = (running: Running, reason: string): void => {
    running.member.leave();
    workers.delete(running.number);
    metrics.noteEnded(running.metrics);
    if (stopping) {
      return;
    }
    failures = Date.now() - running.startedMs > STEADY_MS ? 0 : failures + 1;
    const retryMs = backoffMs(failures, systemRandom);
    log({ event: 'worker_ended', worker: running.number, reason, retryMs });
    if (started) {
      void sleep(retryMs).then(() => {
        if (!stopping) {
          startWorker(running.number);
        }
      });
    }
  };

  const post = ({ process }: Running, message: ToWorker): void => {
    if (process.isConnected()) {
      process.send(message);
    }
  };

  const ask = async (worker: Running, what: 'status' | 'metrics'): Promise<FromWorker | null> => {
    questions += 1;
    const question = questions;
    const answered = new Promise<FromWorker>(resolve => {
      worker.questions.set(question, resolve);
    });
    post(worker, { type: 'ask', what, question });
    const answer = await Promise.race([answered, sleep(ANSWER_MS, null, { ref: false })]);
    worker.questions.delete(question);
    return answer;
  };

  const readStatus = async (worker: Running): Promise<GateStatus | null> => {
    const answer = await ask(worker, 'status');
    return answer?.type === 'status' ? answer.status : null;
  };

  const inOrder = (): Running[] => [...workers.values()].toSorted((one, other) => one.number - other.number);

  return {
    metrics: {
      contentType: metrics.contentType,
      async scrape() {
        await Promise.all(
          inOrder().map(async worker => {
            const answer = await ask(worker, 'metrics');
            if (answer?.type === 'metrics') {
              worker.metrics = answer.metrics;
            }
          }),
        );
        return metrics.text(inOrder().map(worker => worker.metrics));
      },
    },
    async status() {
      const all = (await Promise.all(inOrder().map(readStatus))).filter(one => one !== null);
      return { joint: joinStatus(all), workers: all };
    },
    async listen() {
      const numbers = Array.from({ length: config.workers }, (_, index) => index + 1);
      const urls = await Promise.all(numbers.map(number => startWorker(number).listening));
      return urls[0]!;
    },
    start() {
      started = true;
      for (const worker of workers.values()) {
        post(worker, { type: 'start' });
      }
    },
    async drain(signal) {
      stopping = true;
      for (const worker of workers.values()) {
        post(worker, { type: 'stop', signal });
      }
      await Promise.race([
        Promise.all([...workers.values()].map(({ ended }) => ended)),
        sleep(config.drainMs + STOP_MS, null, { ref: false }),
      ]);
    },
    async close() {
      stopping = true;
      await socket?.remove();
      for (const { process } of workers.values()) {
        process.kill('SIGKILL');
      }
      await Promise.all([...workers.values()].map(({ ended }) => ended));
      shared.close();
      await database.close();
    },
  };
}
