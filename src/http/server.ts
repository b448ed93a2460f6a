/** HTTP servers with the time limits that proxies need, and how they begin and end. */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { GateRequest } from './request.js';
import { GateResponse } from './response.js';

/** What is still open after this long is cut off. */
const CLOSE_MS = 5_000;
/** Longer than proxies keep idle connections (nginx: 60 s), so that it is never us who closes one that is about to be used. */
const KEEP_ALIVE_MS = 75_000;
const HEADERS_MS = 15_000;
/** How often half-sent requests are looked at; Node's default of 30 s would let them live longer than the limits say. */
const CHECK_MS = 5_000;
const REQUEST_MS = 30_000;

/** How long a client may take to send a request, and how often that is looked at. */
export interface SendingLimits {
  readonly headersMs: number;
  readonly requestMs: number;
  readonly checkMs: number;
}

const SENDING: SendingLimits = { headersMs: HEADERS_MS, requestMs: REQUEST_MS, checkMs: CHECK_MS };

/** A server whose connections live longer than proxies keep them, and whose half-sent requests do not. */
export function createHttpServer(listener: RequestListener, sending: SendingLimits = SENDING): Server {
  const server = createServer(
    {
      keepAlive: true,
      connectionsCheckingInterval: sending.checkMs,
      IncomingMessage: GateRequest,
      ServerResponse: GateResponse,
    },
    (request, response) => {
      request.isHandedOver = true;
      listener(request, response);
    },
  );
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = sending.headersMs;
  server.requestTimeout = sending.requestMs;
  // Without this, Node answers 417 to what a client expects of the app, and nginx makes 500 of that.
  server.on('checkExpectation', listener);
  return server;
}

/** Resolves with the URL when the port accepts connections. Rejects when it is taken. */
export async function listen(server: Server, host: string, port: number): Promise<string> {
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new Error('not listening on a port');
  }
  return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
}

/** Finishes what is under way, for a bounded time. */
export async function close(server: Server): Promise<void> {
  if (!server.listening) {
    return;
  }
  const closed = once(server, 'close');
  // Proxies go on using connections that they have kept: each is told once that it ends, instead of being cut while it is in use.
  server.prependListener('request', (_, response) => {
    response.shouldKeepAlive = false;
  });
  server.close();
  server.closeIdleConnections();
  const cut = setTimeout(() => {
    server.closeAllConnections();
  }, CLOSE_MS);
  await closed;
  clearTimeout(cut);
}
