/**
 * How upstreams read a raw path, each written from its own documentation and knowing nothing of
 * `src/auth/request/path.ts`: the oracle for the gate's rule "whatever a public rule lets through, no upstream takes
 * for a private path". A reader returns the path that it would route by, or null if it refuses the request.
 */
import { posix } from 'node:path';

export type Normaliser = (path: string) => string | null;

const hexPairs = /%([0-9a-f]{2})/gi;
const unescapeBytes = (path: string): string =>
  path.replace(hexPairs, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
const withoutQuery = (path: string): string => path.split(/[?#]/)[0]!;
const orNull = (read: () => string): string | null => {
  try {
    return read();
  } catch {
    return null;
  }
};
const unescapeText = (path: string): string | null => orNull(() => decodeURIComponent(path));
const toText = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8');

/** nginx: decodes once, merges slashes, resolves dots, refuses NUL and what climbs above the root. */
function nginx(raw: string): string | null {
  if (!raw.startsWith('/')) {
    return null;
  }
  const path = unescapeBytes(withoutQuery(raw));
  const open: string[] = [];
  const parts = path.split('/').slice(1);
  for (const [i, part] of parts.entries()) {
    if (part === '..') {
      if (open.pop() === undefined) {
        return null;
      }
    } else if (part !== '' && part !== '.') {
      open.push(part + (i < parts.length - 1 ? '/' : ''));
    }
  }
  return path.includes('\0') ? null : '/' + open.join('');
}

/** Node's URL against a base, as most plain Node servers do. */
const whatwg: Normaliser = raw => orNull(() => new URL(raw, 'http://upstream').pathname);

/** Tomcat: path parameters go first, from the raw path; then it decodes, merges and resolves. */
const tomcat: Normaliser = raw =>
  posix.normalize(unescapeBytes(withoutQuery(raw).replace(/;[^/]*/g, '')).replaceAll('\\', '/'));

/** Servlet filters that decode first and drop parameters then. */
const servlet: Normaliser = raw => posix.normalize(unescapeBytes(withoutQuery(raw)).replace(/;[^/]*/g, ''));

/** Everything from the first semicolon on is a parameter. */
const cutAtSemicolon: Normaliser = raw => posix.normalize(unescapeBytes(withoutQuery(raw)).split(';')[0]!);

/** Kestrel: decodes all but the slash, then resolves. */
const kestrel: Normaliser = raw =>
  posix.normalize(
    withoutQuery(raw).replace(hexPairs, (escape, hex: string) =>
      hex.toLowerCase() === '2f' ? escape : unescapeBytes(escape),
    ),
  );

/** Decodes twice, as behind a proxy that has decoded once. */
const twice: Normaliser = raw => posix.normalize(unescapeBytes(unescapeBytes(withoutQuery(raw))));

/** Windows: either slash, trailing dots and spaces of a name mean nothing, nor does case. */
function windows(raw: string): string {
  const names = unescapeBytes(withoutQuery(raw))
    .split(/[\\/]/)
    .map(name => name.replace(/ +$/, ''))
    .map(name => (name === '.' || name === '..' ? name : name.replace(/[. ]+$/, '')));
  return posix.normalize(names.join('/')).toLowerCase();
}

/** Resolves first, decodes later: static file servers of the careless kind. */
const lateDecoder: Normaliser = raw => unescapeText(posix.normalize(withoutQuery(raw)));

/** RFC 3986: decodes only unreserved characters, resolves, and never merges. */
function rfc3986(raw: string): string | null {
  const path = withoutQuery(raw).replace(hexPairs, escape => {
    const character = unescapeBytes(escape);
    return /[\w.~-]/.test(character) ? character : escape;
  });
  const out: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') {
      out.splice(Math.max(1, out.length - 1));
    } else if (part !== '.') {
      out.push(part);
    }
  }
  return out.join('/');
}

/** Decodes UTF-8 strictly, or refuses. */
const strictText: Normaliser = raw => {
  const path = unescapeText(withoutQuery(raw));
  return path === null ? null : posix.normalize(path);
};

/** Folds compatibility characters and case by Unicode. */
const unicode: Normaliser = raw =>
  posix.normalize(
    toText(unescapeBytes(withoutQuery(raw)))
      .normalize('NFKC')
      .toUpperCase()
      .toLowerCase(),
  );

/** Decodes UTF-8 without looking for overlong forms, as old decoders do. */
const overlong: Normaliser = raw =>
  posix.normalize(
    unescapeBytes(withoutQuery(raw))
      .replace(/[\xc0-\xdf]([\x80-\xbf])/g, (pair, low: string) =>
        String.fromCharCode(((pair.charCodeAt(0) & 0x1f) << 6) | (low.charCodeAt(0) & 0x3f)),
      )
      .replace(/\xe0([\x80-\xbf])([\x80-\xbf])/g, (_, middle: string, low: string) =>
        String.fromCharCode(((middle.charCodeAt(0) & 0x3f) << 6) | (low.charCodeAt(0) & 0x3f)),
      ),
  );

/** C strings end at NUL; controls are dropped. */
const cString: Normaliser = raw =>
  posix.normalize(
    unescapeBytes(withoutQuery(raw))
      .split('\0')[0]!
      .replace(/[\x01-\x1f\x7f]/g, ''),
  );

/** Takes the path as it is: Express, Fastify. */
const verbatim: Normaliser = raw => withoutQuery(raw);

/** Absolute form, which HTTP/1.1 servers must accept. */
const absoluteForm: Normaliser = raw => withoutQuery(raw).replace(/^[a-z][a-z+.-]*:\/\/[^/]*/i, '');

/** A missing slash at the head is added. */
const generous: Normaliser = raw => posix.normalize('/' + withoutQuery(raw));

export const NORMALISERS: Readonly<Record<string, Normaliser>> = {
  nginx,
  whatwg,
  tomcat,
  servlet,
  cutAtSemicolon,
  kestrel,
  twice,
  windows,
  lateDecoder,
  rfc3986,
  strictText,
  unicode,
  overlong,
  cString,
  verbatim,
  absoluteForm,
  generous,
};

const PRIVATE = /^\/(?:private|pub\/admin)(?:\/|$)/i;

/**
 * The first upstream, or chain of two, to which the path is private: `/private`, `/pub/admin` or below, in whatever
 * case.
 */
export function whoReadsPrivate(raw: string, isPrivate: RegExp = PRIVATE): string | null {
  const firsts = Object.entries(NORMALISERS).map(([name, read]) => [name, read(raw)] as const);
  const alone = firsts.find(([, reading]) => reading !== null && isPrivate.test(reading));
  if (alone !== undefined) {
    return alone[0];
  }
  for (const [outer, once] of firsts) {
    // Two that read alike are followed by the same.
    if (once === null || firsts.find(([, reading]) => reading === once)![0] !== outer) {
      continue;
    }
    for (const [inner, read] of Object.entries(NORMALISERS)) {
      const twice = read(once);
      if (twice !== null && isPrivate.test(twice)) {
        return `${outer}, then ${inner}`;
      }
    }
  }
  return null;
}
