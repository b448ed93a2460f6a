/** Fences as the pool sends them: the test decides whether and when each is confirmed. */
import { signFence } from '../../src/coherence/proof/heard-fences.js';
import type { AskFence, FenceReceipt, SendFence } from '../../src/coherence/proof/fence.js';
import type { AskServer, ListeningBackend, ServerReceipt } from '../../src/coherence/proof/server.js';

export interface AskedFence {
  /** As it was asked for. */
  readonly send: SendFence;
  readonly sent: boolean;
  /** Of the one that was sent, or else of the newest. */
  readonly number: number;
  readonly message: object;
  /** The backend that was asked for. */
  readonly listener: ListeningBackend;
  /** Whether a fence has come back in this epoch, as the listener says. */
  readonly isProven: boolean;
  /** Fingerprints whose writers were not asked about. */
  readonly trusted: readonly string[];
  /** The statement that asked for it returns. */
  confirm(receipt?: Partial<FenceReceipt>): void;
  fail(error: unknown): void;
}

export interface FakeFences {
  readonly ask: AskFence;
  readonly askServer: AskServer;
  /** All questions for fences, oldest first. */
  readonly asked: readonly AskedFence[];
  readonly newest: AskedFence;
  /** The backends that were looked for when an epoch began. */
  readonly looked: readonly ListeningBackend[];
  /** Somebody else has one sent. Its message. */
  sendElsewhere(): object;
  /** What a confirmation says unless told otherwise; may be changed while a test runs. */
  receipt: FenceReceipt;
  /**
   * What the question that begins an epoch is answered with, at once; an error: it fails. May be changed while a test
   * runs.
   */
  server: Partial<ServerReceipt> | Error | Promise<ServerReceipt>;
}

export const SERVER_ID = 'primary/1/16500.742';
export const FENCE_KEY = 'f0'.repeat(64);
export const CHANNEL = 'gatebell';
/** Ids of transactions are ahead of the numbers of fences by so much. */
export const IDS_AHEAD = 1_000;

/** A fence as Postgres sends it. */
export function fenceMessage(
  number: number,
  serverId: string = SERVER_ID,
  key: string = FENCE_KEY,
  id: number = number + IDS_AHEAD,
): object {
  return { v: 1, f: id, n: number, i: serverId, m: signFence(key, { id, number, serverId }) };
}

export function createFakeFences(topics: readonly string[] = ['grant', 'user']): FakeFences {
  const asked: AskedFence[] = [];
  const looked: ListeningBackend[] = [];
  let number = 0;
  const fences: FakeFences = {
    asked,
    looked,
    server: {},
    receipt: {
      serverId: SERVER_ID,
      inRecovery: false,
      serverTimeMs: 5_000,
      bound: 0,
      newest: 0,
      sent: true,
      key: FENCE_KEY,
      channel: CHANNEL,
      queueUsage: 0,
      listener: 'seen',
      isPooled: false,
      watches: topics.map(topic => ({ topic, problem: null, fingerprint: '1', writers: [] })),
    },
    get newest() {
      const newest = asked.at(-1);
      if (newest === undefined) {
        throw new Error('no fence was asked for yet');
      }
      return newest;
    },
    sendElsewhere: () => fenceMessage(++number),
    async askServer(listener) {
      looked.push(listener);
      const server = await fences.server;
      if (server instanceof Error) {
        throw server;
      }
      const { serverId, inRecovery, isPooled } = fences.receipt;
      return { serverId, inRecovery, listener: fences.receipt.listener, isPooled, ...server };
    },
    ask: (send, listener, isProven, trusted = []) =>
      new Promise((resolve, reject) => {
        const newest = number;
        const sent = send === 'always' || (send !== 'never' && newest <= send.unlessAfter);
        number += Number(sent);
        asked.push({
          send,
          sent,
          number,
          message: fenceMessage(number),
          listener,
          isProven,
          trusted,
          confirm(receipt = {}) {
            resolve({ ...fences.receipt, newest, bound: newest + 1 + IDS_AHEAD, sent, ...receipt });
          },
          fail: reject,
        });
      }),
  };
  return fences;
}
