/** From one connection to the next: when it is tried again, and what the one before may still do, which is nothing. */
import { beforeEach, describe, expect, test } from 'vitest';
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

const change = { v: 1, s: 'grant', k: [['7', '12']] };

describe('an old connection', () => {
  beforeEach(async () => {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    bench.subscriptions.newest.lose();
    await bench.clock.settle();
    await bench.clock.advance(RETRY_MS);
    await bench.accept();
  });

  test('cannot speak to the new epoch', async () => {
    await bench.prove();
    const before = bench.signals.length;
    bench.subscriptions.connections[0]!.say(change);
    bench.subscriptions.connections[0]!.say('späm');
    expect(bench.signals).toHaveLength(before);
  });

  test('cannot end the new epoch', async () => {
    await bench.prove();
    bench.subscriptions.connections[0]!.lose();
    await bench.clock.settle();
    expect(bench.listener.state).toBe('live');
  });

  test('cannot bring the echo of a fence of the new epoch', async () => {
    bench.fences.newest.confirm();
    bench.subscriptions.connections[0]!.say(bench.fences.newest.message);
    await bench.clock.drain();
    expect(bench.listener.state).toBe('listening');
  });

  test('cannot prove the new epoch with a fence of its own', async () => {
    const old = bench.fences.asked[1]!;
    old.confirm();
    bench.subscriptions.newest.say(old.message);
    await bench.clock.drain();
    expect(bench.listener.state).toBe('listening');
  });
});

test('only the first attempt is waited for by what is read: if it cannot listen, a primary is believed', async () => {
  bench.listener.start();
  await bench.clock.settle();
  expect(bench.lease.serverPending?.aborted).toBe(false);
  bench.subscriptions.newest.refuse(new Error('no'));
  for (let attempt = 2; attempt <= 3; attempt++) {
    await bench.clock.advance(RETRY_MS);
    expect(bench.listener.state).toBe('connecting');
    expect(bench.lease.serverPending).toBeNull();
    await bench.accept();
    bench.subscriptions.newest.lose();
  }
});

describe('trying again', () => {
  const UNIFORM_WAITS_MS = [75, 150, 300, 600, 1_200, 2_400, 3_750, 3_750];

  async function expectRetryAfter(waitMs: number): Promise<void> {
    const tried = bench.subscriptions.connections.length;
    await bench.clock.advance(waitMs - 1);
    expect(bench.subscriptions.connections).toHaveLength(tried);
    await bench.clock.advance(1);
    expect(bench.subscriptions.connections).toHaveLength(tried + 1);
  }

  test('waits longer after each failure, to a bound, for ever', async () => {
    bench.listener.start();
    await bench.clock.settle();
    for (const waitMs of UNIFORM_WAITS_MS) {
      bench.subscriptions.newest.refuse(new Error('no'));
      await expectRetryAfter(waitMs);
    }
  });

  test('never waits more than 5 s', async () => {
    bench = createListenerBench(1);
    bench.listener.start();
    for (let failures = 0; failures < 20; failures++) {
      await bench.clock.settle();
      bench.subscriptions.newest.refuse(new Error('no'));
      await bench.clock.advance(5_000);
      expect(bench.subscriptions.connections).toHaveLength(failures + 2);
    }
  });

  test('says truly when it will', async () => {
    bench = createListenerBench(0, 1);
    bench.listener.start();
    for (let failures = 0; failures < 4; failures++) {
      await bench.clock.settle();
      bench.subscriptions.newest.refuse(new Error('no'));
      await bench.clock.settle();
      await expectRetryAfter(bench.log.of('connection_failed').at(-1)!.retryMs);
    }
  });

  test('begins anew after a proof', async () => {
    bench.listener.start();
    await bench.clock.settle();
    for (const waitMs of UNIFORM_WAITS_MS.slice(0, 3)) {
      bench.subscriptions.newest.refuse(new Error('no'));
      await expectRetryAfter(waitMs);
    }
    await bench.accept();
    await bench.prove();
    bench.subscriptions.newest.lose();
    await expectRetryAfter(75);
  });

  test('does not begin anew because LISTEN alone succeeded', async () => {
    bench.listener.start();
    await bench.clock.settle();
    for (const waitMs of UNIFORM_WAITS_MS.slice(0, 4)) {
      await bench.accept();
      bench.subscriptions.newest.lose();
      await bench.clock.settle();
      await expectRetryAfter(waitMs);
    }
  });
});
