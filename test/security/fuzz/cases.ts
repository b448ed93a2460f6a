/**
 * The cases, each made from a seed and its number alone. A *tame* case is a request as a proxy sends it, in all its
 * variety, and its answer is known exactly; tame cases share a connection, pipelined. A *wild* case is something that
 * no proxy sends, ends its connection, and may be answered in many ways, but never by letting somebody through whose
 * credential is not in its own bytes.
 */
import { createDice, type Dice } from '../../sim/dice.js';
import { PROXY_DIALECTS, subrequestBytes, type Subrequest } from '../../support/dialects.js';
import type { Pairs } from '../../support/auth-server.js';
import {
  CLOSED_HOSTS,
  DISABLED_TOKEN,
  EXPIRED_TOKEN,
  OPEN_HOST,
  REVOKED_TOKEN,
  UNGRANTED_TOKEN,
  UNGRANTED_USER,
  UNKNOWN_TOKEN,
  USER_TOKENS,
  userName,
} from './fuzzed-apps.js';

/** A request and the answer that it must have. */
export interface TameCase {
  readonly type: 'tame';
  readonly kind: string;
  readonly bytes: string;
  readonly isHead: boolean;
  readonly expected: { readonly status: number; readonly reason: string; readonly user: string; readonly app: string };
}

/** What a client does when it has written: closes its half, resets, or waits until it is thrown out. */
export type Ending = 'half-close' | 'reset' | 'wait';

/** Bytes that no proxy sends. */
export interface WildCase {
  readonly type: 'wild';
  readonly kind: string;
  readonly bytes: string;
  /** Where the bytes are cut into writes. */
  readonly cuts: readonly number[];
  readonly ending: Ending;
  /** Whether nobody may be let through, not even by a credential that is in the bytes: it is not the request's own. */
  readonly isSmuggling: boolean;
}

export type FuzzCase = TameCase | WildCase;

/** Cases that are made together: those of one connection, or of some. A case is made again with its block. */
export const BLOCK_CASES = 16;

const PUBLIC_PATHS = ['/pub', '/pub/', '/pub/x?y=z', '/pub/caf%C3%A9', '/pub/@a%2Fb', '/pub?next=/../me', '/pub/a+b'];
const PATHS = [
  '/',
  '/x',
  '/x/y?z=1',
  '/pub/admin',
  '/pub/admin/x',
  '/publications',
  '/%E2%82%AC',
  '/a%20b',
  '/v1.2/x..y',
];
/** Of the public app they could be public or not; where one rule holds for all, they are paths as others. */
const AMBIGUOUS_PATHS = [
  '/pub/%2e%2e/x',
  '/pub/../x',
  '/pub/..;/x',
  '/pub//../x',
  '/pub/..%5cx',
  '/PUB',
  '/pub/%61dmin',
];
const MALFORMED_PATHS = ['/pub/%00', '/pub/%2500', '/pub/admin%zz', '/pub/%c0%af', '/pub/%u002e'];
/** What these do to a path they do to all that lies below it. */
const DEEP_METHODS: readonly string[] = ['DELETE', 'PROPFIND'];
/** `/pub` in any spelling, below which the open app has a guarded path. */
const PARENT_OF_GUARDED = /^\/pub\/*(?:\?.*)?$/;
const METHODS = ['GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND'];
const NOISE: Pairs = [
  ['Accept', '*/*'],
  ['Accept-Encoding', 'gzip, br'],
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64)'],
  ['X-Forwarded-For', '203.0.113.7, 127.0.0.1'],
  ['X-Real-IP', 'nonsense'],
  ['X_Forwarded_Uri', '/pub'],
  ['X-Rewrite-URL', '/pub'],
  ['Remote-User', 'root'],
  ['X-Empty', ''],
  ['X-Latin', 'caf\xe9'],
  ['If-None-Match', '"abc"'],
  ['Upgrade-Insecure-Requests', '1'],
  ['Referer', 'https://x.test/?a=b#c'],
];

const caseOf = (dice: Dice, text: string): string =>
  dice.chance(0.7) ? text : [...text].map(letter => (dice.chance(0.5) ? letter.toUpperCase() : letter)).join('');

function spellHost(dice: Dice, host: string): string {
  return caseOf(dice, host) + dice.pick(['', '', '', '.', ':443', '.:8443']);
}

interface Presented {
  readonly headers: Pairs;
  readonly token: string | null;
}

function present(dice: Dice): Presented {
  const kind = dice.integer(10);
  const at = dice.integer(USER_TOKENS.length);
  const other = dice.pick([
    EXPIRED_TOKEN,
    REVOKED_TOKEN,
    DISABLED_TOKEN,
    UNGRANTED_TOKEN,
    UNKNOWN_TOKEN,
    'gb_nonsense',
    'x',
  ]);
  const token = kind < 3 ? null : kind < 8 ? USER_TOKENS[at]! : other;
  if (token === null) {
    return {
      headers: dice.pick<Pairs>([[], [], [['Cookie', 'theme=dark']], [['Authorization', 'Basic eDp5']]]),
      token,
    };
  }
  const headers = dice.pick<Pairs>([
    [['Authorization', `Bearer ${token}`]],
    [['authorization', `bearer  ${token}`]],
    [['Cookie', `gatebell=${token}`]],
    [['Cookie', `a=b; gatebell="${token}"; c`]],
    [
      ['Cookie', `gatebell=${token}; x=${USER_TOKENS[0]!}`],
      ['Authorization', 'Bearer of-the-app'],
    ],
  ]);
  return { headers, token };
}

type Expected = TameCase['expected'];

function expectedOf(
  path: string,
  host: string,
  token: string | null,
  { isKnown, reachesBelow }: { readonly isKnown: boolean; readonly reachesBelow: boolean },
): Omit<Expected, 'app'> {
  if (!isKnown) {
    return { status: 403, reason: 'unknown_app', user: '' };
  }
  if (MALFORMED_PATHS.includes(path)) {
    return { status: 400, reason: 'bad_request', user: '' };
  }
  if (host === OPEN_HOST && AMBIGUOUS_PATHS.includes(path)) {
    return { status: 400, reason: 'bad_request', user: '' };
  }
  if (host === OPEN_HOST && PUBLIC_PATHS.includes(path) && !(reachesBelow && PARENT_OF_GUARDED.test(path))) {
    return { status: 200, reason: 'public', user: '' };
  }
  const reason = path === '/me' ? 'authenticated' : 'granted';
  switch (token) {
    case null:
      return { status: 401, reason: 'no_credential', user: '' };
    case EXPIRED_TOKEN:
      return { status: 401, reason: 'expired_credential', user: '' };
    case DISABLED_TOKEN:
      return { status: 403, reason: 'disabled_user', user: '' };
    case UNGRANTED_TOKEN:
      return path === '/me'
        ? { status: 200, reason, user: UNGRANTED_USER }
        : { status: 403, reason: 'no_grant', user: '' };
    default: {
      const at = USER_TOKENS.indexOf(token);
      return at === -1
        ? { status: 401, reason: 'bad_credential', user: '' }
        : { status: 200, reason, user: userName(at) };
    }
  }
}

/** A whole request of some user, as bytes that must not be taken for one. */
function smuggled(dice: Dice): string {
  const dialect = dice.pick(PROXY_DIALECTS.filter(({ name }) => name !== 'haproxy'));
  const target = { method: 'GET', proto: 'https', host: dice.pick(CLOSED_HOSTS), uri: '/me' };
  const client: Pairs = [['Authorization', `Bearer ${dice.pick(USER_TOKENS)}`]];
  return subrequestBytes(dialect.subrequest(target, client), 'keep-alive');
}

/** A body with its framing, right in every way. */
function bodyOf(dice: Dice): { readonly headers: Pairs; readonly bytes: string } {
  const content = dice.pick(['', 'x', '{"a":1}', 'GET / HTTP/1.1\r\n\r\n', smuggled(dice), '0\r\n\r\n']);
  if (dice.chance(0.5)) {
    return { headers: [['Content-Length', String(content.length)]], bytes: content };
  }
  const extension = dice.pick(['', ';a=b', ';a', ';x="y"']);
  const trailer = dice.pick([
    '',
    '',
    'X-Trailer: y\r\n',
    'X-Forwarded-Uri: /pub\r\n',
    `Authorization: Bearer ${USER_TOKENS[0]!}\r\n`,
  ]);
  const chunk = content === '' ? '' : `${content.length.toString(16)}${extension}\r\n${content}\r\n`;
  return { headers: [['Transfer-Encoding', dice.pick(['chunked', 'Chunked'])]], bytes: `${chunk}0\r\n${trailer}\r\n` };
}

interface Draft {
  readonly kind: string;
  readonly subrequest: Subrequest;
  readonly body: string;
  readonly expected: Expected;
}

function draft(dice: Dice, isClosed: boolean, mayHaveBody: boolean): Draft {
  const dialect = dice.pick(PROXY_DIALECTS);
  const isKnown = isClosed || dice.chance(0.95);
  const host = isKnown
    ? dice.pick(isClosed ? CLOSED_HOSTS : [...CLOSED_HOSTS, OPEN_HOST, OPEN_HOST])
    : 'nobody.example.test';
  const isPublic = host === OPEN_HOST && dice.chance(0.5);
  const uri = isPublic
    ? dice.pick(PUBLIC_PATHS)
    : dice.chance(0.05)
      ? dice.pick([...AMBIGUOUS_PATHS, ...MALFORMED_PATHS])
      : dice.pick([...PATHS, '/me', '/me']);
  const { headers, token } = present(dice);
  const method = dice.pick(METHODS);
  const isBrowser = dice.chance(0.2);
  const client: Pairs = [
    ...headers,
    ...(isBrowser ? ([['Accept', 'text/html']] as const) : []),
    ...Array.from({ length: dice.integer(4) }, () => dice.pick(NOISE)).filter(
      ([name], at, all) => (!isBrowser || name !== 'Accept') && all.findIndex(([other]) => other === name) === at,
    ),
  ];
  const target = { method, proto: dice.pick(['https', 'http', 'wss', 'HTTPS']), host: spellHost(dice, host), uri };
  const plain = dialect.subrequest(target, client);
  const body = mayHaveBody && dice.chance(0.15) ? bodyOf(dice) : { headers: [], bytes: '' };
  const decided = expectedOf(uri, host, token, { isKnown, reachesBelow: DEEP_METHODS.includes(method) });
  const isSent = decided.status === 401 && isBrowser && dialect.redirects && (method === 'GET' || method === 'HEAD');
  // Each of these is what the gate decides, as `expectedOf` says.
  const status = isSent ? 302 : dialect.statusOf(decided.status as 200);
  const app = decided.status === 200 ? (host.endsWith('c3.example.test') ? '*.c3.example.test' : host) : '';
  return {
    kind: dialect.name,
    subrequest: { ...plain, headers: [...plain.headers, ...body.headers] },
    body: body.bytes,
    expected: { ...decided, status, app },
  };
}

function tame(dice: Dice): TameCase {
  const { kind, subrequest, body, expected } = draft(dice, false, true);
  const bytes = subrequestBytes(subrequest, 'keep-alive') + body;
  return { type: 'tame', kind: `tame ${kind}`, bytes, isHead: subrequest.method === 'HEAD', expected };
}

const SPECIALS = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  '\r\n\r\n',
  '\n\n',
  ' ',
  '\t',
  ':',
  '\x0b',
  '\xff',
  '\r\n ',
  '%',
  ',',
  ';',
  '"',
  '#',
  '?',
];

/** A few bytes are changed, lost, repeated or put in. */
function mutate(dice: Dice, bytes: string): string {
  let text = bytes;
  for (let edits = 1 + dice.integer(5); edits > 0; edits -= 1) {
    const at = dice.integer(text.length + 1);
    const length = dice.integer(dice.chance(0.2) ? 60 : 4);
    const [before, after] = [text.slice(0, at), text.slice(at)];
    switch (dice.integer(6)) {
      case 0:
        text = before + String.fromCharCode(dice.integer(256)) + after.slice(1);
        break;
      case 1:
        text = before + after.slice(length);
        break;
      case 2:
        text = before + after.slice(0, length) + after;
        break;
      case 3:
        text = before + dice.pick(SPECIALS) + after;
        break;
      case 4: {
        const line = after.indexOf('\r\n');
        const next = after.indexOf('\r\n', line + 2);
        text = line === -1 || next === -1 ? text : before + after.slice(0, next) + after.slice(line);
        break;
      }
      default:
        text = before + String.fromCharCode((after.charCodeAt(0) ^ (1 << dice.integer(8))) & 0xff) + after.slice(1);
    }
  }
  return text;
}

const ODD_ENCODINGS = [
  'xchunked',
  'identity',
  'chunked, identity',
  'gzip',
  'chunked;q=1',
  '"chunked"',
  'chunked x',
  '\x0bchunked',
  'chun\xadked',
  ',',
  'gzip, chunkedx',
];

/** Where a body begins and ends is said twice, wrongly, or not at all; behind it stands a request of somebody's. */
const FRAMINGS: readonly ((inner: string, dice: Dice) => readonly [head: string, rest: string])[] = [
  inner => [`Content-Length: ${inner.length + 5}\r\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${inner}`],
  inner => [
    `Transfer-Encoding: chunked\r\nContent-Length: 4\r\n`,
    `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`,
  ],
  (inner, dice) => [`Content-Length: ${dice.pick(['0', '5'])}\r\nContent-Length: ${inner.length}\r\n`, inner],
  (inner, dice) => [
    `Content-Length: ${inner.length}\r\ncontent-length: ${dice.pick(['0', `${inner.length}`])}\r\n`,
    inner,
  ],
  (inner, dice) => [
    `Content-Length: ${dice.pick(['0, 0', '5, 5', '+0', '-0', '0x0', '-1', '1e1', '0;', '0 0', "'0'", '00x'])}\r\n`,
    inner,
  ],
  (inner, dice) => [`Transfer-Encoding: ${dice.pick(ODD_ENCODINGS)}\r\n`, `0\r\n\r\n${inner}`],
  inner => ['Transfer-Encoding : chunked\r\n', `0\r\n\r\n${inner}`],
  inner => ['Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', `0\r\n\r\n${inner}`],
  inner => ['Transfer-Encoding:\r\n chunked\r\n', `0\r\n\r\n${inner}`],
  inner => ['X: y\r\n Content-Length: 0\r\n', inner],
  inner => [`Content-Length :${inner.length}\r\n`, inner],
  inner => ['X: y\r\0\n', inner],
  inner => ['X: y\n\n', inner],
  inner => ['X: y\r\r', inner],
  inner => ['X: y\0\r\n', inner],
  inner => ['\0: y\r\n', inner],
  inner => ['X y\r\n', inner],
  inner => [': y\r\n', inner],
  inner => ['X\r\n: y\r\n', inner],
  (inner, dice) => [
    'Transfer-Encoding: chunked\r\n',
    `${dice.pick(['0x0', '+0', '-0', ' 0', 'g', '', '0_0', 'fffffffffffffffff0', '0;\n', '0\n'])}\r\n\r\n${inner}`,
  ],
  inner => ['Transfer-Encoding: chunked\r\n', `1\r\nab\r\n0\r\n\r\n${inner}`],
  inner => ['Transfer-Encoding: chunked\r\n', `1\r\na\n0\n\n${inner}`],
  inner => ['Transfer-Encoding: chunked\r\n', `2;a\nb\r\nab\r\n0\r\n\r\n${inner}`],
  inner => ['Transfer-Encoding: chunked\r\n', `0\r\nX\0: y\r\n\r\n${inner}`],
  inner => ['Transfer-Encoding: chunked\r\n', `0\r\n\n${inner}`],
  inner => [`Content-Length: ${inner.length}\r\n`, inner],
  inner => ['Transfer-Encoding: chunked\r\n', `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`],
];

function smuggle(dice: Dice): Pick<WildCase, 'kind' | 'bytes' | 'isSmuggling'> {
  const at = dice.integer(FRAMINGS.length);
  const [head, rest] = FRAMINGS[at]!(smuggled(dice), dice);
  const target = { method: 'POST', proto: 'https', host: dice.pick(CLOSED_HOSTS), uri: '/x' };
  const { method, path, headers } = dice.pick(PROXY_DIALECTS).subrequest(target);
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return {
    kind: 'smuggling',
    bytes: `${method === 'GET' ? 'POST' : method} ${path} HTTP/1.1\r\n${lines}${head}\r\n${rest}`,
    isSmuggling: true,
  };
}

const fill = (dice: Dice, length: number): string =>
  dice.pick(['x', '%2e', '../', '\xe9', ';', 'a=b; ']).repeat(length).slice(0, length);

/** Too much of something. */
function oversize(dice: Dice): string {
  const { subrequest } = draft(dice, true, false);
  const [head, ...lines] = subrequestBytes(subrequest, 'keep-alive').split('\r\n');
  const length = 1_000 + dice.integer(dice.chance(0.3) ? 70_000 : 20_000);
  switch (dice.integer(4)) {
    case 0:
      return [head, `X-Big: ${fill(dice, length)}`, ...lines].join('\r\n');
    case 1:
      return [head!.replace(/ (\S+) /, ` $1?${'y'.repeat(length)} `), ...lines].join('\r\n');
    case 2:
      return [head, ...Array.from({ length: Math.floor(length / 5) }, () => 'a:b'), ...lines].join('\r\n');
    default:
      return [head, `Cookie: ${'gatebell=x; '.repeat(Math.floor(length / 12))}`, ...lines].join('\r\n');
  }
}

const MORE_FIELDS = [
  'Host: x',
  'Host:',
  'Content-Type: x',
  'Connection: close',
  'Connection: X-Forwarded-Uri',
  'Keep-Alive: timeout=1',
  'TE: trailers',
  'Range: bytes=0-',
];
const OTHER_PATHS = [
  '*',
  '/',
  '/auth',
  '/auth/envoy',
  '/auth/envoyx/',
  '/auth/forward/',
  '/auth/nginx;',
  '/metrics',
  '/status',
  '/_gatebell/',
  '/%61uth/forward',
  '/auth//forward',
  '/../auth/forward',
];

/** Other protocols, and the corners of this one. */
const FOREIGN: readonly ((dice: Dice, request: string) => string)[] = [
  dice => `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${fill(dice, 500)}`,
  (dice, request) => `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0${request}`,
  (dice, request) =>
    request.replace('\r\n', '\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'),
  (dice, request) =>
    request
      .replace(
        '\r\n',
        '\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n',
      )
      .replace('keep-alive', 'Upgrade'),
  (dice, request) => `CONNECT ${dice.pick(CLOSED_HOSTS)}:443 HTTP/1.1\r\nHost: x\r\n\r\n${request}`,
  (dice, request) => request.replace('\r\n', '\r\nExpect: 100-continue\r\n'),
  (dice, request) => request.replace('\r\n', '\r\nExpect: the-unexpected\r\n'),
  (dice, request) =>
    request.replace(/ (\/\S*) /, ` ${dice.pick(['http://x', 'https://open.example.test', '//x', 'x:'])}$1 `),
  (dice, request) =>
    request.replace(
      'HTTP/1.1',
      dice.pick([
        'HTTP/1.0',
        'HTTP/0.9',
        'HTTP/2.0',
        'HTTP/1.2',
        'HTTP/9.9',
        'HTTP/1',
        'http/1.1',
        'ICE/1.0',
        'RTSP/1.0',
        '',
      ]),
    ),
  (dice, request) =>
    request.replace(
      /^\S+/,
      dice.pick(['get', 'TRACE', 'CONNECT', 'PRI', 'SOURCE', 'M-SEARCH', 'QUERY', 'G\0T', '', 'GETGET', '*']),
    ),
  (dice, request) => request.replace('\r\n', `\r\n${dice.pick(MORE_FIELDS)}\r\n`),
  (dice, request) => request.replace(/host: .*\r\n/i, ''),
  (dice, request) => '\r\n'.repeat(dice.integer(40)) + request,
  (dice, request) => request.replaceAll('\r\n', dice.pick(['\n', '\r', '\n\r', '\r\r\n', '\r\n\t', ' \r\n'])),
  dice => fill(dice, dice.integer(300)),
  dice => Array.from({ length: dice.integer(200) }, () => String.fromCharCode(dice.integer(256))).join(''),
  dice => `GET ${dice.pick(OTHER_PATHS)} HTTP/1.1\r\nHost: x\r\n\r\n`,
];

function wild(dice: Dice): WildCase {
  const kind = dice.integer(20);
  const base = (): string => {
    const { subrequest, body } = draft(dice, true, true);
    return subrequestBytes(subrequest, 'keep-alive') + body;
  };
  let made: Pick<WildCase, 'kind' | 'bytes' | 'isSmuggling'>;
  if (kind < 9) {
    made = { kind: 'mutated', bytes: mutate(dice, dice.chance(0.2) ? base() + base() : base()), isSmuggling: false };
  } else if (kind < 13) {
    made = smuggle(dice);
  } else if (kind < 14) {
    made = { kind: 'oversized', bytes: oversize(dice), isSmuggling: false };
  } else if (kind < 18) {
    made = { kind: 'foreign', bytes: dice.pick(FOREIGN)(dice, base()), isSmuggling: false };
  } else {
    const whole = base() + (dice.chance(0.3) ? base() : '');
    made = { kind: 'cut off', bytes: whole.slice(0, dice.integer(whole.length + 1)), isSmuggling: false };
  }
  const pieces = dice.chance(0.3) ? 1 + dice.integer(5) : 0;
  const cuts = Array.from({ length: pieces }, () => dice.integer(made.bytes.length + 1)).toSorted(
    (one, other) => one - other,
  );
  // Those who wait cost time, up to the server's limit; a few of them show whether it has one.
  // A connection on which nothing was begun is one that proxies keep.
  const mayWait = /[^\r\n]/.test(made.bytes);
  const ending = dice.chance(0.001) && mayWait ? 'wait' : dice.chance(0.1) ? 'reset' : 'half-close';
  return { type: 'wild', ...made, cuts, ending };
}

/** The cases of one connection: tame ones, and a wild one at the end perhaps. */
export interface Session {
  readonly first: number;
  readonly cases: readonly FuzzCase[];
}

/** The connections of a block. */
export function makeBlock(seed: number, block: number): readonly Session[] {
  const dice = createDice(`${seed}/${block}`);
  const sessions: Session[] = [];
  let cases: FuzzCase[] = [];
  let first = block * BLOCK_CASES;
  for (let at = 0; at < BLOCK_CASES; at += 1) {
    const isWild = dice.chance(0.25);
    cases.push(isWild ? wild(dice) : tame(dice));
    if (isWild || at === BLOCK_CASES - 1) {
      sessions.push({ first, cases });
      first += cases.length;
      cases = [];
    }
  }
  return sessions;
}
