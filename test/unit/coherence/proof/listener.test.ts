/**
 * The states of the listener: what leads from one to the next, and what happens on the way. Fences:
 * `listener-fences.test.ts`.
 */
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

const arrows = (): string[] => bench.log.of('listener_state').map(({ from, to }) => `${from} > ${to}`);
const flushes = (): number => bench.signals.filter(({ type }) => type === 'flush').length;
const change = { v: 1, s: 'grant', k: [['7', '12']] };

/** Lets the lease run out while the pool cannot send fences. */
async function runOut(): Promise<void> {
  await bench.clock.advance(FENCE_INTERVAL_MS);
  bench.fences.newest.fail(new Error('pool is busy'));
  await bench.clock.settle();
  bench.clock.stepWall(LEASE_MS);
}

describe('on the way up', () => {
  test('is down and opens nothing before it is started', async () => {
    await bench.clock.advance(RETRY_MS);
    expect(bench.listener.state).toBe('down');
    expect(bench.listener.problem).toBe('not started');
    expect(bench.subscriptions.connections).toHaveLength(0);
  });

  test('opens one connection to its channel, however often it is started', async () => {
    bench.listener.start();
    bench.listener.start();
    await bench.clock.advance(RETRY_MS);
    expect(bench.subscriptions.connections).toHaveLength(1);
    expect(bench.subscriptions.newest.channel).toBe('gatebell');
  });

  test('is connecting, without an epoch and without a fence, until LISTEN is acknowledged', async () => {
    bench.listener.start();
    await bench.clock.settle();
    expect(bench.listener.state).toBe('connecting');
    expect(bench.lease.epoch).toBeNull();
    expect(bench.fences.asked).toHaveLength(0);
  });

  test('begins the epoch when LISTEN is acknowledged, and sends the first fence at once', async () => {
    bench.listener.start();
    await bench.accept();
    expect(bench.listener.state).toBe('listening');
    expect(bench.lease.epoch).not.toBeNull();
    expect(bench.fences.asked).toHaveLength(1);
    expect(bench.listener.problem).toBe('waiting for the first fence');
  });

  test('proves nothing by listening alone', async () => {
    bench.listener.start();
    await bench.accept();
    expect(bench.lease.isFresh(bench.clock.now())).toBe(false);
    expect(bench.lease.trusts('grant')).toBe(false);
  });

  test('is live once the first fence has come back', async () => {
    await bench.goLive();
    expect(bench.listener.state).toBe('live');
    expect(bench.listener.problem).toBeNull();
    expect(bench.lease.serves('grant', bench.clock.now())).toBe(true);
    expect(arrows()).toEqual(['down > connecting', 'connecting > listening', 'listening > live']);
  });

  test('passes on what it hears before LISTEN is known to be acknowledged', async () => {
    bench.listener.start();
    await bench.clock.settle();
    bench.subscriptions.newest.say(change);
    expect(bench.signals).toEqual([{ type: 'change', topic: 'grant', keys: [['7', '12']] }]);
  });
});

describe('while live', () => {
  test('hands changes to the bus in the same turn, and says so', async () => {
    await bench.goLive();
    const before = bench.signals.length;
    bench.subscriptions.newest.say(change);
    bench.subscriptions.newest.say({ v: 1, s: 'user' });
    expect(bench.signals.slice(before)).toEqual([
      { type: 'change', topic: 'grant', keys: [['7', '12']] },
      { type: 'change', topic: 'user', keys: null },
    ]);
    expect(bench.log.of('signal')).toEqual([
      { event: 'signal', topic: 'grant', keys: 1 },
      { event: 'signal', topic: 'user', keys: null },
    ]);
  });

  test('flushes everything on a message that it does not matchRows, and stays', async () => {
    await bench.goLive();
    bench.subscriptions.newest.say('späm');
    expect(bench.signals.at(-1)).toEqual({ type: 'flush', cause: 'malformed' });
    expect(bench.log.of('message_malformed')).toEqual([
      { event: 'message_malformed', problem: 'not JSON', payloadBytes: 5 },
    ]);
    expect(bench.log.of('flush')).toEqual([{ event: 'flush', cause: 'malformed' }]);
    expect(bench.listener.state).toBe('live');
  });

  test('makes nothing of barriers and their acknowledgements', async () => {
    await bench.goLive();
    const before = bench.signals.length;
    bench.subscriptions.newest.say({ v: 1, b: 'id' });
    bench.subscriptions.newest.say({ v: 1, a: 'id', r: 'other' });
    expect(bench.signals).toHaveLength(before);
    expect(bench.listener.state).toBe('live');
  });

  test('is unproven when the lease has run out, keeps its cache, and is live again with the next proof', async () => {
    await bench.goLive();
    const before = bench.signals.length;
    await runOut();
    expect(bench.listener.state).toBe('unproven');
    expect(bench.listener.problem).toContain('pool is busy');
    await bench.clock.advance(RETRY_MS);
    await bench.prove();
    expect(bench.listener.state).toBe('live');
    expect(bench.signals).toHaveLength(before);
    expect(arrows().slice(-2)).toEqual(['live > unproven', 'unproven > live']);
    expect(bench.subscriptions.connections).toHaveLength(1);
  });

  test('is proven again by an echo that comes after the lease ran out', async () => {
    await bench.goLive();
    await bench.clock.advance(LEASE_MS + 1);
    expect(bench.listener.state).toBe('unproven');
    await bench.prove();
    expect(bench.listener.state).toBe('live');
    expect(flushes()).toBe(0);
  });
});

describe('on the way down', () => {
  test('ends the epoch and flushes in the turn in which the connection is lost', async () => {
    await bench.goLive();
    bench.subscriptions.newest.lose(new Error('reset'));
    expect(bench.listener.state).toBe('down');
    expect(bench.lease.epoch).toBeNull();
    expect(bench.lease.isFresh(bench.clock.now())).toBe(false);
    expect(bench.signals.at(-1)).toEqual({ type: 'flush', cause: 'down' });
    expect(bench.log.of('connection_closed')).toEqual([
      { event: 'connection_closed', cause: 'connection_lost', error: new Error('reset') },
    ]);
    expect(arrows().at(-1)).toBe('live > down');
    expect(bench.subscriptions.newest.closes).toBe(1);
  });

  test('has ended the epoch before anybody hears of the flush', async () => {
    await bench.goLive();
    const epochs: (number | null)[] = [];
    bench.bus.subscribeCache({
      topic: 'grant',
      apply: () => {
        epochs.push(bench.lease.epoch);
      },
      flush: () => undefined,
    });
    bench.subscriptions.newest.lose();
    expect(epochs).toEqual([null]);
  });

  test('goes down from listening', async () => {
    bench.listener.start();
    await bench.accept();
    bench.subscriptions.newest.lose();
    expect(bench.listener.state).toBe('down');
    expect(flushes()).toBe(1);
    expect(arrows().at(-1)).toBe('listening > down');
  });

  test('goes down from unproven', async () => {
    await bench.goLive();
    await runOut();
    expect(bench.listener.state).toBe('unproven');
    bench.subscriptions.newest.lose();
    expect(bench.listener.state).toBe('down');
    expect(flushes()).toBe(1);
  });

  test('goes down from connecting when it is refused, says why, and tries again', async () => {
    bench.listener.start();
    await bench.clock.settle();
    bench.subscriptions.newest.refuse(new Error('password'));
    await bench.clock.settle();
    expect(bench.listener.state).toBe('down');
    expect(bench.listener.problem).toBe('cannot listen: password');
    expect(bench.log.of('connection_failed')).toHaveLength(1);
    expect(arrows()).toEqual(['down > connecting', 'connecting > down']);
    await bench.clock.advance(RETRY_MS);
    expect(bench.subscriptions.connections).toHaveLength(2);
    expect(bench.listener.state).toBe('connecting');
  });

  test('closes a connection that was lost before LISTEN was acknowledged', async () => {
    bench.listener.start();
    await bench.clock.settle();
    bench.subscriptions.newest.accept();
    bench.subscriptions.newest.lose();
    await bench.clock.settle();
    expect(bench.subscriptions.newest.closes).toBe(1);
    expect(bench.lease.epoch).toBeNull();
    expect(bench.listener.state).toBe('down');
  });

  test('gives the connection up when it is told to distrust it', async () => {
    await bench.goLive();
    bench.listener.reset('foreign_reading');
    expect(bench.listener.state).toBe('down');
    expect(bench.signals.at(-1)).toEqual({ type: 'flush', cause: 'down' });
    expect(bench.log.of('connection_closed')).toMatchObject([{ cause: 'foreign_reading' }]);
    bench.listener.reset('foreign_reading');
    expect(flushes()).toBe(1);
  });

  test('flushes before it serves again after a reconnect, on a new connection and in a new epoch', async () => {
    await bench.goLive();
    const [first, epoch] = [bench.subscriptions.newest, bench.lease.epoch];
    first.lose();
    expect(flushes()).toBe(1);
    await bench.clock.advance(RETRY_MS);
    expect(bench.subscriptions.connections).toHaveLength(2);
    expect(bench.subscriptions.newest).not.toBe(first);
    await bench.accept();
    expect(bench.lease.isFresh(bench.clock.now())).toBe(false);
    await bench.prove();
    expect(bench.listener.state).toBe('live');
    expect(bench.lease.epoch).toBeGreaterThan(epoch!);
  });
});
