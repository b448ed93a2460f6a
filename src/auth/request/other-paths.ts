/**
 * Paths that a request means besides its own: where WebDAV copies or moves to (RFC 4918, 10.3), what object stores copy
 * from, and what lies below a collection that is deleted. Whoever may ask for the one path must be allowed the other as
 * well. What stands in a body cannot be seen here.
 */
import type { HeaderName, SingleHeaders } from './headers.js';
import { parseHost } from '../../http/host.js';

const HEADERS: readonly HeaderName[] = ['destination', 'x-copy-from', 'x-amz-copy-source'];
const URL_FORM = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)([^?#]*)/;
/**
 * WebDAV's methods that are done to all that lies below as well, unless `Depth` says otherwise (RFC 4918, 9.1 and
 * 9.10.3).
 */
const DEEP_METHODS: ReadonlySet<string> = new Set(['PROPFIND', 'LOCK']);
/** As long as a request's own may be. */
const CHARACTERS_MAX = 8_192;
const NONE: { readonly paths: readonly string[] } = { paths: [] };

/** Of the bytes 0x80 to 0xFF. */
const ESCAPES = Array.from({ length: 0x80 }, (_, at) => `%${(at + 0x80).toString(16).toUpperCase()}`);

/**
 * Whether the method alone says that what lies below the path is meant, too. Of a collection, no server deletes less
 * than all of it.
 */
export function reachesBelow(headers: SingleHeaders, method: string): boolean {
  if (method === 'DELETE') {
    return true;
  }
  if (!DEEP_METHODS.has(method)) {
    return false;
  }
  const depth = headers.get('depth');
  return (depth !== '0' && depth !== '1') || headers.isRepeated('depth');
}

/** Writes raw bytes above 0x7F as a browser would have escaped them. */
export function toAscii(uri: string): string {
  if (!/[\x80-\xff]/.test(uri)) {
    return uri;
  }
  let text = '';
  let copiedTo = 0;
  for (let i = 0; i < uri.length; i += 1) {
    const code = uri.charCodeAt(i);
    if (code > 0x7f) {
      text += uri.slice(copiedTo, i) + ESCAPES[code - 0x80]!;
      copiedTo = i + 1;
    }
  }
  return text + uri.slice(copiedTo);
}

/** The other paths, in ASCII and without a query; or what is wrong with them. */
export function otherPaths(
  headers: SingleHeaders,
  host: string,
  ownPath: string,
): { readonly paths: readonly string[] } | { readonly problem: string } {
  let paths: string[] | null = null;
  for (const name of HEADERS) {
    const sent = headers.get(name);
    if (sent === undefined) {
      continue;
    }
    const form = URL_FORM.exec(sent);
    if (headers.isRepeated(name) || sent.length > CHARACTERS_MAX || /[\x00-\x1f\x7f#]/.test(sent)) {
      return { problem: `header ${name} must be one URL or path` };
    }
    if (form !== null && parseHost(form[1]!)?.host !== host) {
      return { problem: `header ${name} must name the host of the request` };
    }
    const text = toAscii(form === null ? sent.replace(/\?.*$/, '') : form[2]!).replaceAll(' ', '%20');
    paths ??= [];
    if (text.startsWith('/')) {
      paths.push(text);
    } else {
      // Relative to what, apps do not agree.
      paths.push(`/${text}`, ownPath.slice(0, ownPath.lastIndexOf('/') + 1) + text);
    }
  }
  return paths === null ? NONE : { paths };
}
