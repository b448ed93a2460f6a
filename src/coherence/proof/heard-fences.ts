/**
 * Fences heard on one connection. A fence is a message that `gatebell.fence` sends through the channel of the triggers;
 * it carries the id of its transaction. Whoever asks Postgres is told a *bound*: the first id past all that had
 * completed when the question was answered (`pg_snapshot_xmax`). A fence with the bound or a greater id had not
 * completed by then.
 *
 * Postgres queues what a transaction notifies under a lock that the transaction holds until it has completed, so the
 * queue is in the order of completion. What was acknowledged before the question had completed, and stands in the queue
 * before that fence: whoever hears the fence has heard it all (P9). It does not matter who had it sent: one fence
 * proves every replica that had asked before.
 *
 * The ids of transactions never go back while a server runs, whatever is restored or set back in the database. Across a
 * crash or a failover they can; therefore each answer also says whether the backend that serves the listening
 * connection runs on the server that answers (`server.ts`).
 *
 * The *number* of a fence proves nothing. It comes from a sequence, where others see it at once, so that not all send a
 * fence at the same time.
 *
 * Anybody with a connection can NOTIFY, and an id made up in advance would prove what was not heard: so fences are
 * signed (HMAC-SHA256, RFC 2104) with a key that only replicas can read. One that is sent again proves nothing, its id
 * is old.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** A fence as it travels. */
export interface FenceMessage {
  readonly type: 'fence';
  /** Of its transaction. */
  readonly id: number;
  readonly number: number;
  /** The server and the schema that sent it, as in `gatebell.server`: ids of another server say nothing. */
  readonly serverId: string;
  /** HMAC-SHA256 of id, number and server id, in hexadecimal. */
  readonly signature: string;
}

export interface HeardFences {
  /** Number of the newest fence heard; 0 if there is none. */
  readonly newest: number;
  /** A fence came. Returns whether it is one, and newer than all before. */
  hear(fence: FenceMessage): boolean;
  /**
   * Where fences are sent from, and the key that they are signed with, in hexadecimal. Those that came before this was
   * known are looked at now; those of elsewhere count as not heard.
   */
  learn(sender: { readonly serverId: string; readonly key: string }): void;
  /** Whether a fence of this server id was heard with the bound or a greater id. */
  hasHeard(bound: number, serverId: string): boolean;
}

/** Fences that may wait for the key: anybody can send what looks like one. */
const UNVERIFIED_MAX = 16;

/** The signature that `gatebell.fence` gives to a fence. @param key in hexadecimal */
export function signFence(key: string, { id, number, serverId }: Omit<FenceMessage, 'type' | 'signature'>): string {
  return createHmac('sha256', Buffer.from(key, 'hex')).update(`${id}/${number}/${serverId}`).digest('hex');
}

function isSigned(fence: FenceMessage, key: string): boolean {
  const [given, own] = [Buffer.from(fence.signature), Buffer.from(signFence(key, fence))];
  return given.length === own.length && timingSafeEqual(given, own);
}

/** Nothing was heard yet. */
export function createHeardFences(): HeardFences {
  let sender: { readonly serverId: string; readonly key: string } | null = null;
  let unverified: FenceMessage[] = [];
  let newest: FenceMessage | null = null;

  const accept = (
    fence: FenceMessage,
    { serverId, key }: { readonly serverId: string; readonly key: string },
  ): boolean => {
    if (fence.serverId !== serverId || (newest !== null && fence.id <= newest.id) || !isSigned(fence, key)) {
      return false;
    }
    newest = fence;
    return true;
  };

  return {
    get newest() {
      return newest?.number ?? 0;
    },
    hear(fence) {
      if (sender === null) {
        unverified = [...unverified, fence].slice(-UNVERIFIED_MAX);
        return false;
      }
      return accept(fence, sender);
    },
    learn(learned) {
      if (newest?.serverId !== learned.serverId) {
        newest = null;
      }
      sender = learned;
      for (const fence of unverified) {
        accept(fence, learned);
      }
      unverified = [];
    },
    hasHeard: (bound, serverId) => newest !== null && newest.serverId === serverId && newest.id >= bound,
  };
}
