/** LISTEN connections that the test accepts, refuses, speaks through and loses; every attempt is kept. */
import type { OpenSubscription } from '../../src/coherence/proof/connection.js';

export interface FakeConnection {
  readonly channel: string;
  /** Whether the one who opened it has given it up. */
  readonly aborted: boolean;
  /** How often it was closed. */
  readonly closes: number;
  /** What was sent over it, oldest first. */
  readonly sent: readonly string[];
  /** LISTEN is acknowledged. */
  accept(): void;
  refuse(error: unknown): void;
  /** A notification arrives. */
  say(payload: string | object): void;
  lose(error?: unknown): void;
}

export interface FakeSubscriptions {
  readonly open: OpenSubscription;
  /** All attempts, oldest first. */
  readonly connections: readonly FakeConnection[];
  readonly newest: FakeConnection;
  /** Whether an attempt that is given up ends only when the test says so. */
  lingers: boolean;
}

/** The first connection's backend; each has its own. */
export const LISTENER_PROCESS = 100;

export function createFakeSubscriptions(): FakeSubscriptions {
  const connections: FakeConnection[] = [];
  const subscriptions: FakeSubscriptions = {
    connections,
    lingers: false,
    get newest() {
      const newest = connections.at(-1);
      if (newest === undefined) {
        throw new Error('nothing was opened yet');
      }
      return newest;
    },
    open: (channel, events, signal) =>
      new Promise((resolve, reject) => {
        let closes = 0;
        const sent: string[] = [];
        const backend = { processId: LISTENER_PROCESS + connections.length, mark: `mark ${connections.length}` };
        connections.push({
          channel,
          sent,
          get aborted() {
            return signal.aborted;
          },
          get closes() {
            return closes;
          },
          accept() {
            resolve({
              backend,
              send(payload) {
                sent.push(payload);
              },
              close() {
                closes += 1;
              },
            });
          },
          refuse: reject,
          say(payload) {
            events.onMessage(typeof payload === 'string' ? payload : JSON.stringify(payload));
          },
          lose(error = new Error('connection reset')) {
            events.onLost(error);
          },
        });
        signal.addEventListener('abort', () => {
          if (!subscriptions.lingers) {
            reject(new Error('given up'));
          }
        });
      }),
  };
  return subscriptions;
}
