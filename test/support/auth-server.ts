/**
 * The real auth handler on a real server, and a client that writes bytes: what an HTTP library refuses to send, it
 * sends.
 */
import type { Server } from 'node:http';
import { BlockList, connect, type AddressInfo, type Socket } from 'node:net';
import { createAuthHandler, type AuthObservation, type AuthOptions } from '../../src/auth/handler.js';
import { createHttpServer } from '../../src/http/server.js';

export interface Answer {
  readonly status: number;
  /** By lower-case name; values of a header that came more than once, joined by a line end. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export type Pairs = readonly (readonly [string, string])[];

export interface AuthServer {
  readonly port: number;
  readonly server: Server;
  readonly observed: AuthObservation[];
  /** One request on a connection of its own. */
  ask(path: string, headers?: Pairs, method?: string): Promise<Answer>;
  stop(): Promise<void>;
}

export function loopback(): BlockList {
  const list = new BlockList();
  list.addAddress('127.0.0.1');
  return list;
}

export function bytesOf(path: string, headers: Pairs, method: string, connection: 'keep-alive' | 'close'): string {
  const lines = [['Host', 'gate'], ...headers, ['Connection', connection]].map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

export async function startAuthServer(
  options: Pick<AuthOptions, 'reader'> & Partial<AuthOptions>,
  next?: (path: string) => string,
): Promise<AuthServer> {
  const observed: AuthObservation[] = [];
  const handler = createAuthHandler({
    cookieName: 'gatebell',
    loginUrl: null,
    trustedProxies: loopback(),
    observe: observation => observed.push(observation),
    ...options,
  });
  const server = createHttpServer((request, response) => {
    handler(request, response, next && (() => response.end(next(request.url ?? ''))));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    server,
    observed,
    async ask(path, headers = [], method = 'GET') {
      const text = await exchange(port, bytesOf(path, headers, method, 'close'));
      return readAnswer(text, method === 'HEAD')!.answer;
    },
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Writes Latin-1 bytes on a fresh connection and reads until its end. */
export function exchange(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'));
    socket.setEncoding('latin1');
    socket.on('data', (part: string) => (text += part));
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

/** The first answer of a text, and the length it has there; null if it is not complete. */
export function readAnswer(text: string, isHead: boolean): { readonly answer: Answer; readonly length: number } | null {
  const head = text.indexOf('\r\n\r\n');
  if (head === -1) {
    return null;
  }
  const [first, ...lines] = text.slice(0, head).split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}\n${value}` : value;
  }
  const bodyLength = isHead ? 0 : Number(headers['content-length'] ?? 0);
  const length = head + 4 + bodyLength;
  if (text.length < length) {
    return null;
  }
  return { answer: { status: Number(first!.split(' ')[1]), headers, body: text.slice(head + 4, length) }, length };
}

/** A connection that is kept alive: one request after the other; opened again when the server has closed it. */
export function createConnection(port: number): { send(bytes: string): Promise<Answer | null>; close(): void } {
  let socket: Socket | null = null;
  let text = '';
  let isHead = false;
  let settle: ((answer: Answer | null) => void) | null = null;
  const open = (): Socket => {
    const fresh = connect(port, '127.0.0.1');
    fresh.setEncoding('latin1');
    text = '';
    fresh.on('data', (part: string) => {
      text += part;
      const read = readAnswer(text, isHead);
      if (read !== null) {
        text = text.slice(read.length);
        if (read.answer.headers['connection'] === 'close') {
          socket = null;
          fresh.destroy();
        }
        settle?.(read.answer);
      }
    });
    fresh.on('error', () => fresh.destroy());
    fresh.on('close', () => {
      if (socket === fresh) {
        socket = null;
        settle?.(null);
      }
    });
    return fresh;
  };
  return {
    send(bytes) {
      socket ??= open();
      const current = socket;
      isHead = bytes.startsWith('HEAD ');
      return new Promise(resolve => {
        settle = resolve;
        current.write(bytes, 'latin1');
      });
    },
    close() {
      settle = null;
      socket?.destroy();
    },
  };
}
