/** One listening connection for several workers: who hears what, and when a barrier is answered for all. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Subscription } from '../../../../src/coherence/proof/connection.js';
import {
  createRemoteSubscription,
  type RemoteSubscription,
} from '../../../../src/replica/workers/remote-subscription.js';
import {
  createSharedSubscription,
  type SharedSubscription,
  type SubscriptionMember,
} from '../../../../src/replica/workers/shared-subscription.js';
import type { FromSubscription, ToSubscription } from '../../../../src/replica/workers/messages.js';
import {
  createFakeSubscriptions,
  LISTENER_PROCESS,
  type FakeSubscriptions,
} from '../../../support/fake-subscription.js';

const CHANNEL = 'gatebell';

/** A worker whose messages arrive when the test says so. */
interface FakeWorker {
  readonly member: SubscriptionMember;
  readonly heard: string[];
  readonly lost: string[];
  readonly abort: AbortController;
  /** What it said that was not heard yet, and what was said to it that it has not heard yet. */
  readonly said: FromSubscription[];
  readonly told: ToSubscription[];
  /** Whether there is room for more of what is said to it. */
  hasRoom: boolean;
  readonly remote: RemoteSubscription;
  subscription: Promise<Subscription>;
  open(): void;
  /** Delivers what was said, both ways, until there is nothing more. */
  deliver(): void;
}

let subscriptions: FakeSubscriptions;
let shared: SharedSubscription;

beforeEach(() => {
  subscriptions = createFakeSubscriptions();
  shared = createSharedSubscription(subscriptions.open);
});

const settle = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

function createWorker(): FakeWorker {
  const said: FromSubscription[] = [];
  const told: ToSubscription[] = [];
  const remote = createRemoteSubscription(message => said.push(message));
  const member = shared.join(message => {
    told.push(message);
    return worker.hasRoom;
  });
  const worker: FakeWorker = {
    member,
    heard: [],
    lost: [],
    abort: new AbortController(),
    said,
    told,
    hasRoom: true,
    remote,
    subscription: Promise.reject(new Error('nothing was opened')),
    open() {
      worker.subscription = remote.open(
        CHANNEL,
        {
          onMessage: payload => worker.heard.push(payload),
          onLost: error => worker.lost.push((error as Error).message),
        },
        worker.abort.signal,
      );
      worker.subscription.catch(() => undefined);
    },
    deliver() {
      while (said.length + told.length > 0) {
        const message = said.shift();
        if (message !== undefined) {
          member.receive(message);
        }
        const answer = told.shift();
        if (answer !== undefined) {
          remote.receive(answer);
        }
      }
    },
  };
  worker.subscription.catch(() => undefined);
  return worker;
}

async function createListeners(count: number): Promise<FakeWorker[]> {
  const workers = Array.from({ length: count }, createWorker);
  for (const worker of workers) {
    worker.open();
    worker.deliver();
  }
  subscriptions.newest.accept();
  await settle();
  for (const worker of workers) {
    worker.deliver();
  }
  return workers;
}

describe('one connection', () => {
  test('is opened for all who ask, and tells each the same backend', async () => {
    const workers = await createListeners(3);
    expect(subscriptions.connections).toHaveLength(1);
    expect(subscriptions.newest.channel).toBe(CHANNEL);
    for (const { subscription } of workers) {
      expect((await subscription).backend.processId).toBe(LISTENER_PROCESS);
    }
  });

  test('is shared by who comes later, who hears what comes later', async () => {
    const [first] = await createListeners(1);
    subscriptions.newest.say('one');
    const second = createWorker();
    second.open();
    second.deliver();
    subscriptions.newest.say('two');
    first!.deliver();
    second.deliver();
    expect(first!.heard).toEqual(['one', 'two']);
    expect(second.heard).toEqual(['two']);
    expect(subscriptions.connections).toHaveLength(1);
  });

  test('that is refused is refused to all', async () => {
    const workers = [createWorker(), createWorker()];
    for (const worker of workers) {
      worker.open();
      worker.deliver();
    }
    subscriptions.newest.refuse(new Error('no such host'));
    await settle();
    for (const worker of workers) {
      worker.deliver();
      await expect(worker.subscription).rejects.toThrow('no such host');
    }
  });

  test('that was refused is asked for anew by each: one that does not ask keeps none open', async () => {
    const [asks, other] = [createWorker(), createWorker()];
    for (const worker of [asks, other]) {
      worker.open();
      worker.deliver();
    }
    subscriptions.newest.refuse(new Error('no such host'));
    await settle();
    other.deliver();
    asks.deliver();
    asks.open();
    asks.deliver();
    subscriptions.newest.accept();
    await settle();
    asks.remote.leave();
    asks.deliver();
    (await asks.subscription).close();
    asks.deliver();
    expect(other.told).toEqual([]);
    expect(subscriptions.newest.closes).toBe(1);
  });

  test('that is lost is lost for all; the next is brand-new', async () => {
    const workers = await createListeners(2);
    subscriptions.newest.lose(new Error('connection reset'));
    for (const worker of workers) {
      worker.deliver();
      expect(worker.lost).toEqual(['connection reset']);
      worker.open();
      worker.deliver();
    }
    expect(subscriptions.connections).toHaveLength(2);
  });

  test('that is lost has nothing to say any more, nor to end, once there is another', async () => {
    const [worker] = await createListeners(1);
    const lost = subscriptions.newest;
    lost.lose();
    worker!.deliver();
    worker!.open();
    worker!.deliver();
    subscriptions.newest.accept();
    await settle();
    worker!.deliver();
    lost.say('too late');
    lost.lose();
    subscriptions.newest.say('in time');
    worker!.deliver();
    expect(worker!.heard).toEqual(['in time']);
    expect(worker!.lost).toHaveLength(1);
    const second = createWorker();
    second.open();
    second.deliver();
    expect(subscriptions.connections).toHaveLength(2);
  });

  test('that one of them gives up is given up for all', async () => {
    const [one, other] = await createListeners(2);
    (await one!.subscription).close();
    one!.deliver();
    other!.deliver();
    expect(subscriptions.newest.closes).toBe(1);
    expect(other!.lost).toEqual(['another worker of this replica has given the listening connection up']);
    subscriptions.newest.say('too late');
    other!.deliver();
    expect(other!.heard).toEqual([]);
  });

  test('stays when one of them stops, or has ended, and is closed with the last', async () => {
    const [one, other, last] = await createListeners(3);
    one!.remote.leave();
    (await one!.subscription).close();
    one!.deliver();
    other!.member.leave();
    subscriptions.newest.say('still there');
    last!.deliver();
    expect(last!.heard).toEqual(['still there']);
    expect(subscriptions.newest.closes).toBe(0);
    last!.member.leave();
    expect(subscriptions.newest.closes).toBe(1);
  });

  test('an attempt that nobody waits for any more is given up', async () => {
    const worker = createWorker();
    worker.open();
    worker.deliver();
    worker.abort.abort();
    worker.deliver();
    await expect(worker.subscription).rejects.toThrow('given up');
    expect(subscriptions.newest.aborted).toBe(true);
  });

  test('an attempt that succeeds in the turn in which it is given up is closed', async () => {
    const worker = createWorker();
    worker.open();
    worker.deliver();
    subscriptions.newest.accept();
    worker.abort.abort();
    worker.deliver();
    await settle();
    expect(subscriptions.newest.closes).toBe(1);
  });
});

describe('a worker that has fallen behind', () => {
  test('hears no more, and is told that its connection is lost; the others go on', async () => {
    const [slow, quick] = await createListeners(2);
    slow!.hasRoom = false;
    subscriptions.newest.say('one');
    subscriptions.newest.say('two');
    slow!.deliver();
    quick!.deliver();
    expect(slow!.heard).toEqual(['one']);
    expect(slow!.lost).toEqual(['this worker has fallen behind']);
    expect(quick!.heard).toEqual(['one', 'two']);
    expect(subscriptions.newest.closes).toBe(0);
  });

  test('comes back on the same connection', async () => {
    const [slow] = await createListeners(2);
    slow!.hasRoom = false;
    subscriptions.newest.say('one');
    slow!.deliver();
    slow!.hasRoom = true;
    slow!.open();
    slow!.deliver();
    subscriptions.newest.say('two');
    slow!.deliver();
    expect(slow!.heard).toEqual(['one', 'two']);
    expect(subscriptions.connections).toHaveLength(1);
  });
});

describe('a barrier', () => {
  const ANSWER = '{"v":1,"a":"b1","r":"host"}';
  const answer = async (worker: FakeWorker): Promise<void> => {
    (await worker.subscription).send(ANSWER);
    worker.deliver();
  };

  test('is answered once, when every worker has', async () => {
    const [one, other] = await createListeners(2);
    await answer(one!);
    await answer(one!);
    expect(subscriptions.newest.sent).toEqual([]);
    await answer(other!);
    expect(subscriptions.newest.sent).toEqual([ANSWER]);
    // Another answer, and the end of a worker, are reasons to look again.
    await answer(one!);
    other!.member.leave();
    expect(subscriptions.newest.sent).toEqual([ANSWER, ANSWER]);
    one!.member.receive({ type: 'send', subscription: 1, payload: 'other' });
    expect(subscriptions.newest.sent).toEqual([ANSWER, ANSWER, 'other']);
  });

  test('does not wait for a worker that has ended', async () => {
    const [one, other] = await createListeners(2);
    await answer(one!);
    other!.member.leave();
    expect(subscriptions.newest.sent).toEqual([ANSWER]);
  });

  test('waits for one that does not listen yet: it may decide requests, with what was read before', async () => {
    const [one] = await createListeners(1);
    const starting = createWorker();
    await answer(one!);
    expect(subscriptions.newest.sent).toEqual([]);
    starting.open();
    starting.deliver();
    expect(subscriptions.newest.sent).toEqual([]);
    await answer(starting);
    expect(subscriptions.newest.sent).toEqual([ANSWER]);
  });

  test('waits for one that has fallen behind, until it listens again and has answered', async () => {
    const [slow, quick] = await createListeners(2);
    slow!.hasRoom = false;
    subscriptions.newest.say('one');
    await answer(quick!);
    slow!.deliver();
    expect(subscriptions.newest.sent).toEqual([]);
    slow!.hasRoom = true;
    slow!.open();
    slow!.deliver();
    await answer(slow!);
    expect(subscriptions.newest.sent).toEqual([ANSWER]);
  });

  test('waits for one that stops, until its process has ended: requests are under way in it', async () => {
    const [one, other] = await createListeners(2);
    one!.remote.leave();
    (await one!.subscription).close();
    one!.deliver();
    await answer(other!);
    expect(subscriptions.newest.sent).toEqual([]);
    one!.member.leave();
    expect(subscriptions.newest.sent).toEqual([ANSWER]);
  });

  test('of a new connection waits for one that has not heard that the old one is lost', async () => {
    const [slow, quick] = await createListeners(2);
    subscriptions.newest.lose();
    quick!.deliver();
    quick!.open();
    quick!.deliver();
    subscriptions.newest.accept();
    await settle();
    quick!.deliver();
    await answer(quick!);
    slow!.deliver();
    expect(subscriptions.newest.sent).toEqual([]);
    slow!.open();
    slow!.deliver();
    await answer(slow!);
    expect(subscriptions.newest.sent).toEqual([ANSWER]);
  });

  test('what is answered for an earlier subscription, or by a worker that does not hear, does not count', async () => {
    const [one] = await createListeners(1);
    one!.member.receive({ type: 'send', subscription: 0, payload: ANSWER });
    expect(subscriptions.newest.sent).toEqual([]);
    one!.hasRoom = false;
    subscriptions.newest.say('one');
    one!.member.receive({ type: 'send', subscription: 1, payload: ANSWER });
    expect(subscriptions.newest.sent).toEqual([]);
  });

  test('what was answered on an earlier connection does not count', async () => {
    const [one, other] = await createListeners(2);
    await answer(one!);
    subscriptions.newest.lose();
    for (const worker of [one!, other!]) {
      worker.deliver();
      worker.open();
      worker.deliver();
    }
    subscriptions.newest.accept();
    await settle();
    one!.deliver();
    other!.deliver();
    await answer(other!);
    expect(subscriptions.newest.sent).toEqual([]);
  });

  test('many that not all answer are forgotten, the oldest first', async () => {
    const [one, other] = await createListeners(2);
    const send = async (worker: FakeWorker, number: number): Promise<void> => {
      (await worker.subscription).send(String(number));
      worker.deliver();
    };
    for (let number = 0; number < 17; number++) {
      await send(one!, number);
    }
    await send(other!, 0);
    expect(subscriptions.newest.sent).toEqual([]);
    await send(other!, 2);
    expect(subscriptions.newest.sent).toEqual(['2']);
  });
});

test('what is said of an earlier subscription is ignored, on both sides', async () => {
  const [worker] = await createListeners(1);
  subscriptions.newest.lose();
  const late = worker!.told.splice(0);
  worker!.deliver();
  worker!.abort.abort();
  worker!.open();
  worker!.said.splice(0);
  for (const message of late) {
    worker!.remote.receive(message);
  }
  expect(worker!.lost).toEqual([]);
});

test('the end of an earlier subscription does not end the connection of a later one', async () => {
  const [worker] = await createListeners(1);
  worker!.open();
  worker!.deliver();
  worker!.member.receive({ type: 'close', subscription: 1, leaving: false });
  expect(subscriptions.newest.closes).toBe(0);
  subscriptions.newest.say('one');
  worker!.deliver();
  expect(worker!.heard).toEqual(['one']);
});
