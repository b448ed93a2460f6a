import { beforeEach, describe, expect, test } from 'vitest';
import { createLease, createServerClock, type Lease } from '../../../../src/coherence/proof/lease.js';
import { createSimulatedClock, type SimulatedClock } from '../../../support/simulated-clock.js';

const LEASE_MS = 3_000;
let clock: SimulatedClock;
let lease: Lease;

beforeEach(() => {
  clock = createSimulatedClock();
  lease = createLease(clock, LEASE_MS);
});

const serves = (topic = 'grant'): boolean => lease.serves(topic, clock.now());

function goLive(): void {
  lease.beginEpoch();
  lease.setServer('primary');
  lease.setTrustedTopics(new Set(['grant']));
  lease.prove(clock.now());
}

describe('the proof', () => {
  test('serves up to the lease and not beyond it', async () => {
    goLive();
    await clock.advance(LEASE_MS);
    expect(serves()).toBe(true);
    await clock.advance(1);
    expect(serves()).toBe(false);
  });

  test('serves nothing before the first proof', () => {
    lease.beginEpoch();
    lease.setTrustedTopics(new Set(['grant']));
    expect(serves()).toBe(false);
    expect(lease.isFresh(clock.now())).toBe(false);
  });

  test('counts from when the question was asked, not from when its fence came back', async () => {
    goLive();
    const sent = clock.now();
    await clock.advance(2_000);
    lease.prove(sent);
    await clock.advance(1_001);
    expect(serves()).toBe(false);
  });

  test('runs out when the wall clock alone has moved on, as after a suspension', () => {
    goLive();
    clock.stepWall(LEASE_MS);
    expect(serves()).toBe(true);
    clock.stepWall(1);
    expect(serves()).toBe(false);
  });

  test('runs out when the monotonic clock alone has moved on', () => {
    goLive();
    clock.stepMono(LEASE_MS);
    expect(serves()).toBe(true);
    clock.stepMono(1);
    expect(serves()).toBe(false);
  });

  test('holds for nothing once the wall clock was stepped back behind it', () => {
    goLive();
    clock.stepWall(-1);
    expect(serves()).toBe(false);
  });

  test('holds for nothing while the monotonic clock is behind it', () => {
    goLive();
    clock.stepMono(-1);
    expect(serves()).toBe(false);
  });

  test('is renewed after a step by the next fence', () => {
    goLive();
    clock.stepWall(-3_600_000);
    expect(serves()).toBe(false);
    lease.prove(clock.now());
    expect(serves()).toBe(true);
    clock.stepWall(7_200_000);
    expect(serves()).toBe(false);
    lease.prove(clock.now());
    expect(serves()).toBe(true);
  });

  test('never goes backwards', async () => {
    const old = clock.now();
    await clock.advance(2_000);
    goLive();
    lease.prove(old);
    await clock.advance(2_500);
    expect(serves()).toBe(true);
  });

  test('is judged at the instant asked about', async () => {
    goLive();
    const then = clock.now();
    await clock.advance(LEASE_MS + 1);
    expect(lease.serves('grant', then)).toBe(true);
    expect(lease.serves('grant', clock.now())).toBe(false);
  });

  test('bounds staleness by the clock that ran further, and by nothing once it has run out', async () => {
    expect(lease.stalenessBoundMs()).toBeNull();
    goLive();
    expect(lease.stalenessBoundMs()).toBe(0);
    await clock.advance(1_000);
    expect(lease.stalenessBoundMs()).toBe(1_000);
    clock.stepWall(500);
    expect(lease.stalenessBoundMs()).toBe(1_500);
    clock.stepMono(900);
    expect(lease.stalenessBoundMs()).toBe(1_900);
    await clock.advance(LEASE_MS);
    expect(lease.stalenessBoundMs()).toBeNull();
  });
});

describe('the epoch', () => {
  test('is there only between begin and end', () => {
    expect(lease.epoch).toBeNull();
    lease.beginEpoch();
    expect(lease.epoch).not.toBeNull();
    lease.endEpoch();
    expect(lease.epoch).toBeNull();
  });

  test('never returns under the same number', () => {
    const first = lease.beginEpoch();
    lease.endEpoch();
    const second = lease.beginEpoch();
    expect(second).not.toBe(first);
    expect(lease.epoch).toBe(second);
  });

  test('takes proof, server id and trust with it when it ends', () => {
    goLive();
    lease.endEpoch();
    expect(serves()).toBe(false);
    expect(lease.trusts('grant')).toBe(false);
    expect(lease.serverId).toBeNull();
    expect(lease.isFresh(clock.now())).toBe(false);

    lease.beginEpoch();
    expect(lease.isFresh(clock.now())).toBe(false);
    expect(serves()).toBe(false);
    expect(lease.trusts('grant')).toBe(false);
    expect(lease.serverId).toBeNull();
  });

  test('is what trust belongs to: without one nothing is trusted', () => {
    lease.setTrustedTopics(new Set(['grant']));
    expect(lease.trusts('grant')).toBe(false);
  });

  test('cannot be proven while there is none', () => {
    lease.prove(clock.now());
    lease.beginEpoch();
    lease.setTrustedTopics(new Set(['grant']));
    expect(serves()).toBe(false);
  });
});

describe('trust', () => {
  test('serves only the topics whose triggers are in place', () => {
    goLive();
    expect(lease.trusts('grant')).toBe(true);
    expect(serves('grant')).toBe(true);
    expect(lease.trusts('user')).toBe(false);
    expect(serves('user')).toBe(false);
  });

  test('is taken back by a later finding', () => {
    goLive();
    lease.setTrustedTopics(new Set(['user']));
    expect(serves('grant')).toBe(false);
    expect(serves('user')).toBe(true);
  });

  test('outlasts the proof, so that facts may be stored before the next fence', async () => {
    goLive();
    await clock.advance(LEASE_MS + 1);
    expect(serves()).toBe(false);
    expect(lease.trusts('grant')).toBe(true);
  });
});

describe('the server clock', () => {
  test('knows nothing before the first answer', () => {
    expect(createServerClock().nowMs(clock.now())).toBe(-Infinity);
  });

  test('counts from when the question was sent, so it is never behind', async () => {
    const server = createServerClock();
    const sent = clock.now();
    await clock.advance(400);
    server.observe(sent, 10_000);
    expect(server.nowMs(clock.now())).toBe(10_400);
  });

  test('goes by whichever of our clocks ran further', () => {
    const server = createServerClock();
    server.observe(clock.now(), 10_000);
    clock.stepWall(60_000);
    expect(server.nowMs(clock.now())).toBe(70_000);
    clock.stepMono(90_000);
    expect(server.nowMs(clock.now())).toBe(100_000);
  });

  test('does not go back with our wall clock', async () => {
    const server = createServerClock();
    server.observe(clock.now(), 10_000);
    await clock.advance(1_000);
    clock.stepWall(-3_600_000);
    expect(server.nowMs(clock.now())).toBe(11_000);
    clock.stepMono(-5_000);
    expect(server.nowMs(clock.now())).toBe(10_000);
  });

  test('believes the newest question, not the newest answer', async () => {
    const server = createServerClock();
    const old = clock.now();
    await clock.advance(1_000);
    server.observe(clock.now(), 20_000);
    server.observe(old, 10_000);
    expect(server.nowMs(clock.now())).toBe(20_000);
  });
});

describe('the doubt about readings', () => {
  test("needs an earlier proof when it is not certain that the pool ever led to the listener's server", () => {
    lease.beginEpoch();
    lease.suspectPool(false);
    expect(lease.suspectsPool).toBe(false);
  });

  test('needs none when the pool was found elsewhere', () => {
    lease.beginEpoch();
    lease.suspectPool(true);
    expect(lease.suspectsPool).toBe(true);
  });

  test('lasts over epochs until both are known to see the same server', () => {
    goLive();
    lease.endEpoch();
    lease.beginEpoch();
    lease.suspectPool(false);
    lease.endEpoch();
    lease.beginEpoch();
    expect(lease.suspectsPool).toBe(true);
    lease.setServer('primary/1');
    expect(lease.suspectsPool).toBe(false);
  });

  test('is not lifted by a later, weaker reason', () => {
    lease.beginEpoch();
    lease.suspectPool(true);
    lease.suspectPool(false);
    expect(lease.suspectsPool).toBe(true);
  });
});

test("changes may be sent to the listener's server while that is proven and the pool is not in doubt", async () => {
  const proven = (): string | null => lease.provenServerId(clock.now());
  lease.beginEpoch();
  lease.setServer('primary');
  expect(proven()).toBeNull();
  lease.prove(clock.now());
  expect(proven()).toBe('primary');
  lease.suspectPool(true);
  expect(proven()).toBeNull();
  lease.setServer('primary');
  expect(proven()).toBe('primary');
  await clock.advance(LEASE_MS + 1);
  expect(proven()).toBeNull();
});

describe('the question which server is listened to', () => {
  test('is the same one from the first attempt to its answer: who asked early hears it', () => {
    lease.expectEpoch();
    const pending = lease.serverPending;
    lease.beginEpoch();
    expect(lease.serverPending).toBe(pending);
    lease.setServer('primary');
    expect(pending?.aborted).toBe(true);
  });

  test('is not asked without an epoch', () => {
    expect(lease.serverPending).toBeNull();
    goLive();
    lease.endEpoch();
    expect(lease.serverPending).toBeNull();
  });

  test('is open while the first epoch is expected, until that has failed', () => {
    lease.expectEpoch();
    const pending = lease.serverPending;
    expect(pending?.aborted).toBe(false);
    lease.endEpoch();
    expect(pending?.aborted).toBe(true);
    expect(lease.serverPending).toBeNull();
  });

  test.each(['first', 'later'])('is open from the beginning of a %s epoch until it is answered', which => {
    if (which === 'later') {
      goLive();
      lease.endEpoch();
    } else {
      lease.expectEpoch();
    }
    lease.beginEpoch();
    const pending = lease.serverPending;
    expect(pending?.aborted).toBe(false);
    lease.setServer('primary/1');
    expect(pending?.aborted).toBe(true);
    expect(lease.serverPending).toBeNull();
  });

  test('ends with its epoch', () => {
    goLive();
    lease.endEpoch();
    lease.beginEpoch();
    const pending = lease.serverPending;
    lease.endEpoch();
    expect(pending?.aborted).toBe(true);
    lease.beginEpoch();
    expect(lease.serverPending?.aborted).toBe(false);
  });
});
