/** A worker's side of the shared connection: which messages it believes, and what it says of which subscription. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Subscription } from '../../../../src/coherence/proof/connection.js';
import {
  createRemoteSubscription,
  type RemoteSubscription,
} from '../../../../src/replica/workers/remote-subscription.js';
import type { FromSubscription, ToSubscription } from '../../../../src/replica/workers/messages.js';

const BACKEND = { processId: 7, mark: 'mark' };

let said: FromSubscription[];
let heard: string[];
let remote: RemoteSubscription;

beforeEach(() => {
  said = [];
  heard = [];
  remote = createRemoteSubscription(message => said.push(message));
});

function open(name: string, signal = new AbortController().signal): Promise<Subscription> {
  const events = {
    onMessage: (payload: string) => heard.push(`${name} hears ${payload}`),
    onLost: () => heard.push(`${name} is lost`),
  };
  return remote.open('gatebell', events, signal);
}

function accept(subscription: number): void {
  remote.receive({ type: 'opened', subscription, backend: BACKEND });
}

async function reopen(): Promise<{ readonly old: Subscription; readonly newest: Subscription }> {
  const first = open('first');
  accept(1);
  const old = await first;
  old.close();
  const second = open('second');
  accept(2);
  const newest = await second;
  said.length = 0;
  return { old, newest };
}

describe('with a second subscription', () => {
  test.each<ToSubscription>([
    { type: 'heard', subscription: 1, payload: 'late' },
    { type: 'lost', subscription: 1, problem: 'late' },
    { type: 'opened', subscription: 1, backend: BACKEND },
    { type: 'refused', subscription: 1, problem: 'late' },
  ])('what is said of the first is not believed: $type', async late => {
    await reopen();
    remote.receive(late);
    expect(heard).toEqual([]);
    expect(said).toEqual([]);
    remote.receive({ type: 'heard', subscription: 2, payload: 'now' });
    expect(heard).toEqual(['second hears now']);
  });

  test.each<ToSubscription>([
    { type: 'heard', subscription: 1, payload: 'late' },
    { type: 'opened', subscription: 1, backend: BACKEND },
  ])('nothing that is said of the first opens the second: $type', async late => {
    const abort = new AbortController();
    const first = open('first', abort.signal);
    abort.abort();
    await expect(first).rejects.toThrow('given up');
    let isOpen = false;
    void open('second').then(() => {
      isOpen = true;
    });
    remote.receive(late);
    await Promise.resolve();
    expect([isOpen, heard]).toEqual([false, []]);
  });

  test('the first sends nothing any more, and its end does not end the second', async () => {
    const { old, newest } = await reopen();
    old.send('late');
    old.close();
    expect(said).toEqual([]);
    newest.send('now');
    expect(said).toEqual([{ type: 'send', subscription: 2, payload: 'now' }]);
  });
});

describe('a subscription', () => {
  test('that is lost says nothing after the word that it is closed', async () => {
    const opening = open('first');
    accept(1);
    const subscription = await opening;
    said.length = 0;
    remote.receive({ type: 'lost', subscription: 1, problem: 'gone' });
    subscription.send('late');
    subscription.close();
    remote.receive({ type: 'heard', subscription: 1, payload: 'late' });
    expect(heard).toEqual(['first is lost']);
    expect(said).toEqual([{ type: 'close', subscription: 1, leaving: false }]);
  });

  test('that is refused hears nothing', async () => {
    const opening = open('first');
    remote.receive({ type: 'refused', subscription: 1, problem: 'no such host' });
    await expect(opening).rejects.toThrow('no such host');
    remote.receive({ type: 'heard', subscription: 1, payload: 'late' });
    expect(heard).toEqual([]);
  });

  test('that was given up before it was asked for is closed at once', async () => {
    await expect(open('first', AbortSignal.abort())).rejects.toThrow('given up');
    expect(said.at(-1)).toEqual({ type: 'close', subscription: 1, leaving: false });
  });

  test('that is closed is closed once, and says whether its worker leaves', async () => {
    const opening = open('first');
    accept(1);
    const subscription = await opening;
    said.length = 0;
    remote.leave();
    subscription.close();
    subscription.close();
    expect(said).toEqual([{ type: 'close', subscription: 1, leaving: true }]);
  });
});
