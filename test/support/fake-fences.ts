/** Fences as the pool sends them: the test decides whether and when each is confirmed. */
import { signFence } from '../../src/coherence/fences.js';
import type { AskFence, FenceReceipt, ListeningBackend } from '../../src/coherence/listener.js';

export interface AskedFence {
  /** As it was asked for. */
  readonly unlessAfter: number | null;
  readonly sent: boolean;
  /** Of the one that was sent, or else of the newest. */
  readonly number: number;
  readonly message: object;
  /** The backend that was asked for. */
  readonly listener: ListeningBackend | null;
  /** Fingerprints whose writers were not asked about. */
  readonly trusted: readonly string[];
  /** The statement that asked for it returns. */
  confirm(receipt?: Partial<FenceReceipt>): void;
  fail(error: unknown): void;
}

export interface FakeFences {
  readonly ask: AskFence;
  /** All questions, oldest first. */
  readonly asked: readonly AskedFence[];
  readonly newest: AskedFence;
  /** Somebody else has one sent. Its message. */
  sendElsewhere(): object;
  /** What a confirmation says unless told otherwise; may be changed while a test runs. */
  receipt: FenceReceipt;
}

export const ORIGIN = 'primary/1';
export const FENCE_KEY = 'f0'.repeat(64);
export const CHANNEL = 'gatebell';

/** A fence as Postgres sends it. */
export function fenceMessage(number: number, origin: string = ORIGIN, key: string = FENCE_KEY): object {
  return { v: 1, f: number, o: origin, m: signFence(key, number, origin) };
}

export function createFakeFences(subjects: readonly string[] = ['grant', 'user']): FakeFences {
  const asked: AskedFence[] = [];
  let number = 0;
  const fences: FakeFences = {
    asked,
    receipt: {
      origin: ORIGIN,
      inRecovery: false,
      serverTimeMs: 5_000,
      newest: 0,
      sent: true,
      key: FENCE_KEY,
      channel: CHANNEL,
      queueUsage: 0,
      listener: 'seen',
      watches: subjects.map(subject => ({ subject, problem: null, fingerprint: '1', writers: [] })),
    },
    get newest() {
      const newest = asked.at(-1);
      if (newest === undefined) {
        throw new Error('no fence was asked for yet');
      }
      return newest;
    },
    sendElsewhere: () => fenceMessage(++number),
    ask: (unlessAfter, listener, trusted = []) =>
      new Promise((resolve, reject) => {
        const newest = number;
        const sent = unlessAfter === null || newest <= unlessAfter;
        number += Number(sent);
        asked.push({
          unlessAfter,
          sent,
          number,
          message: fenceMessage(number),
          listener,
          trusted,
          confirm(receipt = {}) {
            resolve({ ...fences.receipt, newest, sent, ...receipt });
          },
          fail: reject,
        });
      }),
  };
  return fences;
}
