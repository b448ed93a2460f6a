/**
 * Which rule a path falls under, whatever the upstream makes of it.
 *
 * A gate that reads a path in one way and an upstream that reads it in another is a bypass (GHSA-p224-6x5r-fjpm,
 * CVE-2025-66490). So a rule is chosen for every *reading* that an upstream may give the path: raw, decoded once and again, with
 * dot segments resolved, double slashes merged, backslashes taken for slashes, matrix parameters dropped, trailing dots and
 * spaces of segments dropped, look-alike characters folded, and in either case. If all readings choose the same rule, that is
 * the rule; else the path is ambiguous and refused. So `%20`, `%2F` in a package name and UTF-8 pass where they change nothing.
 */
import type { Route } from '../store/facts.js';

/** Paths without anything that could be read in two ways (but for their case). */
const PLAIN = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-]+(?:\.[A-Za-z0-9_~!$&'()*+,=:@-]+)*)*\/?$/;
/** Characters that no request target may hold: controls, space, and the fragment, which is never sent. */
const FORBIDDEN_RAW = /[\x00-\x20\x7f#]/;
const FORBIDDEN_DECODED = /[\x00-\x1f\x7f]/;
/** Bytes that UTF-8 never has: overlong forms hide slashes and dots in them. */
const NEVER_UTF8 = /[\xc0\xc1\xf5-\xff]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]/;
const ESCAPE = /%([0-9A-Fa-f]{2})/g;
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/;
/** Encodings inside encodings that are followed; deeper ones are refused. */
const DECODINGS_MAX = 4;
/** Readings of one path that are looked at; a path with more is refused. */
const READINGS_MAX = 64;

const decode = (path: string): string =>
  path.replace(ESCAPE, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));

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

/** Characters that some upstreams fold to ASCII, such as the full-width slash. */
function foldLookAlikes(path: string): string {
  const text = Buffer.from(path, 'latin1').toString('utf8').normalize('NFKC');
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** Ways in which an upstream may read what it has decoded; each gives another path, or the same. */
const INTERPRETATIONS: readonly ((path: string) => string)[] = [
  path => path.replace(/[?#].*$/, ''),
  path => (/[\x80-\xff]/.test(path) ? foldLookAlikes(path) : path),
  path => path.replaceAll('\\', '/'),
  path => path.replace(/;[^/]*/g, ''),
  path => path.replace(/;.*$/, ''),
  path => path.replace(/[. ]+(?=\/|$)/g, dots => (/^\.{1,2}$/.test(dots) ? dots : '')),
  path => path.replace(/([^/.])[. ]+(?=\/|$)/g, '$1'),
  path => path.replace(/\/{2,}/g, '/'),
  resolveDots,
];

/**
 * All readings of a raw path, or null if it is refused outright: no slash at its head, control characters, broken escapes, bytes
 * that are not UTF-8, escapes within escapes without end, or too many readings.
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
  const levels = [path];
  for (let last = path; ;) {
    const decoded = decode(last);
    if (decoded === last) {
      break;
    }
    if (levels.length > DECODINGS_MAX || FORBIDDEN_DECODED.test(decoded) || NEVER_UTF8.test(decoded)) {
      return null;
    }
    levels.push(decoded);
    last = decoded;
  }
  // Each interpretation, on top of each that was reached before it, in the order in which upstreams apply them.
  const readings = new Set(levels);
  for (const interpret of INTERPRETATIONS) {
    for (const reading of [...readings]) {
      const other = interpret(reading);
      readings.add(other === '' ? '/' : other);
    }
    if (readings.size > READINGS_MAX) {
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
