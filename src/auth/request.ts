/**
 * The request that a proxy asks about, as a value: parsed strictly, or refused with the reason. What the parts look like is
 * here; where each proxy puts them is in one file a dialect, and no endpoint tries several.
 */
import type { IncomingMessage } from 'node:http';
import { pathReadings } from './path.js';
import { hashToken, isWellFormedToken, looksLikeToken } from './token.js';

/** What the client presents. A public route never looks at it. */
export type PresentedCredential =
  { readonly kind: 'none' } | { readonly kind: 'bad' } | { readonly kind: 'token'; readonly hash: string };

/** One request to an app, as told by a proxy. */
export interface AuthRequest {
  /** Canonical: lower case, without port or trailing dot. */
  readonly host: string;
  /** With its colon, or empty. */
  readonly port: string;
  readonly proto: 'http' | 'https';
  readonly method: string;
  /** Path and query as sent, in ASCII. */
  readonly uri: string;
  /** All ways in which an upstream may read the path. */
  readonly readings: readonly string[];
  /** Looks at the credential; parsed and hashed at most once. */
  readonly credential: () => PresentedCredential;
  /** Whether a person waits in front of a browser, who can be sent to the login page. */
  readonly isNavigation: boolean;
}

/** The request is malformed; `problem` says how. */
export interface BadRequest {
  readonly problem: string;
}

/** Where a proxy tells of the request; each dialect fills it from its own headers. */
export interface RequestTarget {
  readonly proto: string;
  readonly host: string;
  readonly uri: string;
  readonly method: string;
}

/** A dialect's reader of the target: all four parts, or what is wrong. */
export type ReadTarget = (headers: SingleHeaders) => RequestTarget | BadRequest;

/** Headers by lower-case name; a name that came twice is in `repeated`. Underscores are not hyphens (CVE-2026-39858). */
export interface SingleHeaders {
  readonly values: ReadonlyMap<string, string>;
  readonly repeated: ReadonlySet<string>;
}

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const HOST = new RegExp(`^(${LABEL}(?:\\.${LABEL})*)\\.?(:[0-9]{1,5})?$`, 'i');
const HOST_CHARACTERS_MAX = 253;
const URI_CHARACTERS_MAX = 8_192;
const METHOD = /^[A-Z][A-Z-]{0,31}$/;
const BEARER = /^bearer +(\S+) *$/i;
/** Headers whose repetition would let two parties read two different requests (CVE-2021-32777). */
const CREDENTIAL_HEADERS = ['authorization', 'cookie'] as const;

/** Reads raw headers, keeping in mind which came twice: Node would join them with a comma. */
export function singleHeaders(rawHeaders: readonly string[]): SingleHeaders {
  const values = new Map<string, string>();
  const repeated = new Set<string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    if (values.has(name)) {
      repeated.add(name);
    } else {
      values.set(name, rawHeaders[i + 1]!);
    }
  }
  return { values, repeated };
}

/** A header that must be there once. */
export function requireHeader({ values, repeated }: SingleHeaders, name: string): string | BadRequest {
  const value = values.get(name);
  if (value === undefined || value === '') {
    return { problem: `header ${name} is missing` };
  }
  return repeated.has(name) ? { problem: `header ${name} came more than once` } : value;
}

/** The canonical form of a host, and its port; null if it is not a host name. */
export function parseHost(host: string): { readonly host: string; readonly port: string } | null {
  // Matched as it is: lowering would make a letter k of the Kelvin sign.
  const match = HOST.exec(host);
  if (match === null || match[1]!.length > HOST_CHARACTERS_MAX) {
    return null;
  }
  return { host: match[1]!.toLowerCase(), port: match[2] ?? '' };
}

/** WebSocket schemes are what Traefik sends for an upgrade. */
function parseProto(proto: string): 'http' | 'https' | null {
  switch (proto.toLowerCase()) {
    case 'http':
    case 'ws':
      return 'http';
    case 'https':
    case 'wss':
      return 'https';
    default:
      return null;
  }
}

function readCookie(header: string | undefined, name: string): PresentedCredential {
  const values = new Set<string>();
  for (const pair of header?.split(';') ?? []) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === name) {
      values.add(
        pair
          .slice(equals + 1)
          .trim()
          .replace(/^"(.*)"$/, '$1'),
      );
    }
  }
  if (values.size === 0) {
    return { kind: 'none' };
  }
  // Two cookies of one name come from two hosts of one domain: neither is to be preferred.
  const [value] = values;
  return values.size === 1 && value !== undefined && isWellFormedToken(value)
    ? { kind: 'token', hash: hashToken(value) }
    : { kind: 'bad' };
}

/** A bearer of our form wins; else the cookie; a foreign bearer is the app's own business where there is a cookie. */
function readCredential({ values }: SingleHeaders, cookieName: string): PresentedCredential {
  const bearer = BEARER.exec(values.get('authorization') ?? '')?.[1];
  if (bearer !== undefined && looksLikeToken(bearer)) {
    return isWellFormedToken(bearer) ? { kind: 'token', hash: hashToken(bearer) } : { kind: 'bad' };
  }
  const cookie = readCookie(values.get('cookie'), cookieName);
  return cookie.kind === 'none' && bearer !== undefined ? { kind: 'bad' } : cookie;
}

function isNavigation({ values }: SingleHeaders, method: string): boolean {
  if ((method !== 'GET' && method !== 'HEAD') || values.has('x-requested-with')) {
    return false;
  }
  const mode = values.get('sec-fetch-mode');
  return mode === undefined ? (values.get('accept') ?? '').toLowerCase().includes('text/html') : mode === 'navigate';
}

/** Parses what a proxy sent. */
export function parseRequest(
  message: IncomingMessage,
  readTarget: ReadTarget,
  cookieName: string,
): AuthRequest | BadRequest {
  const headers = singleHeaders(message.rawHeaders);
  const target = readTarget(headers);
  if ('problem' in target) {
    return target;
  }
  const repeated = CREDENTIAL_HEADERS.find(name => headers.repeated.has(name));
  if (repeated !== undefined) {
    return { problem: `header ${repeated} came more than once` };
  }
  const proto = parseProto(target.proto);
  if (proto === null) {
    return { problem: 'the scheme must be http, https, ws or wss' };
  }
  if (!METHOD.test(target.method)) {
    return { problem: 'the method must be 1 to 32 capital letters' };
  }
  const host = parseHost(target.host);
  if (host === null) {
    return { problem: 'the host must be a name of letters, digits, hyphens and dots, with a port or without' };
  }
  if (target.uri.length > URI_CHARACTERS_MAX) {
    return { problem: `the URI must be at most ${URI_CHARACTERS_MAX} characters long` };
  }
  // A raw byte above 0x7F is what a browser would have escaped.
  const uri = target.uri.replace(/[\x80-\xff]/g, byte => '%' + byte.charCodeAt(0).toString(16).toUpperCase());
  const query = uri.indexOf('?');
  const readings = /[\x00-\x20\x7f#]/.test(uri) ? null : pathReadings(query === -1 ? uri : uri.slice(0, query));
  if (readings === null) {
    return { problem: 'the path can be read in more than one way' };
  }
  let presented: PresentedCredential | undefined;
  return {
    ...host,
    proto,
    method: target.method,
    uri,
    readings,
    credential: () => (presented ??= readCredential(headers, cookieName)),
    isNavigation: isNavigation(headers, target.method),
  };
}
