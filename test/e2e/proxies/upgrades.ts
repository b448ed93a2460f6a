/**
 * What is handed on as an upgrade: WebSockets, and nothing else. After any other upgrade, an app would take requests
 * that nobody has decided.
 */
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';
import { expect } from 'vitest';
import { statusesOf, type Pairs } from '../../support/proxy-client.js';
import type { Seen } from '../../support/sample-app.js';
import type { Behaviour } from './behaviours.js';
import { openWebSocket } from './open-connections.js';

const SETTINGS = ['HTTP2-Settings', 'AAMAAABkAAQCAAAAAAIAAAAA'] as const;
const ASKED = ['Connection', 'Upgrade, HTTP2-Settings'] as const;

/** Requests for another protocol, as headers. */
const OTHER_UPGRADES: readonly Pairs[] = [
  // Values.
  ...[
    'h2c',
    'H2C',
    ' h2c\t',
    '\th2c',
    'h2c, websocket',
    'websocket, h2c',
    'websocket,h2c',
    ',h2c',
    'h2c,',
    'h2c;q=1',
    'h2c/1.0',
    'HTTP/2.0',
    'TLS/1.0',
    'TLS/1.0, HTTP/1.1',
    'IRC/6.9',
    'connect-udp',
    'websocket/13',
    'websocketh2c',
    'web socket',
    '',
  ].map(value => [ASKED, ['Upgrade', value], SETTINGS] as const),
  // Two of them, and in which case.
  [ASKED, ['Upgrade', 'h2c'], ['Upgrade', 'websocket'], SETTINGS],
  [ASKED, ['Upgrade', 'websocket'], ['Upgrade', 'h2c'], SETTINGS],
  [ASKED, ['upgrade', 'h2c'], ['UPGRADE', 'h2c'], ['http2-settings', SETTINGS[1]]],
  [ASKED, ['Upgrade', 'h2c'], SETTINGS, SETTINGS],
  // How Connection names it.
  ...[
    'upgrade',
    'UPGRADE, http2-settings',
    'keep-alive, Upgrade, HTTP2-Settings',
    'close, Upgrade, HTTP2-Settings',
    'Upgrade,,HTTP2-Settings',
    'TE, Upgrade, HTTP2-Settings, keep-alive',
    'HTTP2-Settings',
    'keep-alive',
    'x-upgrade',
    '"upgrade"',
  ].map(value => [['Connection', value], ['Upgrade', 'h2c'], SETTINGS] as const),
  [['Connection', 'keep-alive'], ['Connection', 'Upgrade, HTTP2-Settings'], ['Upgrade', 'h2c'], SETTINGS],
  [['Connection', 'Upgrade'], ['Connection', 'HTTP2-Settings'], ['Upgrade', 'h2c'], SETTINGS],
  [['Upgrade', 'h2c'], SETTINGS],
  [ASKED, ['Upgrade', 'h2c'], SETTINGS, ['TE', 'trailers'], ['Keep-Alive', 'timeout=5']],
  // A WebSocket that brings the settings along.
  [ASKED, ['Upgrade', 'websocket'], SETTINGS],
];

/** How clients write a request for a WebSocket. */
const WEBSOCKETS: readonly Pairs[] = [
  [
    ['Connection', 'keep-alive, Upgrade'],
    ['Upgrade', 'websocket'],
  ],
  [
    ['Connection', 'Upgrade'],
    ['Upgrade', 'WebSocket'],
  ],
  [
    ['connection', 'upgrade'],
    ['upgrade', 'websocket'],
  ],
  [
    ['Connection', 'Upgrade, keep-alive'],
    ['Upgrade', 'websocket'],
  ],
];

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

const write = (line: string, headers: Pairs): string =>
  `${line} HTTP/1.1\r\nHost: photos.test\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;

/**
 * Sends requests, and another that ends the connection; an answer of 101, after which nobody ends it, is the end as
 * well.
 */
function exchange(port: number, bytes: string): Promise<string> {
  return new Promise(resolve => {
    let received = '';
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(`${bytes}GET /share/end HTTP/1.1\r\nHost: photos.test\r\nConnection: close\r\n\r\n`, 'latin1');
    });
    socket.setEncoding('latin1').on('data', (part: string) => {
      received += part;
      if (received.startsWith('HTTP/1.1 101 ')) {
        socket.destroy();
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      resolve(received);
    });
  });
}

/** Whether a request could make an app change the protocol to something else than WebSockets. */
function asksOtherUpgrade({ headers }: Seen): boolean {
  const upgrade = headers['upgrade'] ?? [];
  const tokens = (headers['connection'] ?? []).join(',').toLowerCase();
  return (
    headers['http2-settings'] !== undefined ||
    tokens.includes('http2-settings') ||
    !['', 'websocket'].includes(upgrade.join().toLowerCase())
  );
}

/** A request over HTTP/2; 0 where the proxy does not speak it. */
async function askHttp2(session: ClientHttp2Session, headers: OutgoingHttpHeaders): Promise<number> {
  const stream = session.request(headers);
  stream.end();
  return new Promise(resolve => {
    stream.on('response', ({ ':status': status = 0 }) => {
      stream.close();
      resolve(status);
    });
    stream.on('error', () => undefined);
    stream.on('close', () => {
      resolve(0);
    });
  });
}

async function openHttp2(port: number): Promise<ClientHttp2Session | null> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const failed = new Promise<null>(resolve => {
    session.on('error', () => {
      resolve(null);
    });
    session.on('close', () => {
      resolve(null);
    });
  });
  return Promise.race([
    failed,
    once(session, 'remoteSettings').then(
      () => session,
      () => null,
    ),
  ]);
}

export const UPGRADES: readonly Behaviour[] = [
  {
    title: 'an upgrade to anything but a WebSocket, in whatever spelling: the app is not asked for it',
    async run({ port, app }) {
      const before = app.received.length;
      for (const headers of OTHER_UPGRADES) {
        for (const line of ['GET /share/x', 'POST /share/x']) {
          const body: Pairs = line.startsWith('POST') ? [['Content-Length', '0']] : [];
          const [status = 0] = statusesOf(await exchange(port, write(line, [...headers, ...body])));
          expect([101, 200, 400, 403], JSON.stringify(headers)).toContain(status);
        }
      }
      expect(app.received.length).toBeGreaterThan(before);
      expect(app.received.slice(before).filter(asksOtherUpgrade)).toEqual([]);
    },
  },
  {
    title: 'a WebSocket opens in every way in which clients write its handshake',
    async run({ port, world }) {
      const cookie: Pairs = [['Cookie', `gatebell=${world.session}`]];
      for (const upgrade of WEBSOCKETS) {
        expect(await openWebSocket(port, cookie, { upgrade })).toEqual({ status: 101, echoed: 'hello' });
        expect(await openWebSocket(port, [], { upgrade })).toEqual({ status: 401, echoed: '' });
      }
    },
  },
  {
    title: 'what follows a refused upgrade on its connection is decided like any request',
    async run({ port, app }) {
      const before = app.received.length;
      const second = write('GET /album', [['Remote-User', 'root']]);
      for (const headers of OTHER_UPGRADES.slice(0, 12)) {
        await exchange(port, write('GET /share/x', headers) + second);
        await exchange(port, write('GET /share/x', headers) + PREFACE + second);
        // Its length is that of the next request, or none, or both are said.
        const length = ['Content-Length', String(second.length)] as const;
        await exchange(port, write('POST /share/x', [...headers, length]) + second);
        await exchange(
          port,
          write('POST /share/x', [...headers, ['Transfer-Encoding', 'chunked']]) + `0\r\n\r\n${second}`,
        );
        await exchange(
          port,
          write('POST /share/x', [...headers, length, ['Transfer-Encoding', 'chunked']]) + `0\r\n\r\n${second}`,
        );
      }
      const reached = app.received.slice(before);
      expect(reached.filter(({ url }) => !url.startsWith('/share/'))).toEqual([]);
      expect(reached.filter(asksOtherUpgrade)).toEqual([]);
    },
  },
  {
    title:
      'HTTP/2 without asking, CONNECT, and CONNECT for a protocol over HTTP/2: decided, or refused; whether it ' +
      'speaks HTTP/2 here',
    async run({ port, app, world }) {
      const before = app.received.length;
      for (const target of ['photos.test:80', '/share/x', 'http://photos.test/share/x', '*']) {
        await exchange(port, write(`CONNECT ${target}`, []) + write('GET /album', [['Remote-User', 'root']]));
      }
      await exchange(port, PREFACE + write('GET /album', [['Remote-User', 'root']]));
      const reached = app.received.slice(before);
      expect(reached.filter(({ url, method }) => !url.startsWith('/share/') || method !== 'GET')).toEqual([]);
      const session = await openHttp2(port);
      if (session === null) {
        return 'no';
      }
      try {
        const to = { ':authority': 'photos.test', ':scheme': 'http' };
        const seen = (): number => app.received.length;
        const start = seen();
        expect(await askHttp2(session, { ...to, ':path': '/album', 'remote-user': 'root' })).toBe(401);
        expect(seen()).toBe(start);
        for (const protocol of ['h2c', 'websocket, h2c', 'connect-udp', 'TLS/1.0']) {
          await askHttp2(session, { ...to, ':method': 'CONNECT', ':protocol': protocol, ':path': '/share/x' });
          await askHttp2(session, { ...to, ':method': 'CONNECT', ':protocol': protocol, ':path': '/album' });
        }
        const taken = app.received.slice(start);
        expect(taken.filter(({ url }) => url !== '/share/x')).toEqual([]);
        expect(taken.filter(asksOtherUpgrade)).toEqual([]);
        const websocket = { ...to, ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/live' };
        expect(await askHttp2(session, { ...websocket, 'sec-websocket-version': '13' })).toBe(401);
        const cookie = `gatebell=${world.session}`;
        expect(await askHttp2(session, { ...websocket, 'sec-websocket-version': '13', cookie })).toBe(200);
        return 'yes';
      } finally {
        session.destroy();
      }
    },
  },
];
