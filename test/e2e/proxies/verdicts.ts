/** Whether a request passes, and what the app or the client is told. */
import { expect } from 'vitest';
import { bearer, type Pairs } from '../../support/proxy-client.js';
import type { Behaviour } from './behaviours.js';
import { LOGIN } from './stage.js';

const BROWSER: Pairs = [
  ['Accept', 'text/html,*/*;q=0.8'],
  ['Sec-Fetch-Mode', 'navigate'],
];

/** Identity headers that are there and not empty. */
export function identityOf(headers: Readonly<Record<string, readonly string[]>> | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers ?? {})
      .filter(
        ([name, values]) =>
          /^(?:remote|x)[-_](?:gatebell|user|name|email|groups)/.test(name) && values.some(value => value !== ''),
      )
      .map(([name, values]) => [name, values.join(' and ')]),
  );
}

export const VERDICTS: readonly Behaviour[] = [
  {
    title: 'allowed: the app gets the request and the full identity',
    async run({ call, world }) {
      const { status, seen } = await call({ path: '/album?x=1', headers: bearer(world.alice) });
      expect(status).toBe(200);
      expect(seen).toMatchObject({ method: 'GET', url: '/album?x=1', headers: { host: ['photos.test'] } });
      expect(identityOf(seen?.headers)).toEqual({
        'remote-user': 'alice',
        'remote-name': 'Alice',
        'remote-email': 'alice@example.test',
        'remote-groups': 'family,staff',
        'x-gatebell-app': 'photos',
        'x-gatebell-role': 'user',
      });
    },
  },
  {
    title: 'allowed by the session cookie',
    async run({ call, world }) {
      const { seen } = await call({ headers: [['Cookie', `theme=dark; gatebell=${world.session}`]] });
      expect(seen?.headers['remote-user']).toEqual(['alice']);
    },
  },
  {
    title: 'a public route: allowed without a credential, the identity empty',
    async run({ call }) {
      const { status, seen } = await call({ path: '/share/x' });
      expect(status).toBe(200);
      expect(identityOf(seen?.headers)).toEqual({ 'x-gatebell-app': 'photos' });
    },
  },
  {
    title: 'an API without a credential: 401, with the reason and the login page told',
    async run({ call }) {
      const { status, headers, seen } = await call({ path: '/album' });
      expect({ status, seen }).toEqual({ status: 401, seen: null });
      expect(headers['x-gatebell-reason']).toBe('no_credential');
      expect(headers['cache-control']).toContain('no-store');
      expect(headers['www-authenticate']).toContain('Bearer');
      expect(headers['location']).toContain(`${LOGIN}?rd=`);
    },
  },
  {
    title: 'a browser without a credential: 302 to the login page, which is told where to return to',
    async run({ call }) {
      const { status, headers, seen } = await call({ path: '/album?x=1&y=%2F', headers: BROWSER });
      expect({ status, seen }).toEqual({ status: 302, seen: null });
      const location = new URL(headers['location'] ?? '');
      expect(location.origin + location.pathname).toBe(LOGIN);
      expect(location.searchParams.get('rd')).toBe('http://photos.test/album?x=1&y=%2F');
      expect(headers['cache-control']).toContain('no-store');
    },
  },
  {
    title: 'a script of a page without a credential (XMLHttpRequest, fetch, POST): 401, never 302',
    async run({ call }) {
      for (const headers of [
        [...BROWSER, ['X-Requested-With', 'XMLHttpRequest']],
        [
          ['Accept', 'text/html'],
          ['Sec-Fetch-Mode', 'cors'],
        ],
      ] satisfies Pairs[]) {
        expect(await call({ headers })).toMatchObject({ status: 401, seen: null });
      }
      expect(await call({ headers: BROWSER, method: 'POST', body: 'x' })).toMatchObject({ status: 401, seen: null });
    },
  },
  {
    title: 'a bad credential: 401; no grant, a disabled user or an unknown host: 403, a browser too',
    async run({ call, world }) {
      const refusals = [
        [{ headers: bearer('gb_made_up') }, 401, 'bad_credential'],
        [{ headers: [...bearer(world.bob), ...BROWSER] }, 403, 'no_grant'],
        [{ headers: bearer(world.carol) }, 403, 'disabled_user'],
        [{ path: '/admin', headers: bearer(world.alice) }, 403, 'role_required'],
        [{ host: 'evil.test', headers: bearer(world.alice) }, 403, 'unknown_app'],
      ] as const;
      for (const [asked, status, reason] of refusals) {
        const reply = await call(asked);
        expect(reply, reason).toMatchObject({ status, seen: null });
        expect(reply.headers['x-gatebell-reason']).toBe(reason);
      }
    },
  },
];
