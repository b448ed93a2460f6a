/** Whether the pool reads from the server that is listened to, and what follows if it does not (P5). */
import { beforeEach, expect, test } from 'vitest';
import type { ServerReceipt } from '../../../../src/coherence/proof/server.js';
import { fenceMessage, SERVER_ID, type FakeFences } from '../../../support/fake-fences.js';
import { LISTENER_PROCESS } from '../../../support/fake-subscription.js';
import {
  createListenerBench,
  FENCE_INTERVAL_MS,
  RETRY_MS,
  type ListenerBench,
} from '../../../support/listener-harness.js';

let bench: ListenerBench;

beforeEach(async () => {
  bench = createListenerBench();
  bench.listener.start();
  await bench.accept();
});

const closings = (): string[] => bench.log.of('connection_closed').map(({ cause }) => cause);

async function confirm(listener: 'seen' | 'unsure' | 'absent'): Promise<void> {
  bench.fences.newest.confirm({ listener });
  await bench.clock.drain();
}

/** Somebody else's question finds the backend, or does not, when an epoch begins. */
async function begin(server: FakeFences['server']): Promise<void> {
  bench.subscriptions.newest.lose();
  bench.fences.server = server;
  await bench.clock.advance(RETRY_MS);
  await bench.accept();
}

test('every question looks for the backend that listens; that a fence has come back is said with it', async () => {
  const backend = { processId: LISTENER_PROCESS, mark: 'mark 0' };
  expect(bench.fences.looked).toEqual([backend]);
  expect(bench.fences.newest).toMatchObject({ listener: backend, isProven: false });
  bench.fences.newest.fail(new Error('no connection'));
  await bench.clock.advance(RETRY_MS);
  expect(bench.fences.newest).toMatchObject({ listener: backend, isProven: false });
  await bench.prove();
  await bench.clock.advance(FENCE_INTERVAL_MS);
  expect(bench.fences.newest).toMatchObject({ listener: backend, isProven: true });
});

test.each(['in the first answer of all', 'before anything is proven', 'later', 'when it had been heard that it is'])(
  'a backend that is not there %s: the epoch ends at once, the pool is renewed, and no reading is believed',
  async when => {
    if (when === 'in the first answer of all') {
      await begin({ listener: 'absent' });
    } else if (when === 'before anything is proven') {
      await confirm('absent');
    } else {
      await bench.prove();
      await bench.clock.advance(FENCE_INTERVAL_MS);
      if (when === 'later') {
        await confirm('absent');
      } else {
        bench.subscriptions.newest.say(fenceMessage(1_000_000));
        await confirm('absent');
      }
    }
    expect(bench.listener.state).toBe('down');
    expect(closings().at(-1)).toBe('foreign_pool');
    expect(bench.listener.problem).toContain(`another server (${SERVER_ID})`);
    expect(bench.listener.problem).toContain('GATEBELL_LISTEN_URL');
    expect(bench.poolsRenewed).toBe(1);
    expect(bench.lease.suspectsPool).toBe(true);
  },
);

test('a second answer to the same question that does not find the backend ends the epoch, too', async () => {
  await bench.prove();
  bench.subscriptions.newest.say(bench.fences.sendElsewhere());
  await bench.clock.advance(FENCE_INTERVAL_MS);
  bench.fences.newest.confirm();
  await bench.clock.advance(FENCE_INTERVAL_MS);
  await confirm('absent');
  expect(closings()).toEqual(['foreign_pool']);
});

test('readings are believed again as soon as the backend is seen', async () => {
  await confirm('absent');
  await bench.clock.advance(RETRY_MS);
  expect(bench.lease.suspectsPool).toBe(true);
  await bench.accept();
  expect(bench.lease.suspectsPool).toBe(false);
  expect(bench.lease.serverId).toBe(SERVER_ID);
});

test('a backend that is seen tells the server id before a fence is sent; nothing is served yet', async () => {
  expect(bench.lease.serverId).toBe(SERVER_ID);
  expect(bench.lease.serverPending).toBeNull();
  expect(bench.listener.state).toBe('listening');
});

test('nothing is believed and no fence is asked for until the first question of an epoch is answered', async () => {
  let answer!: (server: ServerReceipt) => void;
  await begin(
    new Promise(resolve => {
      answer = resolve;
    }),
  );
  const { length } = bench.fences.asked;
  await bench.clock.advance(FENCE_INTERVAL_MS);
  expect(bench.fences.asked).toHaveLength(length);
  expect(bench.lease.serverPending?.aborted).toBe(false);
  answer({ serverId: SERVER_ID, inRecovery: false, listener: 'seen', isPooled: false });
  await bench.clock.drain();
  expect(bench.lease.serverPending).toBeNull();
  expect(bench.fences.asked).toHaveLength(length + 1);
});

test('a question that fails is asked again', async () => {
  await begin(new Error('no connection'));
  const { length } = bench.fences.looked;
  expect(bench.listener.problem).toContain('no connection');
  bench.fences.server = {};
  await bench.clock.advance(RETRY_MS);
  expect(bench.fences.looked).toHaveLength(length + 1);
  await bench.prove();
  expect(bench.listener.state).toBe('live');
});

test('if it is unsure, only the echo tells', async () => {
  await begin({ listener: 'unsure' });
  await confirm('unsure');
  expect(bench.lease.serverId).toBeNull();
  expect(bench.lease.serverPending?.aborted).toBe(false);
  bench.echo();
  expect(bench.lease.serverId).toBe(SERVER_ID);
  expect(bench.listener.state).toBe('live');
});

test('where the mark is never seen, its absence does not end what was proven', async () => {
  await begin({ listener: 'unsure' });
  for (let proofs = 1; proofs <= 3; proofs++) {
    await confirm('unsure');
    bench.echo();
    expect(bench.log.of('fence_proven')).toHaveLength(proofs);
    await bench.clock.advance(FENCE_INTERVAL_MS);
  }
  expect(bench.listener.state).toBe('live');
  expect(closings()).toEqual(['connection_lost']);
});

test('behind a pooler, the process id tells enough to read, as long as nothing was ever proven', async () => {
  await begin({ listener: 'unsure', isPooled: true });
  expect(bench.lease.serverId).toBe(SERVER_ID);
  expect(bench.listener.state).toBe('listening');
  await bench.prove();
  await begin({ listener: 'unsure', isPooled: true });
  expect(bench.lease.serverId).toBeNull();
});

test('a process of the same id without the mark is another one: it ends what was proven', async () => {
  await confirm('unsure');
  bench.echo();
  expect(bench.listener.state).toBe('listening');
  for (let question = 0; question < 2; question++) {
    await bench.clock.advance(FENCE_INTERVAL_MS);
    await bench.prove();
  }
  expect(bench.listener.state).toBe('live');
  await bench.clock.advance(FENCE_INTERVAL_MS);
  await confirm('unsure');
  expect(closings()).toEqual(['foreign_pool']);
});

test.each([
  ['server_changed', { serverId: 'primary/2' }],
  ['standby', { inRecovery: true }],
])('%s: the same', async (cause, receipt) => {
  await bench.prove();
  await bench.clock.advance(FENCE_INTERVAL_MS);
  bench.fences.newest.confirm(receipt);
  await bench.clock.drain();
  expect(closings()).toEqual([cause]);
  expect(bench.poolsRenewed).toBe(1);
  expect(bench.lease.suspectsPool).toBe(true);
});
