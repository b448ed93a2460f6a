/**
 * How a connection of our servers ends. A socket that is closed while received bytes are unread sends a reset, and a
 * reset destroys an answer that the peer has not read yet. A proxy counts that as a failure of the replica. So every
 * last answer is written completely, then our side is closed, and what still arrives is read and dropped for a limited
 * time and up to a limited amount.
 */
import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { peerOf } from './peer.js';
import type { GateRequest } from './request.js';

/** How long, and how many bytes, a connection is read after its last answer. */
export interface LingerLimits {
  readonly lingerMs: number;
  readonly lingerBytes: number;
}

/** A connection of our own servers. */
export interface GateSocket extends Socket {
  /** The response that Node sends on it now. Not documented; Node's own answer to a bad request looks at it, too. */
  readonly _httpMessage?: ServerResponse | null;
  /** The last request that was handed to the listener. */
  latest?: GateRequest;
  /** Whether what arrives is dropped. */
  isDropping?: boolean;
  isLingering?: boolean;
}

/** What Node cannot parse or does not wait for; every other code is 400. */
const STATUSES: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** What was wrong with a request that no listener has seen. */
export interface RefusedRequest {
  readonly status: number;
  /** Node's code, such as `HPE_INVALID_METHOD`, or `CONNECT`. */
  readonly problem: string;
  /** Address of the peer, `unix` on a Unix socket; null: the connection has gone. */
  readonly peer: string | null;
}

/** Takes the connection away from Node's parser: whatever arrives from now on is read and dropped. */
function dropInput(socket: GateSocket, { lingerBytes }: LingerLimits): void {
  if (socket.isDropping === true) {
    return;
  }
  socket.isDropping = true;
  let left = lingerBytes;
  const parsers = socket.listeners('data') as ((chunk: Buffer) => void)[];
  // This first: with a listener of ours, Node's parser no longer reads from the socket's handle directly.
  socket.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) {
      socket.destroy();
    }
  });
  for (const parser of parsers) {
    socket.off('data', parser);
  }
  socket.removeAllListeners('end');
  socket.resume();
}

/**
 * Closes our side when everything is written, and the whole connection when the peer has closed its own side or the
 * limits are reached.
 */
export function linger(socket: GateSocket, limits: LingerLimits): void {
  if (socket.destroyed || socket.isLingering === true) {
    return;
  }
  socket.isLingering = true;
  dropInput(socket, limits);
  socket.end();
  const timer = setTimeout(() => {
    socket.destroy();
  }, limits.lingerMs);
  socket.once('close', () => {
    clearTimeout(timer);
  });
}

function answer(socket: GateSocket, status: number, more: string): void {
  socket.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nCache-Control: no-store\r\n` +
      `X-Gatebell-Reason: bad_request\r\n${more}Content-Length: 0\r\n\r\n`,
  );
}

/** Answers after all responses that are under way, and ends the connection. */
function refuse(socket: GateSocket, status: number, limits: LingerLimits, more = ''): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  dropInput(socket, limits);
  const response = socket._httpMessage;
  if (response !== undefined && response !== null && !response.writableFinished) {
    // Node gives the next response to the socket before this listener is called.
    response.once('finish', () => {
      refuse(socket, status, limits, more);
    });
    return;
  }
  if (socket.isLingering === true) {
    return;
  }
  // The request whose body is bad or never ends has had its answer: another one would be taken for that of the next
  // request.
  const { latest } = socket;
  if (latest === undefined || latest.complete) {
    answer(socket, status, more);
  }
  linger(socket, limits);
}

/** Answers what Node could not parse. Null: the connection had failed, and nobody is there to read an answer. */
export function refuseUnparsed(error: Error, socket: GateSocket, limits: LingerLimits): RefusedRequest | null {
  const code = 'code' in error ? String(error.code) : '';
  if (socket.isDropping === true) {
    return null;
  }
  if (!/^HPE_|^ERR_HTTP/.test(code)) {
    socket.destroy();
    return null;
  }
  const peer = peerOf(socket);
  const status = STATUSES[code] ?? 400;
  const saysNothing = status === 408 && socket.bytesRead === 0;
  refuse(socket, status, limits);
  return saysNothing ? null : { status, problem: code, peer };
}

/** Answers CONNECT: nobody makes a tunnel through the gate. Node has already detached its parser. */
export function refuseTunnel(socket: GateSocket, limits: LingerLimits): RefusedRequest {
  const peer = peerOf(socket);
  socket.on('error', () => {
    socket.destroy();
  });
  delete socket.latest;
  refuse(socket, 405, limits, 'Allow: GET, HEAD, POST\r\n');
  return { status: 405, problem: 'CONNECT', peer };
}
