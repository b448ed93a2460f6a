/** Fences that are late, cannot be sent, or outlive their epoch. */
import { beforeEach, describe, expect, test } from 'vitest';
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

describe('an overdue fence', () => {
  test('ends the epoch when it was sent and never came back', async () => {
    await listening();
    bench.fences.newest.confirm();
    await bench.clock.advance(LEASE_MS - 1);
    expect(state()).toBe('listening');
    await bench.clock.advance(1);
    expect(state()).toBe('down');
    expect(failures()).toEqual(['overdue']);
    expect(bench.log.of('connection_closed')).toMatchObject([{ cause: 'fence_overdue' }]);
    expect(bench.listener.problem).toContain('GATEBELL_LISTEN_URL');
  });

  test('of a new connection after fences had come back makes reads doubtful: the pool may be elsewhere', async () => {
    await listening();
    await bench.prove();
    bench.subscriptions.newest.lose();
    await bench.clock.advance(RETRY_MS);
    await bench.accept();
    expect(bench.lease.suspectsPool).toBe(false);
    bench.fences.newest.confirm();
    await bench.clock.advance(LEASE_MS);
    expect(bench.lease.suspectsPool).toBe(true);
  });

  test('of a connection that had been proven says nothing against the pool', async () => {
    await listening();
    await bench.prove();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    bench.fences.newest.confirm();
    await bench.clock.advance(LEASE_MS);
    expect(bench.log.of('connection_closed')).toMatchObject([{ cause: 'fence_overdue' }]);
    expect(bench.lease.suspectsPool).toBe(false);
    expect(bench.poolsRenewed).toBe(0);
  });

  test('says so when the triggers signal on another channel', async () => {
    await listening();
    bench.fences.newest.confirm({ channel: 'elsewhere' });
    await bench.clock.advance(LEASE_MS);
    expect(state()).toBe('down');
    expect(failures()).toEqual(['channel_mismatch']);
    expect(bench.listener.problem).toContain(`'elsewhere'`);
    expect(bench.listener.problem).toContain('GATEBELL_CHANNEL');
  });

  test('that may never have been sent costs only itself', async () => {
    await listening();
    await bench.clock.advance(LEASE_MS);
    expect(state()).toBe('listening');
    expect(failures()).toEqual(['overdue']);
    await bench.clock.advance(RETRY_MS);
    await bench.prove();
    expect(state()).toBe('live');
  });

  test('proves nothing when it is confirmed after all', async () => {
    await listening();
    bench.echo();
    const overdue = bench.fences.newest;
    await bench.clock.advance(LEASE_MS);
    expect(failures()).toEqual(['overdue']);
    overdue.confirm();
    await bench.clock.settle();
    expect(state()).toBe('listening');
  });

  test('is not overdue when its echo was waiting to be read, after a pause', async () => {
    await listening();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    await bench.clock.pause(LEASE_MS);
    bench.echo();
    await bench.clock.settle();
    expect(state()).toBe('live');
    expect(bench.subscriptions.connections).toHaveLength(1);
  });

  test('is not overdue while messages that were waiting before its echo are still being read', async () => {
    await listening();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    await bench.clock.pause(LEASE_MS + 1);
    for (let message = 0; message < 20; message++) {
      bench.subscriptions.newest.say({ v: 1, s: 'grant' });
      await bench.clock.turn();
    }
    expect(bench.listener.state).toBe('listening');
    bench.echo();
    await bench.clock.settle();
    expect(bench.log.of('fence_proven')).toHaveLength(1);
    expect(bench.subscriptions.connections).toHaveLength(1);
  });

  test('is overdue in the end, even if messages never stop', async () => {
    await listening();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    await bench.clock.pause(LEASE_MS);
    for (let message = 0; message < 101; message++) {
      bench.subscriptions.newest.say({ v: 1, s: 'grant' });
      await bench.clock.turn();
    }
    expect(state()).toBe('down');
  });
});

describe('a fence that cannot be sent', () => {
  test('does not cost the connection, and is tried again soon', async () => {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    bench.fences.newest.fail(new Error('pool is busy'));
    await bench.clock.settle();
    expect(failures()).toEqual(['send_failed']);
    expect(state()).toBe('live');
    const sent = bench.fences.asked.length;
    await bench.clock.advance(150);
    expect(bench.fences.asked).toHaveLength(sent + 1);
    await bench.prove();
    expect(bench.log.of('fence_proven')).toHaveLength(2);
    expect(bench.subscriptions.connections).toHaveLength(1);
  });

  test('releases those who wait for it', async () => {
    await bench.goLive();
    const waiting = bench.listener.fence();
    await bench.clock.drain();
    bench.fences.newest.fail(new Error('pool is busy'));
    expect(await waiting).toBeNull();
  });
});

describe('when the epoch ends with a fence in flight', () => {
  /** The echo was heard, the confirmation is still to come. */
  async function loseInFlight(): Promise<void> {
    await bench.goLive();
    await bench.clock.advance(FENCE_INTERVAL_MS);
    bench.echo();
    bench.subscriptions.newest.lose();
  }

  test('its confirmation proves, settles and trusts nothing any more', async () => {
    await loseInFlight();
    bench.fences.newest.confirm();
    await bench.clock.settle();
    expect(bench.log.of('fence_proven')).toHaveLength(1);
    expect(bench.lease.serverId).toBeNull();
    await bench.clock.advance(RETRY_MS);
    await bench.accept();
    expect(bench.lease.isFresh(bench.clock.now())).toBe(false);
    expect(bench.lease.trusts('grant')).toBe(false);
  });

  test('its failure does not hide why the connection was given up', async () => {
    await loseInFlight();
    bench.fences.newest.fail(new Error('pool is busy'));
    await bench.clock.settle();
    expect(bench.listener.problem).toBe('the listening connection was given up: connection_lost');
  });

  test('it is said to have ended with the epoch, not to be overdue', async () => {
    await loseInFlight();
    await bench.clock.settle();
    expect(failures()).toEqual(['epoch_ended']);
  });
});
