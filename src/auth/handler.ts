/**
 * The auth endpoints as one plain `(req, res)` function: it answers its own paths and passes the rest on, so it can be
 * put in front of a framework or mounted in one. When memory has all facts it answers in the same turn, without a
 * promise.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BlockList } from 'node:net';
import { performance } from 'node:perf_hooks';
import { AMBIGUOUS_PATH, createDecider, type AuthObservation, type DeciderOptions } from './decider.js';
import { outcomeOf, refuse, type Decision } from './decide.js';
import { ENVOY_PREFIX, envoyDialect } from './dialects/envoy.js';
import { forwardDialect } from './dialects/forward.js';
import { haproxyDialect } from './dialects/haproxy.js';
import { nginxDialect } from './dialects/nginx.js';
import { createLoginPage, type LoginPage } from './login.js';
import { createReplySender, type Dialect } from './reply.js';
import { clientNetwork } from './request/client-address.js';
import { createCredentialReader, withoutCredential } from './request/credential.js';
import { singleHeaders, type SingleHeaders } from './request/headers.js';
import { parseRequest, type AuthRequest } from './request/request.js';
import { createProxyTrust } from './request/trusted-proxy.js';
import { peerOf } from '../http/peer.js';

export type { AuthObservation } from './decider.js';

/** What the handler needs. */
export interface AuthOptions extends DeciderOptions {
  /** Name of the cookie that carries a session. */
  readonly cookieName: string;
  /** Where browsers are sent to sign in; null: they get 401. */
  readonly loginUrl: string | null;
  /** The same, where it depends on what is wanted; wins over `loginUrl`. */
  readonly loginPage?: LoginPage;
  /** Addresses of the proxies that may ask; over a Unix socket of a `GateServer`, all who may connect. */
  readonly trustedProxies: BlockList;
  /** What they show in `X-Gatebell-Secret`; null, the default: nothing. */
  readonly proxySecret?: string | null;
  /** What an unknown host is answered with, where the proxy can tell it. Default 403. */
  readonly unknownAppStatus?: 403 | 404;
  /**
   * Whether a 200 carries `Cookie` and `Authorization` without the credential, for the proxy to pass on. Default false.
   */
  readonly stripCredentials?: boolean;
  readonly observe: (observation: AuthObservation) => void;
}

/** Answers the auth paths; calls `next`, or answers 404 without it, for all others. */
export type AuthHandler = (request: IncomingMessage, response: ServerResponse, next?: () => void) => void;

const DIALECTS: ReadonlyMap<string, Dialect> = new Map([
  ['/internal/auth', forwardDialect],
  ['/auth/forward', forwardDialect],
  ['/auth/nginx', nginxDialect],
  ['/auth/haproxy', haproxyDialect],
]);

/** Which dialect a subrequest speaks; undefined: it is none. */
function dialectOf(url: string): Dialect | undefined {
  // The path alone: Caddy appends the client's query.
  const query = url.indexOf('?');
  return (
    DIALECTS.get(query === -1 ? url : url.slice(0, query)) ??
    (url.startsWith(`${ENVOY_PREFIX}/`) ? envoyDialect : undefined)
  );
}

/** Creates the handler. */
export function createAuthHandler(options: AuthOptions): AuthHandler {
  const { cookieName, loginUrl, trustedProxies, jwt = null, observe } = options;
  const { proxySecret, unknownAppStatus = 403, stripCredentials = false } = options;
  const isTrusted = createProxyTrust(trustedProxies, proxySecret);
  const credentialReader = createCredentialReader(cookieName, jwt);
  const sendReply = createReplySender({
    loginPage: options.loginPage ?? (loginUrl === null ? null : createLoginPage(loginUrl)),
    unknownAppStatus,
    withoutCredential: stripCredentials ? headers => withoutCredential(headers, cookieName, jwt) : null,
  });

  const decideRequest = createDecider(options);

  return (message, response, next) => {
    const dialect = dialectOf(message.url ?? '/');
    if (dialect === undefined) {
      if (next === undefined) {
        response.writeHead(404, { 'Content-Length': 0 }).end();
      } else {
        next();
      }
      return;
    }

    const startedMs = performance.now();
    const reply = (decision: Decision, request: AuthRequest | null, headers: SingleHeaders | null): void => {
      if (decision.reason === 'bad_request' && request !== null) {
        observe({
          event: 'bad_request',
          dialect: dialect.name,
          problem: AMBIGUOUS_PATH,
          peer: peerOf(message.socket),
        });
      }
      let outcome = outcomeOf(decision.reason);
      try {
        sendReply(response, dialect, decision, request, headers);
      } catch (error) {
        // An answer that cannot be written must not let the proxy wait, nor harm other requests.
        outcome = 'error';
        observe({ event: 'decision_failed', error });
        response.destroy();
      }
      observe({
        event: 'decision',
        decision: outcome,
        reason: decision.reason,
        dialect: dialect.name,
        durationMs: performance.now() - startedMs,
      });
    };

    let request: AuthRequest | null = null;
    let headers: SingleHeaders | null = null;
    let decision: Decision | Promise<Decision>;
    try {
      if (!isTrusted(message)) {
        observe({
          event: 'untrusted_proxy',
          dialect: dialect.name,
          peer: peerOf(message.socket),
        });
        reply(refuse('untrusted_proxy'), null, null);
        return;
      }
      const own = singleHeaders(message.rawHeaders);
      headers = own;
      const parsed = parseRequest(own, dialect.readTarget(own, message), credentialReader);
      if ('problem' in parsed) {
        observe({
          event: 'bad_request',
          dialect: dialect.name,
          problem: parsed.problem,
          peer: peerOf(message.socket),
        });
        reply(refuse(parsed.reason ?? 'bad_request'), null, own);
        return;
      }
      request = parsed;
      decision = decideRequest(parsed, dialect.name, () => clientNetwork(own, dialect.clientAddress, trustedProxies));
    } catch (error) {
      observe({ event: 'decision_failed', error });
      decision = refuse('unavailable');
    }
    if (decision instanceof Promise) {
      decision.then(
        settled => {
          reply(settled, request, headers);
        },
        (error: unknown) => {
          observe({ event: 'decision_failed', error });
        },
      );
    } else {
      reply(decision, request, headers);
    }
  };
}
