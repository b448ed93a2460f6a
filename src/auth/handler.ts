/**
 * The auth endpoints as one plain `(req, res)` function: it answers its own paths and passes the rest on, so it can be put in
 * front of a framework or mounted in one. When memory has all facts it answers in the same turn, without a promise.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BlockList } from 'node:net';
import { performance } from 'node:perf_hooks';
import { UnavailableError } from '../coherence/errors.js';
import type { Reader } from '../coherence/reader.js';
import type { FactTypes } from '../store/facts.js';
import { createCredentialReader } from './credential.js';
import { decide, outcomeOf, refuse, type Decision, type DecisionOutcome, type Reason } from './decide.js';
import { ENVOY_PREFIX, envoyDialect } from './dialect-envoy.js';
import { forwardDialect } from './dialect-forward.js';
import { haproxyDialect } from './dialect-haproxy.js';
import { nginxDialect } from './dialect-nginx.js';
import { singleHeaders } from './headers.js';
import { createReplySender, type Dialect } from './reply.js';
import { parseRequest, type AuthRequest } from './request.js';
import { createProxyTrust } from './trusted-proxy.js';

/** What happens in here. */
export type AuthObservation =
  | {
      readonly event: 'decision';
      readonly decision: DecisionOutcome;
      readonly reason: Reason;
      readonly dialect: Dialect['name'];
      readonly durationMs: number;
    }
  /** So many requests wait for facts now. */
  | { readonly event: 'waiting'; readonly requests: number }
  /** A request was not let wait, because too many do. */
  | { readonly event: 'shed' }
  | { readonly event: 'bad_request'; readonly dialect: Dialect['name']; readonly problem: string }
  | { readonly event: 'decision_failed'; readonly error: unknown };

/** What the handler needs. */
export interface AuthOptions {
  readonly reader: Reader<FactTypes>;
  /** Name of the cookie that carries a session. */
  readonly cookieName: string;
  /** Where browsers are sent to sign in; null: they get 401. */
  readonly loginUrl: string | null;
  /** Addresses of the proxies that may ask. */
  readonly trustedProxies: BlockList;
  /** Requests that may wait for facts at once; those beyond are answered 503 at once if memory cannot answer them. Default 10,000. */
  readonly waitingMax?: number;
  /** Receives what happens. Must not throw. */
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

/** More would wait longer than proxies do; each holds a connection and a few kilobytes. */
const WAITING_MAX = 10_000;

/** One for all: under overload an error a request would cost more than the answer. */
const TOO_MANY = new UnavailableError('queue_full', 'too many requests wait for facts');

/** Creates the handler. */
export function createAuthHandler(options: AuthOptions): AuthHandler {
  const { reader, cookieName, loginUrl, trustedProxies, waitingMax = WAITING_MAX, observe } = options;
  const isTrusted = createProxyTrust(trustedProxies);
  const readCredential = createCredentialReader(cookieName);
  const sendReply = createReplySender(loginUrl);

  let waiting = 0;

  const noteWaiting = (change: 1 | -1): void => {
    waiting += change;
    observe({ event: 'waiting', requests: waiting });
  };

  /** Decides from memory alone. */
  const decideNow: typeof decide = (request, facts) => {
    const outcome = decide(request, facts);
    if ('lacks' in outcome || outcome.strong) {
      observe({ event: 'shed' });
      throw TOO_MANY;
    }
    return outcome;
  };

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
    const reply = (decision: Decision, request: AuthRequest | null): void => {
      let outcome = outcomeOf(decision.reason);
      try {
        sendReply(response, dialect, decision, request);
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
    const fail = (error: unknown): Decision => {
      if (!(error instanceof UnavailableError)) {
        observe({ event: 'decision_failed', error });
      }
      return refuse('unavailable');
    };

    let request: AuthRequest | null = null;
    let decision: Decision | Promise<Decision>;
    try {
      if (!isTrusted(message)) {
        reply(refuse('untrusted_proxy'), null);
        return;
      }
      const headers = singleHeaders(message.rawHeaders);
      const parsed = parseRequest(headers, dialect.readTarget(headers, message), readCredential);
      if ('problem' in parsed) {
        observe({ event: 'bad_request', dialect: dialect.name, problem: parsed.problem });
        reply(refuse('bad_request'), null);
        return;
      }
      request = parsed;
      const decideOver = waiting < waitingMax ? decide : decideNow;
      decision = reader.read(facts => decideOver(parsed, facts));
    } catch (error) {
      decision = fail(error);
    }
    if (decision instanceof Promise) {
      noteWaiting(1);
      decision.catch(fail).then(
        settled => {
          noteWaiting(-1);
          reply(settled, request);
        },
        (error: unknown) => {
          observe({ event: 'decision_failed', error });
        },
      );
    } else {
      reply(decision, request);
    }
  };
}
