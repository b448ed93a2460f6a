/**
 * The ops listener, on a port of its own, for people, probes and Prometheus: `/livez` says that the process answers, `/readyz` that it
 * answers from proven memory. Nothing here tells a user, a token or a connection string.
 */
import type { RequestListener, ServerResponse } from 'node:http';
import type { Status } from './status.js';

/** What the ops listener shows. */
export interface OpsOptions {
  readonly status: () => Promise<Status>;
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> };
  /** Told what went wrong when an answer is 500. */
  readonly failed: (error: unknown) => void;
}

const INDEX = `Gatebell, ops listener

/livez    this process answers
/readyz   it answers from proven memory: LISTEN in place, and a fence within the lease
/status   the same and more, as JSON
/metrics  for Prometheus
`;
const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';

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
export function createOpsListener({ status, metrics, failed }: OpsOptions): RequestListener {
  const pages = new Map<string, () => Page | Promise<Page>>([
    ['/', () => ({ status: 200, type: TEXT, body: INDEX })],
    ['/livez', () => ({ status: 200, type: TEXT, body: 'ok\n' })],
    [
      '/readyz',
      async () => {
        const { ready, state, problem, watchProblems } = await status();
        const body = JSON.stringify({ ready, state, problem, watchProblems });
        return { status: ready ? 200 : 503, type: JSON_TYPE, body };
      },
    ],
    ['/status', async () => ({ status: 200, type: JSON_TYPE, body: JSON.stringify(await status()) })],
    ['/metrics', async () => ({ status: 200, type: metrics.contentType, body: await metrics.scrape() })],
  ]);

  const answer = async (path: string, method: string | undefined, response: ServerResponse): Promise<void> => {
    const page = pages.get(path);
    if (page === undefined) {
      send(response, { status: 404, type: TEXT, body: 'not found\n' });
    } else if (method !== 'GET' && method !== 'HEAD') {
      send(response, { status: 405, type: TEXT, body: 'only GET and HEAD\n' }, { Allow: 'GET, HEAD' });
    } else {
      send(response, await page());
    }
  };
  return (request, response) => {
    const [path] = (request.url ?? '/').split('?', 1);
    answer(path!, request.method, response).catch((error: unknown) => {
      failed(error);
      if (response.headersSent) {
        response.destroy();
      } else {
        send(response, { status: 500, type: TEXT, body: 'internal error\n' });
      }
    });
  };
}
