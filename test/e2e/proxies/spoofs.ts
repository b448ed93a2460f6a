/** What a client makes up: names of the gate, of the proxy, and requests that two parties may read in two ways. */
import { expect } from 'vitest';
import { privateSpellings } from '../../support/path-corpus.js';
import { bearer, bytesOf, exchangeBytes, statusesOf, type Pairs } from '../../support/proxy-client.js';
import { ORDINARY_HEADERS, spellingsOf, UNTRUSTED_HEADERS } from '../../support/untrusted-headers.js';
import { whoReadsPrivate } from '../../support/reference-normalisers.js';
import type { Behaviour } from './behaviours.js';
import { identityOf } from './verdicts.js';

const IDENTITY = ['Remote-User', 'Remote-Name', 'Remote-Email', 'Remote-Groups', 'X-Gatebell-App', 'X-Gatebell-Role'];

/** What a client would have to say to be taken for a proxy, on whatever dialect. */
const FORWARDING: Pairs = [
  ['X-Forwarded-Method', 'OPTIONS'],
  ['X-Forwarded-Proto', 'gopher'],
  ['X-Forwarded-Host', 'spoofed.test'],
  ['X-Forwarded-Uri', '/share/spoofed'],
  ['X-Forwarded-Port', '6666'],
  ['X-Forwarded-Prefix', '/spoofed'],
  ['X-Forwarded-Server', 'spoofed'],
  ['X-Original-URL', 'http://photos.test/share/spoofed'],
  ['X-Original-URI', '/share/spoofed'],
  ['X-Original-Method', 'OPTIONS'],
  ['X-Rewrite-URL', '/share/spoofed'],
  ['X-Real-IP', '6.6.6.6'],
  ['X-Gatebell-Reason', 'spoofed'],
  ['X-Gatebell-Secret', 'spoofed'],
  ['Forwarded', 'for=6.6.6.6;host=spoofed.test'],
];
/** HAProxy takes no more than a hundred. */
const HEADERS_AT_ONCE = 60;
/** The same in every spelling, name by name. */
const SPELT_FORWARDING: readonly Pairs[] = FORWARDING.map(([name, value]) =>
  spellingsOf(name).map(spelling => [spelling, value] as const),
);

const request = (line: string, ...headers: Pairs): string => bytesOf(`${line} HTTP/1.1`, headers);
const HOST = ['Host', 'photos.test'] as const;

export const SPOOFS: readonly Behaviour[] = [
  {
    title: 'identity headers of a client never reach the app: any case, underscores, twice, on a public route too',
    async run({ port, app, dora }) {
      const made = IDENTITY.map(name => spellingsOf(name).map(spelling => [spelling, 'root'] as const));
      const twice = IDENTITY.flatMap(name => [[name, 'root'] as const, [name, 'wheel'] as const]);
      for (const spoofed of [...made, twice]) {
        await exchangeBytes(port, request('GET /share/x', HOST, ...spoofed));
        expect(identityOf(app.received.at(-1)?.headers)).toEqual({ 'x-gatebell-app': 'photos' });
        await exchangeBytes(port, request('GET /album', HOST, ...bearer(dora), ...spoofed));
        expect(identityOf(app.received.at(-1)?.headers)).toEqual({
          'remote-user': 'dora',
          'x-gatebell-app': 'photos',
          'x-gatebell-role': 'user',
        });
      }
    },
  },
  {
    title: 'forwarding headers of a client change no decision, and do not reach the app',
    async run({ port, app, world }) {
      const before = app.received.length;
      expect(statusesOf(await exchangeBytes(port, request('GET /album', HOST, ...FORWARDING)))).toEqual([401]);
      expect(
        statusesOf(await exchangeBytes(port, request('GET /share/x', ['Host', 'evil.test'], ...FORWARDING))),
      ).toEqual([403]);
      // One by one as well: another could have made it fail.
      for (const header of SPELT_FORWARDING.flat()) {
        expect(statusesOf(await exchangeBytes(port, request('GET /album', HOST, header))), header[0]).toEqual([401]);
      }
      expect(app.received).toHaveLength(before);
      for (const headers of [FORWARDING, ...SPELT_FORWARDING]) {
        const allowed = request('GET /album', HOST, ...bearer(world.alice), ...headers);
        expect(statusesOf(await exchangeBytes(port, allowed)), headers[0]?.[0]).toEqual([200]);
      }
      const reached = app.received.slice(before).map(seen => JSON.stringify(seen));
      expect(reached).toHaveLength(1 + SPELT_FORWARDING.length);
      expect(reached.filter(seen => /spoofed|gopher|6666|6\.6\.6\.6|OPTIONS/.test(seen))).toEqual([]);
    },
  },
  {
    title: 'no header of deploy/untrusted-headers.yml reaches the app, in whatever spelling',
    async run({ port, app, world }) {
      const arrived = new Set<string>();
      for (const { name } of UNTRUSTED_HEADERS) {
        const spellings = spellingsOf(name);
        for (let i = 0; i < spellings.length; i += HEADERS_AT_ONCE) {
          const planted: Pairs = spellings.slice(i, i + HEADERS_AT_ONCE).map(spelling => [spelling, 'planted']);
          const before = app.received.length;
          for (const line of ['GET /share/x', 'GET /album']) {
            const reply = await exchangeBytes(port, request(line, HOST, ...bearer(world.alice), ...planted));
            expect(statusesOf(reply), name).toEqual([200]);
          }
          for (const { headers } of app.received.slice(before)) {
            Object.entries(headers)
              .filter(([, values]) => values.some(value => value.includes('planted')))
              .forEach(([spelling]) => arrived.add(spelling));
          }
        }
      }
      expect([...arrived]).toEqual([]);
    },
  },
  {
    title: 'ordinary headers reach the app as they were sent',
    async run({ port, app, world }) {
      const sent = ORDINARY_HEADERS.filter(([name]) => name !== 'Sec-Fetch-Mode' && name !== 'Accept');
      const reply = await exchangeBytes(port, request('GET /album', HOST, ...bearer(world.alice), ...sent));
      expect(statusesOf(reply)).toEqual([200]);
      const { headers } = app.received.at(-1)!;
      expect(sent.filter(([name, value]) => headers[name.toLowerCase()]?.join() !== value)).toEqual([]);
    },
  },
  {
    title:
      'a name before a blank, in a folded line, after a control character or in trailers is never taken for a header',
    async run({ port, app, world }) {
      const [[authorization, token]] = bearer(world.alice) as [readonly [string, string]];
      const head = (lines: string): string =>
        `GET /album HTTP/1.1\r\nHost: photos.test\r\n${authorization}: ${token}\r\n${lines}Connection: close\r\n\r\n`;
      const before = app.received.length;
      for (const lines of [
        'Remote-User : planted\r\n',
        'Remote-User\t: planted\r\n',
        ' Remote-User: planted\r\n',
        '\tRemote-User: planted\r\n',
        'X-Ok: yes\r\n\tRemote-User: planted\r\n',
        'X-Ok: yes\nRemote-User: planted\r\n',
        'X-Ok: yes\rRemote-User: planted\r\n',
        'X-Ok: yes\0\r\nRemote-User: planted\r\n',
        '\0Remote-User: planted\r\n',
        '\x0bRemote-User: planted\r\n',
        'Remote-User\xa0: planted\r\n',
        'Remote\u00ad-User: planted\r\n',
        ': planted\r\nRemote-User: planted\r\n',
      ]) {
        await exchangeBytes(port, head(lines));
      }
      await exchangeBytes(
        port,
        `POST /album HTTP/1.1\r\nHost: photos.test\r\n${authorization}: ${token}\r\nTransfer-Encoding: chunked\r\n` +
          'Trailer: Remote-User\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nRemote-User: planted\r\n\r\n',
      );
      const users = app.received.slice(before).map(({ headers }) => headers['remote-user']);
      expect(users.length).toBeGreaterThan(0);
      expect(users.filter(values => values?.join() !== 'alice')).toEqual([]);
      const names = app.received.slice(before).flatMap(({ headers }) => Object.keys(headers));
      expect(names.filter(name => /remote/.test(name) && !/^remote-(user|name|email|groups)$/.test(name))).toEqual([]);
    },
  },
  {
    title: 'headers that Connection names are still told to the gate and the app',
    async run({ port, app, world }) {
      const before = app.received.length;
      for (const name of ['X-Forwarded-Uri', 'X-Forwarded-Host', 'X-Original-URL', 'Cookie', 'Authorization']) {
        const text = await exchangeBytes(
          port,
          `GET /album HTTP/1.1\r\nHost: photos.test\r\nConnection: close, ${name}\r\n\r\n`,
        );
        expect(statusesOf(text), name).toEqual([401]);
      }
      expect(app.received).toHaveLength(before);
      const token = bearer(world.alice).map(([name, value]) => `${name}: ${value}\r\n`);
      await exchangeBytes(
        port,
        `GET /album HTTP/1.1\r\nHost: photos.test\r\n${token.join('')}Connection: close, Remote-User, ` +
          'X-Gatebell-Role\r\n\r\n',
      );
      expect(app.received).toHaveLength(before + 1);
      expect(identityOf(app.received.at(-1)?.headers)).toMatchObject({
        'remote-user': 'alice',
        'x-gatebell-role': 'user',
      });
    },
  },
  {
    title:
      'hundreds of spellings of a private path: none reaches the app ' +
      'without a credential as one that it may read as private',
    async run({ port, app }) {
      const before = app.received.length;
      expect(statusesOf(await exchangeBytes(port, request('GET /pub/x', HOST)))).toEqual([200]);
      expect(app.received).toHaveLength(before + 1);
      // All of them are tried on the gate itself in test/unit; here it is what the proxy makes of them.
      const spellings = privateSpellings().filter((__, index) => index % 4 === 0);
      expect(spellings.length).toBeGreaterThan(500);
      for (let i = 0; i < spellings.length; i += 8) {
        await Promise.all(spellings.slice(i, i + 8).map(path => exchangeBytes(port, request(`GET ${path}`, HOST))));
      }
      const reached = app.received.slice(before).map(({ url }) => [url, whoReadsPrivate(url)]);
      expect(reached.filter(([, reader]) => reader !== null)).toEqual([]);
    },
  },
  {
    title: 'an absolute target is decided by its own host, or refused; the status where Host says another',
    async run({ port, app, world }) {
      const before = app.received.length;
      const other = statusesOf(await exchangeBytes(port, request('GET http://evil.test/share/x', HOST)));
      expect([400, 403]).toContain(other[0]);
      expect(
        statusesOf(await exchangeBytes(port, request('GET http://photos.test/album', ['Host', 'evil.test'])))[0],
      ).toBeGreaterThanOrEqual(400);
      expect(statusesOf(await exchangeBytes(port, request('GET http://photos.test/album', HOST)))).toEqual([401]);
      expect(app.received).toHaveLength(before);
      await exchangeBytes(port, request('GET http://photos.test/album?x', HOST, ...bearer(world.alice)));
      expect(app.received.slice(before)).toMatchObject([{ headers: { host: ['photos.test'] } }]);
      expect(app.received.at(-1)?.url).toBe('/album?x');
      return String(other[0]);
    },
  },
  {
    title: 'Host, Authorization or Cookie twice: refused, and nothing reaches the app; the statuses',
    async run({ port, app, world }) {
      const before = app.received.length;
      const [token] = bearer(world.alice);
      const statuses = [];
      for (const [first, second, ...others] of [
        [HOST, ['Host', 'evil.test'], token!],
        [token!, ['Authorization', 'Bearer gb_other'], HOST],
        [['Cookie', `gatebell=${world.session}`], ['Cookie', 'gatebell=other'], HOST],
      ] satisfies Pairs[]) {
        // In either order: a proxy that took the first, or the last, would let one of them pass.
        for (const pair of [
          [first!, second!],
          [second!, first!],
        ] satisfies Pairs[]) {
          const [status = 0] = statusesOf(await exchangeBytes(port, request('GET /album', ...pair, ...others)));
          expect(status, JSON.stringify(pair)).toBeGreaterThanOrEqual(400);
          expect(status, JSON.stringify(pair)).toBeLessThan(500);
          statuses.push(status);
        }
      }
      expect(app.received).toHaveLength(before);
      return statuses.filter((_, index) => index % 2 === 0).join(', ');
    },
  },
];
