/**
 * Which server answers, and whether it is the one that is listened to (P5).
 *
 * A listening connection is served by one process of one server, from LISTEN to its end. So what finds this process
 * alive in the same database runs on the very server whose notifications are heard: not on another, and not on the same
 * one after a crash. Every question for a fence looks for it. Without that, ids of transactions that a crash or a
 * failover has set back could be compared with those of before, on a connection whose other end is long gone (P22).
 *
 * The process is known by its id and by a random mark in its `application_name`, which every role may see.
 */
import type { DownCause } from '../observation.js';
import type { Lease } from './lease.js';

/** A backend that listens, as others on its server can find it. */
export interface ListeningBackend {
  readonly processId: number;
  /** A random text in its `application_name`. */
  readonly mark: string;
}

/** No backend: it is absent everywhere. */
export const NOBODY: ListeningBackend = { processId: 0, mark: '' };

/** Of a mark, in characters: as many as `application_name` has room for behind the longest name of a replica. */
export const MARK_LENGTH = 6;

/** What a statement says of the server that has answered it. */
export interface ServerReceipt {
  /** Server, database and schema, as in `gatebell.server`. */
  readonly serverId: string;
  readonly inRecovery: boolean;
  /**
   * Whether the backend that was asked for is on this server, in this database. `unsure`: a process of its id is there,
   * and its mark is not, because a pooler has taken it away, or because it is another process.
   */
  readonly listener: 'seen' | 'unsure' | 'absent';
  /**
   * Whether the statement came through a pooler: the process that ran it is not the one that the connection began with.
   */
  readonly isPooled: boolean;
}

/** Looks for a backend from the pool, and writes nothing. Rejects when it cannot, within bounded time. */
export type AskServer = (listener: ListeningBackend) => Promise<ServerReceipt>;

/** What has changed from one server id to another: the schema alone, or the server or database as well (P23). */
export function changeOf(
  before: string,
  after: string,
): Extract<DownCause, 'schema_changed' | 'server_changed'> | null {
  if (before === after) {
    return null;
  }
  const server = (serverId: string): string => serverId.slice(0, serverId.lastIndexOf('/'));
  return server(before) === server(after) ? 'schema_changed' : 'server_changed';
}

/** What is known, on one connection, of the server that is listened to. */
export interface ListenedServer {
  /** Whether a fence has come back: then no transaction-mode pooler is in between. */
  readonly isProven: boolean;
  /** Why an answer cannot come from this server; null if it may. */
  mismatchOf(receipt: ServerReceipt): DownCause | null;
  /** Notes an answer that may come from this server. */
  note(receipt: ServerReceipt): void;
  /** Whether what this answer asks for may be proven. A process that had the mark and has not got it is another one. */
  mayProve(receipt: ServerReceipt): boolean;
  /** A fence has come back. */
  noteProof(): void;
}

/** Nothing is known yet: the connection is new. */
export function createListenedServer(lease: Lease): ListenedServer {
  /** Whether its backend was seen, with its mark. */
  let isSeen = false;
  let isProven = false;

  return {
    get isProven() {
      return isProven;
    },
    mismatchOf({ serverId, inRecovery, listener }) {
      if (listener === 'absent' || (listener === 'unsure' && isSeen && isProven)) {
        return 'foreign_pool';
      }
      if (inRecovery) {
        return 'standby';
      }
      return lease.serverId === null ? null : changeOf(lease.serverId, serverId);
    },
    note({ serverId, listener, isPooled }) {
      isSeen ||= listener === 'seen';
      // Behind a pooler the mark may be lost for good: while nothing else is known, the process id does.
      if (listener === 'seen' || (isPooled && !lease.everProven)) {
        lease.setServer(serverId);
      }
    },
    mayProve: ({ listener }) => listener === 'seen' || !isSeen,
    noteProof() {
      isProven = true;
    },
  };
}
