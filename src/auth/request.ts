/**
 * The request that a proxy asks about, as a value: parsed strictly, or refused with the reason. What the parts look like is
 * here; where each proxy puts them is in one file a dialect, and no endpoint tries several.
 */
import type { IncomingMessage } from 'node:http';
import type { PresentedCredential, ReadCredential } from './credential.js';
import type { HeaderName, SingleHeaders } from './headers.js';
import { pathReadings } from './path.js';

/** One request to an app, as told by a proxy. */
export interface AuthRequest {
  /** Canonical: lower case, without port or trailing dot. */
  readonly host: string;
  /** The wildcard hosts that hold it, longest first: `*.b.c` and `*.c` for `a.b.c`. */
  readonly wildcards: readonly string[];
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
  readonly isNavigation: () => boolean;
  /** Whether a browser asks if a script of another origin may ask. https://fetch.spec.whatwg.org/#cors-preflight-fetch */
  readonly isPreflight: () => boolean;
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

/** A dialect's reader of the target: all four parts, or what is wrong. `message` is the subrequest. */
export type ReadTarget = (
  headers: SingleHeaders,
  message: Pick<IncomingMessage, 'method' | 'url'>,
) => RequestTarget | BadRequest;

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const HOST = new RegExp(`^(${LABEL}(?:\\.${LABEL})*)\\.?(:[0-9]{1,5})?$`, 'i');
const HOST_CHARACTERS_MAX = 253;
const URI_CHARACTERS_MAX = 8_192;
/** Node drops headers beyond the thousandth without a word, and what came a second time there would look single. */
const HEADERS_MAX = 500;
const NOT_ASCII = /[\x80-\xff]/;
const METHOD = /^[A-Z][A-Z-]{0,31}$/;
const CREDENTIAL_HEADERS = ['authorization', 'cookie'] as const;
const PREFLIGHT_HEADERS = ['origin', 'access-control-request-method'] as const;

/** A header that must be there once. */
export function requireHeader(headers: SingleHeaders, name: HeaderName): string | BadRequest {
  const value = headers.get(name);
  if (value === undefined || value === '') {
    return { problem: `header ${name} is missing` };
  }
  return headers.isRepeated(name) ? { problem: `header ${name} came more than once` } : value;
}

/** A host, and its port with its colon or empty. */
export interface HostAndPort {
  readonly host: string;
  readonly port: string;
  readonly wildcards: readonly string[];
}

/** Hosts as proxies send them: they are few, and come again and again. */
const HOSTS = new Map<string, HostAndPort>();
const HOSTS_MAX = 1_000;
/** Labels that a wildcard can stand for: each is one more host to look up. */
const WILDCARD_LABELS_MAX = 8;

function wildcardsOf(host: string): string[] {
  const labels = host.split('.');
  return labels.slice(1, 1 + WILDCARD_LABELS_MAX).map((_, at) => `*.${labels.slice(at + 1).join('.')}`);
}

/** The canonical form of a host, and its port; null if it is not a host name. */
export function parseHost(sent: string): HostAndPort | null {
  const known = HOSTS.get(sent);
  if (known !== undefined) {
    return known;
  }
  // Matched as it is: lowering would make a letter k of the Kelvin sign.
  const match = HOST.exec(sent);
  if (match === null || match[1]!.length > HOST_CHARACTERS_MAX) {
    return null;
  }
  const host = match[1]!.toLowerCase();
  const parsed = { host, port: match[2] ?? '', wildcards: wildcardsOf(host) };
  if (HOSTS.size >= HOSTS_MAX) {
    HOSTS.clear();
  }
  HOSTS.set(sent, parsed);
  return parsed;
}

/** WebSocket schemes are what Traefik sends for an upgrade. */
export function parseProto(proto: string): 'http' | 'https' | null {
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

function isNavigation(headers: SingleHeaders, method: string): boolean {
  if ((method !== 'GET' && method !== 'HEAD') || headers.get('x-requested-with') !== undefined) {
    return false;
  }
  const mode = headers.get('sec-fetch-mode');
  return mode === undefined ? (headers.get('accept') ?? '').toLowerCase().includes('text/html') : mode === 'navigate';
}

function isPreflight(headers: SingleHeaders, method: string): boolean {
  return (
    method === 'OPTIONS' &&
    PREFLIGHT_HEADERS.every(name => (headers.get(name) ?? '') !== '' && !headers.isRepeated(name))
  );
}

const escapeByte = (byte: string): string => '%' + byte.charCodeAt(0).toString(16).toUpperCase();

/** Parses what a proxy sent. `target` is what its dialect has read from the same headers. */
export function parseRequest(
  headers: SingleHeaders,
  target: RequestTarget | BadRequest,
  readCredential: ReadCredential,
): AuthRequest | BadRequest {
  if (headers.count > HEADERS_MAX) {
    return { problem: `the request must have at most ${HEADERS_MAX} headers` };
  }
  if ('problem' in target) {
    return target;
  }
  for (const name of CREDENTIAL_HEADERS) {
    if (headers.isRepeated(name)) {
      return { problem: `header ${name} came more than once` };
    }
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
  const uri = NOT_ASCII.test(target.uri) ? target.uri.replace(/[\x80-\xff]/g, escapeByte) : target.uri;
  const query = uri.indexOf('?');
  const readings = /[\x00-\x20\x7f#]/.test(uri) ? null : pathReadings(query === -1 ? uri : uri.slice(0, query));
  if (readings === null) {
    return { problem: 'the path can be read in more than one way' };
  }
  let presented: PresentedCredential | undefined;
  return {
    host: host.host,
    wildcards: host.wildcards,
    port: host.port,
    proto,
    method: target.method,
    uri,
    readings,
    credential: () => (presented ??= readCredential(headers)),
    isNavigation: () => isNavigation(headers, target.method),
    isPreflight: () => isPreflight(headers, target.method),
  };
}
