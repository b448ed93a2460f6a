import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { route } from '../../../support/memory-facts.js';
import { forwardDialect } from '../../../../src/auth/dialects/forward.js';
import { createCredentialReader } from '../../../../src/auth/request/credential.js';
import { singleHeaders } from '../../../../src/auth/request/headers.js';
import {
  parseHost,
  parseRequest,
  requireHeader,
  type AuthRequest,
  type BadRequest,
} from '../../../../src/auth/request/request.js';
import { createToken, hashToken } from '../../../../src/auth/token.js';

const TARGET = {
  'X-Forwarded-Method': 'GET',
  'X-Forwarded-Proto': 'https',
  'X-Forwarded-Host': 'wiki.example.com',
  'X-Forwarded-Uri': '/page?q=1',
};
const readCredential = createCredentialReader('gatebell');
type Pairs = readonly (readonly [string, string])[];

function parse(changes: Readonly<Record<string, string>> = {}, more: Pairs = []): AuthRequest | BadRequest {
  const pairs = [...Object.entries({ ...TARGET, ...changes }), ...more];
  const headers = singleHeaders(pairs.flat());
  return parseRequest(headers, forwardDialect.readTarget(headers, {}), readCredential);
}

function parsed(changes: Readonly<Record<string, string>> = {}, more: Pairs = []): AuthRequest {
  const request = parse(changes, more);
  if ('problem' in request) {
    throw new Error(request.problem);
  }
  return request;
}

describe('a host', () => {
  test.each([
    ['wiki.example.com', ''],
    ['WIKI.Example.COM', ''],
    ['wiki.example.com.', ''],
    ['wiki.example.com:443', ':443'],
    ['Wiki.Example.com.:8443', ':8443'],
  ])('%s is wiki.example.com', (spelling, port) => {
    expect(parseHost(spelling)).toEqual({ host: 'wiki.example.com', port, wildcards: ['*.example.com', '*.com'] });
  });

  test.each([
    'localhost',
    'a',
    'my_app.internal',
    'xn--bcher-kva.example',
    '127.0.0.1',
    'a--b.c',
    '_dmarc.x',
    'l'.repeat(63),
  ])('%s is itself', host => {
    expect(parseHost(host)).toMatchObject({ host, port: '' });
  });

  test.each([
    ...[
      '',
      '.',
      '..',
      '.a',
      'a..b',
      'a.b..',
      '-a',
      'a-',
      'a.-b',
      'a-.b',
      ':80',
      'a:',
      'a:b',
      'a:123456',
      'a:80:80',
      'a:-1',
    ],
    ...['a@b.com', 'user:pw@b.com', '@b.com', 'b.com@', 'a b', ' a', 'a ', 'a\tb', 'a\n', 'a\r\n', 'a\0', 'a\0.b'],
    ...[
      'bücher.example',
      'b\xfccher',
      '\u212a',
      'a\u3002b',
      'ａ.com',
      '[::1',
      '::1',
      'a]',
      '[a',
      '[]',
      '[::1]x',
      '[::1]:',
      '[::1].',
      '[fe80::1%eth0]',
      '[1.2.3.4]',
      '[:::]',
      '*.[::1]',
    ],
    ...[
      'a/b',
      'a\\b',
      'a?b',
      'a#b',
      'a%2eb',
      'a,b',
      'a, b',
      'a;b',
      'a*b',
      '*.b',
      'http://a',
      '//a',
      "a'",
      'a"',
      'a|b',
      '${a}',
    ],
    ...['l'.repeat(64), `${'l'.repeat(63)}.`.repeat(4) + 'com', 'a.'.repeat(127) + 'aa', '-'.repeat(20)],
  ])('%j is refused', host => {
    expect(parseHost(host)).toBeNull();
  });

  test.each([
    ['[::1]', '[::1]', ''],
    ['[2001:DB8:0:0:0:0:0:1]:8443', '[2001:db8::1]', ':8443'],
    ['[2001:db8:0:1:1:1:1:1]', '[2001:db8:0:1:1:1:1:1]', ''],
  ])('%s is the address %s', (spelling, host, port) => {
    expect(parseHost(spelling)).toEqual({ host, port, wildcards: [] });
  });

  test('is at most 253 characters long', () => {
    expect(parseHost('a.'.repeat(126) + 'a')?.host).toHaveLength(253);
    expect(parseHost('a.'.repeat(126) + 'aa')).toBeNull();
  });

  test('never keeps a character that a name may not have', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'aZ0-_.:@[]/ \u212a\u0130'), maxLength: 12 }), text => {
        const host = parseHost(text);
        expect(host === null || /^[a-z0-9_.-]+$/.test(host.host)).toBe(true);
        expect(host === null || text.toLowerCase().startsWith(host.host)).toBe(true);
      }),
    );
  });

  test('of many characters is refused soon', () => {
    // A pattern with overlapping repetitions would never come back.
    expect(parseHost('a-'.repeat(8_000))).toBeNull();
    expect(parseHost('a'.repeat(16_000))).toBeNull();
    expect(parseHost('a.'.repeat(8_000) + '-')).toBeNull();
  });
});

describe('headers', () => {
  test('are found in any case, and told apart from their underscore aliases', () => {
    const headers = singleHeaders(['X-FORWARDED-host', 'a', 'X_Forwarded_Uri', 'b', 'x_forwarded_host', 'c']);
    expect(requireHeader(headers, 'x-forwarded-host')).toBe('a');
    expect(requireHeader(headers, 'x-forwarded-uri')).toEqual({ problem: 'header x-forwarded-uri is missing' });
  });

  test('that came twice are refused, also with the same value or in another case', () => {
    const headers = singleHeaders(['X-Original-URL', '1', 'x-original-url', '1', 'X-Original-Method', '1']);
    expect(requireHeader(headers, 'x-original-url')).toEqual({
      problem: 'header x-original-url came more than once',
    });
    expect(requireHeader(headers, 'x-original-method')).toBe('1');
  });

  test.each(['Authorization', 'Cookie'])('%s twice is a bad request', name => {
    const value = name === 'Cookie' ? `gatebell=${createToken()}` : `Bearer ${createToken()}`;
    expect(parse({}, [[name, value]])).not.toHaveProperty('problem');
    expect(
      parse({}, [
        [name, value],
        [name.toLowerCase(), value],
      ]),
    ).toEqual({ problem: `header ${name.toLowerCase()} came more than once` });
  });
});

describe('the target', () => {
  test('is told as it was sent, host and port apart', () => {
    expect(parsed({ 'X-Forwarded-Host': 'Wiki.Example.com:8443', 'X-Forwarded-Method': 'DELETE' })).toMatchObject({
      host: 'wiki.example.com',
      port: ':8443',
      proto: 'https',
      method: 'DELETE',
      uri: '/page?q=1',
    });
  });

  test.each([
    ['http', 'http'],
    ['https', 'https'],
    ['HTTPS', 'https'],
    ['ws', 'http'],
    ['wss', 'https'],
  ])('scheme %s is %s', (proto, expected) => {
    expect(parsed({ 'X-Forwarded-Proto': proto }).proto).toBe(expected);
  });

  test.each(['ftp', 'javascript', 'https, http', 'http,https', 'http:', 'https ', 'h', 'httpss'])(
    'scheme %j is refused',
    proto => {
      expect(parse({ 'X-Forwarded-Proto': proto })).toHaveProperty('problem');
    },
  );

  test.each(['get', 'GET, POST', 'GET,POST', 'GET POST', 'G\tT', '-GET', '1GET', '_GET', 'GET.', 'G'.repeat(33), '*'])(
    'method %j is refused',
    method => {
      expect(parse({ 'X-Forwarded-Method': method })).toHaveProperty('problem');
    },
  );

  test.each(['GET', 'HEAD', 'PROPFIND', 'M-SEARCH', 'RDG_OUT_DATA', 'VERSION-CONTROL', 'X2', 'X'])(
    'method %s passes',
    method => {
      expect(parsed({ 'X-Forwarded-Method': method }).method).toBe(method);
    },
  );

  test.each([
    ...[
      'page',
      'https://wiki.example.com/page',
      '*',
      '?q',
      '/a b',
      '/a#b',
      '/a?b#c',
      '/a?b c',
      '/a?b\tc',
      '/a\x7f',
      '/a?\0',
    ],
    ...['\\a', '%2fa', '/a, /b', '/a\r\nb', '/' + 'a'.repeat(8_192)],
  ])('URI %j is refused', uri => {
    expect(parse({ 'X-Forwarded-Uri': uri })).toHaveProperty('problem');
  });

  test('may be 8,192 characters long, query and all', () => {
    expect(parsed({ 'X-Forwarded-Uri': '/' + 'a'.repeat(8_191) }).uri).toHaveLength(8_192);
    expect(parsed({ 'X-Forwarded-Uri': '/?' + '%2e'.repeat(2_730) }).uri).toHaveLength(8_192);
  });

  test('is too long by another reason than a bad one, also where raw bytes grow when they are escaped', () => {
    for (const uri of ['/' + 'a'.repeat(8_192), '/?' + '\xc3\xa9'.repeat(1_400)]) {
      expect(parse({ 'X-Forwarded-Uri': uri })).toMatchObject({ reason: 'uri_too_long' });
    }
    expect(parsed({ 'X-Forwarded-Uri': '/' + '\xc3\xa9'.repeat(1_300) }).uri).toHaveLength(7_801);
  });

  test('raw UTF-8 is escaped as a browser would', () => {
    expect(parsed({ 'X-Forwarded-Uri': '/caf\xc3\xa9?\xc3\xa9' }).uri).toBe('/caf%C3%A9?%C3%A9');
  });

  test.each(['X-HTTP-Method-Override', 'X-Method-Override', 'X-HTTP-Method', 'X-Rewrite-Url', 'X-Original-Method'])(
    '%s changes nothing',
    name => {
      // Functions are compared by what they say.
      const told = (request: AuthRequest): unknown => ({
        ...request,
        credential: request.credential(),
        isNavigation: request.isNavigation(),
        isPreflight: request.isPreflight(),
        route: request.route([]),
      });
      expect(told(parsed({}, [[name, 'DELETE']]))).toEqual(told(parsed()));
    },
  );
});

describe('the credential', () => {
  const ours = createToken();
  const other = createToken();
  const token = (text: string): object => ({ kind: 'token', hashes: [hashToken(text)] });
  const none = { kind: 'none' };
  const bad = { kind: 'bad' };
  const forged = ours.slice(0, -1) + (ours.endsWith('0') ? '1' : '0');

  test.each<[string, string | null, string | null, object]>([
    ['nothing', null, null, none],
    ['a bearer of ours', `Bearer ${ours}`, null, token(ours)],
    ['a bearer in any case, with many spaces', `bEARER   ${ours}  `, null, token(ours)],
    ['a bearer of ours and a cookie: the bearer', `Bearer ${ours}`, `gatebell=${other}`, token(ours)],
    ['a forged bearer of ours and a good cookie: the bearer', `Bearer ${forged}`, `gatebell=${ours}`, bad],
    ['a bearer that only begins like ours, and a good cookie', 'Bearer gb_', `gatebell=${ours}`, bad],
    ['a foreign bearer and a cookie: the cookie', 'Bearer eyJh.x.y', `gatebell=${ours}`, token(ours)],
    ['a foreign bearer and a bad cookie', 'Bearer eyJh.x.y', 'gatebell=x', bad],
    ['a foreign bearer alone', 'Bearer eyJh.x.y', null, bad],
    ['a foreign bearer and cookies of others', 'Bearer eyJh.x.y', 'a=b', bad],
    ['Basic', 'Basic YTpi', null, none],
    ['Basic with a token inside', `Basic ${ours}`, null, none],
    ['Basic and a cookie', 'Basic YTpi', `gatebell=${ours}`, token(ours)],
    ['a bearer without a token', 'Bearer', null, none],
    ['a bearer of two words', `Bearer ${ours} x`, null, none],
    ['a token without its scheme', ours, null, none],
    ['two bearers in one', `Bearer ${ours}, Bearer ${other}`, null, none],
    ['a bearer with a comma behind', `Bearer ${ours},`, null, bad],
    ['a cookie', null, `gatebell=${ours}`, token(ours)],
    ['a cookie among others', null, `a=b; gatebell=${ours}; c`, token(ours)],
    ['a cookie without spaces', null, `a=b;gatebell=${ours};c=d`, token(ours)],
    ['a cookie in quotes', null, `gatebell="${ours}"`, token(ours)],
    ['a cookie of the same value twice', null, `gatebell=${ours}; gatebell=${ours}`, token(ours)],
    [
      'two different cookies',
      null,
      `gatebell=${ours}; gatebell=${other}`,
      { kind: 'token', hashes: [ours, other].map(hashToken) },
    ],
    ['a good and an empty cookie', null, `gatebell=${ours}; gatebell=`, token(ours)],
    ['an empty cookie', null, 'gatebell=', bad],
    ['a garbage cookie', null, 'gatebell=x', bad],
    ['a forged cookie', null, `gatebell=${forged}`, bad],
    ['a cookie with something behind', null, `gatebell=${ours}, x`, bad],
    [
      'cookies of other names',
      null,
      `Gatebell=${ours}; xgatebell=${ours}; gatebell2=${ours}; =${ours}; gatebell`,
      none,
    ],
    ['a cookie inside of another', null, `a="gatebell=${ours}"`, none],
    ['an empty cookie header', null, '', none],
  ])('%s', (_, authorization, cookie, expected) => {
    const more: (readonly [string, string])[] = [];
    if (authorization !== null) {
      more.push(['Authorization', authorization]);
    }
    if (cookie !== null) {
      more.push(['Cookie', cookie]);
    }
    expect(parsed({}, more).credential()).toEqual(expected);
  });

  test('is looked at once', () => {
    const request = parsed({}, [['Cookie', `gatebell=${ours}`]]);
    expect(request.credential()).toBe(request.credential());
  });

  test('is never taken from the query, a header of its own or another name', () => {
    const more: Pairs = [
      ['X-Authorization', `Bearer ${ours}`],
      ['Proxy-Authorization', `Bearer ${ours}`],
      ['Remote-User', 'alice'],
      ['X_Cookie', `gatebell=${ours}`],
    ];
    expect(parsed({ 'X-Forwarded-Uri': `/?access_token=${ours}&gatebell=${ours}` }, more).credential()).toEqual(none);
  });
});

describe('a person in front of a browser', () => {
  test.each<[string, string, Pairs, boolean]>([
    ['accepts HTML', 'GET', [['Accept', 'text/html,*/*']], true],
    ['accepts HTML, in capitals', 'HEAD', [['Accept', 'TEXT/HTML']], true],
    ['navigates', 'GET', [['Sec-Fetch-Mode', 'navigate']], true],
    ['navigates, by HEAD', 'HEAD', [['Sec-Fetch-Mode', 'navigate']], true],
    [
      'sends a form',
      'POST',
      [
        ['Sec-Fetch-Mode', 'navigate'],
        ['Accept', 'text/html'],
      ],
      false,
    ],
    [
      'fetches',
      'GET',
      [
        ['Sec-Fetch-Mode', 'cors'],
        ['Accept', 'text/html'],
      ],
      false,
    ],
    [
      'is a script',
      'GET',
      [
        ['X-Requested-With', 'XMLHttpRequest'],
        ['Accept', 'text/html'],
      ],
      false,
    ],
    [
      'is a script that says it navigates',
      'GET',
      [
        ['X-Requested-With', ''],
        ['Sec-Fetch-Mode', 'navigate'],
      ],
      false,
    ],
    ['accepts JSON', 'GET', [['Accept', 'application/json']], false],
    ['accepts anything', 'GET', [['Accept', '*/*']], false],
    ['says nothing', 'GET', [], false],
  ])('%s (%s)', (_, method, more, expected) => {
    expect(parsed({ 'X-Forwarded-Method': method }, more).isNavigation()).toBe(expected);
  });
});

describe('a CORS preflight', () => {
  const OPTIONS = { 'X-Forwarded-Method': 'OPTIONS' };
  const ORIGIN = ['Origin', 'https://other.example.com'] as const;
  const ASKED = ['Access-Control-Request-Method', 'PUT'] as const;

  test('is what Chromium and Firefox send', () => {
    const chromium: Pairs = [
      ['Accept', '*/*'],
      ASKED,
      ['Access-Control-Request-Headers', 'content-type,x-http-method-override'],
      ORIGIN,
      ['Sec-Fetch-Mode', 'cors'],
      ['Sec-Fetch-Site', 'cross-site'],
      ['Sec-Fetch-Dest', 'empty'],
      ['Referer', 'https://other.example.com/'],
      ['Accept-Encoding', 'gzip, deflate, br'],
      ['Content-Length', '0'],
    ];
    expect(parsed({ ...OPTIONS, 'X-Forwarded-Uri': '/api/x?method=card&a_method=b' }, chromium).isPreflight()).toBe(
      true,
    );
  });

  test('is OPTIONS by the forwarded method, with Origin and Access-Control-Request-Method', () => {
    expect(parsed(OPTIONS, [ORIGIN, ASKED]).isPreflight()).toBe(true);
  });

  test.each([
    { changes: {}, more: [ORIGIN, ASKED] },
    { changes: OPTIONS, more: [] },
    { changes: OPTIONS, more: [ORIGIN] },
    { changes: OPTIONS, more: [ASKED] },
    { changes: OPTIONS, more: [ORIGIN, ['Access-Control-Request-Method', '']] },
    { changes: OPTIONS, more: [ORIGIN, ORIGIN, ASKED] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ASKED] },
    { changes: OPTIONS, more: [ORIGIN, ['Access_Control_Request_Method', 'PUT']] },
    { changes: { 'X-Forwarded-Method': 'GET' }, more: [ORIGIN, ASKED, ['X-HTTP-Method-Override', 'OPTIONS']] },
    // What no browser sends with one, and some app believes.
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['Cookie', 'a=b']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['Authorization', 'Basic eDp5']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['Content-Length', '3']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['Transfer-Encoding', 'chunked']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X-HTTP-Method-Override', 'DELETE']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X_HTTP_METHOD_OVERRIDE', 'DELETE']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X-Http.Method_Override', 'DELETE']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X-Method-Override', 'DELETE']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X-Method_Override', 'DELETE']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X-HTTP-Method', 'MERGE']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['x_http_method', 'PATCH']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X-Tunneled-Method', 'PUT']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X-Method', 'PUT']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['Request-Method', 'PUT']] },
    { changes: OPTIONS, more: [ORIGIN, ASKED, ['X-HTTP-Method-Override', ''], ['X-HTTP-Method-Override', 'PUT']] },
    { changes: { ...OPTIONS, 'X-Forwarded-Uri': '/a?_method=DELETE' }, more: [ORIGIN, ASKED] },
    { changes: { ...OPTIONS, 'X-Forwarded-Uri': '/a?b&x-http-method-override=PUT' }, more: [ORIGIN, ASKED] },
    { changes: { ...OPTIONS, 'X-Forwarded-Uri': '/a?%5Fmethod=PUT' }, more: [ORIGIN, ASKED] },
    { changes: { ...OPTIONS, 'X-Forwarded-Uri': '/a?$httpMethod=PUT' }, more: [ORIGIN, ASKED] },
  ] as const)('is not $changes with $more', ({ changes, more }) => {
    expect(parsed(changes, more).isPreflight()).toBe(false);
  });
});

describe('another path that a request names', () => {
  const ROUTES = [
    route('/admin', 'grant', { roles: ['admin'] }),
    route('/pub/secret', 'grant'),
    route('/mine', 'authenticated'),
    route('/pub', 'public'),
  ];
  const copy = (destination: string, from = '/pub/x', more: Pairs = []): string => {
    const request = parse({ 'X-Forwarded-Method': 'COPY', 'X-Forwarded-Uri': from }, [
      ['Destination', destination],
      ...more,
    ]);
    if ('problem' in request) {
      return 'refused';
    }
    const rule = request.route(ROUTES);
    return rule === undefined ? 'refused' : [rule?.access ?? 'grant', ...(rule?.roles ?? [])].join(' ');
  };

  test.each([
    ['/pub/y', 'public'],
    ['https://wiki.example.com/pub/y%20z', 'public'],
    ['http://WIKI.example.com:8443/pub/y?z', 'public'],
    ['y.txt', 'grant'],
    ['/pub/a b.txt', 'public'],
    ['/pub/caf\xc3\xa9', 'public'],
    ['/mine/x', 'authenticated'],
    ['/elsewhere', 'grant'],
    ['/admin/planted', 'grant admin'],
    ['/admin.txt', 'grant admin'],
    ['https://wiki.example.com/admin', 'grant admin'],
    ['https://wiki.example.com', 'grant admin'],
    ['/pub', 'grant'],
    ['/pub/', 'grant'],
    ['/', 'grant admin'],
    ['/pub/../admin/x', 'refused'],
    ['/pub/%2e%2e/admin', 'refused'],
    ['//x/admin', 'refused'],
    ['../admin/x', 'refused'],
    ['https://other.example.com/pub/y', 'refused'],
    ['https://wiki.example.com@evil.test/pub', 'refused'],
    ['https:///pub', 'refused'],
    ['/pub/y#z', 'refused'],
    ['/pub/\ty', 'refused'],
    ['/pub/' + 'y'.repeat(8_192), 'refused'],
  ])('to %j needs what both paths need: %s', (destination, expected) => {
    expect(copy(destination)).toBe(expected);
  });

  test('what is moved or copied with all below it needs what is needed there', () => {
    expect(copy('/pub/y', '/pub')).toBe('grant');
    expect(copy('/pub/y', '/')).toBe('grant admin');
    expect(copy('/pub/y', '/pub/secretary')).toBe('public');
    expect(copy('/pub/y', '/admin')).toBe('grant admin');
  });

  test('counts under every method, and for every header that names one', () => {
    for (const name of ['Destination', 'X-Copy-From', 'X-Amz-Copy-Source', 'dESTINATION']) {
      for (const method of ['COPY', 'MOVE', 'PUT', 'POST', 'GET']) {
        const request = parsed({ 'X-Forwarded-Method': method, 'X-Forwarded-Uri': '/pub/x' }, [[name, '/admin/x']]);
        expect(request.route(ROUTES)?.roles).toEqual(['admin']);
      }
    }
    expect(copy('/pub/y', '/pub/x', [['Destination', '/pub/y']])).toBe('refused');
    expect(copy('/pub/y', '/pub/x', [['X-Copy-From', '/mine/a']])).toBe('authenticated');
  });

  const needs = (method: string, uri: string, more: Pairs = []): string => {
    const rule = parsed({ 'X-Forwarded-Method': method, 'X-Forwarded-Uri': uri }, more).route(ROUTES);
    return [rule?.access ?? 'grant', ...(rule?.roles ?? [])].join(' ');
  };

  test('what is deleted, listed or locked with all below it needs what is needed there', () => {
    for (const [method, more] of [
      ['DELETE', []],
      ['DELETE', [['Depth', '0']]],
      ['PROPFIND', []],
      ['PROPFIND', [['Depth', 'infinity']]],
      ['LOCK', []],
      ['PROPFIND', [['Depth', '1, infinity']]],
      [
        'PROPFIND',
        [
          ['Depth', '1'],
          ['dEPTH', 'infinity'],
        ],
      ],
    ] as readonly (readonly [string, Pairs])[]) {
      expect(needs(method, '/pub', more), method).toBe('grant');
      expect(needs(method, '/pub/', more), method).toBe('grant');
      expect(needs(method, '/%70ub', more), method).toBe('grant');
      expect(needs(method, '/', more), method).toBe('grant admin');
      expect(needs(method, '/pub/x', more), method).toBe('public');
      expect(needs(method, '/pub/secretary', more), method).toBe('public');
    }
  });

  test('what is done to one path alone needs nothing of what lies below it', () => {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'OPTIONS', 'MKCOL', 'PROPPATCH']) {
      expect(needs(method, '/pub/'), method).toBe('public');
    }
    for (const depth of ['0', '1']) {
      expect(needs('PROPFIND', '/pub/', [['Depth', depth]])).toBe('public');
    }
    expect(needs('GET', '/pub/', [['Depth', 'infinity']])).toBe('public');
  });

  test('is found once for the same routes', () => {
    const request = parsed({ 'X-Forwarded-Uri': '/pub/x' }, [['Destination', '/mine/y']]);
    expect(request.route(ROUTES)).toBe(request.route(ROUTES));
  });
});
