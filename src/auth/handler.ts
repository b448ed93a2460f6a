/**
 * The auth endpoints as one plain `(req, res)` function: it answers its own paths and passes the rest on, so it can be put in
 * front of a framework or mounted in one. When memory has all facts it answers in the same turn, without a promise.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BlockList } from 'node:net';
import { performance } from 'node:perf_hooks';
import { UnavailableError } from '../coherence/errors.js';
import type { Facts, Reader } from '../coherence/facts/reader.js';
import type { FactTypes } from './facts.js';
import type { BindIdentity } from './identities.js';
import { clientNetwork } from './request/client-address.js';
import { createCredentialReader, withoutCredential, type PresentedCredential } from './request/credential.js';
import {
  decide,
  outcomeOf,
  refuse,
  type Decision,
  type DecisionOutcome,
  type Reason,
  type Undecided,
} from './decide.js';
import { ENVOY_PREFIX, envoyDialect } from './dialects/envoy.js';
import { forwardDialect } from './dialects/forward.js';
import { haproxyDialect } from './dialects/haproxy.js';
import { nginxDialect } from './dialects/nginx.js';
import { knownHolder } from './holder.js';
import { singleHeaders, type SingleHeaders } from './request/headers.js';
import type { JwtObservation, JwtVerifier } from './jwt/verifier.js';
import { createLoginPage, type LoginPage } from './login.js';
import { createReplySender, type Dialect } from './reply.js';
import { parseRequest, type AuthRequest } from './request/request.js';
import { createClientRateLimiter, type Permit, type ClientRateLimiter } from './client-rate-limiter.js';
import { createProxyTrust } from './request/trusted-proxy.js';

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
  /** A request was not let ask Postgres, or was not worked on further, because its client has had too much of either. */
  | { readonly event: 'limited'; readonly dialect: Dialect['name'] }
  | {
      readonly event: 'bad_request';
      readonly dialect: Dialect['name'];
      readonly problem: string;
      readonly peer: string | null;
    }
  /** A peer asked that is not among the trusted proxies, or did not show the secret. */
  | { readonly event: 'untrusted_proxy'; readonly dialect: Dialect['name']; readonly peer: string | null }
  | { readonly event: 'decision_failed'; readonly error: unknown }
  | JwtObservation;

/** What the handler needs. */
export interface AuthOptions {
  readonly reader: Reader<FactTypes>;
  /** Name of the cookie that carries a session. */
  readonly cookieName: string;
  /** Verifies JWTs; null: they are somebody else's bearers. */
  readonly jwt?: JwtVerifier | null;
  /** Binds subjects of JWTs that are seen for the first time. Default: they mean nobody. */
  readonly bindIdentity?: BindIdentity;
  /** Where browsers are sent to sign in; null: they get 401. */
  readonly loginUrl: string | null;
  /** The same, where it depends on what is wanted; wins over `loginUrl`. */
  readonly loginPage?: LoginPage;
  /** Addresses of the proxies that may ask. */
  readonly trustedProxies: BlockList;
  /** What they show in `X-Gatebell-Secret`; null, the default: nothing. */
  readonly proxySecret?: string | null;
  /** What an unknown host is answered with, where the proxy can tell it. Default 403. */
  readonly unknownAppStatus?: 403 | 404;
  /** Whether a 200 carries `Cookie` and `Authorization` without the credential, for the proxy to pass on. Default false. */
  readonly stripCredentials?: boolean;
  /** Requests that may wait for facts at once; those beyond are answered 503 at once if memory cannot answer them. Default 10,000. */
  readonly waitingMax?: number;
  /** How often a client may ask Postgres in vain, or for much work. */
  readonly limiter?: ClientRateLimiter;
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

const AMBIGUOUS = 'the path can be read in more than one way, and the rules differ';

/** Before a user's id, in the name of a source: no address begins so. */
const USER_SOURCE = 'user ';

/** One for all: under overload an error a request would cost more than the answer. */
const TOO_MANY = new UnavailableError('queue_full', 'too many requests wait, or the client has had too much');

/**
 * Whether Postgres was asked in vain: for what does not exist, as far as a client can choose it. Below a wildcard any host will do, but what
 * is allowed there was wanted.
 */
function wasNegativeLookup({ reason, status, app }: Decision): boolean {
  return (
    reason === 'bad_credential' || reason === 'unknown_app' || (status !== 200 && app?.host.startsWith('*.') === true)
  );
}

/** Creates the handler. */
export function createAuthHandler(options: AuthOptions): AuthHandler {
  const { reader, cookieName, loginUrl, trustedProxies, jwt = null, waitingMax = WAITING_MAX, observe } = options;
  const { bindIdentity = () => Promise.resolve(null) } = options;
  const {
    proxySecret,
    unknownAppStatus = 403,
    stripCredentials = false,
    limiter = createClientRateLimiter(),
  } = options;
  const isTrusted = createProxyTrust(trustedProxies, proxySecret);
  const readCredential = createCredentialReader(cookieName, jwt);
  const sendReply = createReplySender({
    loginPage: options.loginPage ?? (loginUrl === null ? null : createLoginPage(loginUrl)),
    unknownAppStatus,
    withoutCredential: stripCredentials ? headers => withoutCredential(headers, cookieName, jwt) : null,
  });

  let waiting = 0;

  const noteWaiting = (change: 1 | -1): void => {
    waiting += change;
    observe({ event: 'waiting', requests: waiting });
  };

  /** Lets a client do what is limited; null: the client is not known. @throws UnavailableError if it may not */
  const limit = (dialect: Dialect, headers: SingleHeaders, user: string | null): Permit | null => {
    // A user who is known is a client of their own, so that a scanner behind the same balancer does not shut them out.
    const source =
      user === null ? clientNetwork(headers, dialect.clientAddress, trustedProxies) : `${USER_SOURCE}${user}`;
    const admitted = source === null ? null : limiter.admit(source);
    if (source !== null && admitted === null) {
      observe({ event: 'limited', dialect: dialect.name });
      throw TOO_MANY;
    }
    return admitted;
  };

  /** Lets a request wait for Postgres; null: its client is not known. @throws UnavailableError if it may not */
  const admit = (dialect: Dialect, headers: SingleHeaders, user: string | null): Permit | null => {
    if (waiting >= waitingMax) {
      observe({ event: 'shed' });
      throw TOO_MANY;
    }
    return limit(dialect, headers, user);
  };

  const decideWith = async (request: AuthRequest, credential: PresentedCredential): Promise<Decision> => {
    const known: AuthRequest = { ...request, credential: () => credential };
    return decideUndecided(known, await reader.read(facts => decide(known, facts)));
  };

  /** Does what a decision waits for, and decides with what comes of it, from the start. */
  const decideUndecided = async (request: AuthRequest, outcome: Decision | Undecided): Promise<Decision> => {
    if ('verify' in outcome) {
      const verdict = (await jwt?.verify(outcome.verify)) ?? null;
      return verdict === null ? refuse('unavailable') : decideWith(request, verdict);
    }
    if ('bind' in outcome) {
      const userId = await bindIdentity(outcome.bind);
      return decideWith(request, userId === null ? { kind: 'bad' } : { ...outcome.bind, userId });
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
    const reply = (decision: Decision, request: AuthRequest | null, headers: SingleHeaders | null): void => {
      if (decision.reason === 'bad_request' && request !== null) {
        observe({
          event: 'bad_request',
          dialect: dialect.name,
          problem: AMBIGUOUS,
          peer: message.socket.remoteAddress ?? null,
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
    const fail = (error: unknown): Decision => {
      if (!(error instanceof UnavailableError)) {
        observe({ event: 'decision_failed', error });
      }
      return refuse('unavailable');
    };

    let request: AuthRequest | null = null;
    let headers: SingleHeaders | null = null;
    /** What memory knows, as the decision has seen it last. */
    let seen: Facts<FactTypes> | null = null;
    const knownUser = (): string | null =>
      request === null || seen === null ? null : knownHolder(request.credential(), seen);
    /** Of a request that waits; undefined: it does not. */
    let permit: Permit | null | undefined;
    let decision: Decision | Promise<Decision>;
    try {
      if (!isTrusted(message)) {
        observe({
          event: 'untrusted_proxy',
          dialect: dialect.name,
          peer: message.socket.remoteAddress ?? null,
        });
        reply(refuse('untrusted_proxy'), null, null);
        return;
      }
      const own = singleHeaders(message.rawHeaders);
      headers = own;
      const parsed = parseRequest(own, dialect.readTarget(own, message), readCredential, () => {
        limit(dialect, own, knownUser())?.release(true);
      });
      if ('problem' in parsed) {
        observe({
          event: 'bad_request',
          dialect: dialect.name,
          problem: parsed.problem,
          peer: message.socket.remoteAddress ?? null,
        });
        reply(refuse(parsed.reason ?? 'bad_request'), null, own);
        return;
      }
      request = parsed;
      const answered = reader.read(facts => {
        seen = facts;
        const outcome = decide(parsed, facts);
        if (permit === undefined && ('lacks' in outcome || outcome.strong || !('reason' in outcome.answer))) {
          permit = admit(dialect, own, knownUser());
        }
        return outcome;
      });
      decision =
        answered instanceof Promise
          ? answered.then(outcome => decideUndecided(parsed, outcome))
          : 'reason' in answered
            ? answered
            : decideUndecided(parsed, answered);
    } catch (error) {
      decision = fail(error);
    }
    if (decision instanceof Promise) {
      noteWaiting(1);
      decision.catch(fail).then(
        settled => {
          noteWaiting(-1);
          permit?.release(wasNegativeLookup(settled));
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
