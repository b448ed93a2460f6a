/** How the text of a setting is read; undefined: it is not allowed. */
import { BlockList, isIP } from 'node:net';
import { JWT_ALGORITHMS, type JwtAlgorithm } from '../auth/jwt/key.js';
import { isLoopback } from '../sign-in/settings.js';
import { readPostgresUrl } from './libpq.js';

export const integer =
  (min: number, max: number) =>
  (text: string): number | undefined => {
    const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : NaN;
    return value >= min && value <= max ? value : undefined;
  };

export const oneOf =
  <T extends string>(...values: readonly T[]) =>
  (text: string): T | undefined =>
    values.find(value => value === text);

/** A connection string, in a form that Node's URL reads, too. */
export function postgresUrl(text: string): string | undefined {
  const read = readPostgresUrl(text);
  return read === null || read.problem !== null ? undefined : URL.canParse(text) ? text : read.url.href;
}

export function httpUrl(text: string): string | undefined {
  if (!URL.canParse(text) || !/^[\x21-\x7e]+$/.test(text)) {
    return undefined;
  }
  const url = new URL(text);
  return /^https?:$/.test(url.protocol) && url.hash === '' && url.username === '' ? text : undefined;
}

/** The same, where nobody on the way may change the answer. */
export function secureUrl(text: string): string | undefined {
  const known = httpUrl(text);
  const url = known === undefined ? undefined : new URL(known);
  return url?.protocol === 'https:' || (url !== undefined && isLoopback(url)) ? known : undefined;
}

type Family = 'ipv4' | 'ipv6';

/** The address as a number of its own width. */
function addressBits(address: string, family: Family): bigint {
  if (family === 'ipv4') {
    return address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  }
  // The parser of URLs writes every spelling in one way: hexadecimal groups, and at most one gap.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const before = groups(head);
  const after = groups(tail ?? '');
  const gap = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...gap, ...after].reduce((sum, part) => sum * 65_536n + BigInt(`0x${part}`), 0n);
}

interface Range {
  readonly address: string;
  readonly length: number;
  readonly family: Family;
}

/** One address or range; or what is wrong with it. */
function addressRange(item: string): Range | string {
  const shown = JSON.stringify(item);
  const [address = '', prefix, ...rest] = item.split('/');
  if (address.includes('%')) {
    return `${shown} has a zone (%…), which no peer's address is compared with: leave it out`;
  }
  const version = isIP(address);
  const bits = version === 6 ? 128 : 32;
  const length = prefix === undefined ? bits : /^(?:0|[1-9][0-9]{0,2})$/.test(prefix) ? Number(prefix) : bits + 1;
  if (version === 0 || length > bits || rest.length > 0) {
    return `${shown} is neither`;
  }
  const family = version === 6 ? 'ipv6' : 'ipv4';
  const value = addressBits(address, family);
  if (family === 'ipv6' && value >> 32n === 0xffffn) {
    return `${shown} is an IPv4 address within IPv6: write it as an IPv4 address`;
  }
  if (length === 0) {
    return `${shown} would trust everybody`;
  }
  if ((value & ((1n << BigInt(bits - length)) - 1n)) !== 0n) {
    return (
      `${shown} has bits set beyond its prefix: ` +
      'a range begins with its first address, and a single address has no prefix'
    );
  }
  return { address, length, family };
}

const itemsOf = (text: string): (Range | string)[] => text.split(',').map(item => addressRange(item.trim()));

/** What is wrong with the first address or range that is not allowed; null: nothing. */
export const addressProblem = (text: string): string | null =>
  itemsOf(text).find(item => typeof item === 'string') ?? null;

/** Addresses and ranges, `10.0.0.0/8, ::1`. */
export function addressRanges(text: string): BlockList | undefined {
  const list = new BlockList();
  for (const item of itemsOf(text)) {
    if (typeof item === 'string') {
      return undefined;
    }
    list.addSubnet(item.address, item.length, item.family);
  }
  return list;
}

/** A secret that travels in a header. */
export const headerSecret = (text: string): string | undefined =>
  /^[\x21-\x7e]{16,256}$/.test(text) ? text : undefined;

/** Printable ASCII without spaces: issuers are URLs, or names like them. */
export const parseIssuer = (text: string): string | undefined => (/^[\x21-\x7e]{1,512}$/.test(text) ? text : undefined);

/** `a, b` */
export function parseAudiences(text: string): readonly string[] | undefined {
  const audiences = text.split(',').map(item => item.trim());
  return audiences.every(item => parseIssuer(item) !== undefined) ? audiences : undefined;
}

/** `RS256,ES256`; HS256 stands alone: its secret is the key of no other. */
export function parseAlgorithms(text: string): readonly JwtAlgorithm[] | undefined {
  const found = text.split(',').map(item => JWT_ALGORITHMS.find(algorithm => algorithm === item.trim()));
  const algorithms = found.filter(algorithm => algorithm !== undefined);
  return algorithms.length < found.length || (algorithms.includes('HS256') && algorithms.length > 1)
    ? undefined
    : algorithms;
}
