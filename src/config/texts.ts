/** How the text of a setting is read; undefined: it is not allowed. */
import { BlockList, isIP } from 'node:net';
import { isLoopback } from '../sign-in/settings.js';

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

export const postgresUrl = (text: string): string | undefined =>
  URL.canParse(text) && /^postgres(ql)?:$/.test(new URL(text).protocol) ? text : undefined;

export function httpUrl(text: string): string | undefined {
  if (!URL.canParse(text) || !/^[\x21-\x7e]+$/.test(text)) {
    return undefined;
  }
  const url = new URL(text);
  return /^https?:$/.test(url.protocol) && url.hash === '' && url.username === '' ? text : undefined;
}

/** The same, where whoever is on the way must not change what is answered. */
export function secureUrl(text: string): string | undefined {
  const known = httpUrl(text);
  const url = known === undefined ? undefined : new URL(known);
  return url?.protocol === 'https:' || (url !== undefined && isLoopback(url)) ? known : undefined;
}

/** Addresses and ranges, `10.0.0.0/8, ::1`. */
export function addressRanges(text: string): BlockList | undefined {
  const list = new BlockList();
  for (const item of text.split(',')) {
    const [address = '', prefix, ...rest] = item.trim().split('/');
    const family = isIP(address);
    const bits = family === 6 ? 128 : 32;
    const length = prefix === undefined ? bits : (integer(0, bits)(prefix) ?? -1);
    if (family === 0 || length < 0 || rest.length > 0) {
      return undefined;
    }
    list.addSubnet(address, length, family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** A secret that travels in a header. */
export const headerSecret = (text: string): string | undefined =>
  /^[\x21-\x7e]{16,256}$/.test(text) ? text : undefined;
