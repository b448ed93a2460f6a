/**
 * Which peers are proxies of ours, whose forwarding headers are believed. Judged by the connection's address, once a connection; every
 * endpoint of the auth port asks here, before it reads anything else.
 */
import type { IncomingMessage } from 'node:http';
import type { BlockList, Socket } from 'node:net';

/** Whether the request was sent by a proxy of ours. */
export type IsTrusted = (message: IncomingMessage) => boolean;

/** Creates the check. @param trustedProxies addresses of the proxies that may ask */
export function createProxyTrust(trustedProxies: BlockList): IsTrusted {
  const known = new WeakMap<Socket, boolean>();
  return ({ socket }) => {
    let trusted = known.get(socket);
    if (trusted === undefined) {
      const { remoteAddress, remoteFamily } = socket;
      trusted =
        remoteAddress !== undefined && trustedProxies.check(remoteAddress, remoteFamily === 'IPv6' ? 'ipv6' : 'ipv4');
      known.set(socket, trusted);
    }
    return trusted;
  };
}
