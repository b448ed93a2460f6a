/** Hundreds of spellings of private paths, most of them once a CVE somewhere. */
import fc from 'fast-check';
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
/** Each needs an order of steps of its own: parameters dropped before decoding, dots decoded but not slashes, and so on. */
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
