/**
 * What the ports of Traefik and Envoy are made of: a server that hands on heads as they came, a client that sends heads
 * as they are given, and tunnels for upgrades. Nothing in here decides anything, and Node adds nothing.
 */
import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  ServerResponse,
  type Agent,
  type IncomingMessage,
  type ServerOptions,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import type { RunningProxy } from './proxy.js';

/** Headers in their order, with their spelling. */
export class HeaderList {
  readonly #pairs: [name: string, value: string][] = [];

  constructor(raw: readonly string[] = []) {
    for (let i = 0; i + 1 < raw.length; i += 2) {
      this.#pairs.push([raw[i]!, raw[i + 1]!]);
    }
  }

  get raw(): string[] {
    return this.#pairs.flat();
  }

  get names(): string[] {
    return this.#pairs.map(([name]) => name);
  }

  /** All values of a name, in any case. */
  all(name: string): string[] {
    return this.#pairs.filter(([other]) => other.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  }

  get(name: string): string | undefined {
    return this.all(name)[0];
  }

  remove(name: string): void {
    this.removeWhere(other => other.toLowerCase() === name.toLowerCase());
  }

  removeWhere(fits: (name: string) => boolean): void {
    const kept = this.#pairs.filter(([name]) => !fits(name));
    this.#pairs.splice(0, this.#pairs.length, ...kept);
  }

  add(name: string, value: string): void {
    this.#pairs.push([name, value]);
  }

  /** One value, and no other. */
  set(name: string, value: string): void {
    this.remove(name);
    this.add(name, value);
  }
}

/** The answer of a gate, read to its end. */
export interface PlainAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: string;
}

export interface PlainAsk {
  readonly address: string;
  readonly method: string;
  readonly path: string;
  readonly headers: HeaderList;
  readonly agent: Agent;
}

/** The connection failed before there was an answer. */
export class NoAnswerError extends Error {
  /** Whether the connection had been used before, and whether it could be opened at all. */
  readonly reusedSocket: boolean;
  readonly refused: boolean;

  constructor(cause: unknown, reusedSocket: boolean) {
    super('no answer', { cause });
    this.reusedSocket = reusedSocket;
    this.refused = cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED';
  }
}

const placeOf = (address: string): { host: string; port: number } | { socketPath: string } => {
  if (address.startsWith('unix:')) {
    return { socketPath: address.slice('unix:'.length) };
  }
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
};

/** Asks without a body. Throws NoAnswerError. */
export async function askPlain({ address, method, path, headers, agent }: PlainAsk): Promise<PlainAnswer> {
  const request = httpRequest({
    ...placeOf(address),
    method,
    path,
    agent,
    headers: headers.raw,
    setHost: false,
  });
  try {
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return {
      status: response.statusCode ?? 0,
      headers: new HeaderList(response.rawHeaders),
      body: await text(response),
    };
  } catch (error) {
    throw new NoAnswerError(error, request.reusedSocket);
  }
}

/** One request at the proxy, and the ways in which it can go on. */
export interface PlainExchange {
  readonly message: IncomingMessage;
  /** Ends here. */
  refuse(status: number, headers?: HeaderList, body?: string): void;
  /** Goes to the app, with its body. */
  pass(app: string, path: string, headers: HeaderList): void;
}

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

/** The app's answer as it goes to the client: what it says of its own connection is not said of the client's. */
function answerWith(response: ServerResponse, answer: IncomingMessage): void {
  const headers = new HeaderList(answer.rawHeaders);
  headers.removeWhere(name => HOP_BY_HOP.has(name.toLowerCase()));
  response.writeHead(answer.statusCode ?? 502, headers.raw);
  answer.pipe(response);
}

/** Starts a server that gives each request to `handle`; what that throws is answered 500. */
export async function startPlainServer(
  port: number,
  options: ServerOptions,
  handle: (exchange: PlainExchange) => Promise<void>,
): Promise<RunningProxy> {
  const sockets = new Set<{ destroy(): void }>();

  const respondOn = (response: ServerResponse, message: IncomingMessage): PlainExchange['refuse'] => {
    return (status, headers = new HeaderList(), body = '') => {
      headers.remove('content-length');
      headers.removeWhere(name => HOP_BY_HOP.has(name.toLowerCase()));
      headers.add('Content-Length', String(Buffer.byteLength(body)));
      if (message.headers['expect'] !== undefined || message.headers['upgrade'] !== undefined) {
        headers.add('Connection', 'close');
      }
      response.writeHead(status, headers.raw);
      response.end(body);
      message.resume();
    };
  };

  const run = (exchange: PlainExchange): void => {
    handle(exchange).catch(() => {
      exchange.refuse(500);
    });
  };

  const passTo =
    (message: IncomingMessage, response: ServerResponse): PlainExchange['pass'] =>
    (app, path, headers) => {
      headers.removeWhere(name => HOP_BY_HOP.has(name.toLowerCase()));
      if (message.headers['transfer-encoding'] !== undefined) {
        headers.set('Transfer-Encoding', 'chunked');
      }
      const hasBody =
        message.headers['content-length'] !== undefined || message.headers['transfer-encoding'] !== undefined;
      if (!hasBody && !['GET', 'HEAD', 'OPTIONS', 'DELETE'].includes(message.method ?? 'GET')) {
        // Node would announce one in chunks.
        headers.set('Content-Length', '0');
      }
      if (message.headers['expect'] !== undefined) {
        response.writeContinue();
        headers.remove('expect');
      }
      const onward = httpRequest({
        ...placeOf(app),
        method: message.method ?? 'GET',
        path,
        headers: headers.raw,
        setHost: false,
      });
      onward.on('response', answer => {
        answerWith(response, answer);
      });
      onward.on('error', () => response.destroy());
      message.pipe(onward);
    };

  const serve = (message: IncomingMessage, response: ServerResponse): void => {
    run({ message, refuse: respondOn(response, message), pass: passTo(message, response) });
  };

  const server = createServer({ ...options, requireHostHeader: false, joinDuplicateHeaders: true }, serve);
  server.on('checkContinue', serve);
  server.on('connection', socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (message: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const response = new ServerResponse(message);
    response.assignSocket(socket);
    response.on('finish', () => socket.end());
    run({
      message,
      refuse: respondOn(response, message),
      pass(app, path, headers) {
        if (headers.get('upgrade') === undefined) {
          // Node parses nothing that follows the head of an upgrade: such a request has no body here, and ends its
          // connection.
          headers.remove('content-length');
          passTo(message, response)(app, path, headers);
          return;
        }
        headers.set('Connection', 'Upgrade');
        const onward = httpRequest({
          ...placeOf(app),
          method: 'GET',
          path,
          headers: headers.raw,
          setHost: false,
        });
        onward.on('upgrade', (answer, appSocket, appHead) => {
          appSocket.on('error', () => socket.destroy());
          response.detachSocket(socket);
          const lines = new HeaderList(answer.rawHeaders);
          const text = lines.names.map((name, index) => `${name}: ${lines.raw[2 * index + 1]}\r\n`).join('');
          socket.write(`HTTP/1.1 101 Switching Protocols\r\n${text}\r\n`);
          socket.write(appHead);
          appSocket.write(head);
          appSocket.pipe(socket);
          socket.pipe(appSocket);
          socket.on('close', () => appSocket.destroy());
        });
        onward.on('response', answer => {
          answerWith(response, answer);
        });
        onward.on('error', () => socket.destroy());
        onward.end();
      },
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    // A listening TCP server has an address of this form.
    port: (server.address() as AddressInfo).port,
    async stop() {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.close();
      await once(server, 'close');
    },
  };
}
