/**
 * What comes over the listening connection, and what each message does. It is done in the turn in which the message
 * arrives: what stands before a fence has been applied when the fence is heard (P17).
 */
import type { Clock } from '../../time/clock.js';
import type { SignalBus } from '../bus.js';
import type { Observe } from '../observation.js';
import { parseMessage } from '../signal.js';
import type { FenceMessage } from './heard-fences.js';

export interface Messages {
  /** Takes what Postgres has sent. */
  receive(payload: string): void;
  /**
   * Resolves when the messages that wait to be read have been received (P12). If messages keep coming, it waits for a
   * bounded number of turns of the event loop.
   */
  caughtUp(): Promise<void>;
}

/** What messages need of the rest. */
export interface MessagesDeps {
  readonly bus: SignalBus;
  readonly clock: Clock;
  readonly observe: Observe;
  readonly hearFence: (fence: FenceMessage) => void;
  readonly answerBarrier: (id: string) => void;
}

/** Turns of the event loop that waiting input gets while messages keep coming. */
const TURNS_MAX = 100;

/** Nothing was received yet. */
export function createMessages({ bus, clock, observe, hearFence, answerBarrier }: MessagesDeps): Messages {
  let received = 0;
  return {
    receive(payload) {
      received += 1;
      const message = parseMessage(payload);
      switch (message.type) {
        case 'change':
          bus.emit(message);
          observe({ event: 'signal', topic: message.topic, keys: message.keys?.length ?? null });
          return;
        case 'fence':
          hearFence(message);
          return;
        case 'barrier':
          answerBarrier(message.id);
          return;
        case 'acknowledgement':
        case 'greeting':
          return;
        case 'malformed':
          // It may be a change that we do not understand (P27).
          bus.emit({ type: 'flush', cause: 'malformed' });
          observe({ event: 'message_malformed', problem: message.problem, payloadBytes: Buffer.byteLength(payload) });
          observe({ event: 'flush', cause: 'malformed' });
          return;
      }
    },
    async caughtUp() {
      for (let turn = 0, seen = -1; turn < TURNS_MAX && seen !== received; turn++) {
        seen = received;
        await new Promise<void>(resolve => {
          clock.defer(resolve);
        });
      }
    },
  };
}
