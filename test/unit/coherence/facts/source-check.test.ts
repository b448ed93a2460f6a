/** Which readings are believed (P5). */
import { beforeEach, describe, expect, test } from 'vitest';
import { createSourceCheck, type SourceCheck } from '../../../../src/coherence/facts/source-check.js';
import { createLease, type Lease } from '../../../../src/coherence/proof/lease.js';
import type { DownCause } from '../../../../src/coherence/observation.js';
import { createSimulatedClock, type SimulatedClock } from '../../../support/simulated-clock.js';

/** A server, and a schema on it. */
const SERVER_ID = 'primary/1';
const READING = { serverId: SERVER_ID, inRecovery: false };

let clock: SimulatedClock;
let lease: Lease;
let acceptance: SourceCheck;
let resets: DownCause[];

function goLive(): void {
  lease.beginEpoch();
  lease.setServer(SERVER_ID);
  lease.prove(clock.now());
}

beforeEach(() => {
  clock = createSimulatedClock();
  lease = createLease(clock, 3_000);
  resets = [];
  acceptance = createSourceCheck({
    lease,
    clock,
    onForeignResult: cause => {
      resets.push(cause);
    },
  });
  goLive();
});

test("that of the server that is listened to; another's or a standby's resets the listener", async () => {
  const accepts = acceptance.begin();
  expect(await accepts(READING)).toBe(true);
  expect(await accepts({ ...READING, serverId: 'other/1' })).toBe(false);
  expect(await accepts({ ...READING, inRecovery: true })).toBe(false);
  expect(resets).toEqual(['foreign_reading', 'foreign_reading']);
});

test.each([
  ['another schema of the same server says nothing against the pool', { serverId: 'primary/2' }, 'schema_changed'],
  ['another server does', { serverId: 'other/1' }, 'foreign_reading'],
  ['a standby does, whatever schema it has', { serverId: 'primary/2', inRecovery: true }, 'foreign_reading'],
])('%s', async (_, reading, cause) => {
  expect(await acceptance.begin()({ ...READING, ...reading })).toBe(false);
  expect(resets).toEqual([cause]);
});

test('one that was sent before this epoch is refused and does not reset the listener of this one', async () => {
  const accepts = acceptance.begin();
  lease.endEpoch();
  goLive();
  expect(await accepts({ ...READING, serverId: 'primary/2' })).toBe(false);
  expect(resets).toEqual([]);
});

test('while nothing is listened to, that of any primary, unless the pool was found to be elsewhere', async () => {
  lease.endEpoch();
  const accepts = acceptance.begin();
  expect(await accepts({ ...READING, serverId: 'primary/2' })).toBe(true);
  expect(await accepts({ ...READING, inRecovery: true })).toBe(false);
  lease.suspectPool(true);
  expect(await accepts(READING)).toBe(false);
  expect(resets).toEqual([]);
});

describe('after a reconnect', () => {
  let judged: boolean | null;

  beforeEach(async () => {
    lease.endEpoch();
    lease.beginEpoch();
    judged = null;
    void acceptance
      .begin()(READING)
      .then(accepted => {
        judged = accepted;
      });
    await clock.settle();
  });

  test('it is judged when it is known which server is listened to', async () => {
    expect(judged).toBeNull();
    lease.setServer(SERVER_ID);
    await clock.settle();
    expect(judged).toBe(true);
    expect(clock.timers).toBe(0);
  });

  test('it is refused if that is another one', async () => {
    lease.setServer('primary/2');
    await clock.settle();
    expect(judged).toBe(false);
  });

  test('it is refused if nobody can tell for a second', async () => {
    await clock.advance(999);
    expect(judged).toBeNull();
    await clock.advance(1);
    expect(judged).toBe(false);
    expect(resets).toEqual([]);
  });

  test('it is judged at once when the epoch ends', async () => {
    lease.endEpoch();
    await clock.settle();
    expect(judged).toBe(true);
  });
});
