/**
 * The decision as an HTTP answer. Every 200 carries the full set of identity headers, empty where there is nothing to
 * tell, so that a proxy that copies them also removes what the client made up (CVE-2026-30851). A denial never tells
 * who was asked about.
 */
import type { ServerResponse } from 'node:http';
import { CachedHead, GateResponse } from '../http/response.js';
import { encodeHeaderValue, renderHeader, type TemplateValues } from './header-template.js';
import type { CredentialHeaders } from './request/credential.js';
import type { Decision, Reason, Status } from './decide.js';
import type { SingleHeaders } from './request/headers.js';
import type { LoginPage } from './login.js';
import type { AuthRequest, ReadTarget } from './request/request.js';

/** How one kind of proxy asks, and what it understands. */
export interface Dialect {
  readonly name: 'forward' | 'nginx' | 'envoy' | 'haproxy';
  readonly readTarget: ReadTarget;
  /** Where the proxy tells who asks it. */
  readonly clientAddress: 'x-forwarded-for' | 'x-real-ip';
  /** The status to send instead, for a proxy that understands only some. */
  readonly status: (status: Status | 404) => number;
  /** Whether a redirect reaches the client. */
  readonly redirects: boolean;
}

const RETRY_AFTER_SECONDS = '1';

/** The login page, with where to return to: at the app's registered host, or the host that its wildcard holds. */
function loginLocation(
  loginPage: LoginPage,
  { app }: Decision,
  { proto, host, port, uri }: AuthRequest,
): string | null {
  return app === null ? null : loginPage({ proto, host: app.host.startsWith('*.') ? host : app.host, port, uri });
}

/**
 * Headers of a 200: those of the identity, of the templates, the reason, and the client's own for the proxy to pass on.
 */
function allowHeaders({ app, route, user, grant, reason }: Decision, rest: CredentialHeaders | null): string[] {
  const groups = user?.groups.join(',') ?? '';
  const headers = [
    'X-Gatebell-Reason',
    reason,
    'Cache-Control',
    'no-store',
    'Remote-User',
    encodeHeaderValue(user?.name ?? ''),
    'Remote-Name',
    encodeHeaderValue(user?.displayName ?? ''),
    'Remote-Email',
    encodeHeaderValue(user?.email ?? ''),
    'Remote-Groups',
    encodeHeaderValue(groups),
    'X-Gatebell-App',
    encodeHeaderValue(app?.name ?? ''),
    'X-Gatebell-Role',
    encodeHeaderValue(grant?.role ?? ''),
  ];
  const values: TemplateValues = {
    'user.id': user?.id ?? '',
    'user.name': user?.name ?? '',
    'user.email': user?.email ?? '',
    'user.display_name': user?.displayName ?? '',
    'user.groups': groups,
    'app.name': app?.name ?? '',
    'app.host': app?.host ?? '',
    'grant.role': grant?.role ?? '',
  };
  // A route's header replaces the app's of the same name, in whatever case: the set is single-valued.
  const templates = new Map([...(app?.headers ?? []), ...(route?.headers ?? [])].map(t => [t.name.toLowerCase(), t]));
  for (const template of templates.values()) {
    headers.push(template.name, renderHeader(template, values));
  }
  if (rest !== null) {
    headers.push('Cookie', rest.cookie);
    // An app may be given credentials of its own.
    if (!templates.has('authorization')) {
      headers.push('Authorization', rest.authorization);
    }
  }
  headers.push('Content-Length', '0');
  return headers;
}

/** Writes an answer. `request` is null if it could not be parsed, `headers` if they were not looked at. */
export type SendReply = (
  response: ServerResponse,
  dialect: Dialect,
  decision: Decision,
  request: AuthRequest | null,
  headers: SingleHeaders | null,
) => void;

/** What answers depend on. */
export interface ReplyOptions {
  /** Where browsers are sent to sign in; null: they get 401. */
  readonly loginPage: LoginPage | null;
  /** What an unknown host is answered with. */
  readonly unknownAppStatus: 403 | 404;
  /** What is left of the client's headers without the credential; null: the proxy passes them on as they are. */
  readonly withoutCredential: ((headers: SingleHeaders) => CredentialHeaders) | null;
}

/** Heads of refusals, which are the same for everybody, by status and reason. */
const REFUSAL_HEADS = new Map<string, CachedHead>();

function refusalHead(status: number, reason: Reason): CachedHead {
  const name = `${status} ${reason}`;
  let head = REFUSAL_HEADS.get(name);
  if (head === undefined) {
    head = new CachedHead();
    REFUSAL_HEADS.set(name, head);
  }
  return head;
}

/** Writes a head, from where it is kept if it was composed before. @param head null: it is not kept */
function writeHead(response: ServerResponse, head: CachedHead | null, status: number, compose: () => string[]): void {
  if (head === null || !(response instanceof GateResponse)) {
    response.writeHead(status, compose());
  } else if (!response.writeCached(head)) {
    response.writeHead(status, compose());
    response.keep(head);
  }
}

const NOTHING_LEFT: CredentialHeaders = { cookie: '', authorization: '' };

/** Creates a writer of answers. */
export function createReplySender(options: ReplyOptions): SendReply {
  const { withoutCredential } = options;

  const sendAllow = (response: ServerResponse, decision: Decision, headers: SingleHeaders | null): void => {
    let rest: CredentialHeaders | null = null;
    if (withoutCredential !== null) {
      rest = headers === null ? NOTHING_LEFT : withoutCredential(headers);
      if (rest.cookie !== '' || rest.authorization !== '') {
        response.writeHead(200, allowHeaders(decision, rest)).end();
        return;
      }
    }
    writeHead(response, decision.head, 200, () => allowHeaders(decision, rest));
    response.end();
  };

  return (response, dialect, decision, request, headers) => {
    if (decision.status === 200) {
      sendAllow(response, decision, headers);
    } else {
      sendRefusal(response, dialect, decision, request, options);
    }
  };
}

function refusalHeaders(status: number, { reason, status: meant }: Decision, body: string): string[] {
  const headers = ['X-Gatebell-Reason', reason, 'Cache-Control', 'no-store'];
  if (status === 401) {
    headers.push('WWW-Authenticate', 'Bearer realm="gatebell"');
  }
  if (meant === 503) {
    headers.push('Retry-After', RETRY_AFTER_SECONDS);
  }
  headers.push('Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff');
  headers.push('Content-Length', String(body.length));
  return headers;
}

/** Writes a refusal, or sends a browser to sign in. `request` is null if it could not be parsed. */
export function sendRefusal(
  response: ServerResponse,
  dialect: Pick<Dialect, 'status' | 'redirects'>,
  decision: Decision,
  request: AuthRequest | null,
  { loginPage, unknownAppStatus }: Pick<ReplyOptions, 'loginPage' | 'unknownAppStatus'>,
): void {
  const { reason } = decision;
  const status = dialect.status(reason === 'unknown_app' ? unknownAppStatus : decision.status);
  const location =
    decision.status !== 401 || loginPage === null || request === null
      ? null
      : loginLocation(loginPage, decision, request);
  const body = `gatebell: ${reason}\n`;
  if (location === null) {
    writeHead(response, refusalHead(status, reason), status, () => refusalHeaders(status, decision, body));
  } else {
    const redirected = dialect.redirects && request?.isNavigation() === true ? 302 : status;
    response.writeHead(redirected, ['Location', location, ...refusalHeaders(redirected, decision, body)]);
  }
  response.end(body);
}
