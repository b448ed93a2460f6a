/**
 * The ops listener, on a port of its own, for people, probes and Prometheus: `/livez` says that the process answers,
 * `/readyz` that it can decide. Nothing here shows a user, a token or a connection string.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { RequestHandler, Router } from 'express';
import { createSecretCheck } from '../auth/secret.js';
import { createApplication, createRouter, sentPath } from '../http/application.js';
import type { Status } from './status.js';

/** What the ops listener shows. */
export interface OpsOptions {
  readonly status: () => Promise<Status>;
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> };
  /** Bearer token for `/metrics`, `/status` and `/`; null: everyone may read them. Probes need none. */
  readonly token: string | null;
  /** Receives what went wrong when an answer is 500. */
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

/** Pages that need no token, also where the others do. */
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

/** The pages, each at exactly its path. */
function createPages({ status, metrics }: Pick<OpsOptions, 'status' | 'metrics'>): Router {
  const router = createRouter();
  const add = (path: string, make: () => Page | Promise<Page>): void => {
    router
      .route(path)
      .get(async (_, response) => {
        send(response, await make());
      })
      .all((_, response) => {
        send(response, { status: 405, type: TEXT, body: 'only GET and HEAD\n' }, { Allow: 'GET, HEAD' });
      });
  };
  add('/', () => ({ status: 200, type: TEXT, body: INDEX }));
  add('/livez', () => ({ status: 200, type: TEXT, body: 'ok\n' }));
  add('/readyz', async () => {
    const { ready, fromMemory, state, problem, watchProblems } = await status();
    const body = JSON.stringify({ ready, fromMemory, state, problem, watchProblems });
    return { status: ready ? 200 : 503, type: JSON_TYPE, body };
  });
  add('/status', async () => ({ status: 200, type: JSON_TYPE, body: JSON.stringify(await status()) }));
  add('/metrics', async () => ({ status: 200, type: metrics.contentType, body: await metrics.scrape() }));
  return router;
}

/** Creates the listener: an Express application. */
export function createOpsListener({ status, metrics, token, failed }: OpsOptions): RequestListener {
  const isToken = token === null ? null : createSecretCheck(token);
  const mayRead = (message: IncomingMessage): boolean =>
    isToken === null ||
    PROBES.has(sentPath(message)) ||
    isToken(BEARER.exec(message.headers.authorization ?? '')?.[1] ?? '');
  const askForToken = (response: ServerResponse): void => {
    const page: Page = { status: 401, type: TEXT, body: 'a token is needed\n' };
    send(response, page, { 'WWW-Authenticate': 'Bearer realm="gatebell ops"' });
  };
  const requireToken: RequestHandler = (request, response, next) => {
    if (mayRead(request)) {
      next();
    } else {
      askForToken(response);
    }
  };

  return createApplication({
    routers: [requireToken, createPages({ status, metrics })],
    notFound(message, response) {
      // A request whose path Express could not read has not been asked for a token yet.
      if (mayRead(message)) {
        send(response, { status: 404, type: TEXT, body: 'not found\n' });
      } else {
        askForToken(response);
      }
    },
    failed(error, _, response) {
      failed(error);
      if (response.headersSent) {
        response.destroy();
      } else {
        send(response, { status: 500, type: TEXT, body: 'internal error\n' });
      }
    },
  });
}
