/**
 * Requests as they are bred: a list of pieces for each part, each piece a short text that is repeated. The same dice
 * make the same requests.
 */

/** Parts of a request that a client can choose. */
const PARTS = [
  'path',
  'query',
  'host',
  'method',
  'cookie',
  'authorization',
  'destination',
  'accept',
  'origin',
  'address',
  'others',
] as const;

type Part = (typeof PARTS)[number];

interface Piece {
  readonly text: string;
  readonly times: number;
}

/** One request. */
export type Genome = Readonly<Record<Part, readonly Piece[]>>;

/** Whole numbers below a bound. */
export type Dice = (below: number) => number;

/** Stands for a number that is another in each request: what is remembered costs less the second time. */
const FRESH = '\u0001';
/** Room for what the proxy tells, within Node's 16 kB. */
const CHARACTERS_MAX = 15_000;
const TIMES_MAX = 8_000;
const PIECES_MAX = 8;

const claims = (fields: string): string => Buffer.from(fields).toString('base64url');
const HEADER = claims('{"alg":"HS256","typ":"JWT"}');
/** Whose JWTs the gate would take. */
export const JWT_ISSUER = 'https://issuer.example.test';
const ISSUER = `"iss":"${JWT_ISSUER}"`;

const ALPHABET: Readonly<Record<Part, readonly string[]>> = {
  path: [
    ...['/', '//', '/.', '/..', '.', '..', '%2e', '%2E%2e', '%252e', '%25', '%2f', '%5c', '\\', ';', '%3b', '%20', ' '],
    ...[
      '%3f',
      '%23',
      '/pub',
      '/pub/admin',
      '/a',
      'a',
      'A',
      '%41',
      '.json',
      '.php',
      '/x.php',
      '/cgi-bin/x',
      '/index.php',
    ],
    ...[
      '%C3%A9',
      '%EF%BC%8F',
      '%EF%BC%8E',
      '%E2%80%A5',
      '%EF%B7%BA',
      '%C2%AD',
      '%C4%B1',
      '\u00c3\u00a9',
      '%F0%9D%92%9C',
    ],
    ...['%00', '%ff', '-bin/', '/..;', FRESH],
  ],
  query: ['?', '&', 'a=b&', '%2e', '\u00e9', '_method', '=', '%5F', '?x-http-method', 'long'],
  host: [
    'a.',
    'x-',
    'pub.',
    'open.example.test',
    'c0.example.test',
    'x.c3.example.test',
    '.c3.example.test',
    FRESH,
    '[::1]',
    ':443',
  ],
  method: ['GET', 'OPTIONS', 'COPY', 'M-', 'A'],
  cookie: [
    ...['a', '=', ';', '; ', ' ', '\t', '"', 'gatebell', 'gatebell=', 'gatebell=x;', 'gatebell;', 'a=b; ', '\u00a0'],
    `gatebell=gb_${'0'.repeat(49)}; `,
    `gatebell=gb_${'0'.repeat(45)}${FRESH};`,
  ],
  authorization: [
    ...['Bearer ', 'Basic ', ' ', ',', ';', '=', '"', 'ey', 'ey.', 'ey.A.', 'ey.A.,', '.', 'gb_', 'A', '\t', FRESH],
    `${HEADER}.${claims(`{${ISSUER},"n":`)}`,
    `${HEADER}.${claims(`{${ISSUER}}`)}.c2ln`,
    `${HEADER}.${claims(`{"iss":"https://elsewhere.test","sub":"alice"}`)}.c2ln `,
    claims('[[[[[[[[['),
    claims('{"a":{"a":{"a":'),
    claims(`{${ISSUER},"sub":"alice","exp":4102444800,"jti":"`),
  ],
  destination: [
    '/',
    'https://open.example.test',
    '/pub',
    '/pub/admin',
    '%2e',
    '..',
    'a',
    ' ',
    '\u00e9',
    ';',
    '%25',
    '//',
    '.php/',
  ],
  accept: ['text/html', '*/*', ',', 'TEXT/', ' '],
  origin: ['https://a.example', ',', ' ', 'null'],
  address: ['127.0.0.1', ',', ', ', '192.0.2.1', '::1', '2001:db8::', ' ', 'x', '::ffff:1.2.3.4', FRESH],
  others: [
    ...[
      'X-A: b\n',
      'Accept: text/html\n',
      'Cookie: a=b\n',
      'X_HTTP_Method_Override: x\n',
      'Access-Control-Request-Method: PUT\n',
    ],
    ...[
      'Sec-Fetch-Mode: navigate\n',
      'Content-Length: 0\n',
      'X-Copy-From: /pub/',
      '%2e',
      '..;/',
      `X-${FRESH}: y\n`,
      'A: \n',
    ],
  ],
};

/** What a browser of a user asks for all day. */
export const ORDINARY: Genome = {
  path: [{ text: '/pub/admin/assets/index-4f3a9c.js', times: 1 }],
  query: [],
  host: [{ text: 'open.example.test', times: 1 }],
  method: [{ text: 'GET', times: 1 }],
  cookie: [{ text: 'theme=dark; gatebell=USER', times: 1 }],
  authorization: [],
  destination: [],
  accept: [{ text: '*/*', times: 1 }],
  origin: [],
  address: [{ text: '203.0.113.7', times: 1 }],
  others: [
    { text: 'Sec-Fetch-Mode: no-cors\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\nReferer: https://x/\n', times: 1 },
  ],
};

/** Dice that fall the same for the same seed (mulberry32). */
export function createDice(seed: number): Dice {
  let state = seed >>> 0;
  return below => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * below);
  };
}

const pick = <T>(dice: Dice, list: readonly T[]): T => list[dice(list.length)]!;

function randomPiece(dice: Dice, part: Part): Piece {
  const text = pick(dice, ALPHABET[part]);
  const times = dice(3) === 0 ? 1 : 1 + dice(2 ** (1 + dice(13)));
  return { text, times: Math.min(times, TIMES_MAX) };
}

function changePieces(dice: Dice, part: Part, pieces: readonly Piece[]): readonly Piece[] {
  const at = dice(pieces.length + 1);
  const piece = pieces[at];
  switch (piece === undefined ? 0 : dice(6)) {
    case 0:
      return [...pieces.slice(0, at), randomPiece(dice, part), ...pieces.slice(at)].slice(-PIECES_MAX);
    case 1:
      return pieces.toSpliced(at, 1);
    case 2:
      return pieces.with(at, { ...piece!, times: Math.min(TIMES_MAX, piece!.times * (1 + dice(4))) });
    case 3:
      return pieces.with(at, { ...piece!, times: 1 + dice(piece!.times) });
    case 4:
      // Two pieces become one that is repeated as a whole.
      return [
        ...pieces.slice(0, at),
        { text: piece!.text + pick(dice, ALPHABET[part]), times: piece!.times },
        ...pieces.slice(at + 1),
      ];
    default:
      return pieces.with(at, { ...piece!, text: pick(dice, ALPHABET[part]) });
  }
}

/** A child: parts of either, some of them changed. */
export function breed(dice: Dice, one: Genome, other: Genome): Genome {
  const child: Record<Part, readonly Piece[]> = { ...one };
  if (dice(3) === 0) {
    const part = pick(dice, PARTS);
    child[part] = other[part];
  }
  for (let changes = 1 + dice(3); changes > 0; changes -= 1) {
    const part = pick(dice, PARTS);
    child[part] = changePieces(dice, part, child[part]);
  }
  return child;
}

/**
 * The bytes of the question that a proxy asks about the request. Each call makes other numbers of what is to be fresh.
 */
export function questionBytes(genome: Genome, session: string, number: number): Buffer {
  const fresh = String(number);
  let left = CHARACTERS_MAX;
  const text = (part: Part, most: number): string => {
    let all = '';
    for (const piece of genome[part]) {
      const one = piece.text.replaceAll(FRESH, fresh).replace('USER', session);
      const room = Math.min(left, most - all.length);
      const whole = one.repeat(Math.min(piece.times, Math.ceil(room / one.length))).slice(0, room);
      all += whole;
      left -= whole.length;
    }
    return all;
  };
  const lines = [
    'GET /auth/forward HTTP/1.1',
    'Host: gate',
    `X-Forwarded-Uri: /${text('path', 8_190).replace(/^\//, '')}${text('query', 8_190)}`.slice(0, 8_192 + 17),
    `X-Forwarded-Host: ${text('host', 260)}`,
    `X-Forwarded-Method: ${text('method', 40)}`,
    'X-Forwarded-Proto: https',
  ];
  for (const [name, part] of [
    ['X-Forwarded-For', 'address'],
    ['Cookie', 'cookie'],
    ['Authorization', 'authorization'],
    ['Destination', 'destination'],
    ['Accept', 'accept'],
    ['Origin', 'origin'],
  ] as const) {
    const value = text(part, CHARACTERS_MAX);
    if (value !== '') {
      lines.push(`${name}: ${value}`);
    }
  }
  const others = text('others', CHARACTERS_MAX)
    .split('\n')
    .filter(line => /^[A-Za-z0-9_-]+:/.test(line));
  return Buffer.from([...lines, ...others, '', ''].join('\r\n'), 'latin1');
}
