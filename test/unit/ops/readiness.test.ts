import { expect, test } from 'vitest';
import { UnavailableError } from '../../../src/coherence/errors.js';
import type { ListenerState } from '../../../src/coherence/observation.js';
import { createReadiness } from '../../../src/ops/readiness.js';

interface Scene {
  state: ListenerState;
  nowMs: number;
  probe: () => unknown;
  probes: number;
  check: () => Promise<boolean>;
}

function stage(): Scene {
  const scene: Scene = {
    state: 'connecting',
    nowMs: 0,
    probe: () => null,
    probes: 0,
    check: createReadiness({
      state: () => scene.state,
      probe: () => {
        scene.probes += 1;
        return scene.probe();
      },
      nowMs: () => scene.nowMs,
      sleep: () => new Promise(resolve => setImmediate(resolve)),
    }),
  };
  return scene;
}

const never = (): Promise<never> => new Promise(() => undefined);
const fail = (): never => {
  throw new UnavailableError('database', 'no server');
};

test('a proven lease is enough: nothing is asked', async () => {
  const scene = stage();
  scene.state = 'live';
  scene.probe = fail;
  expect([await scene.check(), scene.probes]).toEqual([true, 0]);
});

test.each(['down', 'connecting', 'listening', 'unproven'] as const)(
  'while the listener is %s, it is ready as long as a fact can be had',
  async state => {
    const scene = stage();
    scene.state = state;
    expect(await scene.check()).toBe(true);
    scene.probe = fail;
    scene.nowMs += 1_000;
    expect(await scene.check()).toBe(false);
    scene.probe = () => Promise.resolve('a fact');
    scene.nowMs += 1_000;
    expect(await scene.check()).toBe(true);
  },
);

test('many checks ask once, and an outcome holds for a moment', async () => {
  const scene = stage();
  expect(await Promise.all([scene.check(), scene.check(), scene.check()])).toEqual([true, true, true]);
  scene.nowMs += 400;
  await scene.check();
  expect(scene.probes).toBe(1);
  scene.nowMs += 200;
  await scene.check();
  expect(scene.probes).toBe(2);
});

test('a probe that hangs leaves the answer as it was, until it is overdue', async () => {
  const scene = stage();
  scene.state = 'live';
  await scene.check();
  scene.state = 'down';
  scene.probe = never;
  expect(await scene.check()).toBe(true);
  scene.nowMs += 4_000;
  expect(await scene.check()).toBe(true);
  scene.nowMs += 1_001;
  expect(await scene.check()).toBe(false);
  expect(scene.probes).toBe(1);
});

test('a full queue takes no replica away that could decide before', async () => {
  const scene = stage();
  scene.probe = () => Promise.reject(new UnavailableError('queue_full', 'too many'));
  expect(await scene.check()).toBe(false);
  scene.state = 'live';
  await scene.check();
  scene.state = 'unproven';
  expect(await scene.check()).toBe(true);
});
