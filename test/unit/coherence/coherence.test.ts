/** All parts together: what a program sees, from the signal to the answer. */
import { beforeEach, describe, expect, test } from 'vitest';
import { createCoherence, type Coherence, type CoherentCache } from '../../../src/coherence/coherence.js';
import type { Key } from '../../../src/coherence/signal.js';
import { CHANNEL, createFakeFences, type FakeFences } from '../../support/fake-fences.js';
import { createFakeSource, fakeQuery, type FakeSource } from '../../support/fake-source.js';
import { createFakeSubscriptions, type FakeSubscriptions } from '../../support/fake-subscription.js';
import { createObservationLog, type ObservationLog } from '../../support/observation-log.js';
import { createFixedRandom, createSimulatedClock, type SimulatedClock } from '../../support/simulated-clock.js';

const LEASE_MS = 3_000;
const RETRY_MS = 5_000;
const KEY: Key = ['7', '12'];

let clock: SimulatedClock;
let log: ObservationLog;
let source: FakeSource;
let fences: FakeFences;
let subscriptions: FakeSubscriptions;
let coherence: Coherence;
let grants: CoherentCache<string>;

beforeEach(() => {
  clock = createSimulatedClock();
  log = createObservationLog();
  source = createFakeSource();
  fences = createFakeFences(['grant']);
  subscriptions = createFakeSubscriptions();
  coherence = createCoherence({
    channel: CHANNEL,
    replica: 'replica 1',
    leaseMs: LEASE_MS,
    fenceIntervalMs: 1_000,
    loadsMax: 3,
    clock,
    random: createFixedRandom(),
    observe: log.observe,
    openSubscription: subscriptions.open,
    askServer: fences.askServer,
    askFence: fences.ask,
    renewPool: () => undefined,
    source,
  });
  grants = coherence.coherentCache({ topic: 'grant', load: fakeQuery(), entriesMax: 1_000 });
  source.set('grant', KEY, 'admin');
});

async function prove(): Promise<void> {
  subscriptions.newest.say(fences.newest.message);
  fences.newest.confirm();
  await clock.settle();
}

async function accept(): Promise<void> {
  subscriptions.newest.accept();
  await clock.settle();
}

async function goLive(): Promise<void> {
  coherence.start();
  await clock.settle();
  await accept();
  await prove();
}

async function get(options?: { readonly strong: boolean }): Promise<string | null> {
  const [value] = await Promise.all([grants.get(KEY, options), clock.settle()]);
  return value;
}

const notify = (): void => subscriptions.newest.say({ v: 1, s: 'grant', k: [KEY] });

describe('a read', () => {
  test('goes to Postgres each time until the listener is started', async () => {
    expect(coherence.state).toBe('down');
    await get();
    await get();
    expect(source.reads).toHaveLength(2);
    expect(grants.size).toBe(0);
  });

  test('comes from memory while live, until Postgres says otherwise', async () => {
    await goLive();
    expect([await get(), await get()]).toEqual(['admin', 'admin']);
    expect(source.reads).toHaveLength(1);
    source.remove('grant', KEY);
    notify();
    expect([await get(), await get()]).toEqual([null, null]);
    expect(source.reads).toHaveLength(2);
  });

  test('is not answered from memory when the lease has run out', async () => {
    await goLive();
    await get();
    source.remove('grant', KEY);
    await clock.pause(LEASE_MS + 1);
    expect(coherence.stalenessBoundMs).toBeNull();
    expect(await get()).toBeNull();
  });

  test('that is strong joins only a fence that is sent after it arrived', async () => {
    await goLive();
    await get();
    await clock.advance(1_000);
    const inFlight = fences.newest;
    const asked = grants.get(KEY, { strong: true });
    source.remove('grant', KEY);
    await prove();
    expect(fences.newest).not.toBe(inFlight);
    notify();
    await prove();
    await clock.advance(1_000);
    await prove();
    expect(await asked).toBeNull();
  });

  test('that is strong does not wait for a listener that is down', async () => {
    await goLive();
    await get();
    subscriptions.newest.lose();
    expect(await get({ strong: true })).toBe('admin');
    expect(source.reads).toHaveLength(2);
  });

  test('that is strong is released when the connection is lost while it waits', async () => {
    await goLive();
    await get();
    const asked = grants.get(KEY, { strong: true });
    await clock.settle();
    source.remove('grant', KEY);
    subscriptions.newest.lose();
    await clock.settle();
    expect(await asked).toBeNull();
  });

  test('that is strong is released by its deadline when no fence comes back', async () => {
    await goLive();
    await get();
    const asked = grants.get(KEY, { strong: true });
    source.remove('grant', KEY);
    await clock.advance(LEASE_MS / 2);
    expect(await asked).toBeNull();
  });
});

describe('what was cached', () => {
  test('is forgotten before anything is served again after a reconnect', async () => {
    await goLive();
    await get();
    subscriptions.newest.lose();
    expect(grants.size).toBe(0);
    source.remove('grant', KEY);
    await clock.advance(RETRY_MS);
    await accept();
    await prove();
    expect(coherence.state).toBe('live');
    expect(await get()).toBeNull();
  });

  test('does not come back through a load that was under way across a reconnect', async () => {
    await goLive();
    source.hold = true;
    const asked = grants.get(KEY);
    await clock.settle();
    source.remove('grant', KEY);
    subscriptions.newest.lose();
    // Soon: what was read more than a lease ago would decide nothing.
    await clock.advance(1_000);
    await accept();
    await prove();
    source.hold = false;
    source.newest.answer();
    await clock.settle();
    expect(await asked).toBe('admin');
    expect(await get()).toBeNull();
  });

  test('never includes a load that is older than the triggers that watch over it', async () => {
    const { watches } = fences.receipt;
    fences.receipt = { ...fences.receipt, watches: [] };
    await goLive();
    source.hold = true;
    const asked = grants.get(KEY);
    await clock.settle();
    // The row changes while no trigger is there to say so; then the table is watched, and the next fence sees it.
    source.remove('grant', KEY);
    fences.receipt = { ...fences.receipt, watches };
    await clock.advance(1_000);
    await prove();
    source.hold = false;
    source.newest.answer();
    await clock.settle();
    expect(await asked).toBe('admin');
    expect(await get()).toBeNull();
  });

  test('is dropped when it is stopped, and every read goes to Postgres again', async () => {
    await goLive();
    await get();
    const [stopping] = [coherence.stop(), clock.settle()];
    expect(grants.size).toBe(0);
    await stopping;
    await coherence.stop();
    expect(coherence.state).toBe('down');
    await get();
    await get();
    expect(source.reads).toHaveLength(3);
  });
});

describe('another server', () => {
  test('that answers a load ends the epoch', async () => {
    await goLive();
    source.server = { ...source.server, serverId: 'primary/2' };
    await expect(get()).rejects.toMatchObject({ reason: 'foreign_reading' });
    expect(log.of('connection_closed')).toMatchObject([{ cause: 'foreign_reading' }]);
    expect(coherence.stalenessBoundMs).toBeNull();
  });
});

describe('a subscriber', () => {
  test('is called after the caches forgot', async () => {
    await goLive();
    await get();
    const seen: unknown[] = [];
    coherence.on('grant', ({ keys }) => {
      seen.push(keys, grants.lookup(KEY, clock.now()));
    });
    notify();
    expect(seen).toEqual([[KEY], undefined]);
  });

  test('hears that everything may have changed when an epoch ends, and again when the next begins', async () => {
    const told: unknown[] = [];
    coherence.on('grant', ({ keys }) => {
      told.push(keys);
    });
    await goLive();
    subscriptions.newest.lose();
    await clock.advance(RETRY_MS);
    await accept();
    await prove();
    expect(told).toEqual([null, null, null]);
  });

  test('is called no more once it has unsubscribed', async () => {
    await goLive();
    const told: unknown[] = [];
    const off = coherence.on('grant', change => {
      told.push(change);
    });
    off();
    notify();
    expect(told).toEqual([]);
  });
});

describe('what an operator sees', () => {
  test('is the state, the problem, and the bound of staleness', async () => {
    expect([coherence.state, coherence.problem, coherence.stalenessBoundMs]).toEqual(['down', 'not started', null]);
    await goLive();
    await clock.advance(400);
    expect([coherence.state, coherence.problem, coherence.stalenessBoundMs]).toEqual(['live', null, 400]);
  });

  test('is each topic that is cached and not watched', async () => {
    coherence.coherentCache({ topic: 'price', load: fakeQuery() });
    expect(coherence.watchProblems.size).toBe(0);
    await goLive();
    expect([...coherence.watchProblems]).toEqual([['price', 'no table is watched for this topic']]);
    expect(coherence.caches.map(({ topic }) => topic)).toEqual(['grant', 'price']);
  });

  test('is what is wrong with a watch, in the words of the database', async () => {
    fences.receipt = {
      ...fences.receipt,
      watches: [{ topic: 'grant', problem: 'trigger is missing', fingerprint: '1', writers: [] }],
    };
    await goLive();
    expect([...coherence.watchProblems]).toEqual([['grant', 'trigger is missing']]);
    await get();
    await get();
    expect(source.reads).toHaveLength(2);
  });
});
