/** What the supervisor does with processes that it starts; here they are made up. */
import { EventEmitter } from 'node:events';
import { beforeEach, expect, test, vi } from 'vitest';
import { readConfig } from '../../../../src/config/config.js';
import type { Observation } from '../../../../src/ops/observation.js';
import type { GateGroup } from '../../../../src/replica/gate.js';
import type { FromWorker, ToWorker } from '../../../../src/replica/workers/messages.js';
import { createSupervisor } from '../../../../src/replica/workers/supervisor.js';

/** A worker like a real one: it ignores the signals that stop a replica, and ends when it is killed. */
class FakeWorker extends EventEmitter {
  readonly heard: ToWorker[] = [];
  isConnected = (): boolean => true;
  send(message: ToWorker): void {
    this.heard.push(message);
  }
  kill(signal = 'SIGTERM'): void {
    if (signal === 'SIGKILL') {
      this.emit('exit', null, signal);
    }
  }
  says(message: FromWorker): void {
    this.emit('message', message);
  }
}

const { forked } = vi.hoisted(() => ({ forked: [] as FakeWorker[] }));
vi.mock('node:cluster', () => ({
  default: {
    fork: () => {
      const worker = new FakeWorker();
      forked.push(worker);
      return worker;
    },
  },
}));

let observed: Observation[];
let supervisor: GateGroup;

beforeEach(() => {
  forked.length = 0;
  observed = [];
  const config = readConfig({}, { GATEBELL_WORKERS: '2', DATABASE_URL: 'postgres://127.0.0.1:1/nobody' });
  supervisor = createSupervisor(config, observation => observed.push(observation));
});

test('workers are asked to listen when they are up, and to start when all listen', async () => {
  const listening = supervisor.listen();
  for (const worker of forked) {
    worker.says({ type: 'up' });
    worker.says({ type: 'listening', url: 'http://127.0.0.1:4280' });
  }
  expect(await listening).toBe('http://127.0.0.1:4280');
  supervisor.start();
  expect(forked.map(({ heard }) => heard.map(({ type }) => type))).toEqual([
    ['listen', 'start'],
    ['listen', 'start'],
  ]);
  await supervisor.close();
});

test('a worker that cannot listen is ended for good, and the log says why', async () => {
  const listening = supervisor.listen();
  forked[0]!.says({ type: 'up' });
  forked[0]!.says({ type: 'failed', problem: 'the port is taken' });
  await expect(listening).rejects.toThrow('the port is taken');
  expect(observed).toEqual([
    { event: 'worker_ended', worker: 1, reason: 'the port is taken', retryMs: expect.any(Number) as number },
  ]);
  await supervisor.close();
});
