/**
 * Extensions and scripts: no framework takes for private what a public rule lets through, and nobody is refused for an
 * ordinary name.
 */
import { describe, expect, test } from 'vitest';
import { selectRoute } from '../../src/auth/request/path.js';
import type { Route } from '../../src/auth/facts.js';
import { FRAMEWORKS, frameworkSpellings } from '../support/framework-readers.js';
import { route } from '../support/memory-facts.js';
import { FILE_TABLES, ROUTE_TABLES, type RouteTable } from '../support/path-corpus.js';

const TABLES = [...ROUTE_TABLES, ...FILE_TABLES];

/** A gate that knows nothing of extensions and scripts. */
function chooseNaively({ routes }: RouteTable, path: string): Route | null {
  return routes.find(({ pathPrefix: p }) => p === '/' || path === p || path.startsWith(`${p}/`)) ?? null;
}

const bypassesOf = (
  table: RouteTable,
  choose: (table: RouteTable, path: string) => Route | null | undefined,
): readonly string[] =>
  frameworkSpellings(table)
    .map(spelling => spelling.split('?')[0]!)
    .filter(path => choose(table, path)?.access === 'public')
    .flatMap(path =>
      Object.entries(FRAMEWORKS)
        .filter(([, read]) => read(table, path) === 'private')
        .map(([name]) => `${name}: ${path}`),
    );

describe.each(TABLES)('$name', table => {
  test('what is let through as public is public to Rails, PHP, CGI, Connect and try_files', () => {
    expect(bypassesOf(table, ({ routes }, path) => selectRoute(routes, path))).toEqual([]);
  });
});

test('the judges are awake: each framework sees holes in a gate that knows nothing of it', () => {
  const found = TABLES.flatMap(table => bypassesOf(table, chooseNaively));
  for (const name of Object.keys(FRAMEWORKS)) {
    expect(found.filter(text => text.startsWith(`${name}: `)).length, name).toBeGreaterThan(0);
  }
});

const SITE = [
  route('/share/open', 'public'),
  route('/share.zip', 'public'),
  route('/feed.xml', 'public'),
  route('/admin', 'grant', { roles: ['admin'], strong: true }),
  route('/staff', 'grant', { roles: ['staff', 'admin'] }),
  route('/share', 'grant'),
  route('/api', 'grant', { preflight: true }),
  route('/feed', 'grant'),
  route('/me', 'authenticated'),
  route('/', 'public'),
];
const told = (routes: readonly Route[], path: string): string => {
  const rule = selectRoute(routes, path);
  return rule === undefined
    ? 'refused'
    : [rule?.access ?? 'grant', ...(rule?.roles ?? []), rule?.strong === true ? 'strong' : ''].join(' ').trim();
};

describe('where only the extension differs', () => {
  test.each([
    ['/admin.json', 'grant admin strong'],
    ['/Admin.json', 'grant admin strong'],
    ['/admin.json.bak', 'grant admin strong'],
    ['/admin.x/y', 'grant admin strong'],
    ['/admin.json/../admin.x', 'grant admin strong'],
    ['/index.php/admin/users', 'grant admin strong'],
    ['/sub/index.php/admin.json', 'grant admin strong'],
    ['/site.wsgi/admin', 'grant admin strong'],
    ['/share/open.d/x', 'grant'],
    ['/share.tar', 'grant'],
    ['/me.html', 'authenticated'],
    ['/api.v2/x', 'grant'],
  ])('%s needs what the stricter rule needs: %s', (path, expected) => {
    expect(told(SITE, path)).toBe(expected);
  });

  test.each([
    ['/share.zip', 'a rule names the extension'],
    ['/feed.xml/x', 'a rule names the extension'],
    ['/logo.png', 'no rule is so called'],
    ['/administrator.html', 'another name'],
    ['/.admin', 'a hidden file has no extension'],
    ['/assets/admin.css', 'another folder'],
    ['/v1.2/admin', 'a version is no script'],
    ['/index.php', 'nothing follows the script'],
    ['/index.php/news/7', 'nothing there is guarded'],
    ['/lib/jquery.min.js', 'no rule is so called'],
  ])('%s stays public: %s', path => {
    expect(told(SITE, path)).toBe('public');
  });

  test('preflights pass where both rules let them', () => {
    expect(selectRoute(SITE, '/api/x')?.preflight).toBe(true);
    expect(selectRoute(SITE, '/api.v2/x')?.preflight).toBe(false);
    expect(selectRoute(SITE, '/index.php/api')?.preflight).toBe(false);
  });

  test('roles that both rules allow are needed, and a path that no role opens is refused', () => {
    const routes = [
      route('/a.x', 'grant', { roles: ['editor', 'owner'] }),
      route('/a/b', 'grant', { roles: ['reader'] }),
      route('/a', 'authenticated', { roles: ['owner', 'reader'] }),
    ];
    expect(told(routes, '/a.x.y')).toBe('grant owner');
    expect(told(routes, '/a/b.c')).toBe('grant reader');
    expect(told(routes, '/a.x/b')).toBe('grant editor owner');
    expect(told(routes, '/index.php/a/b/../../a.x')).toBe('refused');
  });

  test('the same two rules give the same rule, and one that is met anyway is itself', () => {
    expect(selectRoute(SITE, '/api.v2/x')).toBe(selectRoute(SITE, '/api.v3'));
    expect(selectRoute(SITE, '/index.php/share/x')).toBe(selectRoute(SITE, '/share.tar'));
    expect(selectRoute([route('/a', 'public'), route('/a/b', 'public')], '/a/b.c')?.pathPrefix).toBe('/a');
  });

  test('a front controller of its own rules stays open where the owner says so', () => {
    const cloud = [route('/index.php/s', 'public'), route('/apps', 'grant', { roles: ['admin'] })];
    expect(told(cloud, '/index.php/s/XyZ')).toBe('public');
    expect(told(cloud, '/index.php/apps/files')).toBe('grant admin');
    expect(told(cloud, '/remote.php/dav/files/x.txt')).toBe('grant');
  });
});

describe('an app without a rule that depends on the path', () => {
  test.each(['/caf%E9', '/100%', '/%zz', '/a%00b', '/x/../y', '/%c0%af', '/' + '%2525'.repeat(1_600)])(
    'takes %j as it is',
    path => {
      expect(selectRoute([], path)).toBeNull();
      expect(selectRoute([route('/', 'public')], path)?.access).toBe('public');
      expect(selectRoute([route('/a', 'public')], path)).not.toMatchObject({ access: 'public' });
    },
  );
});

describe('sessions in the path, as ASP.NET without cookies reads them (CVE-2023-36899)', () => {
  test.each([
    '/(S(x))/admin',
    '/(S(x))/(S(y))/admin/users',
    '/(A(x)S(y)F(z))/admin',
    '/(s())/admin',
    '/ad(S(x))/min',
    '/ad/(S(x))min',
    '/(S(x))/ad/(S(y))min',
    '/%28S(x)%29/admin',
    '/share/(S(x))/../(S(y))/../admin',
  ])('%s is not let through by the rule of all other paths', path => {
    expect(told(SITE, path)).toBe('refused');
  });

  test.each([
    ['/(S(x))/news', 'public'],
    ['/news/(S(x))', 'public'],
    ['/admin/(S(x))/users', 'grant admin strong'],
    ['/odata/Users(7)/Name', 'public'],
    ['/f(g(x))/plot', 'public'],
    ['/Report%20(draft%20(2))/page', 'public'],
    ['/share/Report(final(2)).pdf', 'grant'],
  ])('%s is ordinary: %s', (path, expected) => {
    expect(told(SITE, path)).toBe(expected);
  });
});
