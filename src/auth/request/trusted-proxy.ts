/**
 * Which peers are proxies of ours, whose forwarding headers are believed. Judged by the connection's address, once a
 * connection, and by the secret that they share with us where addresses say nothing, such as in a network that others
 * use, too. A peer on a Unix socket has no address: the mode of the socket's file says who may connect, and all who may
 * count as such proxies. Every endpoint of the auth port asks here, before it reads anything else.
 */
import type { IncomingMessage } from 'node:http';
import type { BlockList, Socket } from 'node:net';
import { isUnixPeer } from '../../http/peer.js';
import { createSecretCheck } from '../secret.js';

/** Whether the request was sent by a proxy of ours. */
export type IsTrusted = (message: IncomingMessage) => boolean;

/** Where a proxy shows the secret, in every request of its own. */
const SECRET_HEADER = 'x-gatebell-secret';

/** The value of a header that came once; undefined if it did not come, or more than once. */
function single(rawHeaders: readonly string[], wanted: string): string | undefined {
  let found: string | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.length === wanted.length && rawHeaders[i]!.toLowerCase() === wanted) {
      if (found !== undefined) {
        return undefined;
      }
      found = rawHeaders[i + 1];
    }
  }
  return found;
}

/**
 * Creates the check.
 *
 * @param trustedProxies addresses of the proxies that may ask
 * @param secret what they must show besides; null: nothing
 */
export function createProxyTrust(trustedProxies: BlockList, secret: string | null = null): IsTrusted {
  const known = new WeakMap<Socket, boolean>();
  const isSecret = secret === null ? null : createSecretCheck(secret);
  return ({ socket, rawHeaders }) => {
    let trusted = known.get(socket);
    if (trusted === undefined) {
      const { remoteAddress, remoteFamily } = socket;
      trusted =
        isUnixPeer(socket) ||
        (remoteAddress !== undefined && trustedProxies.check(remoteAddress, remoteFamily === 'IPv6' ? 'ipv6' : 'ipv4'));
      known.set(socket, trusted);
    }
    return trusted && (isSecret === null || isSecret(single(rawHeaders, SECRET_HEADER) ?? ''));
  };
}
