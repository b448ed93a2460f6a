/** Hundreds of spellings of private paths, most of them once a CVE somewhere. */
import fc from 'fast-check';
import type { Route } from '../../src/auth/facts.js';
import { whoReadsPrivate } from './reference-normalisers.js';

const SLASHES = [
  ...['/', '//', '/./', '/%2e/', '%2f', '%2F', '%252f', '%25252f', '\\', '%5c', '%5C', '%255c', '/\\', '\\/'],
  ...['/;/', '/;x=1/', ';/', '%3b/', '%ef%bc%8f', '%EF%BC%BC', '%c0%af', '%e0%80%af', '/%20/', '/a/../', '/%09/'],
];
const UPS = [
  ...['..', '%2e%2e', '%2E%2E', '.%2e', '%2e.', '%252e%252e', '%252e.', '%25252e%25252e'],
  ...['..;', '..;x=y', '..%3b', '..%3Bx', '%2e%2e;', ';/..', '..%20', '.. ', '...', '..\t', '..%00', '..%0d'],
  ...['%c0%ae%c0%ae', '%e0%80%ae%e0%80%ae', '%ef%bc%8e%ef%bc%8e', '%e2%80%a5', '%e2%80%a4.', '%c2%ad..'],
];
const HEADS = ['/pub', '/pub/x', '/PUB', '/%70ub', ''];
const PRIVATES = ['private', 'private/x', 'PRIVATE', 'Private/', '%70rivate', 'privat%65', '%2570rivate', 'pub/admin'];
const TAILS = [
  ...[
    '',
    '/',
    '//',
    '.',
    '..',
    '...',
    '%20',
    '%2e',
    '%20.',
    ' ',
    '\t',
    '%09',
    '%00',
    '%00.png',
    ';',
    ';x',
    ';x/y',
    '%3b',
  ],
  ...['%3bx', '?', '?/pub', '?x=/../pub', '%3f', '%3fx', '#', '#/pub', '%23', '%23/pub', '%2f', '%252f', '%5c', '\\'],
  ...['/.', '/./', '/x/..', '/%2e', '%c0%af', '%ef%bc%8f', '%ef%bc%9f', '%ef%bc%9bx', '%0a', '%0d%0a', '%7f', '%25'],
];
const FRONTS = [
  ...[
    '/',
    '//',
    '///',
    '/./',
    '/.//',
    '/%2e/',
    '/\\',
    '\\',
    '\\\\',
    '/%5c',
    '%2f',
    '/%2f',
    '%5c',
    '/;/',
    '/;x/',
    '/x;y/../',
  ],
  ...[
    '',
    './',
    '../',
    '/../',
    '/../../',
    '//host/',
    '///host/',
    '/\\host/',
    '\\/host/',
    '//user@host:80/',
    'http://host/',
  ],
  ...[
    'HTTPS://host/',
    'http:/',
    'http:',
    '/%2f%2fhost/../',
    '/%ef%bc%8f',
    '/%c0%af',
    '/%09/',
    '/pub/../',
    '/pub%2f../',
  ],
];
/**
 * Each needs an order of steps of its own: parameters dropped before decoding, dots decoded but not slashes, and so on.
 */
const ORDERS = [
  '/pub/a;%2fb/%2e%2e/%2e%2e/private',
  '/pub/a;%2Fb%2Fc/%2e%2e/%2e%2e/private',
  '/pub/a%2fb/%2e%2e/%2e%2e/private',
  '/pub/a%2fb%2fc/.%2e/%2e./private',
  '/pub/a%2fb/%252e%252e/%252e%252e/private',
  '/pub/a%252fb/%252e%252e/%252e%252e/private',
  '/pub/a%5cb\\%2e%2e/%2e%2e\\private',
  '/pub//%2e%2e/..;/private',
  '/pub//a/../../../private',
  '/pub/%ef%bc%85%32%65%ef%bc%85%32%65/private',
  '/pub/..%20/private',
  '/pub/.%2e%20;x/private',
  '/pub/a;%2fb%3f/%2e%2e/%2e%2e/private',
  '/pub/a%2fb/%2e%2e/%2e%2e/pub/admin',
  '/pub/a;%2fb/%2e%2e/admin',
  '/pub/x%2f../admin',
  '/pub/./admin',
  '/pub//admin',
  '/pub/%61dmin',
  '/pub/ADMIN',
  '/pub/admin;x',
  '/pub/%5cadmin',
  '/pr%C4%B1vate',
  '/%ef%bd%90rivate',
];

function* spell(): Generator<string> {
  yield* ORDERS;
  for (const up of UPS) {
    for (const [i, slash] of SLASHES.entries()) {
      const head = HEADS[i % HEADS.length]!;
      const depth = head === '/pub/x' ? [up, up] : [up];
      yield [head, ...depth, 'private'].join(slash);
      yield `${head}/${depth.join('/')}${slash}private`;
      yield `${head}${slash}${depth.join(slash)}/${PRIVATES[i % PRIVATES.length]!}`;
    }
  }
  for (const name of PRIVATES) {
    for (const tail of TAILS) {
      yield `/${name}${tail}`;
    }
    for (const front of FRONTS) {
      yield front + name;
    }
  }
}

/** Distinct spellings that at least one upstream takes for a private path. */
export function privateSpellings(): readonly string[] {
  return [...new Set(spell())].filter(path => whoReadsPrivate(path) !== null);
}

/** Random compositions of everything above. */
export const spellings: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...SLASHES, '/', '/', '/', '%2f') },
      { weight: 2, arbitrary: fc.constantFrom(...UPS, '..', '%2e%2e') },
      { weight: 2, arbitrary: fc.constantFrom('pub', 'private', 'open', 'admin', 'a', 'host', ...PRIVATES) },
      { weight: 1, arbitrary: fc.constantFrom(...TAILS) },
      {
        weight: 1,
        arbitrary: fc.constantFrom(';', ';x', '?', '%3f', '%25', '%', '+', '.', ' ', '%20', '%e3%80%82', '\u00ff'),
      },
    ),
    { minLength: 1, maxLength: 12 },
  )
  .chain(tokens => fc.constantFrom('/pub/', '/', '', '/private/open/').map(head => head + tokens.join('')));

/** Handwritten: as they stand in advisories, write-ups and scanners' lists, with the prefixes of this corpus. */
const SEEN_IN_THE_WILD = [
  // Apache 2.4.49 and 2.4.50 (CVE-2021-41773, CVE-2021-42013)
  ...['/pub/.%2e/private', '/pub/.%2e/.%2e/private', '/pub/%2e%2e/private', '/pub/.%%32%65/private'],
  ...['/pub/%%32%65%%32%65/private', '/pub/%%32e%%32e/private'],
  // nginx with alias and no slash, and proxy_pass with one
  ...['/pub../private', '/pub../private/x', '/pub..%2fprivate', '/pub..;/private', '/pub./private', '/pub.../private'],
  // Tomcat and Jetty behind a proxy; Spring, Shiro (CVE-2020-1957, CVE-2020-11989, CVE-2020-13933, CVE-2021-41303)
  ...['/pub/..;/private', '/pub/;/../private', '/;/private', '/;pub/private', '/pub/..;x=y/private', '/private;/pub'],
  ...['/private/%3bpub', '/private/;pub', '/private%25%32%66', '/pub/;%2e%2e/private', '/pub/a/..;/..;/private'],
  ...['/%2e/private', '/%2e/%2e/private', '/.;/private', '/pub;/../private', '/private/.;', '/private/..;/private'],
  // Envoy, Istio (CVE-2019-9901, CVE-2021-31920, CVE-2021-39156)
  ...['//private', '/pub//../private', '/pub/%2F../private', '/private#', '/private%23', '/pub/..%5cprivate'],
  ...['/pub%5c..%5cprivate', '\\private', '/pub\\..\\private', '/pub/..\\private', '/pub%5C../private'],
  // Traefik, oauth2-proxy, Authelia and their like
  ...['/pub/%2e%2e%2fprivate', '/pub%2f..%2fprivate', '/pub%2f%2e%2e%2fprivate', '/pub/..%2f/private'],
  ...['/private?x=/pub', '/private?/pub', '/private#/pub', '/private%3f/pub', '/private/?/../pub', '/private/x?.css'],
  ...['/pub/../private?x', '/pub/./../private', '/pub/x/../../private', '/pub/x/%2e%2e/%2e%2e/private'],
  // IIS and ASP.NET
  ...[
    '/pub/..%c0%afprivate',
    '/pub/..%c1%9cprivate',
    '/pub/%u002e%u002e/private',
    '/private%20',
    '/private.',
    '/private::$DATA',
  ],
  ...['/private/.', '/private/x~1', '/(S(x))/private', '/pub/..%255cprivate', '/PRIVATE', '/pRiVaTe', '/Private/X'],
  // Rails, PHP, WSGI: NUL, extensions, path info
  ...[
    '/private%00',
    '/private%00.html',
    '/private/x.json',
    '/private.json',
    '/private;.css',
    '/private%0a',
    '/private%0d',
  ],
  ...[
    '/private%09',
    '/private/%09',
    '/%0aprivate',
    '/%0d%0aprivate',
    '/pub%0a/../private',
    '/private%e2%80%8b',
    '/private%ad',
  ],
  // Encoded once, twice, thrice; overlong; full-width; other dots and slashes
  ...['/%70%72%69%76%61%74%65', '/%2570rivate', '/%252570rivate', '/%2f%70rivate', '/pub/%252e%252e%252fprivate'],
  ...[
    '/pub/%25252e%25252e/private',
    '/pub/%c0%ae%c0%ae/private',
    '/pub/%e0%80%ae%e0%80%ae/private',
    '/pub/%f0%80%80%aeprivate',
  ],
  ...[
    '/pub/%ef%bc%8e%ef%bc%8e/private',
    '/pub/%ef%bc%8fprivate',
    '/pub/%e2%81%84..%e2%81%84private',
    '/pub/%e2%88%95..%e2%88%95private',
  ],
  ...[
    '/pub/%e2%80%a4%e2%80%a4/private',
    '/pub/%e2%80%a5/private',
    '/pub/%e3%80%82%e3%80%82/private',
    '/%ef%bd%90rivate',
  ],
  // Hosts in the path; absolute form; userinfo
  ...[
    '//x/private',
    '///private',
    '////private',
    '//x@y/private',
    '//evil.test/..//private',
    '/\\x/private',
    '/\\/private',
  ],
  ...[
    'http://x/private',
    'https://x/pub/../private',
    'HTTP://x/private',
    'x:/private',
    '/http://x/../private',
    '*',
    '',
  ],
  // Dots that are not dots; dots at the root; many of them
  ...[
    '/../private',
    '/../../private',
    '/..',
    '/.',
    '/./private',
    '/pub/...',
    '/pub/.../private',
    '/pub/..../private',
    '/..private',
  ],
  ...[
    '/pub/..private',
    '/pub/.private',
    '/pub/private',
    '/pub/pub/../../private',
    '/pub/../pub/../private',
    '/pub/%2e./private',
  ],
  // Segment boundaries
  ...[
    '/public',
    '/publications',
    '/pub-x',
    '/pub.html',
    '/pub_x',
    '/pubs/private',
    '/privateer',
    '/private-x',
    '/pub%20/x',
    '/pub+',
  ],
  ...[
    '/pub&x',
    '/pub=x',
    '/pub,x',
    '/pub:x',
    '/pub@x',
    '/pub!x',
    '/pub%2b',
    '/pub%26',
    '/pubprivate',
    '/private/../privatex',
  ],
  // Nested prefixes
  ...[
    '/pub/admin',
    '/pub/admin/',
    '/pub//admin',
    '/pub/./admin',
    '/pub/x/../admin',
    '/pub/%61dmin',
    '/pub/admin%2f',
    '/pub%2fadmin',
  ],
  ...[
    '/pub/ADMIN',
    '/pub/admin;x',
    '/pub/admin.',
    '/pub/admin%20',
    '/pub/admin/..',
    '/pub/admin/../x',
    '/pub/admin%00',
    '/pub\\admin',
  ],
  ...[
    '/private/open',
    '/private/open/',
    '/private/open/..',
    '/private/open/../x',
    '/private/open/%2e%2e/x',
    '/private/open/..%2fx',
  ],
  ...[
    '/private/open/..;/x',
    '/private/open/.%2e/x',
    '/private/open%2f../x',
    '/private/open/../../private/x',
    '/private/opening',
  ],
  ...[
    '/private/open\\..\\x',
    '/private/open/..%5cx',
    '/private/open//../x',
    '/private/open/%252e%252e/x',
    '/private/open/x/..',
  ],
];

/** All distinct spellings: those that somebody takes for private, and those that only look like it. */
export function allSpellings(): readonly string[] {
  return [...new Set([...SEEN_IN_THE_WILD, ...spell()])];
}

/** What a path is to the owner of a route table. */
export type Zone = 'public' | 'private';

/** Rules of one shape. */
export interface RouteTable {
  readonly name: string;
  /** Longest prefix first. */
  readonly routes: readonly Route[];
  /** Prefixes below which ordinary paths must pass with a credential. */
  readonly roots: readonly string[];
  /** What a path, as an upstream has normalised it, is: in whatever case; null, a refusal, is public. */
  zoneOf(path: string | null): Zone;
}

function routeTable(
  name: string,
  roots: readonly string[],
  rules: Readonly<Record<string, Route['access']>>,
): RouteTable {
  const routes = Object.entries(rules)
    .map(([pathPrefix, access]) => ({ pathPrefix, access, roles: [], strong: false, preflight: false, headers: [] }))
    .toSorted((one, other) => other.pathPrefix.length - one.pathPrefix.length);
  return {
    name,
    routes,
    roots,
    zoneOf(path) {
      if (path === null) {
        return 'public';
      }
      const lower = path.toLowerCase();
      const rule = routes.find(
        ({ pathPrefix }) => pathPrefix === '/' || lower === pathPrefix || lower.startsWith(`${pathPrefix}/`),
      );
      // A path under no rule needs a grant; one that is nowhere is nothing to hide.
      return rule === undefined
        ? path.startsWith('/')
          ? 'private'
          : 'public'
        : rule.access === 'public'
          ? 'public'
          : 'private';
    },
  };
}

export const ROUTE_TABLES: readonly RouteTable[] = [
  routeTable('public below a private root', ['/pub', '/else', ''], { '/pub': 'public' }),
  routeTable('public below a root for everyone signed in', ['/pub', ''], { '/pub': 'public', '/': 'authenticated' }),
  routeTable('private below public', ['/pub', '/pub/admin', '/private'], {
    '/pub': 'public',
    '/pub/admin': 'grant',
    '/private': 'grant',
  }),
  routeTable('private below a public root', ['', '/private', '/pub/admin'], {
    '/': 'public',
    '/private': 'grant',
    '/pub/admin': 'authenticated',
  }),
  routeTable('public below private', ['/private/open', '/private'], {
    '/private/open': 'public',
    '/private': 'grant',
  }),
  routeTable('public below private below public', ['', '/private', '/private/open'], {
    '/': 'public',
    '/private': 'grant',
    '/private/open': 'public',
  }),
];

/** Rules for files, and rules beside which files stand. */
export const FILE_TABLES: readonly RouteTable[] = [
  routeTable('private pages in a public folder', [''], {
    '/': 'public',
    '/private.html': 'grant',
    '/pub/admin.php': 'grant',
  }),
  routeTable('a site with an admin area', [''], { '/': 'public', '/private': 'grant', '/pub/admin/x': 'grant' }),
];

/** Paths as real apps have them, below any root: none of them may be refused for how it is written. */
export const ORDINARY_PATHS: readonly string[] = [
  ...[
    '/',
    '/x',
    '/x/',
    '/index.html',
    '/favicon.ico',
    '/robots.txt',
    '/.well-known/acme-challenge/x_Y-z',
    '/.well-known/openid-configuration',
  ],
  ...[
    '/@scope%2Fname',
    '/@scope%2fname/-/name-1.0.0.tgz',
    '/-/npm/@scope%2fname/1.0.0',
    '/v2/library%2Fnginx/manifests/1.25',
  ],
  ...[
    '/caf%C3%A9',
    '/%E6%97%A5%E6%9C%AC%E8%AA%9E/%F0%9F%98%80.png',
    '/Zo%C3%AB%20%26%20Al.jpg',
    '/%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82.txt',
  ],
  ...[
    '/%E2%82%AC%20100',
    '/r%C3%A9sum%C3%A9%20(final)%20v2.pdf',
    '/a%20b',
    '/a%20b%20c/d%20e.txt',
    '/100%25',
    '/100%25/x',
    '/50%25%20off.html',
  ],
  ...[
    '/a+b',
    '/c%2B%2B/index.html',
    '/C++/x',
    '/a,b',
    '/a:b',
    '/a=b',
    '/a&b',
    '/a!b',
    '/a$b',
    "/it's",
    '/(x)',
    '/a*b',
    '/~user/x',
    '/a@b.example',
  ],
  ...[
    '/a.b.c/file.tar.gz',
    '/jquery-3.7.1.min.js',
    '/.hidden/file',
    '/..hidden',
    '/...x',
    '/file..txt',
    '/v1.2.3/',
    '/x.',
    '/_next/static/chunks/app.js',
  ],
  ...[
    '/%5Bid%5D.js',
    '/_next/static/chunks/pages/%5Bslug%5D-1.js',
    '/%7Bid%7D',
    '/a%7Cb',
    '/a%22b',
    '/a%60b',
    '/%3Cx%3E',
    '/a%5Eb',
  ],
  ...[
    '/_matrix/client/r0/rooms/!abc%3Aexample.org/state',
    '/api/v4/projects/group%2Fproject/files/src%2Fmain.c',
    '/s/x%40y',
  ],
  ...[
    '/api/users?name=%2e%2e%2f&x=/../',
    `/search?q=${'long+'.repeat(400)}`,
    '/a?b=c#'.slice(0, -1),
    '/x?redirect=https://example.com/a/../b',
    '/?',
  ],
  ...[
    '/x?a[]=1&a[]=2',
    '/x?{"a":1}',
    '/x?q=a|b',
    '/x?y=\\',
    '/x?%00',
    '/x?a;b',
    '/x?/y/../z',
    '/web/2020/https://example.com/x',
  ],
  ...[
    '/a//b',
    '/dav/Photos%202024/Zo%C3%AB.jpg',
    '/.git/config',
    '/cgi-bin/x.cgi',
    '/UPPER/Case/Path',
    '/12345/67890',
    `/${'deep/'.repeat(60)}x`,
  ],
  ...[
    `/${'x'.repeat(4_000)}`,
    `/data:image%2Fpng`,
    '/0',
    '/-',
    '/_',
    '/socket.io/?EIO=4&transport=websocket',
    '/x?t=1%2B1',
    '/%E1%BA%9E',
  ],
  ...[
    '/index.php/apps/files',
    '/remote.php/dav/files/alice/a.txt',
    '/index.php?r=site/index',
    '/cgi-bin/run/x',
    '/v1.2/x/y',
  ],
  ...[
    '/private.zip',
    '/pub.tar.gz',
    '/pub/admin.css',
    '/users.json',
    '/a.x/b.y/c.z',
    '/W.php/Special:Search',
    '/.env.example',
  ],
];
