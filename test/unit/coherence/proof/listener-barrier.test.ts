/** A barrier is answered when all that was committed before it has been applied here (P20). */
import { beforeEach, describe, expect, test } from 'vitest';
import {
  createListenerBench,
  FENCE_INTERVAL_MS,
  LEASE_MS,
  REPLICA,
  RETRY_MS,
  type ListenerBench,
} from '../../../support/listener-harness.js';

let bench: ListenerBench;

beforeEach(async () => {
  bench = createListenerBench();
  await bench.goLive();
});

const answers = (): unknown[] => bench.subscriptions.newest.sent.map(payload => JSON.parse(payload) as unknown);

async function hear(id: string): Promise<void> {
  bench.subscriptions.newest.say({ v: 1, b: id });
  await bench.clock.drain();
}

/** Proves, and takes the turns in which barriers are answered. */
async function prove(): Promise<void> {
  await bench.prove();
  await bench.clock.settle();
}

test('a fence that is sent after it comes first: it sees triggers that were switched off, too', async () => {
  await hear('b1');
  expect(bench.fences.asked).toHaveLength(2);
  expect(answers()).toEqual([]);
  await prove();
  expect(answers()).toEqual([{ v: 1, a: 'b1', r: REPLICA }]);
});

test('the fence in flight is not the one', async () => {
  await bench.clock.advance(FENCE_INTERVAL_MS);
  const inFlight = bench.fences.newest;
  await hear('b1');
  inFlight.confirm();
  bench.subscriptions.newest.say(inFlight.message);
  await bench.clock.drain();
  expect(answers()).toEqual([]);
  await prove();
  expect(answers()).toHaveLength(1);
});

test('several share a fence, and the same one is answered once for it', async () => {
  await hear('b1');
  await bench.clock.drain();
  await hear('b2');
  await hear('b2');
  await prove();
  await prove();
  expect(answers()).toEqual([
    { v: 1, a: 'b1', r: REPLICA },
    { v: 1, a: 'b2', r: REPLICA },
  ]);
});

test('is answered again when it is repeated', async () => {
  for (const _ of [1, 2]) {
    await hear('b1');
    await prove();
  }
  expect(answers()).toHaveLength(2);
});

test('is not answered without a proof', async () => {
  await hear('b1');
  bench.fences.newest.fail(new Error('no connection'));
  await bench.clock.drain();
  await bench.clock.advance(LEASE_MS / 2);
  await prove();
  expect(answers()).toEqual([]);
});

test('is not answered when the connection was lost meanwhile', async () => {
  await hear('b1');
  const { newest } = bench.subscriptions;
  newest.lose();
  await bench.clock.settle();
  expect(newest.sent).toEqual([]);
});

describe('with reads under way', () => {
  let answered: () => void;
  beforeEach(() => {
    void bench.runningReads.add(
      new Promise<void>(resolve => {
        answered = resolve;
      }),
    );
  });

  test('is answered when they are: they may hold what was read before', async () => {
    await hear('b1');
    await prove();
    expect(answers()).toEqual([]);
    answered();
    await bench.clock.drain();
    // Those who waited for the reads answer in this turn.
    expect(answers()).toEqual([]);
    await bench.clock.settle();
    expect(answers()).toHaveLength(1);
  });

  test('does not wait for those that began later', async () => {
    await hear('b1');
    void bench.runningReads.add(new Promise(() => undefined));
    answered();
    await prove();
    expect(answers()).toHaveLength(1);
  });

  test('waits for the lease at most: by then they have read again', async () => {
    await hear('b1');
    await prove();
    for (let elapsedMs = 0; elapsedMs < LEASE_MS - FENCE_INTERVAL_MS; elapsedMs += FENCE_INTERVAL_MS) {
      await bench.proveNext();
    }
    expect(answers()).toEqual([]);
    await bench.proveNext();
    expect(answers()).toHaveLength(1);
  });

  test('is not answered on the next connection, and leaves nothing behind', async () => {
    await hear('b1');
    await prove();
    const { newest } = bench.subscriptions;
    newest.lose();
    await bench.clock.drain();
    answered();
    await bench.clock.advance(RETRY_MS);
    await bench.accept();
    await prove();
    expect([newest.sent, answers()]).toEqual([[], []]);
  });
});

test('a flood of them has a bound: 16 wait, and a name has 64 characters', async () => {
  await hear('x'.repeat(65));
  for (let index = 0; index < 100; index++) {
    await hear(`b${index}`);
  }
  await prove();
  await prove();
  expect(answers()).toHaveLength(16);
  expect(JSON.stringify(answers())).not.toContain('xxx');
});
