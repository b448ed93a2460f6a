/** Whatever a client sends, it gets a complete answer: no proxy in between has a reason to count a failure. */
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { RefusedRequest } from '../../../src/http/lingering.js';
import { close, createHttpServer, listen, type GateServer } from '../../../src/http/server.js';
import { oddRequests, sendOdd } from '../../support/odd-requests.js';

const servers: GateServer[] = [];
const LIMITS = { headersMs: 400, requestMs: 600, checkMs: 50, lingerMs: 1_000 };

async function start(
  listener: (response: ServerResponse) => void,
  limits: Parameters<typeof createHttpServer>[1] = { limits: LIMITS },
): Promise<number> {
  const server = createHttpServer((_, response) => {
    listener(response);
  }, limits);
  servers.push(server);
  return Number(new URL(await listen(server, '127.0.0.1', 0)).port);
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map(close));
});

/** Statuses of answers that came whole; what remains of the text is told as its own. */
function readWhole(text: string): { readonly statuses: readonly number[]; readonly rest: string } {
  const statuses: number[] = [];
  let rest = text;
  for (;;) {
    const match = /^HTTP\/1\.1 (\d{3}) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n/.exec(rest);
    if (match === null) {
      return { statuses, rest };
    }
    const isChunked = /^transfer-encoding: chunked\r$/im.test(match[2]!);
    // Node's own answers hold nothing, and say so with the last chunk alone.
    const body = isChunked ? '0\r\n\r\n'.length : Number(/^content-length: (\d+)\r$/im.exec(match[2]!)?.[1] ?? 0);
    const length = match[0].length + body;
    if (rest.length < length) {
      return { statuses, rest };
    }
    statuses.push(Number(match[1]));
    rest = rest.slice(length);
  }
}

const ODD = oddRequests({ target: '/auth/forward', host: 'gate' });

describe.each([
  ['at once', (response: ServerResponse) => void response.setHeader('Content-Length', 2).end('ok')],
  [
    'later',
    (response: ServerResponse) => {
      setImmediate(() => setImmediate(() => response.setHeader('Content-Length', 2).end('ok')));
    },
  ],
])('where the listener answers %s', (_, listener) => {
  test(`each of ${ODD.length} odd requests gets a complete answer, and no reset`, async () => {
    const port = await start(listener);
    const failures: string[] = [];
    for (const odd of ODD) {
      const { text, problem } = await sendOdd(port, odd);
      const { statuses, rest } = readWhole(text);
      const good = problem === null && rest === '' && statuses.every(status => status >= 200 && status < 500);
      if (!good || statuses.length === 0) {
        failures.push(`${odd.name}: ${statuses.join(' ')} ${problem ?? ''} ${JSON.stringify(rest.slice(0, 200))}`);
      }
    }
    expect(failures).toEqual([]);
  });
});

test.each([
  ['CONNECT /_gatebell/login HTTP/1.1\r\nHost: x\r\n\r\n', 405, 'CONNECT'],
  ['CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\ntunnelled', 405, 'CONNECT'],
  ['FOO / HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'HPE_INVALID_METHOD'],
  [`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, 431, 'HPE_HEADER_OVERFLOW'],
  ['GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n', 400, 'HPE_INVALID_CONTENT_LENGTH'],
  ['GET / HTT', 408, 'ERR_HTTP_REQUEST_TIMEOUT'],
])('%j is answered %i, and told once with its peer', async (bytes, status, problem) => {
  const told: RefusedRequest[] = [];
  const port = await start(response => response.end(), { limits: LIMITS, refused: refusal => told.push(refusal) });
  const { text } = await sendOdd(port, { bytes, ends: false });
  expect(readWhole(text)).toEqual({ statuses: [status], rest: '' });
  expect(text).toMatch(/^X-Gatebell-Reason: bad_request\r$/m);
  expect(told).toEqual([{ status, problem, peer: '127.0.0.1' }]);
});

test('an answer that is under way comes before that of what is no request', async () => {
  let finish: () => void = () => undefined;
  const arrived = new Promise<void>(resolve => {
    void start(response => {
      finish = () => response.setHeader('Content-Length', 2).end('ok');
      resolve();
    }).then(port => {
      answered = sendOdd(port, { bytes: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n\0rubbish\r\n\r\n', ends: false });
    });
  });
  let answered: ReturnType<typeof sendOdd> | undefined;
  await arrived;
  finish();
  expect(readWhole((await answered!).text)).toEqual({ statuses: [200, 400], rest: '' });
});

test('requests after one that asked for an upgrade are answered on the same connection', async () => {
  const port = await start(response => response.setHeader('Content-Length', 2).end('ok'));
  const upgrade = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.setEncoding('latin1').on('data', (part: string) => {
    text += part;
    if (readWhole(text).statuses.length < 3) {
      socket.write(upgrade);
    } else {
      socket.end();
    }
  });
  socket.write(upgrade);
  await new Promise(resolve => socket.on('close', resolve));
  expect(readWhole(text)).toEqual({ statuses: [200, 200, 200], rest: '' });
});

describe('a client that goes on sending after its answer', () => {
  const flood = async (limits: { lingerMs: number; lingerBytes: number }): Promise<number> => {
    const port = await start(response => response.end(), { limits: { ...LIMITS, ...limits } });
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => undefined);
    socket.resume();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n');
    const more = (): void => {
      while (!socket.destroyed && socket.write(Buffer.alloc(65_536))) {
        // Until the buffer is full.
      }
    };
    socket.on('drain', more);
    more();
    await new Promise(resolve => socket.on('close', resolve));
    return socket.bytesWritten;
  };

  test('is cut after a limited amount', async () => {
    expect(await flood({ lingerMs: 60_000, lingerBytes: 1_000_000 })).toBeGreaterThan(1_000_000);
  });

  test('is cut after a limited time', async () => {
    expect(await flood({ lingerMs: 100, lingerBytes: Infinity })).toBeGreaterThan(0);
  });
});
