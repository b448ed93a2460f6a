/** Fences as the pool sends them: the test decides whether and when each is confirmed. */
import type { FenceReceipt, ListeningBackend, SendFence } from '../../src/coherence/listener.js';

export interface SentFence {
  readonly nonce: string;
  /** The backend that was asked for. */
  readonly listener: ListeningBackend | null;
  /** The statement that sent it returns. */
  confirm(receipt?: Partial<FenceReceipt>): void;
  fail(error: unknown): void;
}

export interface FakeFences {
  readonly send: SendFence;
  /** All fences, oldest first. */
  readonly sent: readonly SentFence[];
  readonly newest: SentFence;
  /** What a confirmation says unless told otherwise; may be changed while a test runs. */
  receipt: FenceReceipt;
}

export const ORIGIN = 'primary/1';
/** The backend that sends fences. */
export const FENCE_PROCESS = 77;
export const CHANNEL = 'gatebell';

export function createFakeFences(subjects: readonly string[] = ['grant', 'user']): FakeFences {
  const sent: SentFence[] = [];
  const fences: FakeFences = {
    sent,
    receipt: {
      origin: ORIGIN,
      inRecovery: false,
      serverTimeMs: 5_000,
      processId: FENCE_PROCESS,
      channel: CHANNEL,
      queueUsage: 0,
      listener: 'seen',
      watches: subjects.map(subject => ({ subject, problem: null, fingerprint: '1' })),
    },
    get newest() {
      const newest = sent.at(-1);
      if (newest === undefined) {
        throw new Error('no fence was sent yet');
      }
      return newest;
    },
    send: (nonce, listener = null) =>
      new Promise((resolve, reject) => {
        sent.push({
          nonce,
          listener,
          confirm(receipt = {}) {
            resolve({ ...fences.receipt, ...receipt });
          },
          fail: reject,
        });
      }),
  };
  return fences;
}
