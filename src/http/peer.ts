/**
 * Who is at the other end of a connection. Over a Unix socket nobody has an address, and a connection that has gone has
 * none either: only the server knows which of the two it is, and takes note of it here.
 */
import type { Socket } from 'node:net';

/** What stands for the address of a peer on a Unix socket. */
export const UNIX_PEER = 'unix';

const unixPeers = new WeakSet<Socket>();

/** For the server that has accepted the connection on its Unix socket. */
export function noteUnixPeer(socket: Socket): void {
  unixPeers.add(socket);
}

/** Whether the connection was accepted on a Unix socket of ours, also after it has gone. */
export const isUnixPeer = (socket: Socket): boolean => unixPeers.has(socket);

/** The peer's address, or {@link UNIX_PEER}; null: the connection has gone. */
export const peerOf = (socket: Socket): string | null =>
  isUnixPeer(socket) ? UNIX_PEER : (socket.remoteAddress ?? null);
