/** Stopping the listener, from whatever it is doing. */
import { beforeEach, expect, test } from 'vitest';
import {
  createListenerBench,
  FENCE_INTERVAL_MS,
  RETRY_MS,
  type ListenerBench,
} from '../../../support/listener-harness.js';

let bench: ListenerBench;

beforeEach(() => {
  bench = createListenerBench();
});

/** Stops, and asserts that it came to an end without any time going by, and for good. */
async function stopped(): Promise<void> {
  let resolved = false;
  void bench.listener.stop().then(() => {
    resolved = true;
  });
  await bench.clock.settle();
  expect(resolved).toBe(true);
  expect(bench.listener.state).toBe('down');
  expect(bench.lease.epoch).toBeNull();
  expect(bench.clock.timers).toBe(0);

  const [connections, fences] = [bench.subscriptions.connections.length, bench.fences.asked.length];
  await bench.clock.advance(2 * RETRY_MS);
  expect(bench.subscriptions.connections).toHaveLength(connections);
  expect(bench.fences.asked).toHaveLength(fences);
}

test('stops before it was started', async () => {
  await stopped();
});

test('stops while it is connecting, and gives the attempt up', async () => {
  bench.listener.start();
  await bench.clock.settle();
  await stopped();
  expect(bench.subscriptions.newest.aborted).toBe(true);
  expect(bench.log.of('connection_failed')).toHaveLength(0);
});

test('has stopped when the attempt that it gave up has come to an end, and not before', async () => {
  bench.subscriptions.lingers = true;
  bench.listener.start();
  await bench.clock.settle();
  let isOver = false;
  void bench.listener.stop().then(() => {
    isOver = true;
  });
  await bench.clock.settle();
  expect([bench.subscriptions.newest.aborted, isOver]).toEqual([true, false]);
  bench.subscriptions.newest.refuse(new Error('given up'));
  await stopped();
  expect(isOver).toBe(true);
});

test('closes a connection that is accepted in the turn in which it is stopped', async () => {
  bench.listener.start();
  await bench.clock.settle();
  bench.subscriptions.newest.accept();
  await stopped();
  expect(bench.subscriptions.newest.closes).toBe(1);
});

test('stops while it waits to try again', async () => {
  bench.listener.start();
  await bench.clock.settle();
  bench.subscriptions.newest.refuse(new Error('no'));
  await bench.clock.settle();
  await stopped();
});

test('stops with the first fence in flight', async () => {
  bench.listener.start();
  await bench.accept();
  await stopped();
  expect(bench.subscriptions.newest.closes).toBe(1);
});

test('stops while live: flushes in the same turn and closes the connection', async () => {
  await bench.goLive();
  const stopping = bench.listener.stop();
  expect(bench.listener.state).toBe('down');
  expect(bench.signals.at(-1)).toEqual({ type: 'flush', cause: 'down' });
  expect(bench.subscriptions.newest.closes).toBe(1);
  await bench.clock.settle();
  await stopping;
  expect(bench.log.of('connection_closed')).toMatchObject([{ cause: 'stopped' }]);
});

test('stops between two fences', async () => {
  await bench.goLive();
  await bench.clock.advance(FENCE_INTERVAL_MS / 2);
  await stopped();
});

test('stops while a fence that failed waits to be sent again', async () => {
  await bench.goLive();
  await bench.clock.advance(FENCE_INTERVAL_MS);
  bench.fences.newest.fail(new Error('no'));
  await bench.clock.settle();
  await stopped();
});

test('releases those who wait for a fence', async () => {
  await bench.goLive();
  const [joined, waiting] = [bench.listener.fence(), bench.listener.fence()];
  await bench.clock.drain();
  const next = bench.listener.fence();
  await stopped();
  expect(await Promise.all([joined, waiting, next])).toEqual([null, null, null]);
});

test('stops once, however often it is asked', async () => {
  await bench.goLive();
  await stopped();
  await stopped();
  expect(bench.log.of('connection_closed')).toHaveLength(1);
  expect(bench.signals.filter(({ type }) => type === 'flush')).toHaveLength(1);
});

test('hears nothing any more once it is stopped', async () => {
  await bench.goLive();
  await stopped();
  const before = bench.signals.length;
  bench.subscriptions.newest.say({ v: 1, s: 'grant' });
  bench.subscriptions.newest.lose();
  expect(bench.signals).toHaveLength(before);
});

test('starts and stops cleanly at any step of the way up', async () => {
  const steps: readonly ((on: ListenerBench) => unknown)[] = [
    on => on.clock.drain(),
    on => on.accept(),
    on => on.prove(),
    on => on.clock.advance(FENCE_INTERVAL_MS),
    on => on.prove(),
  ];
  for (let taken = 0; taken <= steps.length; taken++) {
    bench = createListenerBench();
    bench.listener.start();
    for (const step of steps.slice(0, taken)) {
      await step(bench);
    }
    await stopped();
  }
});
