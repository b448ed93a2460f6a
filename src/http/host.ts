/** Hosts as requests name them, each in its one spelling. */
import { isIPv6, SocketAddress } from 'node:net';

/** A host, and its port with its colon or empty. */
export interface HostAndPort {
  /** A name in lower case without a trailing dot, an IPv4 address, or an IPv6 address in brackets. */
  readonly host: string;
  readonly port: string;
  /** The wildcard hosts that hold it, longest first. */
  readonly wildcards: readonly string[];
}

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const HOST = new RegExp(`^(${LABEL}(?:\\.${LABEL})*)\\.?(:[0-9]{1,5})?$`, 'i');
const HOST_CHARACTERS_MAX = 253;
const IPV6 = /^\[([0-9A-Fa-f:.]{2,45})\](:[0-9]{1,5})?$/;
/** Hosts as proxies send them come again and again. When the younger map is full, the older is dropped. */
let young = new Map<string, HostAndPort>();
let old = young;
const YOUNG_MAX = 1_000;
/** Labels that a wildcard can stand for: each is one more host to look up. */
const WILDCARD_LABELS_MAX = 8;

/**
 * The same text of ASCII, in memory of its own: a part of a longer text, such as the host of a URL, keeps all of that
 * alive.
 */
export const copyOf = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');

function wildcardsOf(host: string): string[] {
  const labels = host.split('.');
  return labels.slice(1, 1 + WILDCARD_LABELS_MAX).map((_, at) => `*.${labels.slice(at + 1).join('.')}`);
}

function parse(sent: string): HostAndPort | null {
  if (sent.startsWith('[')) {
    const [, address = '', port = ''] = IPV6.exec(sent) ?? [];
    return isIPv6(address)
      ? { host: `[${new SocketAddress({ address, family: 'ipv6' }).address}]`, port, wildcards: [] }
      : null;
  }
  // Matched as it is: lowering would make a letter k of the Kelvin sign.
  const match = HOST.exec(sent);
  if (match === null || match[1]!.length > HOST_CHARACTERS_MAX) {
    return null;
  }
  const host = copyOf(match[1]!.toLowerCase());
  return { host, port: match[2] ?? '', wildcards: wildcardsOf(host) };
}

/** The canonical form of a host, and its port; null if it is neither a host name nor an address. */
export function parseHost(sent: string): HostAndPort | null {
  const recent = young.get(sent);
  if (recent !== undefined) {
    return recent;
  }
  const parsed = old.get(sent) ?? parse(sent);
  if (parsed !== null) {
    if (young.size >= YOUNG_MAX) {
      old = young;
      young = new Map();
    }
    young.set(copyOf(sent), parsed);
  }
  return parsed;
}
