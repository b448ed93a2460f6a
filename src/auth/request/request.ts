/**
 * The request that a proxy asks about, as a value: parsed strictly, or refused with the reason. What the parts look
 * like is here; where each proxy puts them is in one file a dialect, and no endpoint tries several.
 */
import type { IncomingMessage } from 'node:http';
import type { CredentialReader, PresentedCredential } from './credential.js';
import type { HeaderName, SingleHeaders } from './headers.js';
import { parseHost, type HostAndPort } from '../../http/host.js';
import { Effort } from './path-interpretations.js';
import { bothRules, selectRoute, type PathScope } from './path.js';
import { otherPaths, reachesBelow, toAscii } from './other-paths.js';
import { isPreflight } from './preflight.js';
import type { Route } from '../facts.js';

export { parseHost } from '../../http/host.js';

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
  /**
   * The rule of all paths that the request names, as {@link selectRoute} says; found at most once for the same routes.
   * `charge` is called before that takes much work.
   */
  route(routes: readonly Route[], charge?: () => void): Route | null | undefined;
  /** Looks at the credential; parsed and hashed at most once. */
  credential(): PresentedCredential;
  /** What the credential is read from, as it came. */
  credentialText(): string;
  /** Whether a person waits in front of a browser, who can be sent to the login page. */
  isNavigation(): boolean;
  /**
   * Whether a browser asks if a script of another origin may ask. https://fetch.spec.whatwg.org/#cors-preflight-fetch
   */
  isPreflight(): boolean;
}

/** The request is malformed; `problem` says how. */
export interface BadRequest {
  readonly problem: string;
  /** Default `bad_request`. */
  readonly reason?: 'uri_too_long';
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

const URI_CHARACTERS_MAX = 8_192;
/** Node drops headers beyond the thousandth without a word, and what came a second time there would look single. */
const HEADERS_MAX = 500;
/** Controls, space, and the fragment, which is never sent. */
const FORBIDDEN = /[\x00-\x20\x7f#]/;
/** Those of RFC 9110 that are used: WebDAV's, `M-SEARCH`, `RDG_OUT_DATA`. */
const METHOD = /^[A-Z][A-Z0-9_-]{0,31}$/;
const CREDENTIAL_HEADERS = ['authorization', 'cookie'] as const;

/** A header that must be there once. */
export function requireHeader(headers: SingleHeaders, name: HeaderName): string | BadRequest {
  const value = headers.get(name);
  if (value === undefined || value === '') {
    return { problem: `header ${name} is missing` };
  }
  return headers.isRepeated(name) ? { problem: `header ${name} came more than once` } : value;
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

/** Where a request goes, parsed. */
interface ParsedTarget {
  readonly proto: 'http' | 'https';
  readonly method: string;
  readonly host: HostAndPort;
  readonly uri: string;
  /** All paths that it names: its own first. */
  readonly paths: readonly string[];
}

class ParsedRequest implements AuthRequest {
  readonly host: string;
  readonly wildcards: readonly string[];
  readonly port: string;
  readonly proto: 'http' | 'https';
  readonly method: string;
  readonly uri: string;
  readonly #paths: readonly string[];
  readonly #headers: SingleHeaders;
  readonly #credentialReader: CredentialReader;
  #routes: readonly Route[] | null = null;
  #route: Route | null | undefined;
  #credential: PresentedCredential | null = null;
  #credentialText: string | null = null;

  constructor(
    { proto, method, host, uri, paths }: ParsedTarget,
    headers: SingleHeaders,
    credentials: CredentialReader,
  ) {
    this.host = host.host;
    this.wildcards = host.wildcards;
    this.port = host.port;
    this.proto = proto;
    this.method = method;
    this.uri = uri;
    this.#paths = paths;
    this.#headers = headers;
    this.#credentialReader = credentials;
  }

  route(routes: readonly Route[], charge: () => void = () => undefined): Route | null | undefined {
    if (routes !== this.#routes) {
      this.#route = this.#findRoute(routes, charge);
      this.#routes = routes;
    }
    return this.#route;
  }

  /** The rule that all paths choose together. */
  #findRoute(routes: readonly Route[], charge: () => void): Route | null | undefined {
    const [own, ...others] = this.#paths;
    // What is copied or moved is so with all that lies below.
    const scope: PathScope = others.length > 0 || reachesBelow(this.#headers, this.method) ? 'tree' : 'path';
    const effort = new Effort(charge);
    let found = selectRoute(routes, own!, scope, effort);
    for (const path of others) {
      if (found === undefined) {
        break;
      }
      const other = selectRoute(routes, path, scope, effort);
      found = other === undefined ? undefined : bothRules(found, other);
    }
    return found;
  }

  credential(): PresentedCredential {
    this.#credential ??= this.#credentialReader.read(this.#headers);
    return this.#credential;
  }

  credentialText(): string {
    this.#credentialText ??= this.#credentialReader.text(this.#headers);
    return this.#credentialText;
  }

  isNavigation(): boolean {
    return isNavigation(this.#headers, this.method);
  }

  isPreflight(): boolean {
    return isPreflight(this.#headers, this.method, this.uri);
  }
}

/** Parses what a proxy sent. @param target what its dialect has read from the same headers */
export function parseRequest(
  headers: SingleHeaders,
  target: RequestTarget | BadRequest,
  credentialReader: CredentialReader,
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
    return { problem: 'the method must be 1 to 32 capital letters, digits, hyphens and underscores' };
  }
  const host = parseHost(target.host);
  if (host === null) {
    return {
      problem:
        'the host must be a name of letters, digits, hyphens and dots, or an IPv6 address in brackets, with ' +
        'a port or without',
    };
  }
  // Twice: raw bytes grow threefold when they are escaped.
  const uri = target.uri.length > URI_CHARACTERS_MAX ? null : toAscii(target.uri);
  if (uri === null || uri.length > URI_CHARACTERS_MAX) {
    return { problem: `the URI must be at most ${URI_CHARACTERS_MAX} characters long`, reason: 'uri_too_long' };
  }
  const query = uri.indexOf('?');
  const path = query === -1 ? uri : uri.slice(0, query);
  if (!path.startsWith('/') || FORBIDDEN.test(uri)) {
    return { problem: 'the URI must be a path and a query, without controls, spaces and a fragment' };
  }
  const others = otherPaths(headers, host.host, path);
  if ('problem' in others) {
    return others;
  }
  return new ParsedRequest(
    { proto, method: target.method, host, uri, paths: [path, ...others.paths] },
    headers,
    credentialReader,
  );
}
