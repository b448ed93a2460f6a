/** Trust in the triggers, which every fence reads again (P11). */
import { beforeEach, expect, test } from 'vitest';
import type { WatchState } from '../../../src/coherence/watches.js';
import type { Signal } from '../../../src/coherence/signal.js';
import { createListenerBench, RETRY_MS, type ListenerBench } from '../../support/listener-bench.js';

let bench: ListenerBench;

beforeEach(async () => {
  bench = createListenerBench();
  await bench.goLive();
});

const watch = (subject: string, fingerprint = '1', problem: string | null = null): WatchState => ({
  subject,
  fingerprint,
  problem,
});
const serves = (subject: string): boolean => bench.lease.serves(subject, bench.clock.now());
const everythingOf = (subject: string): Signal => ({ type: 'change', subject, keys: null });

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

test('serves nothing of a subject whose triggers are not in place, says why, and stays live for the others', async () => {
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
    { event: 'watch_changed', subject: 'grant', problem: 'trigger is missing' },
    { event: 'watch_changed', subject: 'grant', problem: null },
  ]);
  expect(bench.listener.watchProblems.size).toBe(0);
  expect(serves('grant')).toBe(true);
});

test('forgets a subject whose triggers were touched, and only that', async () => {
  expect(await forgottenAt([watch('grant', '2'), watch('user')])).toEqual([everythingOf('grant')]);
});

test('forgets nothing when all is as it was', async () => {
  expect(await forgottenAt([watch('grant'), watch('user')])).toEqual([]);
});

test('forgets a subject whose watch was broken for a while, even if no trigger looks touched', async () => {
  await bench.proveNext([watch('grant', '1', 'not enabled on a partition'), watch('user')]);
  expect(await forgottenAt([watch('grant'), watch('user')])).toEqual([everythingOf('grant')]);
});

test('serves nothing of a subject that is no longer watched, and says so', async () => {
  await bench.proveNext([watch('user')]);
  expect(['grant', 'user'].map(serves)).toEqual([false, true]);
  expect([...bench.listener.watchProblems]).toEqual([['grant', 'the table is no longer watched']]);
});

test('forgets a subject that is watched again', async () => {
  await bench.proveNext([watch('user')]);
  expect(await forgottenAt([watch('grant'), watch('user')])).toEqual([everythingOf('grant')]);
  expect(serves('grant')).toBe(true);
  expect(bench.listener.watchProblems.size).toBe(0);
});

test('begins a newly watched subject from nothing, because what is being loaded may be older than its triggers', async () => {
  bench = createListenerBench();
  bench.fences.receipt = { ...bench.fences.receipt, watches: [watch('user')] };
  await bench.goLive();
  expect(await forgottenAt([watch('user'), watch('grant')])).toEqual([everythingOf('grant')]);
});

test('trusts a subject of two tables only while both are in place', async () => {
  await bench.proveNext([watch('grant', '1', 'trigger is missing'), watch('grant', '1'), watch('user')]);
  expect(serves('grant')).toBe(false);
  await bench.proveNext([watch('grant', '1'), watch('grant', '1', 'trigger is missing'), watch('user')]);
  expect(serves('grant')).toBe(false);
  await bench.proveNext([watch('grant', '1'), watch('grant', '1'), watch('user')]);
  expect(serves('grant')).toBe(true);
});

test('forgets a subject of two tables when the triggers of either were touched', async () => {
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

test('reads nothing from a fence that proves nothing', async () => {
  await bench.clock.advance(1_000);
  bench.clock.stepWall(500);
  await bench.prove({ watches: [] });
  expect(serves('grant')).toBe(true);
  expect(bench.listener.watchProblems.size).toBe(0);
});
