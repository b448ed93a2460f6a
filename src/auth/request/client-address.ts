/**
 * Whose request it is, as the proxy reports: for limits, never for rights. Proxies append the address that they see to
 * `X-Forwarded-For`, so what stands to the left of it is what a client claims.
 */
import { BlockList, isIP, SocketAddress } from 'node:net';
import { copyOf } from '../../http/host.js';
import type { SingleHeaders } from './headers.js';

/** Network and host part of IPv6: whoever has one address of such a network usually has all of it (RFC 6177). */
const NETWORK_GROUPS = 4;
const GROUPS = 8;
/** More proxies one behind the other are a client's doing. */
const HOPS_MAX = 32;
const MAPPED = '::ffff:';

/** A hop within one machine: no client of a proxy has such an address. */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** The part of an address that one party has: all of IPv4, the first 64 bits of IPv6. */
function networkOf(address: string): string {
  if (isIP(address) === 4) {
    // The limiter remembers it, and must not keep the whole header alive.
    return copyOf(address);
  }
  // In its one spelling (RFC 5952).
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address;
  if (canonical.startsWith(MAPPED) && canonical.includes('.')) {
    return canonical.slice(MAPPED.length);
  }
  const [head = '', tail] = canonical.split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: GROUPS - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right].slice(0, NETWORK_GROUPS).join(':');
}

/** The network of a client's address; null if it is not known, or within this machine. */
export function addressNetwork(address: string | undefined): string | null {
  const version = address === undefined || address.includes('%') ? 0 : isIP(address);
  return address === undefined || version === 0 || LOOPBACK.check(address, version === 6 ? 'ipv6' : 'ipv4')
    ? null
    : networkOf(address);
}

/**
 * The source of a request: its client's network.
 *
 * @param name the header in which the proxy names the client: one address, or a list to which each proxy has added
 * @returns null if the proxy names no client, or only proxies; an empty text if the header came more than once, or
 *   names too many hops, which is a client's doing
 */
export function clientNetwork(
  headers: SingleHeaders,
  name: 'x-forwarded-for' | 'x-real-ip',
  trustedProxies: BlockList,
): string | null {
  const value = headers.get(name);
  if (value === undefined) {
    return null;
  }
  if (headers.isRepeated(name)) {
    return '';
  }
  const isProxy = (address: string): boolean => {
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    return trustedProxies.check(address, family) || LOOPBACK.check(address, family);
  };
  // From the right, past the proxies that we know, Traefik's second hop for one. What stands further left a client may
  // have made up.
  let end = value.length;
  for (let hops = 0; hops < HOPS_MAX; hops += 1) {
    const comma = end === 0 ? -1 : value.lastIndexOf(',', end - 1);
    const address = value.slice(comma + 1, end).trim();
    if (isIP(address) === 0) {
      return null;
    }
    if (!isProxy(address)) {
      return address.includes('%') ? null : networkOf(address);
    }
    if (comma === -1) {
      return null;
    }
    end = comma;
  }
  return '';
}
