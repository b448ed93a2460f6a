/**
 * Requests that are dear by design: what cost hundreds of ordinary ones once, and what would without a bound of its
 * own.
 */
import { ORDINARY, type Genome } from './genome.js';

const piece = (text: string, times: number): Genome['path'] => [{ text, times }];

const PARTS: Readonly<Record<string, Partial<Genome>>> = {
  'a path with many readings': { path: piece('/pub/a;%2fb/%2e%2e\\/%20.', 64) },
  'a path of folded characters': { path: piece('/%EF%B7%BA', 800) },
  'a path of escapes': { path: piece('/%C3%A9', 1_100) },
  'an Authorization of words that may be JWTs': { authorization: piece('ey.A.,', 2_500) },
  'a JWT of nested arrays': { authorization: piece(`ey.${Buffer.from('['.repeat(3_000)).toString('base64url')}.x`, 1) },
  'a Cookie of empty pairs': { cookie: piece(';', 15_000) },
  'a Cookie of pairs of our name': { cookie: piece('gatebell=x;', 1_300) },
  'an X-Forwarded-For of proxies': { address: piece('127.0.0.1,', 1_400) },
  'a URI of raw bytes': {
    query: [
      { text: '?', times: 1 },
      { text: '\u00e9', times: 8_000 },
    ],
  },
  'a Destination of many readings': { destination: piece('/pub/a;%2fb/%2e%2e\\/%20.', 64) },
};

/** By what is dear in them. */
export const KNOWN_DEAR: Readonly<Record<string, Genome>> = Object.fromEntries(
  Object.entries(PARTS).map(([name, parts]) => [name, { ...ORDINARY, ...parts }]),
);
