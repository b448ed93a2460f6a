/**
 * The ops listener, on a port of its own, for people, probes and Prometheus: `/livez` says that the process answers, `/readyz` that it
 * can decide. Nothing here tells a user, a token or a connection string.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createSecretCheck } from '../auth/secret.js';
import type { Status } from './status.js';

/** What the ops listener shows. */
export interface OpsOptions {
  readonly status: () => Promise<Status>;
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> };
  /** Bearer token for `/metrics`, `/status` and `/`; null: everyone may read them. Probes need none. */
  readonly token: string | null;
  /** Told what went wrong when an answer is 500. */
  readonly failed: (error: unknown) => void;
}

const INDEX = `Gatebell, ops listener

/livez    this process answers
/readyz   it can decide; whether from memory or from Postgres is in the body
/status   the same and more, as JSON
/metrics  for Prometheus
`;
const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';

/** What is for everyone, also where a token is asked for. */
const PROBES: ReadonlySet<string> = new Set(['/livez', '/readyz']);
const BEARER = /^bearer +(\S+) *$/i;

interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

function send(
  response: ServerResponse,
  { status, type, body }: Page,
  more: Readonly<Record<string, string>> = {},
): void {
  response
    .writeHead(status, {
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
      'Referrer-Policy': 'no-referrer',
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(body),
      ...more,
    })
    .end(body);
}

/**
 * Creates the listener. Without a framework: pages served by Express, which gives requests another prototype, made the decisions of the
 * same process about a twentieth slower.
 */
export function createOpsListener({ status, metrics, token, failed }: OpsOptions): RequestListener {
  const pages = new Map<string, () => Page | Promise<Page>>([
    ['/', () => ({ status: 200, type: TEXT, body: INDEX })],
    ['/livez', () => ({ status: 200, type: TEXT, body: 'ok\n' })],
    [
      '/readyz',
      async () => {
        const { ready, fromMemory, state, problem, watchProblems } = await status();
        const body = JSON.stringify({ ready, fromMemory, state, problem, watchProblems });
        return { status: ready ? 200 : 503, type: JSON_TYPE, body };
      },
    ],
    ['/status', async () => ({ status: 200, type: JSON_TYPE, body: JSON.stringify(await status()) })],
    ['/metrics', async () => ({ status: 200, type: metrics.contentType, body: await metrics.scrape() })],
  ]);

  const isToken = token === null ? null : createSecretCheck(token);
  const mayRead = (path: string, authorization = ''): boolean =>
    isToken === null || PROBES.has(path) || isToken(BEARER.exec(authorization)?.[1] ?? '');

  const answer = async (
    path: string,
    { method, headers }: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    const page = pages.get(path);
    if (!mayRead(path, headers.authorization)) {
      send(
        response,
        { status: 401, type: TEXT, body: 'a token is needed\n' },
        { 'WWW-Authenticate': 'Bearer realm="gatebell ops"' },
      );
    } else if (page === undefined) {
      send(response, { status: 404, type: TEXT, body: 'not found\n' });
    } else if (method !== 'GET' && method !== 'HEAD') {
      send(response, { status: 405, type: TEXT, body: 'only GET and HEAD\n' }, { Allow: 'GET, HEAD' });
    } else {
      send(response, await page());
    }
  };
  return (request, response) => {
    const [path] = (request.url ?? '/').split('?', 1);
    answer(path!, request, response).catch((error: unknown) => {
      failed(error);
      if (response.headersSent) {
        response.destroy();
      } else {
        send(response, { status: 500, type: TEXT, body: 'internal error\n' });
      }
    });
  };
}
