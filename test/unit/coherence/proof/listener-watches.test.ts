/** Trust in the triggers, which every fence reads again (P11). */
import { beforeEach, describe, expect, test } from 'vitest';
import type { WatchState } from '../../../../src/coherence/proof/watches.js';
import type { Signal } from '../../../../src/coherence/signal.js';
import { createListenerBench, RETRY_MS, type ListenerBench } from '../../../support/listener-harness.js';

let bench: ListenerBench;

beforeEach(async () => {
  bench = createListenerBench();
  await bench.goLive();
});

const watch = (
  topic: string,
  fingerprint = '1',
  problem: string | null = null,
  writers: readonly string[] | null = [],
): WatchState => ({ topic, fingerprint, problem, writers });
const serves = (topic: string): boolean => bench.lease.serves(topic, bench.clock.now());
const everythingOf = (topic: string): Signal => ({ type: 'change', topic, keys: null });

/** What the next fence, with these watches, makes the caches forget. */
async function forgottenAt(watches: readonly WatchState[]): Promise<Signal[]> {
  const before = bench.signals.length;
  await bench.proveNext(watches);
  return bench.signals.slice(before);
}

test('trusts what is watched, and nothing else', () => {
  expect(['grant', 'user', 'price'].map(serves)).toEqual([true, true, false]);
  expect(bench.listener.watchProblems.size).toBe(0);
});

test('serves nothing of a topic whose triggers are not in place, says why, and stays live for the others', async () => {
  await bench.proveNext([watch('grant', '2', 'trigger is missing'), watch('user')]);
  expect(bench.listener.state).toBe('live');
  expect(['grant', 'user'].map(serves)).toEqual([false, true]);
  expect([...bench.listener.watchProblems]).toEqual([['grant', 'trigger is missing']]);
});

test('says once that something is wrong, and once that it is well again', async () => {
  const broken = [watch('grant', '2', 'trigger is missing'), watch('user')];
  await bench.proveNext(broken);
  await bench.proveNext(broken);
  await bench.proveNext([watch('grant', '3'), watch('user')]);
  await bench.proveNext([watch('grant', '3'), watch('user')]);
  expect(bench.log.of('watch_changed')).toEqual([
    { event: 'watch_changed', topic: 'grant', problem: 'trigger is missing' },
    { event: 'watch_changed', topic: 'grant', problem: null },
  ]);
  expect(bench.listener.watchProblems.size).toBe(0);
  expect(serves('grant')).toBe(true);
});

test('forgets a topic whose triggers were touched, and only that', async () => {
  expect(await forgottenAt([watch('grant', '2'), watch('user')])).toEqual([everythingOf('grant')]);
});

test('forgets nothing when all is as it was', async () => {
  expect(await forgottenAt([watch('grant'), watch('user')])).toEqual([]);
});

test('forgets a topic whose watch was broken for a while, even if no trigger looks touched', async () => {
  await bench.proveNext([watch('grant', '1', 'not enabled on a partition'), watch('user')]);
  expect(await forgottenAt([watch('grant'), watch('user')])).toEqual([everythingOf('grant')]);
});

test('serves nothing of a topic that is no longer watched, and says so', async () => {
  await bench.proveNext([watch('user')]);
  expect(['grant', 'user'].map(serves)).toEqual([false, true]);
  expect([...bench.listener.watchProblems]).toEqual([['grant', 'the table is no longer watched']]);
});

test('forgets a topic that is watched again', async () => {
  await bench.proveNext([watch('user')]);
  expect(await forgottenAt([watch('grant'), watch('user')])).toEqual([everythingOf('grant')]);
  expect(serves('grant')).toBe(true);
  expect(bench.listener.watchProblems.size).toBe(0);
});

test('trusts no topic of which another is still to be forgotten', async () => {
  const trusted: boolean[][] = [];
  for (const topic of ['grant', 'user']) {
    bench.bus.on(topic, () => {
      trusted.push(['grant', 'user'].map(one => bench.lease.trusts(one)));
    });
  }
  await bench.proveNext([watch('grant', '2'), watch('user', '2')]);
  expect(trusted).toEqual([
    [false, false],
    [false, false],
  ]);
  expect(['grant', 'user'].map(serves)).toEqual([true, true]);
});

test('begins a newly watched topic from nothing: what is being loaded may be older than its triggers', async () => {
  bench = createListenerBench();
  bench.fences.receipt = { ...bench.fences.receipt, watches: [watch('user')] };
  await bench.goLive();
  expect(await forgottenAt([watch('user'), watch('grant')])).toEqual([everythingOf('grant')]);
});

test('trusts a topic of two tables only while both are in place', async () => {
  await bench.proveNext([watch('grant', '1', 'trigger is missing'), watch('grant', '1'), watch('user')]);
  expect(serves('grant')).toBe(false);
  await bench.proveNext([watch('grant', '1'), watch('grant', '1', 'trigger is missing'), watch('user')]);
  expect(serves('grant')).toBe(false);
  await bench.proveNext([watch('grant', '1'), watch('grant', '1'), watch('user')]);
  expect(serves('grant')).toBe(true);
});

test('forgets a topic of two tables when the triggers of either were touched', async () => {
  await bench.proveNext([watch('grant', '1'), watch('grant', '1'), watch('user')]);
  expect(await forgottenAt([watch('grant', '1'), watch('grant', '2'), watch('user')])).toEqual([everythingOf('grant')]);
  expect(await forgottenAt([watch('grant', '3'), watch('grant', '2'), watch('user')])).toEqual([everythingOf('grant')]);
});

test('has forgotten before the proof is believed', async () => {
  const proven: boolean[] = [];
  bench.bus.on('grant', () => {
    proven.push(bench.lease.stalenessBoundMs() === 0);
  });
  await bench.proveNext([watch('grant', '2'), watch('user')]);
  expect(proven).toEqual([false]);
});

test('asks about the triggers anew in each epoch', async () => {
  bench.subscriptions.newest.lose();
  await bench.clock.advance(RETRY_MS);
  await bench.accept();
  expect(bench.lease.trusts('grant')).toBe(false);
  await bench.prove({ watches: [watch('user')] });
  expect(['grant', 'user'].map(serves)).toEqual([false, true]);
});

test('what was known of the triggers ends with the epoch: their writers are asked about again', async () => {
  bench.subscriptions.newest.lose();
  await bench.clock.advance(RETRY_MS);
  await bench.accept();
  expect(bench.fences.newest.trusted).toEqual([]);
  await bench.prove({ watches: [watch('grant', '1', null, ['3/1'])] });
  expect(serves('grant')).toBe(false);
  // 'user' was watched in the epoch before; nothing has changed in this one.
  expect([...bench.listener.watchProblems.keys()]).toEqual(['grant']);
});

test('reads nothing from a fence that proves nothing', async () => {
  await bench.clock.advance(1_000);
  bench.clock.stepWall(500);
  await bench.prove({ watches: [] });
  expect(serves('grant')).toBe(true);
  expect(bench.listener.watchProblems.size).toBe(0);
});

test.each<[string, readonly WatchState[]]>([
  ['broken', [watch('grant', '1', 'trigger is missing'), watch('user')]],
  ['taken away', [watch('user')]],
])('a watch that was %s and looks as before waits for its writers again', async (_, watches) => {
  await bench.proveNext(watches);
  await bench.proveNext([watch('grant', '1', null, ['3/1']), watch('user')]);
  expect(serves('grant')).toBe(false);
  await bench.proveNext([watch('grant'), watch('user')]);
  expect(serves('grant')).toBe(true);
});

describe('open writers', () => {
  const waits = (): readonly string[] => [...bench.listener.watchProblems.values()];

  test('a topic whose triggers were touched is trusted when the writers of that moment have ended', async () => {
    await bench.proveNext([watch('grant', '2', null, ['3/1', '4/1']), watch('user')]);
    expect(['grant', 'user'].map(serves)).toEqual([false, true]);
    expect(waits()).toEqual([
      expect.stringMatching(/^waiting for writers: .*2; pg_locks.virtualtransaction 3\/1, 4\/1/),
    ]);
    await bench.proveNext([watch('grant', '2', null, ['4/1', '5/9']), watch('user')]);
    expect(serves('grant')).toBe(false);
    expect(await forgottenAt([watch('grant', '2', null, ['5/9', '6/1']), watch('user')])).toEqual([
      everythingOf('grant'),
    ]);
    expect(serves('grant')).toBe(true);
    expect(waits()).toEqual([]);
  });

  test('so is one that is seen for the first time in an epoch', async () => {
    bench = createListenerBench();
    bench.fences.receipt = { ...bench.fences.receipt, watches: [watch('grant', '1', null, ['3/1'])] };
    await bench.goLive();
    expect(serves('grant')).toBe(false);
    await bench.proveNext([watch('grant')]);
    expect(serves('grant')).toBe(true);
  });

  test('when it cannot be known who writes, the next fence asks again, and counts those whom it finds', async () => {
    await bench.proveNext([watch('grant', '2', null, null), watch('user')]);
    expect(serves('grant')).toBe(false);
    await bench.proveNext([watch('grant', '2', null, ['3/1']), watch('user')]);
    await bench.proveNext([watch('grant', '2', null, null), watch('user')]);
    expect(serves('grant')).toBe(false);
    await bench.proveNext([watch('grant', '2', null, ['4/1']), watch('user')]);
    expect(serves('grant')).toBe(true);
  });

  test('triggers that are touched again while it waits are waited for anew', async () => {
    await bench.proveNext([watch('grant', '2', null, ['3/1']), watch('user')]);
    await bench.proveNext([watch('grant', '3', null, ['4/1']), watch('user')]);
    expect(serves('grant')).toBe(false);
    await bench.proveNext([watch('grant', '3', null, ['3/1']), watch('user')]);
    expect(serves('grant')).toBe(true);
  });

  test('the writers of all tables of a topic count', async () => {
    await bench.proveNext([watch('grant', '2', null, []), watch('grant', '2', null, ['3/1']), watch('user')]);
    expect(serves('grant')).toBe(false);
    await bench.proveNext([watch('grant', '2', null, null), watch('grant', '2', null, []), watch('user')]);
    expect(serves('grant')).toBe(false);
    await bench.proveNext([watch('grant', '2'), watch('grant', '2'), watch('user')]);
    expect(serves('grant')).toBe(true);
  });

  test('are asked about only for tables that are not trusted', async () => {
    await bench.proveNext([watch('grant', '2', null, ['3/1']), watch('user', '5')]);
    await bench.proveNext([watch('grant', '2', null, ['3/1']), watch('user', '5')]);
    expect(bench.fences.newest.trusted).toEqual(['5']);
    await bench.proveNext([watch('grant', '2'), watch('user', '5')]);
    await bench.proveNext([watch('grant', '2'), watch('user', '5')]);
    expect(bench.fences.newest.trusted).toEqual(['2', '5']);
  });

  test('are told of only when they take long, and once', async () => {
    for (let fence = 0; fence < 4; fence++) {
      await bench.proveNext([watch('grant', '2', null, ['3/1', '4/1']), watch('user')]);
      expect(waits()).toHaveLength(1);
    }
    expect(bench.log.of('watch_changed')).toEqual([]);
    await bench.proveNext([watch('grant', '2', null, ['3/1', '4/1']), watch('user')]);
    await bench.proveNext([watch('grant', '2', null, ['4/1']), watch('user')]);
    await bench.proveNext([watch('grant', '2'), watch('user')]);
    expect(bench.log.of('watch_changed').map(({ problem }) => problem)).toEqual([
      expect.stringContaining('waiting for writers'),
      null,
    ]);
  });

  test('of a watch that was broken leave no gap in which it is said to be well', async () => {
    await bench.proveNext([watch('grant', '2', 'trigger is missing'), watch('user')]);
    await bench.proveNext([watch('grant', '3', null, ['3/1']), watch('user')]);
    await bench.proveNext([watch('grant', '3'), watch('user')]);
    expect(bench.log.of('watch_changed').map(({ problem }) => problem)).toEqual([
      'trigger is missing',
      expect.stringContaining('waiting for writers'),
      null,
    ]);
  });

  test('make the next fences come sooner, and then no sooner than usual', async () => {
    const askedAfter = async (ms: number): Promise<number> => {
      const before = bench.fences.asked.length;
      await bench.clock.advance(ms);
      return bench.fences.asked.length - before;
    };
    const waiting = { watches: [watch('grant', '2', null, ['3/1']), watch('user')] };
    await bench.proveNext(waiting.watches);
    for (const ms of [25, 50, 100, 200, 400, 800]) {
      expect(await askedAfter(ms - 1)).toBe(0);
      expect(await askedAfter(1)).toBe(1);
      expect(bench.fences.newest.send).toBe('always');
      await bench.prove(waiting);
    }
    expect(await askedAfter(999)).toBe(0);
    expect(await askedAfter(1)).toBe(1);
  });

  test('of a topic that begins to wait bring the next fences soon again, however long another waited', async () => {
    const proveAtOnce = async (watches: readonly WatchState[]): Promise<void> => {
      const { length } = bench.fences.asked;
      while (bench.fences.asked.length === length) {
        await bench.clock.advance(1);
      }
      await bench.prove({ watches });
    };
    for (let fence = 0; fence < 6; fence++) {
      await proveAtOnce([watch('grant', '2', null, ['3/1']), watch('user')]);
    }
    await proveAtOnce([watch('grant', '2', null, ['3/1']), watch('user', '2', null, ['4/1'])]);
    const { length } = bench.fences.asked;
    await bench.clock.advance(24);
    expect(bench.fences.asked).toHaveLength(length);
    await bench.clock.advance(1);
    expect(bench.fences.asked).toHaveLength(length + 1);
  });
});
