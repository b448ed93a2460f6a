/** Strong answers: they see every commit acknowledged before the request arrived, at one moment (G3, P19). */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Question } from '../../../../src/coherence/facts/reader.js';
import { LEASE_MS } from '../../../support/cache-harness.js';
import { DataError } from '../../../support/fake-source.js';
import { createReaderBench, STRONG_WAIT_MS, type ReaderBench, type Types } from '../../../support/reader-harness.js';

let bench: ReaderBench;

beforeEach(async () => {
  bench = createReaderBench();
  bench.source.set('user', ['1'], 'alice');
  bench.source.set('grant', ['1'], 'admin');
  bench.goLive('user', 'grant');
  await Promise.all([bench.users.load(['1']), bench.grants.load(['1']), bench.clock.settle()]);
});

const question: Question<string, Types> = facts => {
  const [user, grant] = [facts.get('user', ['1']), facts.get('grant', ['1'])];
  const lacks = [
    ...(user === undefined ? [{ topic: 'user', key: ['1'] } as const] : []),
    ...(grant === undefined ? [{ topic: 'grant', key: ['1'] } as const] : []),
  ];
  return lacks.length > 0 ? { lacks } : { answer: `${user}: ${grant}`, strong: true };
};

/** Asks, and keeps the answer where it can be looked at without waiting. */
async function ask(asked = question): Promise<{ readonly answer: string | undefined; readonly error: unknown }> {
  const asking: { answer: string | undefined; error: unknown } = { answer: undefined, error: undefined };
  Promise.resolve(bench.reader.read(asked)).then(
    answer => {
      asking.answer = answer;
    },
    (error: unknown) => {
      asking.error = error;
    },
  );
  await bench.clock.settle();
  return asking;
}

/** The row changes, and the replica has heard of it. */
function changeGrant(value: string): void {
  bench.source.set('grant', ['1'], value);
  bench.change('grant', [['1']]);
}

const loads = (): number => bench.source.reads.length - 2;

describe('with a fence', () => {
  test('is given from memory, after the fence and not before, without reading a row again', async () => {
    const asking = await ask();
    expect(asking.answer).toBeUndefined();
    expect(bench.fences).toHaveLength(1);
    await bench.fences[0]!.prove();
    expect(asking.answer).toBe('alice: admin');
    expect(loads()).toBe(0);
    expect(bench.fences).toHaveLength(1);
  });

  test('sees what was heard while the fence was on its way', async () => {
    const asking = await ask();
    changeGrant('guest');
    await bench.fences[0]!.prove();
    expect(asking.answer).toBeUndefined();
    await bench.fences[1]!.prove();
    expect(asking.answer).toBe('alice: guest');
    expect(loads()).toBe(1);
  });

  test('loads what is lacking first, then asks for a fence that is newer than the load', async () => {
    changeGrant('guest');
    const asking = await ask();
    expect(loads()).toBe(1);
    expect(bench.fences).toHaveLength(1);
    await bench.fences[0]!.prove();
    expect(asking.answer).toBe('alice: guest');
    expect(bench.fences).toHaveLength(1);
  });

  test('needs another when a fact is newer than the fence, for the facts were not true at one moment', async () => {
    const asking = await ask();
    changeGrant('guest');
    // Somebody else loads it while the fence is on its way.
    await bench.loaded(bench.grants, ['1']);
    await bench.fences[0]!.prove();
    expect(asking.answer).toBeUndefined();
    expect(bench.fences).toHaveLength(2);
    await bench.fences[1]!.prove();
    expect(asking.answer).toBe('alice: guest');
    expect(loads()).toBe(1);
  });

  test('is judged by the newest of its facts, in whatever order they are looked at', async () => {
    const asking = await ask();
    bench.change('user', [['1']]);
    await bench.loaded(bench.users, ['1']);
    await bench.fences[0]!.prove();
    expect(asking.answer).toBeUndefined();
    await bench.fences[1]!.prove();
    expect(asking.answer).toBe('alice: admin');
  });

  test('of an epoch that has ended takes nothing from memory on its word', async () => {
    const asking = await ask();
    const old = bench.lease.epoch;
    bench.lease.endEpoch();
    bench.goLive('user', 'grant');
    bench.source.set('grant', ['1'], 'guest');
    await bench.fences[0]!.prove(old);
    expect(asking.answer).toBeUndefined();
    expect(loads()).toBe(2);
    await bench.fences[1]!.prove();
    expect(asking.answer).toBe('alice: guest');
  });

  test('is given without another once the question is strong no more', async () => {
    const strongForAdmins: typeof question = facts => {
      const outcome = question(facts);
      return 'answer' in outcome ? { ...outcome, strong: outcome.answer === 'alice: admin' } : outcome;
    };
    const asking = await ask(strongForAdmins);
    changeGrant('guest');
    await bench.loaded(bench.grants, ['1']);
    await bench.fences[0]!.prove();
    expect(asking.answer).toBe('alice: guest');
    expect(bench.fences).toHaveLength(1);
  });

  test('takes nothing from what was read for it before the fence: it may not be true beside the rest', async () => {
    changeGrant('admin');
    bench.source.hold = true;
    const asking = await ask();
    // One transaction renames the user and lowers the grant, and is heard of before the grant is there.
    bench.source.set('user', ['1'], 'bob');
    bench.change('user', [['1']]);
    changeGrant('guest');
    bench.source.hold = false;
    await bench.loaded(bench.users, ['1']);
    bench.source.reads.at(-2)!.answer();
    await bench.clock.settle();
    for (let fence = 0; fence < bench.fences.length; fence++) {
      await bench.fences[fence]!.prove();
    }
    expect(asking.answer).toBe('bob: guest');
  });

  test('leaves no timer behind', async () => {
    await ask();
    expect(bench.clock.timers).toBe(1);
    await bench.fences[0]!.prove();
    expect(bench.clock.timers).toBe(0);
  });
});

describe('without a fence', () => {
  beforeEach(() => {
    // A change that this replica has not heard of: memory still says admin.
    bench.source.set('grant', ['1'], 'guest');
  });

  test('reads every fact from Postgres afresh, all in one snapshot', async () => {
    const asking = await ask();
    await bench.fences[0]!.fail();
    expect(asking.answer).toBe('alice: guest');
    expect(bench.source.snapshots.map(parts => parts.map(({ topic }) => topic))).toEqual([['user', 'grant']]);
    expect(bench.fences).toHaveLength(1);
  });

  test('does so as soon as the deadline has passed', async () => {
    const asking = await ask();
    await bench.clock.advance(STRONG_WAIT_MS - 1);
    expect(asking.answer).toBeUndefined();
    await bench.clock.advance(1);
    expect(asking.answer).toBe('alice: guest');
    expect(bench.source.snapshots).toHaveLength(1);
  });

  test('never mixes what was read before a transaction with what was read after it', async () => {
    bench.source.set('grant', ['1'], 'admin');
    // Asks for the grant once it knows the user.
    const asking = await ask(facts =>
      facts.get('user', ['1']) === undefined ? { lacks: [{ topic: 'user', key: ['1'] }] } : question(facts),
    );
    bench.source.hold = true;
    await bench.fences[0]!.fail();
    const beforeTransaction = bench.source.newest;
    bench.source.set('user', ['1'], 'bob');
    bench.source.set('grant', ['1'], 'guest');
    bench.source.hold = false;
    beforeTransaction.answer();
    await bench.clock.settle();
    expect(asking.answer).toBe('bob: guest');
  });

  test('takes nothing from several facts that were read for it one after the other', async () => {
    bench.source.set('grant', ['1'], 'admin');
    bench.goDown();
    bench.source.hold = true;
    // Asks for the grant once it knows the user.
    const asking = await ask(facts =>
      facts.get('user', ['1']) === undefined ? { lacks: [{ topic: 'user', key: ['1'] }] } : question(facts),
    );
    bench.source.newest.answer();
    bench.source.set('user', ['1'], 'bob');
    bench.source.set('grant', ['1'], 'guest');
    bench.source.hold = false;
    await bench.clock.settle();
    bench.source.newest.answer();
    await bench.clock.settle();
    await bench.fences[0]!.fail();
    expect(asking.answer).toBe('bob: guest');
  });

  describe('from one fact that was read for it', () => {
    const grantAlone: typeof question = facts => {
      const grant = facts.get('grant', ['1']);
      return grant === undefined
        ? { lacks: [{ topic: 'grant', key: ['1'] }] }
        : { answer: String(grant), strong: true };
    };

    /** Asks for it; it takes so long, and no fence comes. Meanwhile it changes. */
    async function readFor(ms: number): Promise<{ readonly answer: string | undefined }> {
      bench.goDown();
      bench.source.hold = true;
      const asking = await ask(grantAlone);
      await bench.clock.advance(ms);
      bench.source.set('grant', ['1'], 'nobody');
      bench.source.hold = false;
      bench.source.newest.answer();
      await bench.clock.advance(STRONG_WAIT_MS);
      return asking;
    }

    test('is given without another reading: one fact is true at one moment', async () => {
      expect((await readFor(LEASE_MS - STRONG_WAIT_MS - 1)).answer).toBe('guest');
      expect(loads()).toBe(1);
    });

    test('is not given when it is as old as the lease by then: it is read again', async () => {
      expect((await readFor(LEASE_MS - STRONG_WAIT_MS)).answer).toBe('nobody');
      expect(bench.source.snapshots).toHaveLength(1);
    });
  });

  test('a snapshot that came when it was as old as the lease is read again', async () => {
    const asking = await ask();
    bench.source.hold = true;
    await bench.fences[0]!.fail();
    await bench.clock.advance(LEASE_MS);
    bench.source.set('grant', ['1'], 'nobody');
    bench.source.hold = false;
    for (const read of bench.source.reads.slice(-2)) {
      read.answer();
    }
    await bench.clock.settle();
    expect(asking.answer).toBe('alice: nobody');
    expect(bench.source.snapshots).toHaveLength(2);
  });

  test('a step from fact to fact is a snapshot of its own, of all facts so far', async () => {
    const asking = await ask(facts =>
      facts.get('user', ['1']) === undefined ? { lacks: [{ topic: 'user', key: ['1'] }] } : question(facts),
    );
    await bench.fences[0]!.fail();
    expect(asking.answer).toBe('alice: guest');
    expect(bench.source.snapshots.map(parts => parts.map(({ topic }) => topic))).toEqual([['user'], ['user', 'grant']]);
  });

  test('those who ask while a snapshot is read share the next', async () => {
    const first = await ask();
    bench.source.hold = true;
    await bench.fences[0]!.fail();
    const others = await Promise.all([ask(), ask(), ask()]);
    await Promise.all(bench.fences.slice(1).map(fence => fence.fail()));
    bench.source.hold = false;
    for (const read of bench.source.reads.slice(-2)) {
      read.answer();
    }
    await bench.clock.settle();
    expect([first, ...others].map(({ answer }) => answer)).toEqual(Array(4).fill('alice: guest'));
    expect(bench.source.snapshots).toHaveLength(2);
  });

  describe('under a flood of made-up keys', () => {
    const userOf =
      (...names: string[]): typeof question =>
      facts => {
        const lacks = names.filter(name => facts.get('user', [name]) === undefined);
        return lacks.length > 0
          ? { lacks: lacks.map(name => ({ topic: 'user', key: [name] })) }
          : { answer: 'known', strong: true };
      };

    /** Asks, and has its fence fail, so that it comes to wait for a snapshot. */
    async function wait(...names: string[]): Promise<{ readonly error: unknown }> {
      const asking = await ask(userOf(...names));
      await bench.fences.at(-1)?.fail();
      return asking;
    }

    beforeEach(async () => {
      // Two questions may wait that ask for what was not seen to exist, and eight in all.
      bench = createReaderBench({ waitingKeysMax: 8 });
      bench.source.set('user', ['1'], 'alice');
      bench.goLive('user', 'grant');
      // What is made up is known to be absent; a snapshot is being read, so that all others wait.
      for (const name of ['1', 'a', 'b', 'c', 'd']) {
        await bench.loaded(bench.users, [name]);
      }
      bench.source.hold = true;
      await wait('1', 'd');
    });

    test('those who ask for them have a quarter of the queue, and all others the rest', async () => {
      const made = [await wait('a'), await wait('b'), await wait('c')];
      expect(made.map(({ error }) => error)).toEqual([
        undefined,
        undefined,
        expect.objectContaining({ reason: 'queue_full' }),
      ]);
      expect((await wait('1')).error).toBeUndefined();
    });

    test('who asks for one of them counts among those, in whatever order', async () => {
      await wait('a', '1');
      await wait('1', 'a');
      expect((await wait('1', 'b')).error).toMatchObject({ reason: 'queue_full' });
    });
  });

  test('a key that cannot be read fails only who asked for it', async () => {
    bench.source.fault = keys => {
      if (keys.some(([key]) => key === 'poison')) {
        throw new DataError('invalid input');
      }
    };
    const asking = await ask();
    const poisoned = await ask(facts =>
      facts.get('user', ['poison']) === undefined
        ? { lacks: [{ topic: 'user', key: ['poison'] }] }
        : { answer: '', strong: true },
    );
    await Promise.all(bench.fences.map(fence => fence.fail()));
    expect(asking.answer).toBe('alice: guest');
    expect(poisoned.error).toMatchObject({ reason: 'database' });
  });

  test('fails closed when each snapshot leads to yet another fact', async () => {
    const asking = await ask(facts => {
      let step = 0;
      while (facts.get('user', [`${step}`]) !== undefined) {
        step += 1;
      }
      return { lacks: [{ topic: 'user', key: [`${step}`] }] };
    });
    expect(asking.error).toMatchObject({ code: 'unavailable', reason: 'rounds_exhausted' });
  });

  test('does so at once when the triggers of a topic are not in place', async () => {
    bench.lease.setTrustedTopics(new Set(['user']));
    const asking = await ask();
    await bench.fences[0]!.prove();
    expect(asking.answer).toBe('alice: guest');
    expect(bench.fences).toHaveLength(1);
  });

  test('does so when the facts never hold still, after a bounded number of fences', async () => {
    const asking = await ask();
    for (let fence = 0; fence < 8; fence++) {
      expect(asking.answer).toBeUndefined();
      expect(bench.fences).toHaveLength(fence + 1);
      changeGrant(`guest ${fence}`);
      await bench.loaded(bench.grants, ['1']);
      await bench.fences[fence]!.prove();
    }
    expect(asking.answer).toBe('alice: guest 7');
    expect(bench.fences).toHaveLength(8);
  });

  test('does not settle for a load that was sent before the request arrived', async () => {
    bench.source.set('grant', ['1'], 'admin');
    bench.source.hold = true;
    const other = bench.grants.load(['1']);
    await bench.clock.settle();
    bench.source.set('grant', ['1'], 'guest');
    const asking = await ask();
    await bench.fences[0]!.fail();
    bench.source.hold = false;
    for (const read of bench.source.reads.slice(2)) {
      read.answer();
    }
    expect((await other).value).toBe('admin');
    await bench.clock.settle();
    expect(asking.answer).toBe('alice: guest');
  });

  test('fails closed when Postgres cannot be read either', async () => {
    const asking = await ask();
    bench.source.fault = () => {
      throw new Error('connection reset');
    };
    await bench.fences[0]!.fail();
    expect(asking.answer).toBeUndefined();
    expect(asking.error).toMatchObject({ code: 'unavailable', reason: 'database' });
    expect(bench.clock.timers).toBe(0);
  });
});
