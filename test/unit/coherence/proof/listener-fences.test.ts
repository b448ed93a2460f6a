/** What a fence proves, what it does not, and what becomes of those who wait for one. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { FenceOutcome } from '../../../../src/coherence/proof/fence.js';
import { FENCE_KEY, fenceMessage, SERVER_ID } from '../../../support/fake-fences.js';
import {
  createListenerBench,
  FENCE_INTERVAL_MS,
  LEASE_MS,
  RETRY_MS,
  type ListenerBench,
} from '../../../support/listener-harness.js';

let bench: ListenerBench;

beforeEach(() => {
  bench = createListenerBench();
});

const state = (): string => bench.listener.state;
const failures = (): string[] => bench.log.of('fence_failed').map(({ cause }) => cause);

async function listening(): Promise<void> {
  bench.listener.start();
  await bench.accept();
}

describe('a proof', () => {
  test('needs more than the fence', async () => {
    await listening();
    bench.echo();
    await bench.clock.settle();
    expect(state()).toBe('listening');
  });

  test('needs more than the answer', async () => {
    await listening();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    expect(state()).toBe('listening');
  });

  test('is made by the echo before the confirmation', async () => {
    await listening();
    bench.echo();
    await bench.clock.settle();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    expect(state()).toBe('live');
  });

  test('is made by the confirmation before the echo', async () => {
    await listening();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    bench.echo();
    expect(state()).toBe('live');
  });

  test('is made by a fence that somebody else had sent since', async () => {
    await listening();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    bench.subscriptions.newest.say(bench.fences.sendElsewhere());
    expect(state()).toBe('live');
  });

  test('is not made by a fence that is not signed, however great its number', async () => {
    await listening();
    const forged = { ...fenceMessage(Number.MAX_SAFE_INTEGER), m: '0'.repeat(64) };
    bench.subscriptions.newest.say(forged);
    bench.fences.newest.confirm();
    await bench.clock.settle();
    bench.subscriptions.newest.say(forged);
    bench.subscriptions.newest.say({ ...forged, m: '' });
    bench.subscriptions.newest.say(fenceMessage(Number.MAX_SAFE_INTEGER, SERVER_ID, '0f'.repeat(64)));
    expect(state()).toBe('listening');
    bench.echo();
    expect(state()).toBe('live');
  });

  test('is not made by a fence of another server', async () => {
    await listening();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    bench.subscriptions.newest.say(fenceMessage(1_000, 'primary/2'));
    expect(state()).toBe('listening');
    bench.echo();
    expect(state()).toBe('live');
  });

  test('is made by the first transaction that had not completed at the question, and by no earlier one', async () => {
    await listening();
    bench.fences.newest.confirm({ bound: 812 });
    await bench.clock.settle();
    bench.subscriptions.newest.say(fenceMessage(7, SERVER_ID, FENCE_KEY, 811));
    expect(state()).toBe('listening');
    bench.subscriptions.newest.say(fenceMessage(8, SERVER_ID, FENCE_KEY, 812));
    expect(state()).toBe('live');
  });

  test('does not rest on numbers: they may be as great as they like', async () => {
    await listening();
    bench.fences.newest.confirm({ bound: 812, newest: 3 });
    await bench.clock.settle();
    bench.subscriptions.newest.say(fenceMessage(Number.MAX_SAFE_INTEGER, SERVER_ID, FENCE_KEY, 811));
    expect(state()).toBe('listening');
  });

  test.each([
    ['set back', 1],
    ['ahead', 1_000_000],
  ])('numbers that are %s cost one question', async (_, number) => {
    await bench.goLive();
    bench.subscriptions.newest.say(fenceMessage(40, SERVER_ID, FENCE_KEY, 5_000));
    for (const id of [6_000, 7_000]) {
      await bench.clock.advance(2 * FENCE_INTERVAL_MS);
      const asked = bench.fences.newest;
      asked.confirm({ bound: id, newest: number, sent: true });
      await bench.clock.drain();
      bench.subscriptions.newest.say(fenceMessage(number, SERVER_ID, FENCE_KEY, id));
      expect(state()).toBe('live');
    }
    await bench.clock.advance(2 * FENCE_INTERVAL_MS);
    expect(bench.fences.asked.at(-2)?.send).toEqual({ unlessAfter: number });
    expect(bench.log.of('connection_closed')).toHaveLength(0);
  });

  test('is not made by an earlier fence that is sent again', async () => {
    await bench.goLive();
    const first = bench.fences.newest;
    await bench.clock.advance(FENCE_INTERVAL_MS);
    bench.fences.newest.confirm();
    await bench.clock.settle();
    bench.subscriptions.newest.say(first.message);
    expect(bench.log.of('fence_proven')).toHaveLength(1);
  });

  test('an earlier fence that is sent again does not put off the next one', async () => {
    await bench.goLive();
    const first = bench.fences.newest;
    await bench.clock.advance(FENCE_INTERVAL_MS - 1);
    bench.subscriptions.newest.say(first.message);
    await bench.clock.advance(1);
    expect(bench.fences.newest.send).toEqual({ unlessAfter: first.number });
  });

  test('is made with a key that changed meanwhile, once an answer brought it; the old key counts no more', async () => {
    await bench.goLive();
    const key = '0f'.repeat(64);
    bench.fences.receipt = { ...bench.fences.receipt, key };
    const proofs = (): number => bench.log.of('fence_proven').length;
    for (const id of [5_000, 6_000]) {
      await bench.clock.advance(FENCE_INTERVAL_MS);
      bench.fences.newest.confirm({ bound: id });
      await bench.clock.settle();
      const before = proofs();
      bench.subscriptions.newest.say(fenceMessage(id, SERVER_ID, FENCE_KEY, id));
      expect(proofs()).toBe(before);
      bench.subscriptions.newest.say(fenceMessage(id, SERVER_ID, key, id));
      expect(proofs()).toBe(before + 1);
    }
    expect(bench.log.of('connection_closed')).toHaveLength(0);
  });

  test('is not made on a channel that the triggers do not use any more', async () => {
    await listening();
    bench.fences.newest.confirm({ channel: 'elsewhere' });
    await bench.clock.settle();
    bench.echo();
    expect(state()).toBe('listening');
  });

  test('is made in spite of a flood of forged fences before the key is known', async () => {
    await listening();
    for (let index = 0; index < 100; index++) {
      bench.subscriptions.newest.say({ ...fenceMessage(index), m: '0'.repeat(64) });
    }
    bench.echo();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    expect(state()).toBe('live');
  });

  test('is as of just before the fence was sent', async () => {
    await listening();
    await bench.clock.advance(1_400);
    await bench.prove();
    expect(bench.lease.stalenessBoundMs()).toBe(1_400);
    expect(bench.log.of('fence_proven')).toEqual([{ event: 'fence_proven', rttMs: 1_400, queueUsage: 0 }]);
  });

  test('settles which server is listened to, and its clock from when the fence was sent', async () => {
    await listening();
    await bench.clock.advance(250);
    await bench.prove({ serverTimeMs: 80_000 });
    expect(bench.lease.serverId).toBe(SERVER_ID);
    expect(bench.serverClock.nowMs(bench.clock.now())).toBe(80_250);
  });

  test.each([LEASE_MS, -LEASE_MS, 101, -101])('is not made across a step of %d ms of the wall clock', async stepMs => {
    await listening();
    bench.clock.stepWall(stepMs);
    await bench.prove();
    expect(state()).toBe('listening');
    expect(failures()).toEqual(['clock_jump']);
    expect(bench.listener.problem).toBe('a clock was stepped while a fence was in flight');
    await bench.clock.advance(RETRY_MS);
    await bench.prove();
    expect(state()).toBe('live');
    expect(bench.subscriptions.connections).toHaveLength(1);
  });

  test('is made in spite of the small drift between two clocks', async () => {
    await listening();
    bench.clock.stepWall(100);
    await bench.prove();
    expect(state()).toBe('live');
  });

  test('comes with a warning when interval and round trip leave less than a quarter of the lease', async () => {
    const roundTripMaxMs = LEASE_MS * 0.75 - FENCE_INTERVAL_MS;
    await bench.goLive();
    for (const rttMs of [roundTripMaxMs, roundTripMaxMs + 1]) {
      expect(bench.log.of('fence_slow')).toHaveLength(0);
      void bench.listener.fence();
      await bench.clock.drain();
      await bench.clock.advance(rttMs);
      await bench.prove();
    }
    expect(bench.log.of('fence_slow')).toEqual([{ event: 'fence_slow', ageMs: roundTripMaxMs + 1, leaseMs: LEASE_MS }]);
  });
});

describe('another server', () => {
  test('that is a standby is not listened to', async () => {
    await listening();
    await bench.prove({ inRecovery: true });
    expect(state()).toBe('down');
    expect(bench.log.of('connection_closed')).toMatchObject([{ cause: 'standby' }]);
  });

  test('behind the pool ends the epoch', async () => {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    await bench.prove({ serverId: 'primary/2' });
    expect(state()).toBe('down');
    expect(bench.signals.at(-1)).toEqual({ type: 'flush', cause: 'down' });
    expect(bench.log.of('connection_closed')).toMatchObject([{ cause: 'server_changed' }]);
  });

  test('another schema on the same server ends the epoch, and the pool is not suspected', async () => {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    bench.fences.newest.confirm({ serverId: SERVER_ID.replace('742', '743') });
    await bench.clock.drain();
    expect(state()).toBe('down');
    expect(bench.log.of('connection_closed')).toMatchObject([{ cause: 'schema_changed' }]);
    expect(bench.listener.problem).toBe('schema gatebell was restored or created again');
    expect(bench.lease.suspectsPool).toBe(false);
    expect(bench.poolsRenewed).toBe(0);
  });

  test('fences that another schema sent prove nothing', async () => {
    await listening();
    bench.fences.newest.confirm({ bound: 812 });
    await bench.clock.settle();
    bench.subscriptions.newest.say(fenceMessage(1, SERVER_ID.replace('742', '741'), FENCE_KEY, 900));
    expect(state()).toBe('listening');
  });

  test('the key of another schema is learned in the next epoch', async () => {
    await bench.goLive();
    const key = '0f'.repeat(64);
    const serverId = SERVER_ID.replace('742', '743');
    bench.fences.receipt = { ...bench.fences.receipt, serverId, key };
    await bench.clock.advance(FENCE_INTERVAL_MS);
    bench.fences.newest.confirm();
    await bench.clock.advance(RETRY_MS);
    await bench.accept();
    bench.fences.newest.confirm({ bound: 812 });
    await bench.clock.settle();
    bench.subscriptions.newest.say(fenceMessage(1, serverId, FENCE_KEY, 900));
    expect(state()).toBe('listening');
    bench.subscriptions.newest.say(fenceMessage(1, serverId, key, 900));
    expect(state()).toBe('live');
  });

  test('is listened to in the next epoch', async () => {
    await bench.goLive();
    bench.subscriptions.newest.lose();
    await bench.clock.advance(RETRY_MS);
    bench.fences.receipt = { ...bench.fences.receipt, serverId: 'primary/2' };
    await bench.accept();
    await bench.prove({ serverId: 'primary/2' });
    expect(state()).toBe('live');
    expect(bench.lease.serverId).toBe('primary/2');
  });
});

describe('the rhythm', () => {
  test('is one fence an interval, counted from when each was sent', async () => {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    expect(bench.fences.asked).toHaveLength(2);
    await bench.clock.advance(400);
    await bench.prove();
    await bench.clock.advance(FENCE_INTERVAL_MS - 401);
    expect(bench.fences.asked).toHaveLength(2);
    await bench.clock.advance(1);
    expect(bench.fences.asked).toHaveLength(3);
  });

  test('never has two fences in flight', async () => {
    await listening();
    void bench.listener.fence();
    await bench.clock.advance(LEASE_MS - 1);
    void bench.listener.fence();
    await bench.clock.settle();
    expect(bench.fences.asked).toHaveLength(1);
  });
});

/** With the fixed chance of the bench: half an interval, and a quarter of that. */
const AGAIN_MS = 625;

describe('where others have fences sent, too', () => {
  /** Live, and somebody else's fence was heard so long before the next question. */
  async function hearBefore(ms: number): Promise<void> {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS - ms);
    bench.subscriptions.newest.say(bench.fences.sendElsewhere());
    await bench.clock.advance(ms);
    bench.fences.newest.confirm();
    await bench.clock.settle();
  }

  test('the first question of an epoch has one sent, and so does who is in a hurry', async () => {
    await bench.goLive();
    expect(bench.fences.newest.send).toBe('always');
    bench.subscriptions.newest.say(bench.fences.sendElsewhere());
    void bench.listener.fence();
    await bench.clock.drain();
    expect(bench.fences.newest.send).toBe('always');
  });

  test('none is sent while the last is younger than half an interval; the next proves earlier questions', async () => {
    await hearBefore(FENCE_INTERVAL_MS / 2 - 1);
    expect(bench.fences.newest.sent).toBe(false);
    expect(bench.log.of('fence_proven')).toHaveLength(1);
    await bench.clock.advance(300);
    bench.subscriptions.newest.say(bench.fences.sendElsewhere());
    expect(bench.log.of('fence_proven')).toMatchObject([{}, { rttMs: null }]);
    expect(bench.lease.stalenessBoundMs()).toBe(300);
  });

  test('one is sent when the last one is half an interval old', async () => {
    await hearBefore(FENCE_INTERVAL_MS / 2);
    expect(bench.fences.newest).toMatchObject({ send: { unlessAfter: 2 }, sent: true });
  });

  test('none is sent when a newer one is under way already', async () => {
    await bench.goLive();
    bench.fences.sendElsewhere();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    expect(bench.fences.newest).toMatchObject({ send: { unlessAfter: 1 }, sent: false });
  });

  test('who waits in vain asks again, and has one sent unless somebody else has since', async () => {
    await hearBefore(100);
    const { length } = bench.fences.asked;
    await bench.clock.advance(AGAIN_MS - 101);
    expect(bench.fences.asked).toHaveLength(length);
    await bench.clock.advance(1);
    expect(bench.fences.asked).toHaveLength(length + 1);
    expect(bench.fences.newest).toMatchObject({ send: { unlessAfter: 2 }, sent: true });
    bench.echo();
    expect(bench.log.of('fence_proven')).toHaveLength(2);
    expect(bench.lease.stalenessBoundMs()).toBe(AGAIN_MS - 100);
  });

  test('a number that was taken for a fence that never came does not stop the next', async () => {
    await bench.goLive();
    bench.fences.sendElsewhere();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    bench.fences.newest.confirm();
    await bench.clock.advance(AGAIN_MS);
    expect(bench.fences.newest).toMatchObject({ send: { unlessAfter: 2 }, sent: true });
    await bench.prove();
    expect(bench.log.of('fence_proven')).toHaveLength(2);
  });

  test('it waits no longer when somebody is in a hurry', async () => {
    await hearBefore(100);
    const asked = bench.listener.fence();
    await bench.clock.drain();
    expect(bench.fences.newest).toMatchObject({ send: 'always', sent: true });
    await bench.prove();
    expect(await asked).not.toBeNull();
    expect(failures()).toEqual([]);
  });

  test('a question that cannot be asked again fails, and the next one has a fence sent', async () => {
    await hearBefore(100);
    await bench.clock.advance(AGAIN_MS);
    bench.fences.newest.fail(new Error('pool is busy'));
    await bench.clock.advance(RETRY_MS);
    expect(failures()[0]).toBe('send_failed');
    expect(bench.fences.newest.send).toBe('always');
  });

  test('it is overdue if none comes that was sent since', async () => {
    await hearBefore(100);
    await bench.clock.advance(AGAIN_MS - 100);
    bench.fences.newest.confirm();
    await bench.clock.advance(LEASE_MS - 1);
    expect(failures()).toEqual([]);
    await bench.clock.advance(1);
    expect(failures()).toEqual(['overdue']);
    expect(state()).toBe('down');
  });

  test('it is overdue when others had fences sent since and none came, however many there are', async () => {
    await hearBefore(100);
    bench.fences.sendElsewhere();
    await bench.clock.advance(AGAIN_MS - 100);
    bench.fences.newest.confirm();
    // From here on one is owed; what is sent later puts nothing off.
    for (let elapsedMs = 0; elapsedMs + AGAIN_MS < LEASE_MS; elapsedMs += AGAIN_MS) {
      bench.fences.sendElsewhere();
      await bench.clock.advance(AGAIN_MS);
      expect(bench.fences.newest.sent).toBe(false);
      bench.fences.newest.confirm();
    }
    await bench.clock.advance((LEASE_MS % AGAIN_MS) - 1);
    expect(failures()).toEqual([]);
    await bench.clock.advance(1);
    expect(failures()).toEqual(['overdue']);
    expect(state()).toBe('down');
  });

  test('it costs only itself when it is overdue and none was owed: nobody who could send one answers', async () => {
    await hearBefore(100);
    await bench.clock.advance(AGAIN_MS - 100 + LEASE_MS);
    expect(failures()).toEqual(['overdue']);
    expect(bench.log.of('connection_closed')).toEqual([]);
    await bench.clock.advance(RETRY_MS);
    await bench.prove();
    expect(state()).toBe('live');
  });

  test('one that is heard and too old to prove it puts the next question off by a gap from there', async () => {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS - 100);
    bench.subscriptions.newest.say(bench.fences.sendElsewhere());
    await bench.clock.advance(100);
    bench.fences.newest.confirm({ bound: 5_000 });
    await bench.clock.advance(400);
    bench.subscriptions.newest.say(bench.fences.sendElsewhere());
    const { length } = bench.fences.asked;
    await bench.clock.advance(AGAIN_MS - 1);
    expect(bench.fences.asked).toHaveLength(length);
    await bench.clock.advance(1);
    expect(bench.fences.asked).toHaveLength(length + 1);
    expect(bench.log.of('fence_proven')).toHaveLength(1);
  });

  test('it is not overdue after a pause in which nobody may have had one sent', async () => {
    await hearBefore(100);
    await bench.clock.pause(2 * LEASE_MS);
    await bench.clock.settle();
    expect(failures()).toEqual([]);
    // What it proves is too old by now.
    await bench.prove();
    expect(state()).toBe('unproven');
    await bench.clock.advance(1);
    expect(bench.fences.newest.send).toBe('always');
    await bench.prove();
    expect(state()).toBe('live');
    expect(bench.subscriptions.connections).toHaveLength(1);
  });
});

describe('those who ask for a fence', () => {
  test('get one that is sent after they asked, at once when none is in flight', async () => {
    await bench.goLive();
    const sent = bench.fences.asked.length;
    const asked = bench.listener.fence();
    await bench.clock.drain();
    expect(bench.fences.asked).toHaveLength(sent + 1);
    await bench.prove();
    expect(await asked).toEqual({ sentAt: expect.any(Number), epoch: bench.lease.epoch });
  });

  test('do not join the one in flight, and share the next', async () => {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    const settled: FenceOutcome[] = [];
    const asked = [1, 2, 3].map(() => bench.listener.fence());
    void asked[0]!.then(outcome => settled.push(outcome));
    const sent = bench.fences.asked.length;
    await bench.prove();
    expect(settled).toEqual([]);
    await bench.clock.drain();
    expect(bench.fences.asked).toHaveLength(sent + 1);
    await bench.prove();
    const outcomes = await Promise.all(asked);
    expect(new Set(outcomes).size).toBe(1);
    expect(outcomes[0]).not.toBeNull();
  });

  test('wait for the answer to a question that is under way: there is one at a time', async () => {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    const { length } = bench.fences.asked;
    const asked = bench.listener.fence();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    expect(bench.fences.asked).toHaveLength(length);
    await bench.prove();
    expect(bench.fences.asked).toHaveLength(length + 1);
    await bench.prove();
    expect(await asked).not.toBeNull();
  });

  test('do not take theirs from those who asked before, and still wait for its echo', async () => {
    await bench.goLive();
    const first = bench.listener.fence();
    await bench.clock.drain();
    bench.fences.newest.confirm();
    await bench.clock.drain();
    const second = bench.listener.fence();
    await bench.clock.drain();
    bench.echo();
    expect(await first).not.toBeNull();
    await bench.clock.drain();
    await bench.prove();
    expect(await second).not.toBeNull();
    expect(failures()).toEqual([]);
  });

  test('are told in which order fences were sent', async () => {
    await bench.goLive();
    const first = bench.listener.fence();
    await bench.clock.drain();
    const second = bench.listener.fence();
    await bench.prove();
    await bench.prove();
    expect((await second)!.sentAt).toBeGreaterThan((await first)!.sentAt);
  });

  test.each(['down', 'connecting'])('get none while it is %s', async expected => {
    if (expected === 'connecting') {
      bench.listener.start();
      await bench.clock.settle();
    }
    expect(state()).toBe(expected);
    expect(await bench.listener.fence()).toBeNull();
  });

  test('are released when the epoch ends, in flight or waiting', async () => {
    await bench.goLive();
    const inFlight = bench.listener.fence();
    await bench.clock.drain();
    const waiting = bench.listener.fence();
    bench.subscriptions.newest.lose();
    expect(await Promise.all([inFlight, waiting])).toEqual([null, null]);
  });

  test('can ask before the first proof of an epoch', async () => {
    await listening();
    const asked = bench.listener.fence();
    await bench.prove();
    await bench.prove();
    expect(await asked).not.toBeNull();
  });
});
