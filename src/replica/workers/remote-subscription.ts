/**
 * A worker's listening connection: that of its supervisor, as if it were its own. What Postgres sends comes through the
 * supervisor in the same order, and a proof needs a fence that has come all that way. So a worker that falls behind, or
 * a supervisor that stands still, is unproven like a replica whose network is slow.
 */
import type { OpenSubscription, Subscription, SubscriptionEvents } from '../../coherence/proof/connection.js';
import type { FromSubscription, ToSubscription } from './messages.js';

export interface RemoteSubscription {
  readonly open: OpenSubscription;
  /** The supervisor says something. */
  receive(message: ToSubscription): void;
  /** From now on a subscription that is closed is one that is no longer needed, not one that was found to be broken. */
  leave(): void;
}

/** One subscription, from the question on. */
interface Open {
  readonly number: number;
  readonly events: SubscriptionEvents;
  readonly resolve: (subscription: Subscription) => void;
  readonly reject: (error: Error) => void;
}

/** @param post says something to the supervisor */
export function createRemoteSubscription(post: (message: FromSubscription) => void): RemoteSubscription {
  let newest = 0;
  let open: Open | null = null;
  let leaving = false;

  const close = (number: number): void => {
    if (open?.number === number) {
      open = null;
      post({ type: 'close', subscription: number, leaving });
    }
  };

  return {
    open: (channel, events, signal) =>
      new Promise((resolve, reject) => {
        newest += 1;
        const number = newest;
        open = { number, events, resolve, reject };
        post({ type: 'open', subscription: number, channel });
        const onAbort = (): void => {
          close(number);
          reject(new Error('given up'));
        };
        if (signal.aborted) {
          onAbort();
        } else {
          signal.addEventListener('abort', onAbort, { once: true });
        }
      }),
    receive(message) {
      if (open === null || open.number !== message.subscription) {
        return;
      }
      const { number, events, resolve, reject } = open;
      switch (message.type) {
        case 'opened':
          resolve({
            backend: message.backend,
            send(payload) {
              if (open?.number === number) {
                post({ type: 'send', subscription: number, payload });
              }
            },
            close: () => {
              close(number);
            },
          });
          return;
        case 'refused':
          open = null;
          reject(new Error(message.problem));
          return;
        case 'heard':
          events.onMessage(message.payload);
          return;
        case 'lost':
          // The end of the epoch comes first, then the word that it has ended.
          events.onLost(new Error(message.problem));
          close(number);
          return;
      }
    },
    leave() {
      leaving = true;
    },
  };
}
