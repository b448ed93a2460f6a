/**
 * The decision as an HTTP answer. Every 200 carries the full set of identity headers, empty where there is nothing to
 * tell, so that a proxy that copies them also removes what the client made up (CVE-2026-30851). A denial never tells who was asked about.
 */
import type { ServerResponse } from 'node:http';
import { encodeHeaderValue, renderHeader, type TemplateValues } from '../store/header-template.js';
import type { Decision, Status } from './decide.js';
import type { AuthRequest, ReadTarget } from './request.js';

/** How one kind of proxy asks, and what it understands. */
export interface Dialect {
  readonly name: 'forward' | 'nginx';
  readonly readTarget: ReadTarget;
  /** The status to send instead, for a proxy that understands only some. */
  readonly status: (status: Status) => number;
  /** Whether a redirect reaches the client. */
  readonly redirects: boolean;
}

const RETRY_AFTER_SECONDS = '1';

/**
 * The login page, with where to return to in `rd`: built from the app's registered host, never from what the request claims (CVE-2020-5233).
 */
function loginLocation(loginUrl: string, decision: Decision, request: AuthRequest): string | null {
  if (decision.app === null) {
    return null;
  }
  const target = `${request.proto}://${decision.app.host}${request.port}${request.uri}`;
  return `${loginUrl}${loginUrl.includes('?') ? '&' : '?'}rd=${encodeURIComponent(target)}`;
}

/** Headers of a 200: those of the identity, of the templates, and the reason. */
function allowHeaders({ app, route, user, grant, reason }: Decision): readonly string[] {
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
  headers.push('Content-Length', '0');
  return headers;
}

/** What an allow was rendered from, and what it came to. */
interface Rendered {
  readonly decision: Decision;
  readonly headers: readonly string[];
}

function isSame(one: Decision, other: Decision): boolean {
  return (
    one.grant === other.grant &&
    one.user === other.user &&
    one.route === other.route &&
    one.app === other.app &&
    one.reason === other.reason
  );
}

/** Headers are remembered for as long as the facts that they were made from: a fact in memory never changes. */
function createRenderer(): (decision: Decision) => readonly string[] {
  const rendered = new WeakMap<object, Rendered>();
  return decision => {
    const owner = decision.grant ?? decision.user ?? decision.route ?? decision.app;
    const known = owner === null ? undefined : rendered.get(owner);
    if (known !== undefined && isSame(known.decision, decision)) {
      return known.headers;
    }
    const headers = allowHeaders(decision);
    if (owner !== null) {
      rendered.set(owner, { decision, headers });
    }
    return headers;
  };
}

/** Writes an answer. `request` is null if it could not be parsed. */
export type SendReply = (
  response: ServerResponse,
  dialect: Dialect,
  decision: Decision,
  request: AuthRequest | null,
) => void;

/** Creates a writer of answers. @param loginUrl where browsers are sent to sign in; null: they get 401 */
export function createReplySender(loginUrl: string | null): SendReply {
  const render = createRenderer();
  return (response, dialect, decision, request) => {
    if (decision.status === 200) {
      // Node reads the array and does not keep it.
      response.writeHead(dialect.status(200), render(decision) as string[]);
      response.end();
    } else {
      sendRefusal(response, dialect, decision, request, loginUrl);
    }
  };
}

function sendRefusal(
  response: ServerResponse,
  dialect: Dialect,
  decision: Decision,
  request: AuthRequest | null,
  loginUrl: string | null,
): void {
  let status = dialect.status(decision.status);
  const headers = ['X-Gatebell-Reason', decision.reason, 'Cache-Control', 'no-store'];
  if (decision.status === 401) {
    const location = loginUrl === null || request === null ? null : loginLocation(loginUrl, decision, request);
    if (location !== null) {
      headers.push('Location', location);
      status = dialect.redirects && request?.isNavigation() === true ? 302 : status;
    }
    if (status === 401) {
      headers.push('WWW-Authenticate', 'Bearer realm="gatebell"');
    }
  }
  if (decision.status === 503) {
    headers.push('Retry-After', RETRY_AFTER_SECONDS);
  }
  const body = `gatebell: ${decision.reason}\n`;
  headers.push('Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff');
  headers.push('Content-Length', String(body.length));
  response.writeHead(status, headers);
  response.end(body);
}
