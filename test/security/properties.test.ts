/**
 * What must hold of every input, whatever it is: of the parsers, the choice of a rule, and what is written into an
 * answer.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createCredentialReader, withoutCredential } from '../../src/auth/request/credential.js';
import { envoyDialect } from '../../src/auth/dialects/envoy.js';
import { forwardDialect } from '../../src/auth/dialects/forward.js';
import { haproxyDialect } from '../../src/auth/dialects/haproxy.js';
import { nginxDialect } from '../../src/auth/dialects/nginx.js';
import { singleHeaders } from '../../src/auth/request/headers.js';
import { interpretPath } from '../../src/auth/request/path-interpretations.js';
import { selectRoute } from '../../src/auth/request/path.js';
import { parseRequest } from '../../src/auth/request/request.js';
import { createToken, hashToken, isWellFormedToken } from '../../src/auth/token.js';
import { parseMessage } from '../../src/coherence/signal.js';
import { compileHeaders, encodeHeaderValue, renderHeader, TEMPLATE_VARIABLES } from '../../src/auth/header-template.js';
import { startAuthServer } from '../support/auth-server.js';
import { askAs, PROXY_DIALECTS } from '../support/dialects.js';
import { ALICE, APP, createMemoryReader, createWorld, route, TOKEN } from '../support/memory-facts.js';
import { spellings } from '../support/path-corpus.js';

const DIALECTS = [forwardDialect, nginxDialect, envoyDialect, haproxyDialect] as const;
const credentialReader = createCredentialReader('gatebell');

/** Text as it comes from Node's parser: Latin-1 without line ends. */
const headerText = fc.oneof(
  fc.string({ unit: 'binary-ascii', maxLength: 40 }),
  fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).map(code => String.fromCharCode(code)), maxLength: 40 }),
  fc.constantFrom('GET', 'https', APP.host, '/pub', `https://${APP.host}/pub`, '', '/', '*', '127.0.0.1', '::1'),
  spellings,
);
const headerName = fc.oneof(
  fc.constantFrom(
    ...[
      'X-Forwarded-Method',
      'X-Forwarded-Proto',
      'X-Forwarded-Host',
      'X-Forwarded-Uri',
      'X-Original-URL',
      'X-Original-Method',
    ],
    ...[
      'Host',
      'Cookie',
      'Authorization',
      'Accept',
      'Origin',
      'Access-Control-Request-Method',
      'X-Forwarded-For',
      '__proto__',
    ],
  ),
  fc.stringMatching(/^[A-Za-z_-]{1,20}$/),
);

/** All that any dialect needs. */
const WHOLE: readonly [string, string][] = [
  ['Host', 'Wiki.Example.com:443'],
  ['X-Forwarded-Method', 'GET'],
  ['X-Forwarded-Proto', 'https'],
  ['X-Forwarded-Host', 'Wiki.Example.com.'],
  ['X-Forwarded-Uri', '/caf\xe9?x'],
  ['X-Original-Method', 'POST'],
  ['X-Original-URL', 'wss://WIKI.example.com/%20?x'],
];

const ROUTES = [route('/pub', 'public')];

describe('the parser of requests', () => {
  test('never throws, and what it accepts is canonical', () => {
    const message = fc.record({
      headers: fc
        .tuple(
          fc.array(fc.nat(WHOLE.length * 3), { maxLength: 2 }),
          fc.array(fc.tuple(headerName, headerText), { maxLength: 3 }),
        )
        .map(([missing, more]) => [...WHOLE.filter((_, at) => !missing.includes(at)), ...more]),
      method: fc.oneof(fc.constantFrom('GET', 'HEAD', 'OPTIONS'), headerText),
      url: fc.oneof(
        fc.constantFrom('/auth/envoy/pub', '/auth/forward'),
        headerText.map(text => `/auth/envoy/${text}`),
      ),
      dialect: fc.constantFrom(...DIALECTS),
    });
    let accepted = 0;
    fc.assert(
      fc.property(message, ({ headers, method, url, dialect }) => {
        const own = singleHeaders(headers.flat());
        const request = parseRequest(own, dialect.readTarget(own, { method, url }), credentialReader);
        if ('problem' in request) {
          expect(request.problem).not.toBe('');
          return;
        }
        accepted += 1;
        expect(request.host).toMatch(/^[a-z0-9_.-]{1,253}$/);
        expect(request.port).toMatch(/^(:\d{1,5})?$/);
        expect(request.method).toMatch(/^[A-Z][A-Z0-9_-]{0,31}$/);
        expect(request.uri).toMatch(/^\/[\x21-\x7e]*$/);
        expect([null, undefined, ROUTES[0]]).toContain(request.route(ROUTES));
        expect(['none', 'bad', 'token']).toContain(request.credential().kind);
        expect([true, false]).toContain(request.isNavigation());
      }),
      { numRuns: 10_000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  test('reads again what it has accepted as the same', () => {
    const read = (host: string, uri: string): ReturnType<typeof parseRequest> => {
      const own = singleHeaders([
        'X-Forwarded-Method',
        'GET',
        'X-Forwarded-Proto',
        'HTTPS',
        'X-Forwarded-Host',
        host,
        'X-Forwarded-Uri',
        uri,
      ]);
      return parseRequest(own, forwardDialect.readTarget(own, {}), credentialReader);
    };
    fc.assert(
      fc.property(spellings, fc.constantFrom(APP.host, 'WIKI.example.com.:443', 'a.B'), (uri, host) => {
        const once = read(host, uri);
        if (!('problem' in once)) {
          const twice = read(once.host + once.port, once.uri);
          expect(JSON.stringify(twice)).toBe(JSON.stringify(once));
        }
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('the choice of a rule', () => {
  const segment = fc.constantFrom('a', 'b', 'A', 'ab', 'admin', '.x', 'x y', 'caf\xc3\xa9');
  const prefix = fc.array(segment, { maxLength: 3 }).map(segments => `/${segments.join('/')}`);
  const tables = fc
    .uniqueArray(prefix, { maxLength: 6 })
    .map(prefixes => prefixes.toSorted((one, other) => other.length - one.length).map(each => route(each, 'public')));
  const contains = (whole: readonly string[], begin: readonly string[]): boolean =>
    begin.every((each, i) => whole[i] === each);
  const split = (path: string): readonly string[] => (path === '/' ? [] : path.slice(1).split('/'));

  test('is the longest prefix that ends at a segment boundary, for a path that can be read in one way', () => {
    fc.assert(
      fc.property(tables, prefix, fc.boolean(), (routes, path, slash) => {
        const whole = slash && path !== '/' ? `${path}/` : path;
        const matching = (fold: (text: string) => string): string | null =>
          routes
            .filter(({ pathPrefix }) => contains(split(fold(whole)), split(fold(pathPrefix))))
            .toSorted((one, other) => split(other.pathPrefix).length - split(one.pathPrefix).length)[0]?.pathPrefix ??
          null;
        const [exact, folded] = [matching(text => text), matching(text => text.toLowerCase())];
        const chosen = selectRoute(routes, whole);
        // Another rule in another case is a refusal.
        if (exact === folded) {
          expect(chosen === undefined ? 'refused' : (chosen?.pathPrefix ?? null)).toBe(exact);
        } else {
          expect(chosen === undefined || chosen?.pathPrefix === exact).toBe(true);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  test('readings always hold the path itself first', () => {
    fc.assert(
      fc.property(spellings, path => {
        expect([undefined, path]).toContain(interpretPath(path)?.exact[0]);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the reader of credentials', () => {
  const cookieText = fc.string({
    unit: fc.oneof(
      fc.constantFrom('gatebell', '=', ';', '"', ' ', '\t', ',', TOKEN, 'x', '\xa0'),
      fc.string({ maxLength: 3 }),
    ),
    maxLength: 12,
  });
  const headers = fc.record({
    authorization: fc.option(headerText),
    cookie: fc.option(fc.oneof(cookieText, headerText)),
  });
  const toHeaders = ({ authorization, cookie }: { authorization: string | null; cookie: string | null }): string[] => [
    ...(authorization === null ? [] : ['Authorization', authorization]),
    ...(cookie === null ? [] : ['Cookie', cookie]),
  ];

  test('never throws, and tells of a token only if one that is well formed was sent', () => {
    fc.assert(
      fc.property(headers, sent => {
        const presented = credentialReader.read(singleHeaders(toHeaders(sent)));
        if (presented.kind === 'token') {
          const all = `${sent.authorization ?? ''} ${sent.cookie ?? ''}`.match(/gb_[0-9A-Za-z]{49}/g) ?? [];
          expect(all.map(hashToken)).toEqual(expect.arrayContaining([...presented.hashes]));
        }
      }),
      { numRuns: 10_000 },
    );
  });

  test('finds a cookie wherever it stands, quoted or not, and every other token that stands beside it', () => {
    const other = fc.constantFrom('a=b', 'gatebell2=x', 'xgatebell=y', 'a="b=c"', 'flag', '');
    fc.assert(
      fc.property(
        fc.array(other, { maxLength: 4 }),
        fc.array(other, { maxLength: 4 }),
        fc.constantFrom(TOKEN, `"${TOKEN}"`, ` ${TOKEN} `),
        fc.constantFrom('; ', ';', ' ; ', ';;'),
        fc.option(fc.constantFrom('x', '', createToken(), TOKEN)),
        (before, behind, value, separator, second) => {
          const pairs = [...before, `gatebell=${value}`, ...behind, ...(second === null ? [] : [`gatebell=${second}`])];
          const presented = credentialReader.read(singleHeaders(['Cookie', pairs.join(separator)]));
          const tokens = second === null || !isWellFormedToken(second) ? [TOKEN] : [...new Set([TOKEN, second])];
          expect(presented).toEqual({ kind: 'token', hashes: tokens.map(hashToken) });
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('leaves no credential of ours in what is passed on', () => {
    fc.assert(
      fc.property(headers, sent => {
        const rest = withoutCredential(singleHeaders(toHeaders(sent)), 'gatebell');
        const again = credentialReader.read(
          singleHeaders(['Cookie', rest.cookie, 'Authorization', rest.authorization]),
        );
        expect(again.kind).not.toBe('token');
      }),
      { numRuns: 10_000 },
    );
  });

  test('takes no text for a token but one that createToken made', () => {
    fc.assert(
      fc.property(fc.nat(51), fc.stringMatching(/^[0-9A-Za-z_]$/), (at, letter) => {
        const changed = TOKEN.slice(0, at) + letter + TOKEN.slice(at + 1);
        expect(isWellFormedToken(changed)).toBe(changed === TOKEN);
      }),
      { numRuns: 3_000 },
    );
  });
});

const rowText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.constantFrom(
    '\r\nSet-Cookie: a=b',
    'a\nb',
    '\0',
    '\u2028',
    '\u560a\u560d',
    '\udfff',
    ' x ',
    '%0d%0a',
    '{{user.id}}',
    '\x7f',
  ),
);

describe('what is written into a header', () => {
  test('is printable ASCII whatever stands in a row, and differs for texts that differ', () => {
    fc.assert(
      fc.property(rowText, rowText, (one, other) => {
        expect(encodeHeaderValue(one)).toMatch(/^[\x20-\x7e]*$/);
        // Half of a surrogate pair is no text of Postgres'.
        if (!/\p{Surrogate}/u.test(one + other)) {
          expect(encodeHeaderValue(one) === encodeHeaderValue(other)).toBe(one === other);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  test('is so in templates too, which either compile or say why not', () => {
    const template = fc.array(
      fc.oneof(fc.constantFrom('{{', '}}', ...TEMPLATE_VARIABLES.map(name => `{{${name}}}`)), rowText),
      {
        maxLength: 5,
      },
    );
    fc.assert(
      fc.property(template, rowText, (parts, value) => {
        let compiled;
        try {
          compiled = compileHeaders({ 'X-Test': parts.join('') });
        } catch (error) {
          expect(error).toMatchObject({ code: 'bad_template' });
          return;
        }
        const values = Object.fromEntries(TEMPLATE_VARIABLES.map(name => [name, value]));
        expect(renderHeader(compiled[0]!, values)).toMatch(/^[\x20-\x7e]*$/);
      }),
      { numRuns: 5_000 },
    );
  });

  test('on the wire no row makes a header of its own, on any dialect', async () => {
    const facts = createWorld();
    const server = await startAuthServer({ reader: createMemoryReader(facts), stripCredentials: true });
    const expected = new Set([
      ...[
        'x-gatebell-reason',
        'cache-control',
        'remote-user',
        'remote-name',
        'remote-email',
        'remote-groups',
        'x-gatebell-app',
      ],
      ...['x-gatebell-role', 'content-length', 'date', 'connection', 'x-test', 'cookie', 'authorization'],
    ]);
    await fc.assert(
      fc.asyncProperty(
        rowText,
        rowText,
        fc.array(rowText, { maxLength: 3 }),
        fc.constantFrom(...PROXY_DIALECTS),
        async (name, role, groups, dialect) => {
          const headers = compileHeaders({ 'X-Test': '{{user.name}}/{{grant.role}}/{{app.name}}' });
          facts.set('app', [APP.host], { ...APP, name: role, headers });
          facts.set('user', [ALICE.id], { ...ALICE, name, email: role, displayName: name, groups });
          facts.set('grant', [ALICE.id, APP.id], { role, expiresAtMs: null });
          const answer = await askAs(server, dialect, { uri: '/' }, [['Authorization', `Bearer ${TOKEN}`]]);
          expect(answer?.status).toBe(200);
          expect(new Set(Object.keys(answer?.headers ?? {}))).toEqual(expected);
          expect(Object.values(answer?.headers ?? {}).join('')).toMatch(/^[\x20-\x7e]*$/);
          expect(answer?.headers['remote-user']).toBe(encodeHeaderValue(name).trim());
        },
      ),
      { numRuns: 300 },
    );
    await server.stop();
  });
});

describe('the parser of signals', () => {
  test('never throws, and says what it understood or that it did not', () => {
    const payload = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc
        .record(
          Object.fromEntries(
            ['v', 's', 'k', 'f', 'i', 'm', 'b', 'a', 'r', 'g', '__proto__', 'x'].map(name => [
              name,
              fc.oneof(fc.constantFrom<unknown>(1, 'grant', 'user', '', null, [['7', '12']], [[]], []), fc.jsonValue()),
            ]),
          ),
          { requiredKeys: [] },
        )
        .map(value => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(payload, text => {
        const message = parseMessage(text);
        expect(['change', 'fence', 'barrier', 'acknowledgement', 'greeting', 'malformed']).toContain(message.type);
        if (message.type === 'change' && message.keys !== null) {
          expect(message.keys.every(key => key.length > 0 && key.every(part => typeof part === 'string'))).toBe(true);
        }
      }),
      { numRuns: 10_000 },
    );
  });
});
