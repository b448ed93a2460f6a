/**
 * Browsers that open apps at once, as a program of its own: each browser's requests wait for one of its few
 * connections, as behind a proxy that keeps connections open. Reads a {@link Burst} as JSON from standard input; prints
 * a {@link BurstResult} when the last answer has come.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';

/** What one browser asks. */
export interface Browser {
  readonly cookie: string;
  /** A burst for each app. */
  readonly apps: readonly { readonly host: string; readonly requests: number }[];
}

export interface Burst {
  readonly port: number;
  /** Of each browser. */
  readonly connections: number;
  readonly browsers: readonly Browser[];
}

export interface BurstResult {
  /** From the first request to the last answer. */
  readonly lastAnswerMs: number;
  readonly answers: number;
  /** Answers other than 200. */
  readonly refused: number;
  /** Status of one of them. */
  readonly refusal: string | null;
}

/** One browser's requests as they go over the wire, its apps in turn. */
function requestsOf({ cookie, apps }: Browser): string[] {
  const requests: string[] = [];
  const most = Math.max(...apps.map(app => app.requests));
  for (let index = 0; index < most; index++) {
    for (const { host } of apps.filter(app => index < app.requests)) {
      requests.push(
        [
          'GET /auth/forward HTTP/1.1',
          'Host: gate.test',
          'X-Forwarded-Method: GET',
          'X-Forwarded-Proto: https',
          `X-Forwarded-Host: ${host}`,
          `X-Forwarded-Uri: /assets/chunk-${index}.js`,
          `Cookie: gatebell=${cookie}`,
          '\r\n',
        ].join('\r\n'),
      );
    }
  }
  return requests;
}

/** Length of the first answer in the text; null if it is not there in full. */
function answerLength(received: string): number | null {
  const head = received.indexOf('\r\n\r\n');
  if (head === -1) {
    return null;
  }
  const length = head + 4 + Number(/\r\ncontent-length: (\d+)\r\n/i.exec(received.slice(0, head + 2))?.[1] ?? 0);
  return received.length < length ? null : length;
}

/** Sends waiting requests over one connection, one after the other, until none waits. Returns how many were refused. */
function ask(socket: Socket, waiting: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    let received = '';
    let refused = 0;
    const next = (): void => {
      const request = waiting.pop();
      if (request === undefined) {
        resolve(refused);
      } else {
        socket.write(request);
      }
    };
    socket.on('data', (chunk: string) => {
      received += chunk;
      const length = answerLength(received);
      if (length !== null) {
        if (!received.startsWith('HTTP/1.1 200 ')) {
          refused += 1;
          refusal = received.slice(0, received.indexOf('\r\n'));
        }
        received = received.slice(length);
        next();
      }
    });
    socket.on('error', reject);
    socket.on('close', () => {
      reject(new Error('the server closed a connection'));
    });
    next();
  });
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1');
  await once(socket, 'connect');
  return socket;
}

let refusal: string | null = null;
const burst = JSON.parse(await text(process.stdin)) as Burst;
const browsers = await Promise.all(
  burst.browsers.map(async browser => ({
    waiting: requestsOf(browser).toReversed(),
    sockets: await Promise.all(Array.from({ length: burst.connections }, () => open(burst.port))),
  })),
);
const answers = browsers.reduce((total, { waiting }) => total + waiting.length, 0);
const startedMs = performance.now();
const refused = await Promise.all(
  browsers.flatMap(({ waiting, sockets }) => sockets.map(socket => ask(socket, waiting))),
);
const result: BurstResult = {
  lastAnswerMs: performance.now() - startedMs,
  answers,
  refused: refused.reduce((total, count) => total + count, 0),
  refusal,
};
process.stdout.write(JSON.stringify(result), () => process.exit(0));
