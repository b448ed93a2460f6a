/**
 * A client that asks for HTTP/2 on a connection of HTTP/1.1, and if it gets it, sends another request on the same
 * connection.
 */
import { connect } from 'node:net';
import type { Pairs } from './proxy-client.js';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, goAway: 7 } as const;
const NOTHING = Buffer.alloc(0);
const END_STREAM = 1;
const END_HEADERS = 4;
const ACK = 1;
/** Stream 1 is the answer to the request that asked. */
const SECOND = 3;

const frame = (type: number, flags: number, stream: number, payload: Buffer = NOTHING): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};

/** Each as a literal without an index: names and values are shorter than 127 bytes. */
const encode = (headers: Pairs): Buffer =>
  Buffer.concat(
    headers.flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]),
  );

export interface H2cRequest {
  readonly host: string;
  readonly path: string;
  readonly headers?: Pairs;
  /** How the upgrade is asked for. */
  readonly upgrade?: Pairs;
}

export interface H2cOutcome {
  /** Of the first request. */
  readonly status: number;
  /** Body of the answer to the second, which is sent after 101 alone. */
  readonly second: string | null;
}

const UPGRADE: Pairs = [
  ['Connection', 'Upgrade, HTTP2-Settings'],
  ['Upgrade', 'h2c'],
  ['HTTP2-Settings', 'AAMAAABkAAQCAAAAAAIAAAAA'],
];

/** The data of the second answer, once it is complete; null before. */
function secondAnswer(received: Buffer): string | null {
  let data = '';
  for (let at = 0; at + 9 <= received.length;) {
    const end = at + 9 + received.readUIntBE(at, 3);
    if (end > received.length) {
      return null;
    }
    const [type, flags] = [received[at + 3]!, received[at + 4]!];
    if (type === FRAME.goAway) {
      return data;
    }
    if (received.readUInt32BE(at + 5) === SECOND) {
      if (type === FRAME.data) {
        data += received.toString('utf8', at + 9, end);
      }
      if (type === FRAME.reset || ((type === FRAME.data || type === FRAME.headers) && (flags & END_STREAM) !== 0)) {
        return data;
      }
    }
    at = end;
  }
  return null;
}

/** Asks. @param second what to ask for after 101 */
export function askH2c(
  port: number,
  { host, path, headers = [], upgrade = UPGRADE }: H2cRequest,
  second: Pairs,
): Promise<H2cOutcome> {
  return new Promise((resolve, reject) => {
    const lines = [['Host', host] as const, ...headers, ...upgrade].map(([name, value]) => `${name}: ${value}\r\n`);
    const socket = connect(port, '127.0.0.1', () => socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`));
    let received = Buffer.alloc(0);
    let switchedAt = -1;
    const finish = (answer: string | null): void => {
      socket.destroy();
      resolve({ status: Number(received.toString('latin1', 9, 12)), second: answer });
    };
    socket.on('data', (chunk: Buffer<ArrayBuffer>) => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n\r\n');
      if (end === -1) {
        return;
      }
      if (!received.toString('latin1', 0, end).startsWith('HTTP/1.1 101')) {
        finish(null);
        return;
      }
      if (switchedAt === -1) {
        switchedAt = end + 4;
        socket.write(
          Buffer.concat([
            PREFACE,
            frame(FRAME.settings, 0, 0),
            frame(FRAME.settings, ACK, 0),
            frame(FRAME.headers, END_STREAM | END_HEADERS, SECOND, encode(second)),
          ]),
        );
      }
      const answer = secondAnswer(received.subarray(switchedAt));
      if (answer !== null) {
        finish(answer);
      }
    });
    socket.on('error', reject);
    socket.on('end', () => {
      finish(null);
    });
  });
}
