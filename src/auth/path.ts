/**
 * Which rule a path falls under, whatever the upstream makes of it.
 *
 * A gate that reads a path in one way and an upstream that reads it in another is a bypass (GHSA-p224-6x5r-fjpm,
 * CVE-2025-66490). So a rule is chosen for every *reading* that an upstream may give the path: raw, decoded (also all but the
 * slash), dot segments resolved, double slashes merged or taken for the head of a host, backslashes taken for slashes, matrix
 * parameters dropped, trailing dots and spaces of segments dropped, look-alike characters folded, each any number of times and
 * in any order, and in either case. If all readings choose the same rule, that is the rule; else the path is ambiguous and
 * refused. So `%20`, `%2F` in a package name and UTF-8 pass where they change nothing.
 */
import { isUtf8 } from 'node:buffer';
import type { Route } from '../store/facts.js';

/** Paths without anything that could be read in two ways (but for their case). */
const PLAIN = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-]+(?:\.[A-Za-z0-9_~!$&'()*+,=:@-]+)*)*\/?$/;
/** Characters that no request target may hold: controls, space, and the fragment, which is never sent. */
const FORBIDDEN_RAW = /[\x00-\x20\x7f#]/;
const FORBIDDEN_DECODED = /[\x00-\x1f\x7f]/;
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/;
const ESCAPE = /%([0-9A-Fa-f]{2})/g;
const ESCAPE_BUT_SLASH = /%(?!2[Ff])([0-9A-Fa-f]{2})/g;
const NOT_ASCII = /[\x80-\xff]/;
/** Readings of one path that are looked at, and their characters in all; a path with more is refused. */
const READINGS_MAX = 128;
const READINGS_CHARACTERS_MAX = 32_768;

const decode = (path: string, escape: RegExp): string =>
  path.replace(escape, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));

function resolveDots(path: string): string {
  const segments: string[] = [];
  const all = path.split('/').slice(1);
  all.forEach((segment, index) => {
    const isLast = index === all.length - 1;
    if (segment === '..') {
      segments.pop();
    } else if (segment !== '.') {
      segments.push(segment);
      return;
    }
    if (isLast) {
      segments.push('');
    }
  });
  return '/' + segments.join('/');
}

/** Reads the bytes of a path as text, and writes the text's bytes. */
function asText(path: string, read: (text: string) => string): string {
  return NOT_ASCII.test(path)
    ? Buffer.from(read(Buffer.from(path, 'latin1').toString('utf8')), 'utf8').toString('latin1')
    : path;
}

/** Folds what some upstreams fold to ASCII, such as the full-width slash and the dotless i. */
const foldLookAlikes = (text: string): string =>
  text.normalize('NFKC').replace(/[^\x00-\x7f]+/g, others => others.toUpperCase().toLowerCase());

/** Ways in which an upstream may read what it has; each gives another path, or the same, in time linear in its length. */
const INTERPRETATIONS: readonly ((path: string) => string)[] = [
  path => decode(path, ESCAPE),
  path => decode(path, ESCAPE_BUT_SLASH),
  path => path.replace(/[?#].*$/, ''),
  path => asText(path, foldLookAlikes),
  path => asText(path, text => text.replace(/\p{Default_Ignorable_Code_Point}/gu, '')),
  path => path.replaceAll('\\', '/'),
  path => path.replace(/;[^/]*/g, ''),
  path => path.replace(/;.*$/, ''),
  path => path.replace(/(?<! ) +(?=\/|$)/g, ''),
  path => path.replace(/(?<=[^/. ])[. ]+(?=\/|$)/g, ''),
  path => path.replace(/(?<=\/)(?!\.{1,2}(?:\/|$))[. ]+(?=\/|$)/g, ''),
  // What follows two slashes is a host to `new URL(request.url, base)`.
  path => path.replace(/^\/{2,}[^/]*/, ''),
  path => path.replace(/\/{2,}/g, '/'),
  resolveDots,
];

/** Whether a reading is UTF-8 without control characters. */
const isText = (path: string): boolean =>
  !FORBIDDEN_DECODED.test(path) && (!NOT_ASCII.test(path) || isUtf8(Buffer.from(path, 'latin1')));

/**
 * All readings of a raw path, or null if it is refused outright: no slash at its head, broken escapes, control characters or
 * bytes that are not UTF-8 in any reading, or too many readings.
 *
 * @param path the path as it was sent, without its query, raw bytes above 0x7F as Latin-1 characters
 */
export function pathReadings(path: string): readonly string[] | null {
  if (PLAIN.test(path) && path !== '') {
    return [path];
  }
  if (!path.startsWith('/') || FORBIDDEN_RAW.test(path) || BAD_ESCAPE.test(path)) {
    return null;
  }
  const readings = new Set<string>();
  let characters = 0;
  const add = (reading: string): boolean => {
    if (readings.has(reading)) {
      return true;
    }
    readings.add(reading);
    characters += reading.length;
    return readings.size <= READINGS_MAX && characters <= READINGS_CHARACTERS_MAX && isText(reading);
  };
  if (!add(path)) {
    return null;
  }
  // The loop also meets the readings that it adds: each interpretation is tried on each reading, until none is new.
  for (const reading of readings) {
    if (!INTERPRETATIONS.every(interpret => add(interpret(reading) || '/'))) {
      return null;
    }
  }
  return [...readings];
}

/** Whether the path is the prefix or lies below it: `/pub` holds `/pub` and `/pub/x`, not `/publications`. */
function liesUnder(path: string, prefix: string): boolean {
  return prefix === '/' || (path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === '/'));
}

/**
 * The rule that all readings choose; null if none of them matches any, undefined if they differ.
 *
 * @param routes longest prefix first
 */
export function selectRoute(routes: readonly Route[], readings: readonly string[]): Route | null | undefined {
  let chosen: Route | null | undefined;
  for (const reading of readings) {
    const exact = routes.find(route => liesUnder(reading, route.pathPrefix)) ?? null;
    const lower = reading.toLowerCase();
    const folded = routes.find(route => liesUnder(lower, route.pathPrefix.toLowerCase())) ?? null;
    if (exact !== folded || (chosen !== undefined && exact !== chosen)) {
      return undefined;
    }
    chosen = exact;
  }
  return chosen;
}
