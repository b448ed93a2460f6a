/**
 * Answers from facts: at once from memory, else over loads and the request's own evidence (P15). Strong ones:
 * `reader-strong.test.ts`.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { UnavailableError } from '../../../../src/coherence/errors.js';
import type { Question } from '../../../../src/coherence/facts/reader.js';
import { createReaderBench, type ReaderBench, type Types } from '../../../support/reader-harness.js';

let bench: ReaderBench;

beforeEach(() => {
  bench = createReaderBench();
  bench.source.set('user', ['1'], 'alice');
  bench.source.set('grant', ['alice'], 'admin');
  bench.goLive('user', 'grant');
});

/** Needs two rounds: the key of the grant is known only once the user is. */
const nested: Question<string, Types> = facts => {
  const user = facts.get('user', ['1']);
  if (user === undefined) {
    return { lacks: [{ topic: 'user', key: ['1'] }] };
  }
  const grant = facts.get('grant', [String(user)]);
  return grant === undefined
    ? { lacks: [{ topic: 'grant', key: [String(user)] }] }
    : { answer: `${user}: ${grant}`, strong: false };
};

const grantOfAlice: Question<string | null, Types> = facts => {
  const grant = facts.get('grant', ['alice']);
  return grant === undefined ? { lacks: [{ topic: 'grant', key: ['alice'] }] } : { answer: grant, strong: false };
};

async function answer<T>(question: Question<T, Types>): Promise<T> {
  const [answered] = await Promise.all([bench.reader.read(question), bench.clock.settle()]);
  return answered;
}

describe('what is in memory', () => {
  test('is answered at once, not through a promise', async () => {
    expect(bench.reader.read(nested)).toBeInstanceOf(Promise);
    await bench.clock.settle();
    expect(bench.reader.read(nested)).toBe('alice: admin');
  });

  test('is not read again', async () => {
    await answer(nested);
    const reads = bench.source.reads.length;
    for (let asked = 0; asked < 100; asked++) {
      void bench.reader.read(nested);
    }
    await bench.clock.settle();
    expect(bench.source.reads).toHaveLength(reads);
  });

  test('is not answered from once the lease has run out', async () => {
    await answer(nested);
    bench.source.set('grant', ['alice'], 'guest');
    await bench.clock.advance(3_001);
    expect(await answer(nested)).toBe('alice: guest');
  });

  test('says that a row does not exist', async () => {
    bench.source.remove('grant', ['alice']);
    expect(await answer(grantOfAlice)).toBeNull();
    expect(bench.reader.read(grantOfAlice)).toBeNull();
  });
});

describe('what is lacking', () => {
  test('is loaded, one query a fact, and the question asked again from the start', async () => {
    let passes = 0;
    const counted: typeof nested = facts => {
      passes += 1;
      return nested(facts);
    };
    expect(await answer(counted)).toBe('alice: admin');
    expect(bench.source.reads.map(({ topic }) => topic)).toEqual(['user', 'grant']);
    // The first pass decides that it cannot be answered at once, the second opens the loop; then one after each load.
    expect(passes).toBe(4);
  });

  test('in one round is loaded at once', async () => {
    bench.source.hold = true;
    void bench.reader.read(facts => {
      void facts;
      return {
        lacks: [
          { topic: 'user', key: ['1'] },
          { topic: 'grant', key: ['alice'] },
        ],
      };
    });
    await bench.clock.settle();
    expect(bench.source.reads.map(({ topic }) => topic)).toEqual(['user', 'grant']);
  });

  test('of 40 requests at once is loaded once', async () => {
    const answers = await Promise.all([
      ...Array.from({ length: 40 }, () => bench.reader.read(nested)),
      bench.clock.settle(),
    ]);
    expect(new Set(answers.slice(0, 40))).toEqual(new Set(['alice: admin']));
    expect(bench.source.reads).toHaveLength(2);
  });

  test('and cannot be loaded makes the answer fail, and never be something else', async () => {
    bench.source.fault = () => {
      throw new Error('connection reset');
    };
    await expect(answer(nested)).rejects.toMatchObject({ code: 'unavailable', reason: 'database' });
  });

  test('without end is given up after a bounded number of rounds', async () => {
    const endless: Question<string, Types> = facts => {
      let name = 'a';
      while (facts.get('user', [name]) !== undefined) {
        name += 'a';
      }
      return { lacks: [{ topic: 'user', key: [name] }] };
    };
    await expect(answer(endless)).rejects.toThrow(UnavailableError);
    await expect(answer(endless)).rejects.toMatchObject({ reason: 'rounds_exhausted' });
    expect(bench.source.reads.length).toBeLessThanOrEqual(24);
  });
});

describe('evidence', () => {
  test('lets a replica that proves nothing answer, with one load a fact and request', async () => {
    bench.goDown();
    expect(await answer(nested)).toBe('alice: admin');
    expect(bench.source.reads).toHaveLength(2);
    bench.source.set('grant', ['alice'], 'guest');
    expect(await answer(nested)).toBe('alice: guest');
    expect(bench.source.reads).toHaveLength(4);
  });

  test('decides the request that it was loaded for, even if it was invalidated on the way', async () => {
    bench.source.hold = true;
    const asked = bench.reader.read(grantOfAlice);
    await bench.clock.settle();
    bench.change('grant', [['alice']]);
    bench.source.newest.answer();
    expect(await asked).toBe('admin');
    expect(bench.source.reads).toHaveLength(1);
    expect(bench.grants.size).toBe(0);
  });

  test('decides no request that arrived after its batch was sent', async () => {
    bench.source.hold = true;
    const early = bench.reader.read(grantOfAlice);
    await bench.clock.settle();
    const late = bench.reader.read(grantOfAlice);
    await bench.clock.settle();
    expect(bench.source.reads).toHaveLength(1);

    bench.source.set('grant', ['alice'], 'guest');
    bench.change('grant', [['alice']]);
    bench.source.hold = false;
    bench.source.newest.answer();
    await bench.clock.settle();

    expect(await early).toBe('admin');
    expect(await late).toBe('guest');
    expect(bench.source.reads).toHaveLength(2);
  });

  test('of a batch that was joined decides through the cache when it could be stored', async () => {
    bench.source.hold = true;
    void bench.reader.read(grantOfAlice);
    await bench.clock.settle();
    const late = bench.reader.read(grantOfAlice);
    await bench.clock.settle();
    bench.source.newest.answer();
    expect(await late).toBe('admin');
    expect(bench.source.reads).toHaveLength(1);
  });

  test('of one request is not seen by another', async () => {
    bench.goDown();
    await answer(grantOfAlice);
    expect(bench.reader.read(grantOfAlice)).toBeInstanceOf(Promise);
    await bench.clock.settle();
  });

  test('does not hide what memory knows better', async () => {
    bench.source.hold = true;
    const asked = bench.reader.read(nested);
    await bench.clock.settle();
    bench.source.newest.answer();
    await bench.clock.settle();
    // While the grant is loaded, the user is renamed: forgotten, and loaded anew for somebody else.
    bench.source.set('user', ['1'], 'bob');
    bench.source.set('grant', ['bob'], 'guest');
    bench.change('user', null);
    void bench.users.load(['1']);
    await bench.clock.settle();
    bench.source.hold = false;
    for (const read of bench.source.reads.slice(-2)) {
      read.answer();
    }
    await bench.clock.settle();
    expect(await asked).toBe('bob: guest');
  });
});

describe('evidence that is older than the lease', () => {
  /** Holds alice's user, and waits for her grant. */
  async function waitForGrant(): Promise<{ readonly answer: string | Promise<string> }> {
    bench.goDown();
    bench.source.hold = true;
    const answer = bench.reader.read(nested);
    await bench.clock.settle();
    bench.source.newest.answer();
    await bench.clock.settle();
    return { answer };
  }

  const answerAll = async (): Promise<void> => {
    for (const read of bench.source.reads) {
      read.answer();
    }
    await bench.clock.settle();
  };

  test.each([
    ['time passes', () => bench.clock.advance(3_000)],
    ['the machine sleeps', () => Promise.resolve(bench.clock.stepWall(3_000))],
    ['the wall clock is set back', () => Promise.resolve(bench.clock.stepWall(-1))],
  ])('decides nothing any more: %s', async (_, pass) => {
    const asked = await waitForGrant();
    bench.source.set('user', ['1'], 'bob');
    bench.source.set('grant', ['bob'], 'guest');
    bench.source.hold = false;
    await pass();
    await answerAll();
    expect(await asked.answer).toBe('bob: guest');
  });

  test('is read again all at once, so that slow reads still come to an answer', async () => {
    bench.goDown();
    bench.source.hold = true;
    const asked = bench.reader.read(nested);
    await bench.clock.settle();
    // Each read takes two seconds: one after the other they would never be there together.
    for (let round = 0; round < 3; round++) {
      await bench.clock.advance(2_000);
      await answerAll();
    }
    expect(await asked).toBe('alice: admin');
    expect(bench.source.reads.map(({ topic }) => topic)).toEqual(['user', 'grant', 'user', 'grant']);
  });

  test('is not read again where memory has it by now', async () => {
    const asked = await waitForGrant();
    const [, readOfGrant] = bench.source.reads;
    bench.goLive('user', 'grant');
    void bench.users.load(['1']);
    await bench.clock.settle();
    bench.source.newest.answer();
    await bench.clock.advance(3_000);
    bench.lease.prove(bench.clock.now());
    bench.source.hold = false;
    readOfGrant!.answer();
    await bench.clock.settle();
    expect(await asked.answer).toBe('alice: admin');
    expect(bench.source.reads.map(({ topic }) => topic)).toEqual(['user', 'grant', 'user', 'grant']);
  });

  test('decides as long as it is younger', async () => {
    const asked = await waitForGrant();
    bench.source.set('user', ['1'], 'bob');
    await bench.clock.advance(2_999);
    await answerAll();
    expect(await asked.answer).toBe('alice: admin');
    expect(bench.source.reads).toHaveLength(2);
  });
});

describe('reads that run', () => {
  test('are those that wait for Postgres, until they are answered', async () => {
    bench.source.hold = true;
    const asked = bench.reader.read(grantOfAlice);
    let settled = false;
    void bench.runningReads.settled().then(() => {
      settled = true;
    });
    await bench.clock.settle();
    expect(settled).toBe(false);
    // One that begins later is not waited for.
    void bench.reader.read(nested);
    bench.source.newest.answer();
    await asked;
    await bench.clock.settle();
    expect(settled).toBe(true);
  });

  test('have settled when they have failed, too', async () => {
    bench.source.fault = () => {
      throw new Error('connection reset');
    };
    await Promise.all([expect(answer(grantOfAlice)).rejects.toThrow(), bench.runningReads.settled()]);
  });

  test('are none when memory answers', async () => {
    await answer(grantOfAlice);
    void bench.reader.read(grantOfAlice);
    await bench.runningReads.settled();
  });
});

describe('the time by which expiry is judged', () => {
  const time: Question<number, Types> = facts =>
    facts.get('user', ['1']) === undefined
      ? { lacks: [{ topic: 'user', key: ['1'] }] }
      : { answer: facts.serverTimeMs, strong: false };

  test('is that of Postgres, at the instant of the question', async () => {
    expect(await answer(time)).toBe(5_000);
    await bench.clock.advance(1_000);
    expect(bench.reader.read(time)).toBe(6_000);
  });

  test('counts from when a load was sent, so it is never behind', async () => {
    bench.source.hold = true;
    const asked = bench.reader.read(time);
    await bench.clock.settle();
    await bench.clock.advance(400);
    bench.source.newest.answer();
    expect(await asked).toBe(5_400);
  });
});
