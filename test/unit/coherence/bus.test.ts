import { expect, test } from 'vitest';
import { createBus, type ChangeHandler, type SignalBus } from '../../../src/coherence/bus.js';
import type { Change } from '../../../src/coherence/signal.js';
import { createObservationLog, type ObservationLog } from '../../support/observation-log.js';

const change: Change = { type: 'change', topic: 'grant', keys: [['7', '12']] };

interface Bench {
  readonly bus: SignalBus;
  readonly log: ObservationLog;
  /** What was called, in order. */
  readonly calls: string[];
  cache(name: string, topic: string, apply?: () => void): void;
  handler(name: string): ChangeHandler;
}

function createBench(): Bench {
  const log = createObservationLog();
  const bus = createBus(log.observe);
  const calls: string[] = [];
  return {
    bus,
    log,
    calls,
    cache(name, topic, apply = () => undefined) {
      bus.subscribeCache({
        topic,
        apply: signal => {
          calls.push(`${name} applies ${signal.type}`);
          apply();
        },
        flush: () => {
          calls.push(`${name} flushes`);
        },
      });
    },
    handler: name => () => {
      calls.push(`${name} is told`);
    },
  };
}

const fail = (): never => {
  throw new Error('no');
};

test('tells caches first, whoever subscribed first', () => {
  const { bus, calls, cache, handler } = createBench();
  bus.on('grant', handler('subscriber'));
  cache('cache', 'grant');

  bus.emit(change);

  expect(calls).toEqual(['cache applies change', 'subscriber is told']);
});

test('has told everybody when emit returns', () => {
  const { bus, calls, cache, handler } = createBench();
  cache('cache', 'grant');
  bus.on('grant', handler('subscriber'));

  bus.emit(change);
  calls.push('emit returned');

  expect(calls.at(-1)).toBe('emit returned');
  expect(calls).toHaveLength(3);
});

test('tells of a change only those who asked for its topic', () => {
  const { bus, calls, cache, handler } = createBench();
  cache('grants', 'grant');
  cache('users', 'user');
  bus.on('grant', handler('one'));
  bus.on('user', handler('other'));

  bus.emit(change);

  expect(calls).toEqual(['grants applies change', 'one is told']);
});

test('hands the change itself to a subscriber', () => {
  const { bus } = createBench();
  const received: Change[] = [];
  bus.on('grant', got => {
    received.push(got);
  });
  bus.emit(change);
  expect(received).toEqual([change]);
});

test('flushes every cache, and reports to every subscriber that all of its topic may have changed', () => {
  const { bus, calls, cache } = createBench();
  cache('grants', 'grant');
  cache('users', 'user');
  const told: unknown[] = [];
  bus.on('grant', change => {
    calls.push('subscriber is told');
    told.push(change);
  });

  bus.emit({ type: 'flush', cause: 'malformed' });

  expect(calls).toEqual(['grants applies flush', 'users applies flush', 'subscriber is told']);
  expect(told).toEqual([{ type: 'change', topic: 'grant', keys: null }]);
});

test('calls a handler as often as it was subscribed, and one that subscribes others does not call them yet', () => {
  const { bus } = createBench();
  let calls = 0;
  const count = (): void => {
    calls += 1;
  };
  const off = bus.on('grant', count);
  bus.on('grant', () => {
    bus.on('grant', count);
  });
  bus.on('grant', count);

  bus.emit(change);
  expect(calls).toBe(2);

  off();
  bus.emit(change);
  expect(calls).toBe(4);
});

test('flushes a cache that throws, that one only, and says so', () => {
  const { bus, log, calls, cache, handler } = createBench();
  cache('before', 'grant');
  cache('broken', 'grant', fail);
  cache('after', 'grant');
  bus.on('grant', handler('subscriber'));

  bus.emit(change);

  expect(calls).toEqual([
    'before applies change',
    'broken applies change',
    'broken flushes',
    'after applies change',
    'subscriber is told',
  ]);
  expect(log.of('handler_failed')).toEqual([
    { event: 'handler_failed', topic: 'grant', handler: 'cache', error: new Error('no') },
  ]);
});

test('flushes a cache whose flush signal throws', () => {
  const { bus, calls, cache } = createBench();
  cache('broken', 'grant', fail);
  cache('after', 'user');

  bus.emit({ type: 'flush', cause: 'malformed' });

  expect(calls).toEqual(['broken applies flush', 'broken flushes', 'after applies flush']);
});

test('lets a subscriber that throws harm only itself', () => {
  const { bus, log, calls, cache, handler } = createBench();
  cache('cache', 'grant');
  bus.on('grant', handler('before'));
  bus.on('grant', fail);
  bus.on('grant', handler('after'));

  bus.emit(change);

  expect(calls).toEqual(['cache applies change', 'before is told', 'after is told']);
  expect(log.of('handler_failed')).toEqual([
    { event: 'handler_failed', topic: 'grant', handler: 'subscriber', error: new Error('no') },
  ]);
});

test('tells a subscriber nothing any more once it has unsubscribed', () => {
  const { bus, calls, handler } = createBench();
  const off = bus.on('grant', handler('one'));
  bus.on('grant', handler('other'));
  off();
  off();

  bus.emit(change);

  expect(calls).toEqual(['other is told']);
});

test('lets a subscriber unsubscribe while it is told', () => {
  const { bus, calls, handler } = createBench();
  const off = bus.on('grant', () => {
    off();
    calls.push('one is told');
  });
  bus.on('grant', handler('other'));

  bus.emit(change);
  bus.emit(change);

  expect(calls).toEqual(['one is told', 'other is told', 'other is told']);
});

test('emits to nobody without complaint', () => {
  const { bus, log } = createBench();
  bus.emit(change);
  expect(log.events).toEqual([]);
});

test('takes no async handler, because nobody would wait for it', () => {
  const { bus } = createBench();
  // @ts-expect-error the compiler refuses it
  bus.on('grant', async () => undefined);
  // @ts-expect-error nor one that returns anything else
  bus.on('grant', () => 'something');
  expect(() => {
    bus.emit(change);
  }).not.toThrow();
});
