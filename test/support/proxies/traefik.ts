/**
 * Traefik's forwardAuth as a conformance test: what its source does with a request, configured from
 * deploy/traefik/*.yml. It is not Traefik. Ported from traefik/traefik v3 and Go's net/http, which it is built on:
 * - pkg/middlewares/auth/forward.go (at bd22897, v3): `writeHeader`, the status rule, authResponseHeaders deleted and
 *   then replaced;
 * - pkg/middlewares/forwardedheaders/forwarded_header.go (at 06d0bd5, v3): X-Forwarded-* of untrusted peers, in either
 *   spelling, and Connection;
 * - pkg/middlewares/headers/header.go: customRequestHeaders, where an empty value removes;
 * - pkg/muxer/http: HeaderRegexp, which looks for any value that matches; the longest rule has priority;
 * - aliasHeadersStrategy (3.7.12): `delete` drops names with other signs than letters, digits and hyphens;
 * - pkg/server/server_entrypoint_tcp.go: denyFragment, normalizePath and sanitizePath, which are on by default;
 * - pkg/proxy/httputil/proxy.go (at 03b52c9, v3): the peer is added to X-Forwarded-For, on the way to the app and on
 *   that to a replica;
 * - pkg/middlewares/retry/retry.go: another try only where the connection could not be opened; the rest is 502;
 * - net/http: one Host or 400, the authority of an absolute target replaces it, `URL.EscapedPath`, another try on a
 *   kept connection that had just been closed.
 * Left out: TLS, forwardBody, authResponseHeadersRegex, cookies for the client, tracing, health checks (they only make
 * failing over sooner).
 */
import { Agent } from 'node:http';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'yaml';
import {
  askPlain,
  HeaderList,
  NoAnswerError,
  startPlainServer,
  type PlainAnswer,
  type PlainExchange,
} from './plain-http.js';
import { deployFile, switchOn, type TestProxy } from './proxy.js';

interface Middleware {
  readonly forwardAuth?: {
    readonly address: string;
    readonly trustForwardHeader: boolean;
    readonly authResponseHeaders: readonly string[];
  };
  readonly headers?: { readonly customRequestHeaders: Readonly<Record<string, string>> };
  readonly retry?: { readonly attempts: number };
}

interface Router {
  readonly rule: string;
  readonly entryPoints: readonly string[];
  readonly middlewares: readonly string[];
}

interface Dynamic {
  readonly http: {
    readonly routers: Readonly<Record<string, Router>>;
    readonly middlewares: Readonly<Record<string, Middleware>>;
  };
}

interface Static {
  readonly entryPoints: Readonly<
    Record<
      string,
      {
        readonly address: string;
        readonly http?: { readonly aliasHeadersStrategy?: string };
        readonly forwardedHeaders?: { readonly trustedIPs?: readonly string[] };
      }
    >
  >;
}

/** What is true of an entry point and its routers. */
interface Guarded {
  /** The middlewares that the router for these headers names, in order. */
  readonly middlewaresFor: (headers: HeaderList) => readonly Middleware[];
  /** Whether names with other signs than letters, digits and hyphens are dropped. */
  readonly dropsAliases: boolean;
  /** Whether X-Forwarded-* of this peer is kept. */
  readonly trusts: (address: string) => boolean;
}

const FORWARDED = new Set([
  'X-Forwarded-Proto',
  'X-Forwarded-Scheme',
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'X-Forwarded-Server',
  'X-Forwarded-Uri',
  'X-Forwarded-Method',
  'X-Forwarded-Prefix',
  'X-Forwarded-Tls-Client-Cert',
  'X-Forwarded-Tls-Client-Cert-Info',
  'X-Scheme',
  'X-Real-Ip',
]);
const AUTH_HOP_HEADERS = ['Connection', 'Keep-Alive', 'Te', 'Trailers', 'Transfer-Encoding', 'Upgrade'];

/** Go's textproto.CanonicalMIMEHeaderKey. */
const canonicalKey = (name: string): string =>
  name.toLowerCase().replace(/(^|-)([a-z])/g, (_, before: string, letter: string) => before + letter.toUpperCase());

const isManaged = (name: string): boolean => FORWARDED.has(canonicalKey(name.replaceAll('_', '-')));

/** A request as net/http gives it to a handler; null where it answers 400 itself. */
interface GoRequest {
  readonly host: string;
  readonly escapedPath: string;
  /** With its question mark, or empty. */
  readonly query: string;
}

/** Characters that need no escape in a path: `validEncoded` of net/url. */
const VALID_ENCODED = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@[\]/]|%[0-9A-Fa-f]{2})*$/;
/** What `escape(path, encodePath)` leaves as it is. */
const UNESCAPED = /[A-Za-z0-9\-._~$&+,/:;=@]/;

function escapedPath(raw: string): string | null {
  if (/%(?![0-9A-Fa-f]{2})/.test(raw)) {
    return null;
  }
  if (VALID_ENCODED.test(raw)) {
    return raw;
  }
  // Not a valid encoding: decoded, and encoded again.
  const decoded = raw.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return [...decoded]
    .map(byte => (UNESCAPED.test(byte) ? byte : `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`))
    .join('');
}

function goRequest(target: string, headers: HeaderList): GoRequest | null {
  const hosts = headers.all('host');
  if (hosts.length > 1 || (hosts.length === 0 && !/^https?:/i.test(target))) {
    return null;
  }
  let host = hosts[0] ?? '';
  let rest = target;
  if (!target.startsWith('/')) {
    const absolute = /^https?:\/\/([^/?#@]+)(.*)$/is.exec(target);
    if (absolute === null) {
      return null;
    }
    host = absolute[1]!;
    rest = absolute[2]!.startsWith('/') ? absolute[2]! : `/${absolute[2]}`;
  }
  const question = rest.indexOf('?');
  const raw = question === -1 ? rest : rest.slice(0, question);
  // denyFragment
  const escaped = raw.includes('#') ? null : escapedPath(raw);
  if (escaped === null) {
    return null;
  }
  // normalizePath: unreserved characters are not left encoded. sanitizePath: URL.JoinPath().
  const normal = escaped.replace(/%([0-9A-Fa-f]{2})/g, (encoded, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9\-._~]/.test(character) ? character : encoded.toUpperCase();
  });
  return { host, escapedPath: path.posix.normalize(normal), query: question === -1 ? '' : rest.slice(question) };
}

const isUpgrade = (headers: HeaderList): boolean =>
  /\bupgrade\b/i.test(headers.get('connection') ?? '') && /\bwebsocket\b/i.test(headers.get('upgrade') ?? '');

/** The entry point's part: forwarded_header.go. */
function forwardHeaders(headers: HeaderList, host: string, peer: string, trusted: boolean): void {
  if (!trusted) {
    headers.removeWhere(isManaged);
  }
  const setIfAbsent = (name: string, value: string): void => {
    if ((headers.get(name) ?? '') === '') {
      headers.set(name, value);
    }
  };
  setIfAbsent('X-Real-Ip', peer);
  setIfAbsent('X-Forwarded-Proto', isUpgrade(headers) ? 'ws' : 'http');
  setIfAbsent('X-Forwarded-Port', /:(\d+)$/.exec(host)?.[1] ?? '80');
  setIfAbsent('X-Forwarded-Host', host);
  headers.set('X-Forwarded-Server', 'traefik');
  // Connection names what is dropped with it, but never what Traefik itself says.
  const upgrade = /(?:^|,)\s*upgrade\s*(?:,|$)/i.test(headers.all('connection').join(','))
    ? headers.get('upgrade')
    : undefined;
  for (const name of headers.all('connection').flatMap(value => value.split(','))) {
    const key = canonicalKey(name.trim());
    if (key !== '' && !isManaged(key)) {
      headers.remove(key);
    }
  }
  headers.remove('connection');
  if (upgrade !== undefined) {
    headers.set('Upgrade', upgrade);
    headers.set('Connection', 'Upgrade');
  }
}

/** The router of the gate's own pages, which are not asked for here. */
const SIGN_IN = 'sign-in';

/** What a rule says of headers; hosts and paths are as they are in the files. */
function fitsRule(rule: string, headers: HeaderList): boolean {
  return [...rule.matchAll(/HeaderRegexp\(`([^`]+)`, `(\(\?i\))?([^`]+)`\)/g)].every(
    ([, name, ignoresCase, pattern]) => {
      const regExp = new RegExp(pattern!, ignoresCase === undefined ? '' : 'i');
      return headers.all(name!).some(value => regExp.test(value));
    },
  );
}

function matchEntryPoint(config: Dynamic, entryPoints: Static['entryPoints'], name: string): Guarded {
  const routers = Object.entries(config.http.routers)
    .filter(([key, { entryPoints: of }]) => key !== SIGN_IN && of.includes(name))
    .map(([, router]) => router)
    .toSorted((a, b) => b.rule.length - a.rule.length);
  const { forwardedHeaders, http } = entryPoints[name]!;
  const trusted = forwardedHeaders?.trustedIPs ?? [];
  return {
    middlewaresFor: headers => {
      const router = routers.find(({ rule }) => fitsRule(rule, headers));
      if (router === undefined) {
        throw new Error(`entry point ${name} has no router for this`);
      }
      return router.middlewares.map(middleware => config.http.middlewares[middleware]!);
    },
    dropsAliases: http?.aliasHeadersStrategy === 'delete',
    trusts: address => trusted.includes(`${address}/32`),
  };
}

/** header.go: customRequestHeaders. */
function customise({ headers: custom }: Middleware, headers: HeaderList): void {
  for (const [name, value] of Object.entries(custom?.customRequestHeaders ?? {})) {
    if (value === '') {
      headers.remove(name);
    } else {
      headers.set(name, value);
    }
  }
}

/** The second hop comes from Traefik itself. */
const TRAEFIK_ITSELF = '127.0.0.1';

/** proxy.go: who has asked is added to who came before. */
function addForwardedFor(headers: HeaderList, peer: string): void {
  headers.set('X-Forwarded-For', [...headers.all('X-Forwarded-For'), peer].join(', '));
}

/** The way from the entry point `gate` to a replica: round robin, and the retry middleware. */
function createBalancer(gates: readonly string[], guarded: Guarded): (ask: AskGate) => Promise<PlainAnswer> {
  const agent = new Agent({ keepAlive: true });
  let turn = 0;
  return async ({ path: target, headers }) => {
    // It is an entry point of its own, and what it hears comes from Traefik itself.
    forwardHeaders(headers, headers.get('host') ?? '', TRAEFIK_ITSELF, guarded.trusts(TRAEFIK_ITSELF));
    const middlewares = guarded.middlewaresFor(headers);
    const attempts = middlewares.find(middleware => middleware.retry)?.retry?.attempts ?? 1;
    for (const middleware of middlewares) {
      customise(middleware, headers);
    }
    addForwardedFor(headers, TRAEFIK_ITSELF);
    for (let attempt = 1; ; attempt += 1) {
      const address = gates[turn++ % gates.length]!;
      try {
        return await askWithTransport({ address, method: 'GET', path: target, headers, agent });
      } catch (error) {
        if (!(error instanceof NoAnswerError)) {
          throw error;
        }
        if (!error.refused || attempt >= attempts) {
          return { status: 502, headers: new HeaderList(), body: 'Bad Gateway' };
        }
      }
    }
  };
}

interface AskGate {
  readonly path: string;
  readonly headers: HeaderList;
}

/** Go's Transport sends a GET again, on another connection, when a kept one turns out to be closed. */
async function askWithTransport(ask: Parameters<typeof askPlain>[0]): Promise<PlainAnswer> {
  for (;;) {
    try {
      return await askPlain(ask);
    } catch (error) {
      if (!(error instanceof NoAnswerError) || !error.reusedSocket) {
        throw error;
      }
    }
  }
}

/** forward.go: `writeHeader`, with trustForwardHeader as configured. */
function authHeaders(sent: HeaderList, exchange: PlainExchange, request: GoRequest, trust: boolean): HeaderList {
  const headers = new HeaderList(sent.raw);
  for (const name of AUTH_HOP_HEADERS) {
    headers.remove(name);
  }
  headers.remove('content-length');
  headers.remove('host');
  const setUnlessTrusted = (name: string, value: string): void => {
    headers.set(name, trust ? sent.get(name) || value : value);
  };
  const peer = exchange.message.socket.remoteAddress ?? '';
  headers.set('X-Forwarded-For', trust ? [...sent.all('X-Forwarded-For'), peer].join(', ') : peer);
  setUnlessTrusted('X-Forwarded-Method', exchange.message.method ?? '');
  setUnlessTrusted('X-Forwarded-Proto', 'http');
  setUnlessTrusted('X-Forwarded-Host', request.host);
  setUnlessTrusted('X-Forwarded-Uri', request.escapedPath + request.query);
  return headers;
}

export const traefik: TestProxy = {
  name: 'Traefik',
  kind: 'conformance',
  unanswered: [500, 502, 503],
  retriesCuts: false,
  async start({ gates, app, ...switches }) {
    const text = await readFile(deployFile('traefik/dynamic.yml'), 'utf8');
    const trusting =
      switches.hop === undefined ? text : text.replace('trustForwardHeader: false', 'trustForwardHeader: true');
    const config = parse(switchOn(trusting, switches)) as Dynamic;
    const { entryPoints } = parse(
      switchOn(await readFile(deployFile('traefik/traefik.yml'), 'utf8'), switches),
    ) as Static;
    const web = matchEntryPoint(config, entryPoints, 'web');
    const askGate = createBalancer(
      gates.map(gate => gate.auth),
      matchEntryPoint(config, entryPoints, 'gate'),
    );

    /** One middleware; false when it has answered. */
    const apply = async (
      middleware: Middleware,
      exchange: PlainExchange,
      request: GoRequest,
      headers: HeaderList,
    ): Promise<boolean> => {
      customise(middleware, headers);
      const { forwardAuth } = middleware;
      if (forwardAuth === undefined) {
        return true;
      }
      const address = new URL(forwardAuth.address);
      const asked = authHeaders(headers, exchange, request, forwardAuth.trustForwardHeader);
      asked.set('Host', address.host);
      const answer = await askGate({ path: address.pathname, headers: asked });
      if (answer.status < 200 || answer.status >= 300) {
        exchange.refuse(answer.status, answer.headers, answer.body);
        return false;
      }
      for (const name of forwardAuth.authResponseHeaders) {
        headers.remove(name);
        for (const value of answer.headers.all(name)) {
          headers.add(name, value);
        }
      }
      return true;
    };

    // Go's default limit of a request's headers is a megabyte.
    return startPlainServer(0, { maxHeaderSize: 1_048_576 }, async exchange => {
      const headers = new HeaderList(exchange.message.rawHeaders);
      const request = goRequest(exchange.message.url ?? '', headers);
      if (request === null) {
        exchange.refuse(400);
        return;
      }
      // net/http keeps what it announces apart from the headers.
      headers.remove('trailer');
      if (web.dropsAliases) {
        headers.removeWhere(name => /[^A-Za-z0-9-]/.test(name));
      }
      const peer = exchange.message.socket.remoteAddress ?? '';
      forwardHeaders(headers, request.host, peer, web.trusts(peer));
      for (const middleware of web.middlewaresFor(headers)) {
        if (!(await apply(middleware, exchange, request, headers))) {
          return;
        }
      }
      // The reverse proxy adds the client to the addresses, and passes the host on.
      addForwardedFor(headers, peer);
      headers.set('Host', request.host);
      exchange.pass(app, request.escapedPath + request.query, headers);
    });
  },
};
