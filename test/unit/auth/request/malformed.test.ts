/**
 * Ten thousand requests that nobody should send, over real connections. None may open anything, none may be the gate's
 * fault (5xx), and none may bring it down. They are the same each time; FUZZ_SEED tries others.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createToken } from '../../../../src/auth/token.js';
import {
  bytesOf,
  createConnection,
  exchange,
  startAuthServer,
  type Answer,
  type AuthServer,
  type Pairs,
} from '../../../support/auth-server.js';
import { APP, createMemoryReader, createWorld, route, TOKEN } from '../../../support/memory-facts.js';
import { spellings } from '../../../support/path-corpus.js';

const SEED = Number(process.env['FUZZ_SEED'] ?? 1);
const REQUESTS = 9_000;
const RAW_REQUESTS = 1_000;
const CONNECTIONS = 8;

let server: AuthServer;
beforeAll(async () => {
  const facts = createWorld();
  // Nothing is public and nobody has a grant: whatever is answered with 200 was let through by mistake.
  facts.set('route', [APP.id], { problem: null, routes: [route('/pub', 'grant'), route('/', 'grant')] });
  facts.set('grant', ['7', APP.id], null);
  server = await startAuthServer({ reader: createMemoryReader(facts), loginUrl: 'https://login.example.com' });
});
afterAll(() => server.stop());

const junk = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.string({ unit: 'binary-ascii', maxLength: 30 }),
  fc.string({ unit: fc.integer({ min: 0, max: 255 }).map(code => String.fromCharCode(code)), maxLength: 30 }),
  fc.constantFrom(
    '',
    ' ',
    ',',
    ';',
    '=',
    '%',
    '%00',
    '\xff',
    '{{user.name}}',
    "' or 1=1 --",
    '__proto__',
    'null',
    '[object Object]',
  ),
  fc.nat(4_000).map(length => 'x'.repeat(length)),
);
const host = fc.oneof(
  fc.constantFrom(APP.host, APP.host, APP.host.toUpperCase(), `${APP.host}.`, `${APP.host}:443`, 'unknown.example.com'),
  fc.constantFrom(
    'a@b.com',
    '[::1]',
    '..',
    'a..b',
    'a b',
    'xn--',
    '\u00fc.example',
    `${APP.host},${APP.host}`,
    'a'.repeat(300),
  ),
  junk,
);
const uri = fc.oneof(
  spellings,
  spellings,
  junk,
  junk.map(text => `/${text}`),
  fc.constantFrom('*', '/', '/x', 'http://x/y'),
);
const proto = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('https', 'http', 'wss') },
  { weight: 1, arbitrary: junk },
);
const method = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('GET', 'POST', 'HEAD') },
  { weight: 1, arbitrary: junk },
);
const token = fc.oneof(
  fc.constantFrom(TOKEN, TOKEN.slice(1), TOKEN + '0', TOKEN.toLowerCase(), 'gb_', 'eyJhbGciOiJub25lIn0.e30.'),
  fc.nat(9).map(() => createToken()),
  junk,
);
const cookie = fc.array(fc.tuple(fc.oneof(fc.constantFrom('gatebell', 'gatebell', 'a'), junk), token), {
  maxLength: 4,
});
const browser: fc.Arbitrary<Pairs> = fc.constantFrom<Pairs>([], [['Accept', 'text/html']]);
const credential: fc.Arbitrary<Pairs> = fc.oneof(
  fc.constant([]),
  token.map(text => [['Authorization', `Bearer ${text}`] as const]),
  junk.map(text => [['Authorization', text] as const]),
  cookie.map(pairs => [['Cookie', pairs.map(pair => pair.join('=')).join('; ')] as const]),
);
const others: fc.Arbitrary<Pairs> = fc.array(
  fc.tuple(
    fc.constantFrom(
      ...['Accept', 'Sec-Fetch-Mode', 'X-Requested-With', 'X_Forwarded_Host', 'X-HTTP-Method-Override', 'Remote-User'],
      ...[
        'X-Original-Url',
        'X-Forwarded-Uri',
        'X-Forwarded-Host',
        'Authorization',
        'Cookie',
        'X-Rewrite-Url',
        '__proto__',
      ],
    ),
    fc.oneof(fc.constantFrom('text/html', 'navigate', APP.host, '/pub'), junk),
  ),
  { maxLength: 3 },
);

interface Sent {
  readonly path: string;
  readonly headers: Pairs;
  readonly drop: number;
}
/** A request with some parts as they should be, and some not. */
const sent: fc.Arbitrary<Sent> = fc
  .record({
    host: fc.oneof(fc.constant(APP.host), host),
    uri: fc.oneof(fc.constant('/x'), uri),
    proto: fc.oneof({ weight: 4, arbitrary: fc.constant('https') }, { weight: 1, arbitrary: proto }),
    method: fc.oneof({ weight: 4, arbitrary: fc.constant('GET') }, { weight: 1, arbitrary: method }),
    credential,
    browser,
    others: fc.oneof({ weight: 2, arbitrary: fc.constant<Pairs>([]) }, { weight: 1, arbitrary: others }),
    drop: fc.nat(40),
    isNginx: fc.boolean(),
  })
  .map(({ host, uri, proto, method, credential, browser, others, drop, isNginx }) => {
    const target: Pairs = isNginx
      ? [
          ['X-Original-Method', method],
          ['X-Original-URL', `${proto}://${host}${uri}`],
        ]
      : [
          ['X-Forwarded-Method', method],
          ['X-Forwarded-Proto', proto],
          ['X-Forwarded-Host', host],
          ['X-Forwarded-Uri', uri],
        ];
    const headers = [...target, ...credential, ...browser, ...others];
    return { path: isNginx ? '/auth/nginx' : '/auth/forward', headers, drop };
  });

/** Removes one header sometimes, and what would end the header: that is for the raw requests. */
function tame({ path, headers, drop }: Sent): string {
  const kept = headers.filter((_, index) => index !== drop);
  const oneLine = kept.map(
    ([name, value]) => [name, value.replace(/[\r\n]/g, '').replace(/[^\0-\xff]/g, '?')] as const,
  );
  return bytesOf(path, oneLine, 'GET', 'keep-alive');
}

/** What is wrong with an answer; null if nothing is. */
function fault(request: string, answer: Answer | null): string | null {
  if (answer === null) {
    return 'no answer';
  }
  const reason = answer.headers['x-gatebell-reason'];
  // What is not HTTP, such as a control character in a header, is answered the same way on all paths.
  const isUnparsed = reason === 'bad_request' && /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(request);
  const allowed = isUnparsed ? [400, 403] : request.includes(' /auth/nginx ') ? [401, 403] : [302, 400, 401, 403];
  if (!allowed.includes(answer.status)) {
    return `${answer.status} ${reason}`;
  }
  const location = answer.headers['location'];
  if (location !== undefined && new URL(new URL(location).searchParams.get('rd')!).hostname !== APP.host) {
    return `leads to ${location}`;
  }
  return 'remote-user' in answer.headers ? 'tells an identity' : null;
}

test(`${REQUESTS} malformed requests are refused, and none is the gate's fault`, async () => {
  const requests = fc.sample(sent, { numRuns: REQUESTS, seed: SEED }).map(tame);
  const faults: string[] = [];
  const seen = new Map<string, number>();
  let next = 0;
  const work = async (): Promise<void> => {
    const connection = createConnection(server.port);
    while (next < requests.length) {
      const request = requests[next++]!;
      const answer = await connection.send(request);
      const kind = `${answer?.status} ${answer?.headers['x-gatebell-reason'] ?? 'of Node'}`;
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
      const found = fault(request, answer);
      if (found !== null) {
        faults.push(`${found}: ${JSON.stringify(request)}`);
      }
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, work));

  expect(faults.slice(0, 5)).toEqual([]);
  expect([...seen.values()].reduce((sum, count) => sum + count, 0)).toBe(REQUESTS);
  // They are of many kinds: a generator that only ever makes one would prove little.
  const kinds = ['400 bad_request', '401 no_credential', '401 bad_credential', '403 unknown_app', '403 no_grant'];
  expect([...seen.keys()]).toEqual(expect.arrayContaining([...kinds, '403 bad_request', '302 no_credential']));
  expect(server.observed.some(({ event }) => event === 'decision_failed')).toBe(false);
});

test(`${RAW_REQUESTS} raw requests with line ends inside are refused, one and all`, async () => {
  const wild = fc.tuple(sent, fc.constantFrom('\r\n', '\n', '\r', '\r\n\r\n', '\0', '\x0b'), fc.nat(200), junk);
  const requests = fc.sample(wild, { numRuns: RAW_REQUESTS, seed: SEED }).map(([request, insert, at, text]) => {
    const bytes = tame(request).replace('keep-alive', 'close');
    const where = at % bytes.length;
    return bytes.slice(0, where) + insert + text + bytes.slice(where) + '\r\n\r\n';
  });
  const opened: string[] = [];
  let answered = 0;
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < requests.length) {
      const request = requests[next++]!;
      // A reset is an answer as well: Node closes on what it cannot read while bytes are still coming.
      const text = await exchange(server.port, request).catch(() => '');
      const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d+) /gm)].map(([, status]) => Number(status));
      answered += statuses.length > 0 ? 1 : 0;
      if (statuses.some(status => status === 200 || status >= 500) || /^remote-user/im.test(text)) {
        opened.push(`${statuses.join()}: ${JSON.stringify(request)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, work));
  expect(opened.slice(0, 5)).toEqual([]);
  expect(answered).toBeGreaterThan(RAW_REQUESTS / 2);
});

test('the server still answers after all of that', async () => {
  const headers: Pairs = [
    ['X-Forwarded-Method', 'GET'],
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Host', APP.host],
    ['X-Forwarded-Uri', '/'],
  ];
  expect((await server.ask('/auth/forward', headers)).headers['x-gatebell-reason']).toBe('no_credential');
});
