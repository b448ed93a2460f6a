/** What real apps make of requests that come through a proxy: rows of the table in docs/proxies.md. */
import { expect } from 'vitest';
import { askH2c } from '../../support/h2c-client.js';
import { bearer, bytesOf, exchangeBytes, statusesOf, type Pairs } from '../../support/proxy-client.js';
import { spellingsOf, UNTRUSTED_HEADERS, type HeaderTopic } from '../../support/untrusted-headers.js';
import { openWebSocket } from '../proxies/open-connections.js';
import { ask, bodyOf, type NeighbourBehaviour } from './asking.js';
import type { App, Front } from './neighbourhood.js';
import { OTHER_READINGS } from './other-readings.js';

const LAB = ['Host', 'lab.test'] as const;
/** HAProxy takes no more than a hundred headers. */
const HEADERS_AT_ONCE = 60;

/** What a client would say to move each of them. */
const PLANTED: Readonly<Record<HeaderTopic, readonly string[]>> = {
  path: ['/public', '/admin/users'],
  method: ['DELETE'],
  scheme: ['https', 'on'],
  host: ['planted.test'],
  client: ['6.6.6.6'],
  user: ['root'],
  gate: ['root'],
  upgrade: ['AAMAAABkAAQCAAAAAAIAAAAA'],
};

/** What the app believes: the JSON in its answer, whose body may be in chunks. */
function beliefOf(answer: string): unknown {
  const body = bodyOf(answer);
  return JSON.parse(body.slice(body.indexOf('{'), body.lastIndexOf('}') + 1));
}

const planted = (port: number, headers: Pairs): Promise<string> =>
  ask(port, 'POST /public/admin/users', LAB, ['Content-Length', '0'], ...headers);

/** How an app may find the name: an echo app is sent all spellings, with the behaviours of the proxies. */
const believedSpellings = (name: string): string[] => [
  ...new Set([name, name.toLowerCase(), name.replaceAll('-', '_').toUpperCase(), name.replaceAll('-', '.')]),
];

/** Every listed header, with what it would move: the app believes what it believes without. */
async function believesNothing(app: App, { ports }: Front): Promise<void> {
  const plain = beliefOf(await planted(ports[app], []));
  expect(plain).toMatchObject({ section: 'elsewhere', method: 'POST', path: '/public/admin/users', user: '' });
  for (const [about, values] of Object.entries(PLANTED)) {
    const spellings = UNTRUSTED_HEADERS.filter(header => header.about === about).flatMap(({ name }) =>
      believedSpellings(name),
    );
    for (const value of values) {
      for (let i = 0; i < spellings.length; i += HEADERS_AT_ONCE) {
        const names = spellings.slice(i, i + HEADERS_AT_ONCE);
        const answer = await planted(
          ports[app],
          names.map(name => [name, value] as const),
        );
        expect(statusesOf(answer), names.join()).toEqual([200]);
        expect(beliefOf(answer), names.join()).toEqual(plain);
      }
    }
  }
}

/** Whether an app is moved by a header when nobody stands before it. */
export async function isBelieved(port: number, name: string, value: string): Promise<boolean> {
  const [plain, moved] = [await planted(port, []), await planted(port, [[name, value]])];
  return statusesOf(moved)[0] !== 200 || JSON.stringify(beliefOf(moved)) !== JSON.stringify(beliefOf(plain));
}

/** The second request of an attempt to go around the proxy. */
export const SMUGGLED: Pairs = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/admin/users'],
  [':authority', 'lab.test'],
  ['remote-user', 'root'],
];

export const NEIGHBOURS: readonly NeighbourBehaviour[] = [
  {
    title: 'hypercorn and Tomcat take upgrades to h2c, and are never asked: no request goes around the gate',
    async run({ ports }) {
      const upgrades: readonly Pairs[] = ['h2c', 'H2C', 'websocket, h2c', 'h2c, websocket'].map(value => [
        ['Connection', 'Upgrade, HTTP2-Settings'],
        ['Upgrade', value],
        ['HTTP2-Settings', 'AAMAAABkAAQCAAAAAAIAAAAA'],
      ]);
      for (const app of ['hypercorn', 'tomcat'] as const) {
        for (const upgrade of upgrades) {
          const request = { host: 'lab.test', path: '/public/x', upgrade };
          const { status, second } = await askH2c(ports[app], request, SMUGGLED);
          expect({ app, second }).toEqual({ app, second: null });
          expect([200, 400, 403]).toContain(status);
        }
      }
    },
  },
  {
    title: 'a WebSocket app (hypercorn): frames pass both ways after a handshake that was allowed, and only then',
    async run({ ports, token }) {
      const at = { host: 'lab.test', path: '/live' };
      expect(await openWebSocket(ports.hypercorn, [], at)).toEqual({ status: 401, echoed: '' });
      expect(await openWebSocket(ports.hypercorn, bearer(token), at)).toEqual({ status: 101, echoed: 'hello' });
      const inPublic = { host: 'lab.test', path: '/public/live' };
      expect(await openWebSocket(ports.hypercorn, [], inPublic)).toEqual({ status: 101, echoed: 'hello' });
    },
  },
  {
    title:
      'an app that switches protocols without being asked: what the ' +
      'client gets, and what a client that asks for h2c gets',
    async run({ proxy, ports }) {
      if (proxy.kind !== 'real') {
        // The ports do not say what the programs do with an answer that breaks HTTP.
        return 'not tried';
      }
      const asking: Pairs = [
        ['Upgrade', 'h2c'],
        ['Connection', 'Upgrade'],
      ];
      const told: unknown[] = [];
      for (const headers of [[], asking]) {
        const answer = await exchangeBytes(ports.switcher, bytesOf('GET /public/x HTTP/1.1', [LAB, ...headers]));
        told.push(statusesOf(answer)[0] ?? 'an end');
      }
      return told.join(', ');
    },
  },
  {
    title: 'gunicorn and Flask, with the usual middleware, believe no header of a client',
    run: front => believesNothing('flask', front),
  },
  { title: 'Rails believes no header of a client', run: front => believesNothing('rails', front) },
  { title: 'PHP believes no header of a client', run: front => believesNothing('php', front) },
  { title: 'Tomcat believes no header of a client', run: front => believesNothing('tomcat', front) },
  {
    title: 'a preflight with a method override changes nothing in Flask; a real one passes',
    async run({ ports }) {
      const preflight: Pairs = [
        ['Origin', 'https://elsewhere.test'],
        ['Access-Control-Request-Method', 'DELETE'],
      ];
      const line = 'OPTIONS /api/items/1';
      const real = await ask(ports.flask, line, LAB, ...preflight);
      expect(statusesOf(real)[0]).toBeLessThan(300);
      for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'X_HTTP_Method_Override']) {
        for (const spelling of spellingsOf(name)) {
          const answer = await ask(ports.flask, line, LAB, ...preflight, [spelling, 'DELETE']);
          expect(answer, spelling).not.toMatch(/"method":\s*"DELETE"/);
        }
      }
    },
  },
  ...OTHER_READINGS,
];
