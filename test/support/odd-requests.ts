/**
 * Requests as no ordinary client sends them, generated: methods, targets, versions, headers, framing, upgrades, bodies,
 * and ends that come early.
 */
import { connect } from 'node:net';

/** Bytes on a connection of their own. */
export interface OddRequest {
  readonly name: string;
  /** Latin-1. */
  readonly bytes: string;
  /** Whether the client closes its side after the bytes. */
  readonly ends: boolean;
  /** Whether a reader may also wait for more, so that only a time limit ends it. */
  readonly isPartial: boolean;
}

/** A request that these are made from. */
export interface OrdinaryRequest {
  readonly target: string;
  readonly host: string;
  /** Header lines, each with its line end. */
  readonly lines?: string;
}

const KB = 1_024;
/** Around every limit that a proxy or the gate has by default or by its file, and far beyond. */
export const HEADER_SIZES: readonly number[] = [
  ...[4, 7.9, 8, 8.1, 12, 15.9, 16, 16.1, 24, 30, 31.9, 32, 32.1, 36, 40, 48, 56, 59.9, 60, 60.1, 63.9, 64, 64.1],
  ...[70, 80, 96, 100, 128, 200, 256, 400, 512, 700, 1_000, 1_024],
].map(size => Math.round(size * KB));

const HEADER_COUNTS = [90, 99, 100, 101, 102, 128, 256, 480, 499, 500, 501, 999, 1_000, 1_001, 3_000];

/** All of them for one ordinary request. */
export function oddRequests({ target, host, lines = '' }: OrdinaryRequest): OddRequest[] {
  const made: OddRequest[] = [];
  const add = (name: string, bytes: string, more: Partial<OddRequest> = {}): void => {
    made.push({ name, bytes, ends: false, isPartial: false, ...more });
  };
  const named = `Host: ${host}\r\n${lines}`;
  const close = 'Connection: close\r\n';
  const head = (method: string, more = close, version = 'HTTP/1.1', of = target): string =>
    `${method} ${of}${version === '' ? '' : ` ${version}`}\r\n${named}${more}\r\n`;

  const methods = [
    'CONNECT',
    'TRACE',
    'OPTIONS',
    'PROPFIND',
    'M-SEARCH',
    'PURGE',
    'PRI',
    'FOO',
    'get',
    'A'.repeat(300),
  ];
  for (const method of [...methods, 'RDG_OUT_DATA', 'G\0T', 'G T', '']) {
    add(`method ${JSON.stringify(method.slice(0, 20))}`, head(method));
    add(
      `method ${JSON.stringify(method.slice(0, 20))} with a body`,
      `${head(method, `${close}Content-Length: 5\r\n`)}hello`,
    );
  }
  const longs = [4, 8, 9, 17, 33, 50, 66, 130, 1_000].map(size => `${target}?${'x'.repeat(size * KB)}`);
  const absolutes = [
    `http://${host}${target}`,
    `https://${host}${target}`,
    'http://other.test/',
    'ftp://x/',
    'http://',
  ];
  const broken = [
    '*',
    '',
    '//',
    'x',
    `${host}:443`,
    `${target}#f`,
    '/a b',
    '/\x01',
    '/\x7f',
    '/\xff\xfe',
    '/%',
    '/%zz',
    '/%00',
    '?',
  ];
  for (const each of [...absolutes, ...broken, ...longs]) {
    const label = `${JSON.stringify(each.slice(0, 40))} of ${each.length}`;
    add(`target ${label}`, head('GET', close, 'HTTP/1.1', each));
    add(`CONNECT to ${label}`, head('CONNECT', close, 'HTTP/1.1', each));
  }
  for (const version of [
    '',
    'HTTP/0.9',
    'HTTP/1.0',
    'HTTP/1.2',
    'HTTP/2.0',
    'HTTP/3',
    'HTTP/1.1x',
    'http/1.1',
    'HTTP/1.',
    'SIP/2.0',
  ]) {
    add(`version ${JSON.stringify(version)}`, head('GET', close, version), { ends: version === '' });
  }
  add('HTTP/1.0 that keeps its connection', head('GET', 'Connection: keep-alive\r\n', 'HTTP/1.0'), { ends: true });
  add('HTTP/1.0 without Host', `GET ${target} HTTP/1.0\r\n\r\n`);
  add('HTTP/1.1 without Host', `GET ${target} HTTP/1.1\r\n${lines}${close}\r\n`);
  add('two hosts', head('GET', `${close}Host: other.test\r\n`));

  for (const size of HEADER_SIZES) {
    add(`a header of ${size} bytes`, head('GET', `${close}X-Large: ${'x'.repeat(size)}\r\n`));
    add(`a cookie of ${size} bytes`, head('GET', `${close}Cookie: a=${'x'.repeat(size)}\r\n`));
    add(`an Authorization of ${size} bytes`, head('GET', `${close}Authorization: Basic ${'x'.repeat(size)}\r\n`));
    add(`headers of 1 kB, together ${size} bytes`, head('GET', close + `X: ${'x'.repeat(KB)}\r\n`.repeat(size / KB)));
    add(`a header name of ${size} bytes`, head('GET', `${close}${'X'.repeat(size)}: x\r\n`));
    add(
      `an upgrade with a header of ${size} bytes`,
      head('GET', `Connection: Upgrade\r\nUpgrade: h2c\r\nX: ${'x'.repeat(size)}\r\n`),
      { ends: true },
    );
  }
  for (const count of HEADER_COUNTS) {
    add(`${count} headers`, head('GET', close + 'a: \r\n'.repeat(count)));
  }
  const badLines = [
    'No colon',
    ': no name',
    'Space : before',
    ' folded',
    'X: a\r\n folded',
    'X: \0',
    'X: \x01',
    'X: \x7f',
    'X\0: x',
    'X(y): x',
  ];
  for (const line of [
    ...badLines,
    'X: \xff',
    'X: a\rb',
    'X_Y: x',
    'é: x',
    'X: \x1b[2J',
    'Cookie: \x01',
    'Authorization: Bearer \x02',
  ]) {
    add(`header line ${JSON.stringify(line)}`, head('GET', `${close}${line}\r\n`), { ends: true });
  }
  add('line feeds alone', head('GET').replaceAll('\r\n', '\n'));
  add('carriage returns alone', head('GET').replaceAll('\r\n', '\r'), { ends: true });

  const framings: readonly (readonly [string, string])[] = [
    ['Content-Length: 5\r\nContent-Length: 5', 'hello'],
    ['Content-Length: 5\r\nContent-Length: 6', 'hello!'],
    ['Content-Length: 5, 5', 'hello'],
    ...['-1', '+5', '0x5', '5 5', '', '99999999999999999999', '1e3', '5;'].map(
      n => [`Content-Length: ${n}`, 'hello'] as const,
    ),
    ['Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n'],
    ...['gzip', 'chunked, chunked', 'identity', 'x', 'chunked, gzip', '\x0bchunked'].map(
      coding => [`Transfer-Encoding: ${coding}`, '5\r\nhello\r\n0\r\n\r\n'] as const,
    ),
    ...[
      '5\r\nhello',
      'x\r\n',
      '-5\r\nhello\r\n',
      '5\r\nhello0\r\n\r\n',
      `5;${'x'.repeat(20 * KB)}\r\nhello\r\n0\r\n\r\n`,
    ].map(chunks => ['Transfer-Encoding: chunked', chunks] as const),
    ['Transfer-Encoding: chunked', 'ffffffffffffffffffff\r\nx'],
    ['Transfer-Encoding: chunked', `5\r\nhello\r\n0\r\nX: ${'x'.repeat(100 * KB)}\r\n\r\n`],
  ];
  for (const method of ['GET', 'POST']) {
    for (const [fields, body] of framings) {
      const shown = JSON.stringify(body.slice(0, 30));
      const name = `${method} with ${JSON.stringify(fields)} and ${shown} of ${body.length}`;
      add(name, head(method, `${close}${fields}\r\n`) + body, { ends: true });
      add(`${name}, kept alive`, head(method, `${fields}\r\n`) + body, { ends: true });
    }
    for (const size of [100, 70_000, 1_000_000]) {
      const length = `Content-Length: ${size}\r\n`;
      add(`${method} with a body of ${size}`, head(method, close + length) + 'x'.repeat(size));
      add(`${method} with a body of ${size} that ends early`, head(method, close + length) + 'x'.repeat(size / 2), {
        ends: true,
      });
      add(`HTTP/1.0 ${method} with a body of ${size}`, head(method, length, 'HTTP/1.0') + 'x'.repeat(size));
    }
    for (const expectation of ['100-continue', '200-ok', 'x'.repeat(100), '100-continue, 100-continue']) {
      add(
        `${method} that expects ${expectation.slice(0, 30)}`,
        head(method, `${close}Expect: ${expectation}\r\nContent-Length: 5\r\n`) + 'hello',
      );
      add(`${method} that expects ${expectation.slice(0, 30)} and ends`, head(method, `Expect: ${expectation}\r\n`), {
        ends: true,
      });
    }
  }

  const upgrades = ['h2c', 'H2C', 'websocket', 'TLS/1.0', 'HTTP/2.0', 'websocket, h2c', 'x', ''];
  for (const upgrade of upgrades) {
    for (const method of ['GET', 'POST', 'OPTIONS']) {
      const settings = 'HTTP2-Settings: AAMAAABkAAQAAP__\r\n';
      const asked = `Connection: Upgrade, HTTP2-Settings\r\nUpgrade: ${upgrade}\r\n${settings}`;
      add(`${method} with Upgrade ${JSON.stringify(upgrade)}`, head(method, asked), { ends: true });
      add(
        `${method} with Upgrade ${JSON.stringify(upgrade)} and more`,
        `${head(method, asked)}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
        { ends: true },
      );
    }
  }
  add('Upgrade without Connection', head('GET', `${close}Upgrade: h2c\r\n`));
  add('Connection: Upgrade without Upgrade', head('GET', 'Connection: Upgrade\r\n'), { ends: true });

  const whole = head('GET', '');
  add('a whole request whose client closes its side', whole, { ends: true });
  add('three requests at once', whole + whole + head('GET'));
  add('a request and rubbish', `${whole}\0\x01rubbish\r\n\r\n`, { ends: true });
  add('a request and CONNECT', whole + head('CONNECT'), { ends: true });
  add('a request and a part of one', `${whole}GET / HT`, { ends: true });
  add('empty lines and a request', `\r\n\r\n\r\n${head('GET')}`);
  for (const end of [1, 3, 5, 12, whole.length / 2, whole.length - 4, whole.length - 2, whole.length - 1]) {
    add(`the first ${Math.floor(end)} bytes of a request`, whole.slice(0, Math.floor(end)), {
      ends: true,
      isPartial: true,
    });
  }
  add('a TLS ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', { ends: true });
  add('a preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', { ends: true });
  add('another protocol', 'SSH-2.0-OpenSSH_9.2\r\n', { ends: true });
  add('rubbish without an end', 'x'.repeat(200_000), { ends: true });
  return made;
}

/** What came back, and whether the connection was reset. */
export interface OddAnswer {
  readonly text: string;
  readonly problem: string | null;
}

/** Sends the bytes and reads until the other side has closed its own. */
export function sendOdd(port: number, { bytes, ends }: Pick<OddRequest, 'bytes' | 'ends'>): Promise<OddAnswer> {
  return new Promise(resolve => {
    let text = '';
    let problem: string | null = null;
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => {
      socket.write(bytes, 'latin1');
      if (ends) {
        socket.end();
      }
    });
    socket.setEncoding('latin1');
    socket.on('data', (part: string) => (text += part));
    socket.on('error', error => {
      problem = error.message;
    });
    socket.on('end', () => {
      socket.destroy();
    });
    socket.on('close', () => {
      resolve({ text, problem });
    });
  });
}
