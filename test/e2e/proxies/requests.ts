/** Kinds of requests that proxies treat in ways of their own. */
import { expect } from 'vitest';
import { bearer, bytesOf, exchangeBytes, statusesOf, type Pairs } from '../../support/proxy-client.js';
import { connect } from 'node:net';
import type { Behaviour } from './behaviours.js';
import { gateOf } from './stage.js';

const BODY_BYTES = 1_048_576;
/** More than nginx' large buffers and Node take: refused, by whomever. */
const COOKIE_SIZES = [12_000, 40_000];

const preflight = (path: string): { method: string; path: string; headers: Pairs } => ({
  method: 'OPTIONS',
  path,
  headers: [
    ['Origin', 'https://elsewhere.test'],
    ['Access-Control-Request-Method', 'PUT'],
  ],
});

/** Sends the head, waits for an answer to it, and sends the body only after 100. */
function postAfterContinue(port: number, headers: Pairs, body: string): Promise<string> {
  return new Promise(resolve => {
    let received = '';
    let sent = false;
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(
        bytesOf('POST /upload HTTP/1.1', [
          ['Host', 'photos.test'],
          ...headers,
          ['Expect', '100-continue'],
          ['Content-Length', String(body.length)],
        ]),
      );
    });
    socket.setEncoding('latin1').on('data', (part: string) => {
      received += part;
      if (received.startsWith('HTTP/1.1 100 ') && !sent) {
        sent = true;
        socket.write(body);
      } else if (!sent && /^HTTP\/1\.1 [2-5]/.test(received)) {
        // Refused before the body was sent, which is the point of asking.
        socket.end();
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      resolve(received);
    });
  });
}

const SECRET = 'what-proxies-and-replicas-share-0123456789';

export const REQUESTS: readonly Behaviour[] = [
  {
    title: 'HEAD, OPTIONS, PUT, PATCH and DELETE are decided like GET, and reach the app as they are',
    async run({ call, app, world }) {
      for (const method of ['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE']) {
        const before = app.received.length;
        const { status } = await call({ method, path: '/album' });
        expect(status, method).toBe(401);
        expect(app.received).toHaveLength(before);
        expect((await call({ method, path: '/album', headers: bearer(world.alice) })).status).toBe(200);
        expect(app.received.at(-1)).toMatchObject({ method, headers: { 'remote-user': ['alice'] } });
      }
    },
  },
  {
    title: 'a CORS preflight passes where the route says so, and nowhere else; the request after it does not',
    async run({ call, app }) {
      expect(await call(preflight('/api/x'))).toMatchObject({ status: 200, seen: { method: 'OPTIONS' } });
      const before = app.received.length;
      expect((await call(preflight('/album'))).status).toBe(401);
      expect((await call({ ...preflight('/api/x'), method: 'PUT' })).status).toBe(401);
      expect((await call({ ...preflight('/api/x'), headers: [['Origin', 'https://elsewhere.test']] })).status).toBe(
        401,
      );
      expect(app.received).toHaveLength(before);
    },
  },
  {
    title: 'a body of a megabyte arrives whole; with Expect: 100-continue a refusal comes before the body',
    async run({ call, port, app, world }) {
      const body = 'x'.repeat(BODY_BYTES);
      const posted = await call({ method: 'POST', path: '/upload', headers: bearer(world.alice), body });
      expect(posted.seen).toMatchObject({ method: 'POST', bodyBytes: BODY_BYTES });
      // A proxy may say 100 for itself, and once more for the app.
      const statuses = statusesOf(await postAfterContinue(port, bearer(world.alice), body));
      expect([statuses[0], statuses.at(-1)]).toEqual([100, 200]);
      expect(app.received.at(-1)).toMatchObject({ bodyBytes: BODY_BYTES });
      const before = app.received.length;
      expect(statusesOf(await postAfterContinue(port, [], body))).toEqual([401]);
      expect(app.received).toHaveLength(before);
    },
  },
  {
    title: 'a chunked body arrives whole, and a refusal does not wait for it',
    async run({ port, app, world }) {
      const head = (headers: Pairs): string =>
        bytesOf('POST /upload HTTP/1.1', [['Host', 'photos.test'], ...headers, ['Transfer-Encoding', 'chunked']]);
      const body = '5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n';
      expect(statusesOf(await exchangeBytes(port, head(bearer(world.alice)) + body))).toEqual([200]);
      expect(app.received.at(-1)).toMatchObject({ method: 'POST', bodyBytes: 11 });
      const before = app.received.length;
      expect(statusesOf(await exchangeBytes(port, head([]) + body))).toEqual([401]);
      expect(app.received).toHaveLength(before);
    },
  },
  {
    title: 'HTTP/1.0, with Host and without: decided like any other, or refused',
    async run({ port, app, world }) {
      const before = app.received.length;
      const refused = statusesOf(await exchangeBytes(port, 'GET /album HTTP/1.0\r\nHost: photos.test\r\n\r\n'));
      const nameless = statusesOf(await exchangeBytes(port, 'GET /share/x HTTP/1.0\r\n\r\n'));
      expect(app.received).toHaveLength(before);
      const token = bearer(world.alice).map(([name, value]) => `${name}: ${value}\r\n`);
      const passed = statusesOf(
        await exchangeBytes(port, `GET /album HTTP/1.0\r\nHost: photos.test\r\n${token.join('')}\r\n`),
      );
      expect([401, 426]).toContain(refused[0]);
      expect([400, 403, 426]).toContain(nameless[0]);
      expect(passed[0]).toBe(refused[0] === 401 ? 200 : 426);
      return passed[0] === 200 ? undefined : String(passed[0]);
    },
  },
  {
    title: 'large headers are passed on whole or refused cleanly; the status with a cookie of 12 and of 40 kB',
    async run({ port, app, world }) {
      const outcomes: number[] = [];
      for (const size of COOKIE_SIZES) {
        const cookie = ['Cookie', `filler=${'x'.repeat(size)}`] as const;
        const before = app.received.length;
        const anonymous = statusesOf(
          await exchangeBytes(port, bytesOf('GET /album HTTP/1.1', [['Host', 'photos.test'], cookie])),
        );
        expect(anonymous, `${size} bytes, anonymous`).toHaveLength(1);
        expect(anonymous[0]).toBeGreaterThanOrEqual(400);
        expect(app.received).toHaveLength(before);
        const signedIn = bytesOf('GET /album HTTP/1.1', [['Host', 'photos.test'], ...bearer(world.alice), cookie]);
        const [status = 0] = statusesOf(await exchangeBytes(port, signedIn));
        outcomes.push(status);
        if (status === 200) {
          expect(app.received.at(-1)?.headers['cookie']).toEqual([cookie[1]]);
        } else {
          expect(status).toBeGreaterThanOrEqual(400);
          expect(app.received).toHaveLength(before);
        }
      }
      return outcomes.join(', ');
    },
  },
  {
    title: 'with GATEBELL_STRIP_CREDENTIALS the app gets neither session nor token, and keeps what is its own',
    async run({ replica, front, app, world }) {
      const stripping = await replica('strip', { GATEBELL_STRIP_CREDENTIALS: 'true' });
      const { port } = await front({ gates: [gateOf(stripping)], strip: true });
      const reach = async (headers: Pairs): Promise<{ cookie: string; authorization: string }> => {
        const text = await exchangeBytes(port, bytesOf('GET /album HTTP/1.1', [['Host', 'photos.test'], ...headers]));
        expect(statusesOf(text)).toEqual([200]);
        const { cookie = [], authorization = [] } = app.received.at(-1)!.headers;
        return { cookie: cookie.join(' and '), authorization: authorization.join(' and ') };
      };
      const session = `gatebell=${world.session}`;
      expect(await reach([['Cookie', `theme=dark; ${session}; lang=en`]])).toEqual({
        cookie: 'theme=dark; lang=en',
        authorization: '',
      });
      expect(await reach([['Cookie', session]])).toEqual({ cookie: '', authorization: '' });
      expect(await reach([...bearer(world.alice), ['Cookie', 'theme=dark']])).toEqual({
        cookie: 'theme=dark',
        authorization: '',
      });
      const own = ['Authorization', 'Basic dXNlcjpwYXNz'] as const;
      expect(await reach([['Cookie', session], own])).toEqual({ cookie: '', authorization: own[1] });
    },
  },
  {
    title: 'with GATEBELL_PROXY_SECRET the gate is told the secret by the proxy alone, and the app is not',
    async run({ replica, front, app, world }) {
      const sharing = await replica('secret', { GATEBELL_PROXY_SECRET: SECRET });
      const told = await front({ gates: [gateOf(sharing)], secret: SECRET });
      const guessed: Pairs = [['X-Gatebell-Secret', 'guessed-guessed-guessed-guessed-guessed']];
      const ask = (port: number, headers: Pairs = []): Promise<string> =>
        exchangeBytes(
          port,
          bytesOf('GET /album HTTP/1.1', [['Host', 'photos.test'], ...bearer(world.alice), ...headers]),
        );
      expect(statusesOf(await ask(told.port))).toEqual([200]);
      expect(statusesOf(await ask(told.port, guessed))).toEqual([200]);
      expect(JSON.stringify(app.received.slice(-2))).not.toMatch(new RegExp(`${SECRET}|guessed`));
      const before = app.received.length;
      const untold = await front({ gates: [gateOf(sharing)] });
      for (const headers of [[], guessed, [['X-Gatebell-Secret', SECRET]]] satisfies Pairs[]) {
        expect(statusesOf(await ask(untold.port, headers))).toEqual([403]);
      }
      expect(app.received).toHaveLength(before);
    },
  },
];
