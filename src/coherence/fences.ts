/**
 * Fences heard on one connection. A fence is a numbered message that `gatebell.fence` sends through the channel of the triggers. Its
 * number is taken before it is sent; so if Postgres says, when it is asked at some moment, that number 41 was the last one taken,
 * then whoever hears 42 or more hears something that was sent after that moment, and has heard all that was
 * acknowledged before it. It does not matter who had it sent: one fence proves every replica that had asked before.
 *
 * Anybody with a connection can NOTIFY, and a number made up in advance would prove what was not heard: so fences are signed
 * (HMAC-SHA256, RFC 2104) with a key that only replicas can read. One that is sent again proves nothing, its number is old.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** A fence as it travels. */
export interface FenceMessage {
  readonly type: 'fence';
  readonly number: number;
  /** The server that sent it, as in `gatebell.origin`: numbers of another server say nothing. */
  readonly origin: string;
  /** HMAC-SHA256 of number and origin, in hexadecimal. */
  readonly signature: string;
}

/** See the head of the file. */
export interface HeardFences {
  /** Number of the newest fence heard, of whichever server; 0 if there is none. */
  readonly newest: number;
  /** A fence came. Returns whether it is one. */
  hear(fence: FenceMessage): boolean;
  /** The key that fences are signed with, in hexadecimal. Those that came before it was known are looked at now. */
  learnKey(key: string): void;
  /** Whether a fence of this server was heard whose number is greater. */
  hasHeardSince(number: number, origin: string): boolean;
}

/** Fences that may wait for the key: anybody can send what looks like one. */
const UNVERIFIED_MAX = 16;

/** The signature that `gatebell.fence` gives to a fence. @param key in hexadecimal */
export function signFence(key: string, number: number, origin: string): string {
  return createHmac('sha256', Buffer.from(key, 'hex')).update(`${number}/${origin}`).digest('hex');
}

function isSigned({ number, origin, signature }: FenceMessage, key: string): boolean {
  const [given, own] = [Buffer.from(signature), Buffer.from(signFence(key, number, origin))];
  return given.length === own.length && timingSafeEqual(given, own);
}

/** Nothing was heard yet. */
export function createHeardFences(): HeardFences {
  let key: string | null = null;
  let unverified: FenceMessage[] = [];
  let newest: FenceMessage | null = null;

  const accept = (fence: FenceMessage, signedWith: string): boolean => {
    if (!isSigned(fence, signedWith)) {
      return false;
    }
    if (newest === null || newest.origin !== fence.origin || newest.number < fence.number) {
      newest = fence;
    }
    return true;
  };

  return {
    get newest() {
      return newest?.number ?? 0;
    },
    hear(fence) {
      if (key === null) {
        unverified = [...unverified, fence].slice(-UNVERIFIED_MAX);
        return false;
      }
      return accept(fence, key);
    },
    learnKey(learned) {
      key = learned;
      for (const fence of unverified) {
        accept(fence, learned);
      }
      unverified = [];
    },
    hasHeardSince: (number, origin) => newest !== null && newest.origin === origin && newest.number > number,
  };
}
