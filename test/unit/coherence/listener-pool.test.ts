/** Whether the pool reads from the server that is listened to, and what follows if it does not (P5). */
import { beforeEach, expect, test } from 'vitest';
import { ORIGIN } from '../../support/fake-fences.js';
import { LISTENER_PROCESS } from '../../support/fake-subscription.js';
import { createListenerBench, FENCE_INTERVAL_MS, RETRY_MS, type ListenerBench } from '../../support/listener-bench.js';

let bench: ListenerBench;

beforeEach(async () => {
  bench = createListenerBench();
  bench.listener.start();
  await bench.accept();
});

const closings = (): string[] => bench.log.of('connection_closed').map(({ cause }) => cause);

async function confirm(listener: 'seen' | 'unsure' | 'absent'): Promise<void> {
  bench.fences.newest.confirm({ listener });
  await bench.clock.drain();
}

test('the first fences of an epoch ask for the backend that listens, later ones do not', async () => {
  const backend = { processId: LISTENER_PROCESS, mark: 'mark 0' };
  expect(bench.fences.newest.listener).toEqual(backend);
  bench.fences.newest.fail(new Error('no connection'));
  await bench.clock.advance(RETRY_MS);
  expect(bench.fences.newest.listener).toEqual(backend);
  await bench.prove();
  await bench.clock.advance(FENCE_INTERVAL_MS);
  expect(bench.fences.newest.listener).toBeNull();
});

test('a backend that is not there: the epoch ends at once, the pool is renewed, and no reading is believed', async () => {
  await confirm('absent');
  expect(bench.listener.state).toBe('down');
  expect(closings()).toEqual(['foreign_pool']);
  expect(bench.listener.problem).toContain(`another server (${ORIGIN})`);
  expect(bench.listener.problem).toContain('GATEBELL_LISTEN_URL');
  expect(bench.poolsRenewed).toBe(1);
  expect(bench.lease.doubtsReadings).toBe(true);
});

test('readings are believed again as soon as the backend is seen', async () => {
  await confirm('absent');
  await bench.clock.advance(RETRY_MS);
  await bench.accept();
  expect(bench.lease.doubtsReadings).toBe(true);
  await confirm('seen');
  expect(bench.lease.doubtsReadings).toBe(false);
  expect(bench.lease.origin).toBe(ORIGIN);
});

test('a backend that is seen tells the origin before the echo comes; nothing is served yet', async () => {
  await confirm('seen');
  expect(bench.lease.origin).toBe(ORIGIN);
  expect(bench.listener.state).toBe('listening');
});

test('if it is unsure, only the echo tells', async () => {
  await confirm('unsure');
  expect(bench.lease.origin).toBeNull();
  bench.echo();
  expect(bench.lease.origin).toBe(ORIGIN);
  expect(bench.listener.state).toBe('live');
});

test.each([
  ['origin_changed', { origin: 'primary/2' }],
  ['standby', { inRecovery: true }],
])('%s: the same', async (cause, receipt) => {
  await bench.prove();
  await bench.clock.advance(FENCE_INTERVAL_MS);
  bench.fences.newest.confirm(receipt);
  await bench.clock.drain();
  expect(closings()).toEqual([cause]);
  expect(bench.poolsRenewed).toBe(1);
  expect(bench.lease.doubtsReadings).toBe(true);
});
