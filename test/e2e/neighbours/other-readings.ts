/** Requests whose path, or second path, an app reads in another way than it stands there. */
import { expect } from 'vitest';
import { bearer, statusesOf } from '../../support/proxy-client.js';
import { ask, bodyOf, type NeighbourBehaviour } from './asking.js';
import type { App } from './neighbourhood.js';

const SITE = ['Host', 'site.test'] as const;

/** Whether the app ran what lies under one of these. */
const ranSection = (answer: string, sections: readonly string[]): boolean =>
  sections.some(section => new RegExp(`"section":\\s*"${section}"`).test(answer));

/** Paths of site.test that an app reads as `/admin` or `/private`, which need a grant. */
const READ_AS_GUARDED: Readonly<Partial<Record<App, readonly string[]>>> = {
  rails: [
    '/admin.json',
    '/admin.xml',
    '/private.html',
    '/admin/users.json',
    '/admin.json/',
    '/admin%2ejson',
    '/Admin.json',
  ],
  php: ['/index.php/admin/users', '/index.php/admin', '/index.php//admin', '/index.php/private/x', '/INDEX.php/admin'],
  files: ['/private.html', '/private', '/private/', '/admin/index.html', '/pub/../private.html'],
};

/** Paths of site.test that are nobody's but everybody's. */
const ORDINARY: Readonly<Partial<Record<App, readonly string[]>>> = {
  rails: ['/', '/about.json', '/users/7.json', '/file.tar.gz', '/v1.2/notes'],
  php: ['/', '/index.php', '/index.php/about', '/index.php/users/7'],
  files: ['/', '/about', '/about.html', '/pub/x.txt'],
};

export const OTHER_READINGS: readonly NeighbourBehaviour[] = [
  {
    title: 'a copy or a move in WebDAV is decided by its destination too; with a grant it is done',
    async run({ ports, direct, token }) {
      const there = async (path: string): Promise<boolean> =>
        statusesOf(await ask(direct.files, `GET ${path}`, SITE))[0] === 200;
      for (const destination of [
        '/admin/planted',
        'http://site.test/admin/planted',
        'https://site.test/admin/planted',
        '//site.test/admin/planted',
        '/pub/../admin/planted',
        '/%61dmin/planted',
        '/private/planted',
        '/private',
      ]) {
        for (const method of ['COPY', 'MOVE']) {
          const answer = await ask(ports.files, `${method} /pub/x.txt`, SITE, ['Destination', destination]);
          expect(statusesOf(answer)[0], `${method} to ${destination}`).toBeGreaterThanOrEqual(400);
        }
        expect(await there('/admin/planted'), destination).toBe(false);
        expect(await there('/private/planted'), destination).toBe(false);
      }
      expect(await there('/pub/x.txt')).toBe(true);
      const put = await ask(ports.files, 'PUT /pub/own.txt', SITE, ['Content-Length', '0']);
      expect(statusesOf(put)[0]).toBeLessThan(300);
      const to = ['Destination', 'http://site.test/pub/copy.txt'] as const;
      expect(statusesOf(await ask(ports.files, 'COPY /pub/own.txt', SITE, to))[0]).toBeLessThan(300);
      const guarded = ['Destination', 'http://site.test/admin/copy.txt'] as const;
      expect(statusesOf(await ask(ports.files, 'COPY /pub/own.txt', SITE, guarded, ...bearer(token)))[0]).toBeLessThan(
        300,
      );
      expect(await there('/admin/copy.txt')).toBe(true);
      for (const path of ['/pub/own.txt', '/pub/copy.txt', '/admin/copy.txt']) {
        await ask(direct.files, `DELETE ${path}`, SITE);
      }
    },
  },
  {
    title: 'in WebDAV a collection is deleted only by who may delete what is in it; with a grant it is done',
    async run({ ports, direct, token }) {
      const kept = '/pub/box/kept/x';
      const put = ['Content-Length', '0'] as const;
      expect(statusesOf(await ask(direct.files, `PUT ${kept}`, SITE, put))[0]).toBeLessThan(300);
      for (const path of ['/pub/box/', '/pub/box/kept/', '/pub/', '/pub/./box/', '/pub/%62ox/', '/pub//box/']) {
        const answer = await ask(ports.files, `DELETE ${path}`, SITE);
        expect(statusesOf(answer)[0], path).toBeGreaterThanOrEqual(400);
        expect(statusesOf(await ask(direct.files, `GET ${kept}`, SITE)), path).toEqual([200]);
      }
      expect(statusesOf(await ask(ports.files, 'PUT /pub/own/x', SITE, put))[0]).toBeLessThan(300);
      expect(statusesOf(await ask(ports.files, 'DELETE /pub/own/', SITE))[0]).toBeLessThan(300);
      expect(statusesOf(await ask(ports.files, 'DELETE /pub/box/', SITE, ...bearer(token)))[0]).toBeLessThan(300);
      expect(statusesOf(await ask(direct.files, `GET ${kept}`, SITE))).toEqual([404]);
    },
  },
  {
    title:
      'Rails by format, PHP by path info and nginx by try_files read a ' +
      'guarded path in another one: never without a grant',
    async run({ ports, direct, token }) {
      for (const [app, paths] of Object.entries(READ_AS_GUARDED) as [App, readonly string[]][]) {
        for (const path of paths) {
          const ranGuarded = (answer: string): boolean =>
            ranSection(answer, ['admin', 'private']) || /\r\n(?:admin|private)$/.test(answer);
          const anonymous = await ask(ports[app], `GET ${path}`, SITE);
          expect(ranGuarded(anonymous), `${app} ${path}: ${anonymous}`).toBe(false);
          // Refused because of the path, and not because the app does not know it.
          if (ranGuarded(await ask(direct[app], `GET ${path}`, SITE))) {
            expect([400, 401, 403], `${app} ${path}`).toContain(statusesOf(anonymous)[0]);
            const [status = 0] = statusesOf(await ask(ports[app], `GET ${path}`, SITE, ...bearer(token)));
            expect([200, 400], `${app} ${path} with a grant`).toContain(status);
          }
        }
      }
    },
  },
  {
    title: 'ordinary paths with formats, path info and extensions pass',
    async run({ ports, token }) {
      for (const [app, paths] of Object.entries(ORDINARY) as [App, readonly string[]][]) {
        for (const path of paths) {
          expect(statusesOf(await ask(ports[app], `GET ${path}`, SITE)), `${app} ${path}`).toEqual([200]);
        }
      }
      const archive = await ask(ports.files, 'GET /private.zip', SITE, ...bearer(token));
      expect(bodyOf(archive)).toBe('archive');
    },
  },
];
