/** HTTP servers with the limits that proxies need, and how they begin and end. */
import { once } from 'node:events';
import { Server, type IncomingMessage, type RequestListener } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import {
  linger,
  refuseTunnel,
  refuseUnparsed,
  type GateSocket,
  type LingerLimits,
  type RefusedRequest,
} from './lingering.js';
import { noteUnixPeer } from './peer.js';
import { GateRequest } from './request.js';
import { GateResponse } from './response.js';
import { BINDING_UMASK } from './unix-socket.js';

/** What is still open after this long is cut off. */
const CLOSE_MS = 5_000;
/**
 * While a server closes: a connection without a response under way is cut after this long, and this is how often that
 * is looked at.
 */
const SILENT_MS = 500;
const SWEEP_MS = 50;
/**
 * Longer than proxies keep idle connections (nginx: 60 s), so that it is never us who closes one that is about to be
 * used.
 */
const KEEP_ALIVE_MS = 75_000;
/**
 * Largest header section, in bytes. The files of deploy/ accept 32 kB, and their question to the gate repeats the
 * request's URL: what a proxy accepts, the gate must accept too, or the proxy has to make something of an answer that
 * it does not expect.
 */
export const HEADERS_BYTES_MAX = 65_536;
const HEADERS_MS = 15_000;
/**
 * How often half-sent requests are looked at; Node's default of 30 s would let them live longer than the limits say.
 */
const CHECK_MS = 5_000;
const REQUEST_MS = 30_000;
const LINGER_MS = 2_000;
const LINGER_BYTES = 16 * 1_048_576;

/** How long a client may take to send a request, how often that is looked at, and how a connection ends. */
export interface ConnectionLimits extends LingerLimits {
  readonly headersMs: number;
  readonly requestMs: number;
  readonly checkMs: number;
}

const LIMITS: ConnectionLimits = {
  headersMs: HEADERS_MS,
  requestMs: REQUEST_MS,
  checkMs: CHECK_MS,
  lingerMs: LINGER_MS,
  lingerBytes: LINGER_BYTES,
};

/** What a server may be given besides its listener. */
export interface HttpServerOptions {
  readonly limits?: Partial<ConnectionLimits>;
  /** Told of every request that was answered without the listener, since it could not be parsed. */
  readonly refused?: (refusal: RefusedRequest) => void;
}

/** A server of ours; see {@link createHttpServer}. */
export class GateServer extends Server<typeof GateRequest, typeof GateResponse> {
  readonly #sockets = new Set<GateSocket>();
  #isDraining = false;
  /** Whether it listens on a Unix socket. */
  #isUnix = false;

  constructor(listener: RequestListener, { limits: given = {}, refused }: HttpServerOptions) {
    const limits = { ...LIMITS, ...given };
    super({
      keepAlive: true,
      connectionsCheckingInterval: limits.checkMs,
      maxHeaderSize: HEADERS_BYTES_MAX,
      IncomingMessage: GateRequest,
      ServerResponse: GateResponse,
    });
    this.keepAliveTimeout = KEEP_ALIVE_MS;
    this.headersTimeout = limits.headersMs;
    this.requestTimeout = limits.requestMs;
    // A peer that has sent its request and closed its side still gets the answer. Not documented; without it Node ends
    // the connection.
    Object.assign(this, { httpAllowHalfOpen: true });
    const handle = (request: GateRequest, response: GateResponse): void => {
      request.isArriving = false;
      // The connections of this server are such sockets from their beginning.
      (request.socket as GateSocket).latest = request;
      if (this.#isDraining) {
        response.shouldKeepAlive = false;
      }
      listener(request, response);
    };
    this.on('request', handle);
    // Without this, Node answers 417 to what a client expects of the app, and nginx makes 500 of that.
    this.on('checkExpectation', handle);
    // The answer needs no body, so none is asked for. Where one is announced, nobody can know whether it comes: the
    // connection ends.
    this.on('checkContinue', (request: GateRequest, response: GateResponse) => {
      const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers;
      response.shouldKeepAlive &&= length === '0' && encoding === undefined;
      handle(request, response);
    });
    const note = (refusal: RefusedRequest | null): void => {
      if (refusal !== null) {
        refused?.(refusal);
      }
    };
    this.on('connect', (_: IncomingMessage, socket: Duplex) => {
      note(refuseTunnel(socket as GateSocket, limits));
    });
    this.on('clientError', (error: Error, socket: Duplex) => {
      note(refuseUnparsed(error, socket as GateSocket, limits));
    });
    this.on('connection', (socket: GateSocket) => {
      this.#sockets.add(socket);
      if (this.#isUnix) {
        noteUnixPeer(socket);
      }
      socket.once('close', () => this.#sockets.delete(socket));
      // What Node calls after the last answer on a connection. Its own would reset the connection where something is
      // unread.
      socket.destroySoon = () => {
        linger(socket, limits);
      };
    });
  }

  /** Listens on a Unix socket of this name. */
  listenOnSocket(path: string): void {
    this.#isUnix = true;
    // In a worker, the supervisor binds.
    const before = process.umask(BINDING_UMASK);
    try {
      this.listen(path);
    } finally {
      process.umask(before);
    }
  }

  /**
   * From now on every answer is the last on its connection, those under way too; idle connections end at once. New ones
   * are accepted.
   */
  drain(): void {
    this.#isDraining = true;
    for (const { _httpMessage: response } of this.#sockets) {
      if (response !== undefined && response !== null && !response.headersSent) {
        response.shouldKeepAlive = false;
      }
    }
    this.closeIdleConnections();
  }

  /** Cuts connections without a response under way: nobody is waiting there. */
  cutSilent(): void {
    for (const socket of this.#sockets) {
      if ((socket._httpMessage ?? null) === null && socket.isLingering !== true) {
        socket.destroy();
      }
    }
  }

  /** Cuts all that are open, those included that Node no longer counts as connections of HTTP. */
  cutAll(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }
}

/**
 * A server that gives every request it can read a complete answer, whatever comes with it. Its connections live longer
 * than proxies keep them, and its half-sent requests do not.
 */
export function createHttpServer(listener: RequestListener, options: HttpServerOptions = {}): GateServer {
  return new GateServer(listener, options);
}

/** Resolves with the URL when the port accepts connections. Rejects when it is taken. */
export async function listen(server: GateServer, host: string, port: number): Promise<string> {
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new Error('not listening on a port');
  }
  return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
}

/** Resolves when the Unix socket of this name accepts connections. Rejects when there is something already. */
export async function listenOnSocket(server: GateServer, path: string): Promise<void> {
  server.listenOnSocket(path);
  await once(server, 'listening');
}

/** Finishes what is under way, for a bounded time. No connection is accepted any more. */
export async function close(server: GateServer): Promise<void> {
  if (!server.listening) {
    return;
  }
  const closed = once(server, 'close');
  server.drain();
  server.close();
  const startedMs = performance.now();
  const sweep = setInterval(() => {
    const ageMs = performance.now() - startedMs;
    if (ageMs >= CLOSE_MS) {
      server.cutAll();
    } else if (ageMs >= SILENT_MS) {
      server.cutSilent();
    }
  }, SWEEP_MS);
  await closed;
  clearInterval(sweep);
}
