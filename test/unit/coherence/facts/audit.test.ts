/** Audits: what is confirmed to be stale, what is not, and what they cost. */
import { beforeEach, describe, expect, test } from 'vitest';
import { createAuditor, type Auditor } from '../../../../src/coherence/facts/audit.js';
import type { AuditedCache, Cache } from '../../../../src/coherence/facts/cache.js';
import type { FenceOutcome } from '../../../../src/coherence/proof/fence.js';
import { keyText, type Change, type Key } from '../../../../src/coherence/signal.js';
import { createCacheBench, type CacheBench } from '../../../support/cache-harness.js';
import { fakeQuery } from '../../../support/fake-source.js';
import { createFixedRandom } from '../../../support/simulated-clock.js';

const INTERVAL_MS = 10_000;
const SLOTS = 3;
/** As jittered by a random of nothing but 0.5. */
const NEXT_MS = INTERVAL_MS;
const KEY: Key = ['7', '12'];
const SECRET: Key = ['c0ffee'.repeat(10)];

type TestCache = Cache<string> & AuditedCache<string>;

let bench: CacheBench;
let auditor: Auditor;
let caches: TestCache[];
let grants: TestCache;
let fences: ((outcome?: Partial<FenceOutcome & object> | null) => Promise<void>)[];
let changes: Change[];

beforeEach(() => {
  start();
});

function start(random = createFixedRandom(0.5), slotsMax = SLOTS): void {
  bench = createCacheBench({ slotsMax });
  fences = [];
  changes = [];
  caches = ['grant', 'credential'].map(topic => bench.cache(topic) as TestCache);
  [grants] = caches as [TestCache];
  for (const topic of ['grant', 'credential']) {
    bench.bus.on(topic, change => {
      changes.push(change);
    });
  }
  const { clock, lease, slots, source, bus, sequence, log } = bench;
  auditor = createAuditor({
    caches,
    intervalMs: INTERVAL_MS,
    lease,
    slots,
    source,
    bus,
    clock,
    random,
    sequence,
    observe: log.observe,
    fence: () =>
      new Promise(resolve => {
        const sent = { sentAt: sequence.next(), epoch: lease.epoch ?? 0 };
        fences.push(async (outcome = {}) => {
          resolve(outcome === null ? null : { ...sent, ...outcome });
          await clock.settle();
        });
      }),
  });
  bench.goLive('grant', 'credential');
  auditor.start();
}

/** Proves the lease anew, then waits until the next audit has read, or is held. */
async function audit(): Promise<void> {
  await bench.clock.advance(NEXT_MS - 1);
  bench.lease.prove(bench.clock.now());
  await bench.clock.advance(1);
}

/** The row changes, and nobody is told. */
async function cheat(value: string | null = 'admin', cache = grants, key = KEY): Promise<void> {
  bench.source.set(cache.topic, key, 'user');
  await bench.loaded(cache, key);
  if (value === null) {
    bench.source.remove(cache.topic, key);
  } else {
    bench.source.set(cache.topic, key, value);
  }
}

const stale = (): unknown => bench.log.of('audit_stale');
const audited = (): unknown =>
  bench.log.of('audit').map(({ topic, facts, differences }) => [topic, facts, differences]);

describe('a stale fact is confirmed when it is still there after a fence, and then', () => {
  test.each([
    ['changed', 'user', 'admin'],
    ['deleted', 'user', null],
    ['inserted', null, 'admin'],
  ])('%s: said, counted, and all of the topic forgotten', async (_, before, after) => {
    if (before === null) {
      bench.source.remove('grant', KEY);
    } else {
      bench.source.set('grant', KEY, before);
    }
    expect(await bench.loaded(grants, KEY)).toBe(before);
    bench.source.set('grant', ['8', '12'], 'other');
    await bench.loaded(grants, ['8', '12']);
    if (after === null) {
      bench.source.remove('grant', KEY);
    } else {
      bench.source.set('grant', KEY, after);
    }
    await audit();
    expect(audited()).toEqual([['grant', 2, 1]]);
    expect(stale()).toEqual([]);
    await bench.clock.advance(5);
    await fences[0]!();

    expect(stale()).toEqual([{ event: 'audit_stale', topic: 'grant', facts: 1, ageMs: NEXT_MS + 5 }]);
    expect(changes).toEqual([{ type: 'change', topic: 'grant', keys: null }]);
    expect(grants.size + grants.negativeEntries).toBe(0);
    expect(auditor.totals).toEqual([
      { topic: 'grant', facts: 2, stale: 1, staleAgeMs: NEXT_MS + 5 },
      { topic: 'credential', facts: 0, stale: 0, staleAgeMs: 0 },
    ]);
  });

  test('no key is told, whether in a name or in a value', async () => {
    await cheat('admin', caches[1], SECRET);
    await audit();
    await fences[0]!();
    expect(bench.log.of('audit_stale')).toHaveLength(1);
    const told = JSON.stringify(
      ['audit', 'audit_stale', 'load_batch', 'invalidation'].map(event => bench.log.of(event as 'audit')),
    );
    expect(told).not.toContain(SECRET[0]);
    expect(JSON.stringify(auditor.totals)).not.toContain(SECRET[0]);
  });
});

describe('a difference is not confirmed', () => {
  beforeEach(async () => {
    await cheat();
  });

  test.each<[what: string, meanwhile: () => unknown]>([
    ['its signal comes before the fence', () => bench.change('grant', [KEY])],
    ['its topic is invalidated before the fence', () => bench.change('grant', null)],
    ['everything is flushed', () => bench.bus.emit({ type: 'flush', cause: 'malformed' })],
    [
      'it was forgotten and loaded again',
      async () => {
        bench.change('grant', [KEY]);
        expect(await bench.loaded(grants, KEY)).toBe('admin');
      },
    ],
    [
      'it was forgotten and is as it was again',
      async () => {
        bench.change('grant', [KEY]);
        bench.source.set('grant', KEY, 'user');
        expect(await bench.loaded(grants, KEY)).toBe('user');
      },
    ],
    ['the triggers are no longer in place', () => bench.lease.setTrustedTopics(new Set(['credential']))],
    ['the lease has run out', () => bench.clock.pause(4_000)],
  ])('when %s', async (_, meanwhile) => {
    await audit();
    expect(fences).toHaveLength(1);
    await meanwhile();
    await fences[0]!();
    expect(stale()).toEqual([]);
  });

  test.each<[what: string, outcome: Partial<FenceOutcome & object> | null]>([
    ['failed', null],
    ['was sent before the reading', { sentAt: 1 }],
    ['belongs to another epoch', { epoch: 2 }],
  ])('by a fence that %s', async (_, outcome) => {
    await audit();
    await fences[0]!(outcome);
    expect(stale()).toEqual([]);
    expect(changes).toEqual([]);
    // It is looked at again.
    await audit();
    await fences[1]!();
    expect(stale()).toHaveLength(1);
  });

  test.each<[what: string, meanwhile: () => void]>([
    ['comes from another server', () => (bench.source.server = { ...bench.source.server, serverId: 'elsewhere/1' })],
    ['comes from a standby', () => (bench.source.server = { ...bench.source.server, inRecovery: true })],
  ])('by a reading that %s', async (_, before) => {
    before();
    await audit();
    expect(audited()).toEqual([]);
    expect(fences).toEqual([]);
    expect(bench.foreignReadings).toBe(0);
  });

  test.each<[what: string, meanwhile: () => void]>([
    ['the epoch has ended', () => bench.goDown()],
    [
      'another epoch runs',
      () => {
        bench.goDown();
        bench.goLive('grant');
      },
    ],
    ['readings are doubted', () => bench.lease.suspectPool(true)],
  ])('by a reading while which %s', async (_, meanwhile) => {
    bench.source.hold = true;
    await audit();
    meanwhile();
    bench.source.newest.answer();
    await bench.clock.settle();
    expect(audited()).toEqual([]);
    expect(fences).toEqual([]);
  });

  test('by a reading that had begun before the fact was loaded again', async () => {
    bench.source.hold = true;
    await audit();
    const reading = bench.source.newest;
    bench.change('grant', [KEY]);
    bench.source.set('grant', KEY, 'newest');
    const loaded = bench.loaded(grants, KEY);
    await bench.clock.settle();
    bench.source.newest.answer();
    expect(await loaded).toBe('newest');
    reading.answer();
    await bench.clock.settle();
    expect(audited()).toEqual([['grant', 1, 0]]);
    expect(fences).toEqual([]);
  });
});

test('a fact whose row can no longer be understood is not compared, and harms nobody', async () => {
  const cache = bench.cache(
    'credential',
    {},
    fakeQuery(value => {
      if (value === 'bad') {
        throw new Error('what is this?');
      }
      return String(value);
    }),
  ) as TestCache;
  caches.splice(0, 2, cache);
  await cheat('bad', cache);
  await audit();
  expect(audited()).toEqual([['credential', 1, 0]]);
});

test('a reading that fails is said, and costs nothing else', async () => {
  await cheat();
  const error = new Error('no connection');
  bench.source.fault = () => {
    throw error;
  };
  await audit();
  expect(bench.log.of('audit_failed')).toEqual([{ event: 'audit_failed', topic: 'grant', error }]);
  expect(bench.served(grants, KEY)).toBe('user');
  bench.source.fault = () => undefined;
  await audit();
  expect(audited()).toEqual([['grant', 1, 1]]);
});

describe('audits cost little:', () => {
  async function fillCaches(count: number): Promise<void> {
    const keys = Array.from({ length: count }, (_, id): Key => [String(id), '1']);
    for (const cache of caches) {
      for (const key of keys.slice(0, count / 2)) {
        bench.source.set(cache.topic, key, 'user');
      }
      await Promise.all([...keys.map(key => cache.load(key)), bench.clock.settle()]);
    }
  }

  test('one query an interval, of at most 100 facts, of one topic after the other', async () => {
    await fillCaches(300);
    const before = bench.source.reads.length;
    for (let round = 0; round < 4; round++) {
      await audit();
    }
    const reads = bench.source.reads.slice(before);
    expect(reads.map(({ topic, keys }) => [topic, keys.length])).toEqual([
      ['grant', 100],
      ['credential', 100],
      ['grant', 100],
      ['credential', 100],
    ]);
    for (const { keys } of reads) {
      expect(new Set(keys.map(keyText)).size).toBe(100);
    }
    expect(fences).toEqual([]);
    expect(bench.log.of('load_batch').length).toBe(before);
  });

  test('the facts are drawn by chance, those that do not exist among them', async () => {
    start(createFixedRandom(0.5, 0.1, 0.9, 0.3));
    await fillCaches(300);
    const before = bench.source.reads.length;
    for (let ms = 0; bench.source.reads.length < before + 3; ms++) {
      bench.lease.prove(bench.clock.now());
      await bench.clock.advance(1_000);
    }
    const [first, , third] = bench.source.reads.slice(before).map(({ keys }) => keys.map(([id]) => Number(id)));
    expect(third).not.toEqual(first);
    expect(first!.some(id => id < 150)).toBe(true);
    expect(first!.some(id => id >= 150)).toBe(true);
  });

  test('a topic that has no entries, or is not served, is passed over', async () => {
    await cheat('user', caches[1]);
    await audit();
    await audit();
    expect(bench.log.of('audit').map(({ topic }) => topic)).toEqual(['credential', 'credential']);
    bench.lease.setTrustedTopics(new Set(['grant']));
    const before = bench.source.reads.length;
    await audit();
    expect(bench.source.reads).toHaveLength(before);
  });

  test('nothing is read while not live', async () => {
    await cheat();
    const before = bench.source.reads.length;
    await bench.clock.advance(3 * NEXT_MS);
    bench.goDown();
    await bench.clock.advance(3 * NEXT_MS);
    expect(bench.source.reads).toHaveLength(before);
  });

  test('intervals vary by half either way', async () => {
    start(createFixedRandom(0));
    await cheat('user');
    bench.source.hold = true;
    const before = bench.source.reads.length;
    await bench.clock.advance(INTERVAL_MS / 2 - 1);
    bench.lease.prove(bench.clock.now());
    expect(bench.source.reads).toHaveLength(before);
    await bench.clock.advance(1);
    expect(bench.source.reads).toHaveLength(before + 1);
  });

  test('never two at once', async () => {
    await cheat();
    bench.source.hold = true;
    await audit();
    const before = bench.source.reads.length;
    await bench.clock.advance(5 * INTERVAL_MS);
    expect(bench.source.reads).toHaveLength(before);
  });

  test('an audit leaves a slot to the loads, and waits while there is none to spare', async () => {
    await cheat('user');
    const others = ['a', 'b', 'c'].map(topic => bench.cache(topic));
    bench.source.hold = true;
    const loading = others.slice(0, SLOTS - 1).map(cache => cache.load(KEY));
    const before = bench.source.reads.length;
    await audit();
    const held = bench.source.reads.slice(before);
    expect(held.map(({ topic }) => topic)).toEqual(['a', 'b']);
    held[0]!.answer();
    await bench.clock.settle();
    expect(bench.source.newest.topic).toBe('grant');
    // While the audit is held, a load still finds a slot.
    loading.push(others[2]!.load(KEY));
    await bench.clock.settle();
    expect(bench.source.newest.topic).toBe('c');
    for (const read of bench.source.reads.slice(before)) {
      read.answer();
    }
    await Promise.all([...loading, bench.clock.settle()]);
    expect(audited()).toEqual([['grant', 1, 0]]);
  });

  test('with one slot alone, an audit waits until nothing is under way', async () => {
    start(createFixedRandom(0.5), 1);
    await cheat('user');
    const other = bench.cache('a');
    bench.source.hold = true;
    const loading = other.load(KEY);
    await audit();
    expect(bench.source.newest.topic).toBe('a');
    bench.source.newest.answer();
    await Promise.all([loading, bench.clock.settle()]);
    expect(bench.source.newest.topic).toBe('grant');
  });
});

describe('stop() leaves nothing behind', () => {
  test('while the next audit is waited for', async () => {
    await Promise.all([auditor.stop(), bench.clock.settle()]);
    expect(bench.clock.timers).toBe(0);
  });

  test('while it waits for a slot', async () => {
    await cheat();
    bench.source.hold = true;
    for (const topic of ['a', 'b', 'c']) {
      void bench.cache(topic).load(KEY);
    }
    await audit();
    const before = bench.source.reads.length;
    await Promise.all([auditor.stop(), bench.clock.settle()]);
    for (const read of bench.source.reads) {
      read.answer();
    }
    await bench.clock.advance(INTERVAL_MS);
    expect(bench.source.reads).toHaveLength(before);
    expect(bench.clock.timers).toBe(0);
  });

  test('while it reads: waits for the answer, and asks for no fence', async () => {
    await cheat();
    bench.source.hold = true;
    await audit();
    let stopped = false;
    const stopping = auditor.stop().then(() => {
      stopped = true;
    });
    await bench.clock.settle();
    expect(stopped).toBe(false);
    bench.source.newest.answer();
    await stopping;
    expect(fences).toEqual([]);
    expect(bench.clock.timers).toBe(0);
  });

  test('before it was started, and twice', async () => {
    const { clock, lease, slots, source, bus, sequence, log } = bench;
    const off = createAuditor({
      caches,
      intervalMs: 0,
      lease,
      slots,
      source,
      bus,
      clock,
      random: createFixedRandom(),
      sequence,
      observe: log.observe,
      fence: () => Promise.resolve(null),
    });
    const before = clock.timers;
    off.start();
    expect(clock.timers).toBe(before);
    await off.stop();
    await Promise.all([auditor.stop(), auditor.stop(), clock.settle()]);
  });
});
