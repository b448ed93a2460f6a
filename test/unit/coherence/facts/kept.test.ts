/** Answers that are kept: given again only while each fact and each moment that they rest on is as it was (P34). */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Kept } from '../../../../src/coherence/facts/pass.js';
import type { Question } from '../../../../src/coherence/facts/reader.js';
import { createReaderBench, type ReaderBench, type Types } from '../../../support/reader-harness.js';

let bench: ReaderBench;

beforeEach(() => {
  bench = createReaderBench();
  bench.source.set('user', ['1'], 'alice');
  bench.source.set('grant', ['alice'], 'admin');
  bench.goLive('user', 'grant');
});

const both: Question<string, Types> = facts => {
  const user = facts.get('user', ['1']);
  const grant = facts.get('grant', ['alice']);
  return user === undefined || grant === undefined
    ? {
        lacks: [
          { topic: 'user', key: ['1'] },
          { topic: 'grant', key: ['alice'] },
        ],
      }
    : { answer: `${user}: ${grant}`, strong: false };
};

/** The answer that is kept when the question is asked once more; null if none is. */
async function keptOf<T>(question: Question<T, Types>): Promise<Kept<T> | null> {
  await Promise.all([bench.reader.read(question), bench.clock.settle()]);
  let found: Kept<T> | null = null;
  const answer = bench.reader.read(question, kept => {
    found = kept;
  });
  await Promise.all([answer, bench.clock.settle()]);
  return found;
}

test('is kept when it comes from memory, or was loaded into memory', async () => {
  let kept: Kept<string> | null = null;
  const keep = (found: Kept<string>): void => {
    kept = found;
  };
  const first = bench.reader.read(both, keep);
  await Promise.all([first, bench.clock.settle()]);
  expect((kept as Kept<string> | null)?.recall()).toBe('alice: admin');
  expect((await keptOf(both))?.recall()).toBe('alice: admin');
});

test('is not kept when what was loaded for it could not be stored', async () => {
  bench.lease.setTrustedTopics(new Set(['user']));
  const first = bench.reader.read(both, () => expect.unreachable());
  const [answer] = await Promise.all([first, bench.clock.settle()]);
  expect(answer).toBe('alice: admin');
});

describe('is not given again', () => {
  test.each([
    { fact: 'the first', topic: 'user', key: ['1'] },
    { fact: 'the last', topic: 'grant', key: ['alice'] },
  ])('when $fact fact changes, though nobody else does', async ({ topic, key }) => {
    const kept = await keptOf(both);
    bench.bus.emit({ type: 'change', topic, keys: [['other']] });
    expect(kept?.recall()).toBe('alice: admin');
    bench.bus.emit({ type: 'change', topic, keys: [key] });
    expect(kept?.recall()).toBeUndefined();
    // Nor when the same was loaded again.
    await Promise.all([bench.reader.read(both), bench.clock.settle()]);
    expect(kept?.recall()).toBeUndefined();
    expect((await keptOf(both))?.recall()).toBe('alice: admin');
  });

  test('when all facts of one topic are forgotten, or everything is', async () => {
    for (const signal of [
      { type: 'change', topic: 'grant', keys: null },
      { type: 'flush', cause: 'malformed' },
    ] as const) {
      const kept = await keptOf(both);
      bench.bus.emit(signal);
      expect(kept?.recall()).toBeUndefined();
      await Promise.all([bench.reader.read(both), bench.clock.settle()]);
      expect(kept?.recall()).toBeUndefined();
    }
  });

  test('when the lease has run out, until it holds again', async () => {
    const kept = await keptOf(both);
    await bench.clock.advance(3_001);
    expect(kept?.recall()).toBeUndefined();
    bench.goLive('user', 'grant');
    expect(kept?.recall()).toBe('alice: admin');
  });

  test('when a topic is no longer trusted', async () => {
    const kept = await keptOf(both);
    bench.lease.setTrustedTopics(new Set(['user']));
    expect(kept?.recall()).toBeUndefined();
  });

  test('when a fact was evicted', async () => {
    const kept = await keptOf(both);
    for (let n = 0; n < 200_001; n += 100) {
      const refs = Array.from({ length: 100 }, (_, at) => ({ topic: 'grant', key: [`u${n + at}`] }) as const);
      for (const { key } of refs) {
        bench.source.set('grant', key, 'x');
      }
      const many: Question<null, Types> = facts =>
        refs.every(({ topic, key }) => facts.get(topic, key) !== undefined)
          ? { answer: null, strong: false }
          : { lacks: refs };
      await Promise.all([bench.reader.read(many), bench.clock.settle()]);
    }
    expect(kept?.recall()).toBeUndefined();
  });
});

describe('is not kept', () => {
  test('when it is strong', async () => {
    const strong: Question<string, Types> = facts => ({ ...both(facts), strong: true });
    void bench.reader.read(both);
    await bench.clock.settle();
    const answer = bench.reader.read(strong, () => expect.unreachable());
    await bench.clock.settle();
    await bench.fences[0]!.prove();
    expect(await answer).toBe('alice: admin');
  });

  test('when a fact was not known, though it was not needed', async () => {
    expect(await keptOf(facts => ({ answer: facts.get('user', ['2']) === undefined, strong: false }))).toBeNull();
  });

  test('when it looks at the time itself', async () => {
    expect(await keptOf(facts => ({ answer: facts.serverTimeMs, strong: false }))).toBeNull();
  });
});

test('what has come, and what has not, is kept until that changes', async () => {
  const serverTimeMs = (): number =>
    bench.reader.read(facts => ({ answer: facts.serverTimeMs, strong: false })) as number;
  await Promise.all([bench.reader.read(both), bench.clock.settle()]);
  const endMs = serverTimeMs() + 1_000;
  const hasCome: Question<boolean, Types> = facts => ({ answer: facts.hasCome(endMs), strong: false });
  const before = (await keptOf(hasCome))!;
  await bench.clock.advance(endMs - serverTimeMs() - 1);
  expect(before.recall()).toBe(false);
  await bench.clock.advance(1);
  expect(before.recall()).toBeUndefined();
  const after = (await keptOf(hasCome))!;
  expect(after.recall()).toBe(true);
  // Postgres' clock as it is known here can be set back.
  bench.serverClock.observe(bench.clock.now(), endMs - 500);
  expect(after.recall()).toBeUndefined();
  expect(before.recall()).toBe(false);
});

test('counts as a use of each fact', async () => {
  const kept = await keptOf(both);
  const hits = (): number => bench.users.stats.hits + bench.grants.stats.hits;
  const before = hits();
  kept?.recall();
  expect(hits()).toBe(before + 2);
});
