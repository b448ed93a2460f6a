/**
 * Gatebell in an Express application: `forwardAuth` answers proxies, `requireAccess` decides the application's own
 * requests without any proxy. Both decide by the same facts and rules, and with the next request after a change in
 * Postgres.
 *
 * `requireAccess` believes no header of a proxy: the app is the one that it was given, method and URL are those of the
 * request itself.
 */
import type { BlockList } from 'node:net';
import { performance } from 'node:perf_hooks';
import { Router, type Request, type RequestHandler } from 'express';
import { AMBIGUOUS_PATH, createDecider, type AuthObservation, type DeciderOptions } from './auth/decider.js';
import { outcomeOf, refuse, type Decision, type Reason, type Status } from './auth/decide.js';
import { createAuthHandler } from './auth/handler.js';
import { createLoginPage, type LoginPage, type WantedAddress } from './auth/login.js';
import { sendRefusal } from './auth/reply.js';
import { createFactReader } from './auth/mounted-gate.js';
import { addressNetwork } from './auth/request/client-address.js';
import { createCredentialReader } from './auth/request/credential.js';
import { singleHeaders } from './auth/request/headers.js';
import { parseHost, parseRequest, type AuthRequest } from './auth/request/request.js';
import { addressProblem, addressRanges } from './config/parsers.js';
import type { FactTypes } from './auth/facts.js';
import type { Reader } from './coherence/facts/reader.js';
import type { Gatebell } from './postgres/gatebell.js';

/** A reader of the gate's facts, with what goes with it: for programs that have one of their own. */
export interface DecisionReader {
  readonly reader: Reader<FactTypes>;
  /** Requests that may wait for facts at once; those beyond are answered 503 at once. Default 10,000. */
  readonly waitingMax?: number;
  /** Receives every decision and what goes wrong. Must not throw. Default: nobody does. */
  readonly observe?: (observation: AuthObservation) => void;
}

/**
 * What decides: what `createGatebell` returns, or a reader. Give the same one to all routers and middlewares of a
 * program.
 */
export type DecisionSource = Gatebell | DecisionReader;

const deciderOptions = (source: DecisionSource): DeciderOptions =>
  'reader' in source ? source : { reader: createFactReader(source) };

/** Options of {@link forwardAuth}. */
export interface ForwardAuthOptions {
  /**
   * Who may ask: addresses and ranges of your proxies, such as `10.0.0.0/8, ::1`. Judged by the address of the
   * connection; Express' `trust proxy` does not count here. If your server listens on a Unix socket, nobody is trusted
   * there: a peer has no address.
   */
  readonly trustedProxies: string | BlockList;
  /** What the proxies show in `X-Gatebell-Secret`. Default null: nothing. */
  readonly proxySecret?: string | null;
  /** Name of the cookie that carries a session. Default `gatebell`. */
  readonly cookieName?: string;
  /** Where browsers are sent to sign in; the address to return to goes along in `rd`. Default null: they get 401. */
  readonly loginUrl?: string | null;
  /** What an unknown host is answered with, where the proxy can tell it. Default 403. */
  readonly unknownAppStatus?: 403 | 404;
  /**
   * Whether a 200 carries `Cookie` and `Authorization` without the credential, for the proxy to pass on. Default false.
   */
  readonly stripCredentials?: boolean;
}

/** Options of {@link requireAccess}. */
export interface RequireAccessOptions {
  /** Host of the app's row in `gatebell.apps`; a host below that of a wildcard row will do, too. */
  readonly app: string;
  /** Name of the cookie that carries a session. Default `gatebell`. */
  readonly cookieName?: string;
  /** Where browsers are sent to sign in; the address to return to goes along in `rd`. Default null: they get 401. */
  readonly loginUrl?: string | null;
  /**
   * Scheme, host and port under which browsers reach the application: the address to return to begins with it. Default
   * `https://` and `app`.
   */
  readonly origin?: string;
}

/** The user whose request it is. */
export interface AccessUser {
  readonly id: string;
  readonly name: string;
  /** Empty if there is none; so is `displayName`. */
  readonly email: string;
  readonly displayName: string;
  readonly groups: readonly string[];
}

/** Why and to whom a request was allowed. */
export interface Access {
  /** Name of the app. */
  readonly app: string;
  readonly reason: Extract<Reason, 'public' | 'authenticated' | 'granted'>;
  /** Null on a public route: credentials are not looked at there. */
  readonly user: AccessUser | null;
  /** Role of the grant; null where the route needs no grant. */
  readonly role: string | null;
}

declare global {
  namespace Express {
    interface Request {
      /** Set by `requireAccess` of `gatebell/express`. */
      gatebell?: Access;
    }
  }
}

const COOKIE = 'gatebell';
const ORIGIN = /^(https?):\/\/([^/?#@\\]+)\/?$/;
/** Every status reaches the client, redirects too. */
const ANSWERS = { status: (status: Status | 404): number => status, redirects: true } as const;

function blockList(trustedProxies: string | BlockList): BlockList {
  if (typeof trustedProxies !== 'string') {
    return trustedProxies;
  }
  const list = addressRanges(trustedProxies);
  if (list === undefined) {
    throw new TypeError(`trustedProxies must be addresses and ranges: ${addressProblem(trustedProxies) ?? ''}`);
  }
  return list;
}

/**
 * The auth endpoints as a router: `/auth/forward` (and `/internal/auth`), `/auth/nginx`, `/auth/envoy`,
 * `/auth/haproxy`, below wherever it is mounted. All other paths go on to what you mount after it. Mount it before
 * anything that is slow: a proxy asks for every request.
 *
 * @throws TypeError if `trustedProxies` is malformed
 * @example
 * const app = express();
 * app.use(forwardAuth(gatebell, { trustedProxies: '127.0.0.1, 10.0.0.0/8' }));
 */
export function forwardAuth(gatebell: DecisionSource, options: ForwardAuthOptions): Router {
  const handle = createAuthHandler({
    observe: () => undefined,
    cookieName: COOKIE,
    loginUrl: null,
    ...deciderOptions(gatebell),
    ...options,
    trustedProxies: blockList(options.trustedProxies),
  });
  const router = Router({ caseSensitive: true, strict: true });
  router.use((request, response, next) => {
    handle(request, response, next);
  });
  return router;
}

/** Where an application is: the host that its row is found by, and the origin that browsers know. */
function readAppAddress({ app, origin = `https://${app}` }: RequireAccessOptions): {
  readonly host: string;
  readonly origin: Pick<WantedAddress, 'proto' | 'host' | 'port'>;
} {
  const row = parseHost(app);
  if (row === null || row.port !== '') {
    throw new TypeError(`app must be the host of an app, without a port: ${JSON.stringify(app)}`);
  }
  const [, proto, authority = ''] = ORIGIN.exec(origin) ?? [];
  const at = parseHost(authority);
  if (proto === undefined || at === null) {
    throw new TypeError(`origin must be like https://wiki.example.com: ${JSON.stringify(origin)}`);
  }
  return { host: row.host, origin: { proto: proto === 'http' ? 'http' : 'https', host: at.host, port: at.port } };
}

function accessFrom({ app, user, grant, reason }: Decision): Access | null {
  if (app === null || (reason !== 'public' && reason !== 'authenticated' && reason !== 'granted')) {
    return null;
  }
  const role = grant?.role ?? null;
  if (user === null) {
    return { app: app.name, reason, user, role };
  }
  const { id, name, email, displayName, groups } = user;
  return { app: app.name, reason, user: { id, name, email, displayName, groups }, role };
}

/**
 * A middleware that lets a request go on only if the rows of an app allow it: the session of the cookie or the bearer
 * token, the rules of its routes for `request.originalUrl`, roles, strong routes. Who it is stands in
 * `request.gatebell` then; see {@link accessOf}.
 *
 * Others are answered as proxies' clients are: 400, 401, 403 or 503 with the reason in `X-Gatebell-Reason`; a browser
 * that opens a page without a valid session is sent to `loginUrl`.
 *
 * Clients that ask for what does not exist are limited by Express' `request.ip`: behind a proxy, set `trust proxy`, or
 * all share one limit.
 *
 * @throws TypeError if `app` or `origin` is malformed
 * @example
 * const app = express();
 * app.use(requireAccess(gatebell, { app: 'wiki.example.com', loginUrl: 'https://login.example.com/' }));
 * app.get('/hello', (request, response) => {
 *   response.send(`hello ${accessOf(request).user?.name ?? 'stranger'}`);
 * });
 */
export function requireAccess(gatebell: DecisionSource, options: RequireAccessOptions): RequestHandler {
  const { cookieName = COOKIE, loginUrl = null } = options;
  const deciding = deciderOptions(gatebell);
  const { observe = () => undefined, jwt = null } = deciding;
  const { host, origin } = readAppAddress(options);
  const credentialReader = createCredentialReader(cookieName, jwt);
  const decideRequest = createDecider(deciding);
  const page = loginUrl === null ? null : createLoginPage(loginUrl);
  const loginPage: LoginPage | null = page === null ? null : ({ uri }) => page({ ...origin, uri });

  const noteBadRequest = (request: Request, problem: string): void => {
    observe({ event: 'bad_request', dialect: 'express', problem, peer: request.socket.remoteAddress ?? null });
  };
  /** Parses the request as it was sent, or says why it is refused. */
  const read = (request: Request): AuthRequest | Reason => {
    const headers = singleHeaders(request.rawHeaders);
    const target = { proto: origin.proto, host, method: request.method, uri: request.originalUrl };
    const parsed = parseRequest(headers, target, credentialReader);
    if ('problem' in parsed) {
      noteBadRequest(request, parsed.problem);
      return parsed.reason ?? 'bad_request';
    }
    return parsed;
  };

  return (request, response, next) => {
    const startedMs = performance.now();
    const settle = (decision: Decision, asked: AuthRequest | null): void => {
      const { reason } = decision;
      if (reason === 'bad_request' && asked !== null) {
        noteBadRequest(request, AMBIGUOUS_PATH);
      }
      const durationMs = performance.now() - startedMs;
      observe({ event: 'decision', decision: outcomeOf(reason), reason, dialect: 'express', durationMs });
      const access = accessFrom(decision);
      if (access === null) {
        sendRefusal(response, ANSWERS, decision, asked, { loginPage, unknownAppStatus: 403 });
      } else {
        request.gatebell = access;
        next();
      }
    };

    const asked = read(request);
    if (typeof asked === 'string') {
      settle(refuse(asked), null);
      return;
    }
    const decision = decideRequest(asked, 'express', () => addressNetwork(request.ip));
    if (decision instanceof Promise) {
      decision
        .then(settled => {
          settle(settled, asked);
        })
        .catch(next);
    } else {
      settle(decision, asked);
    }
  };
}

/**
 * Why and to whom a request was allowed.
 *
 * @throws Error if no `requireAccess` has let the request through: then the route is not protected
 */
export function accessOf(request: Pick<Request, 'gatebell'>): Access {
  if (request.gatebell === undefined) {
    throw new Error('no requireAccess() stands before this route');
  }
  return request.gatebell;
}
