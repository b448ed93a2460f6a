/**
 * Tokens: `gb_`, 43 base62 characters that carry 256 random bits, and 6 that carry a CRC-32 of all before, so that a
 * mistyped or made-up one is refused without a query. Only the SHA-256 of the whole is stored: a random secret needs no
 * slow hash.
 */
import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PREFIX = 'gb_';
const SECRET_BYTES = 32;
const SECRET_CHARACTERS = 43;
const CHECKSUM_CHARACTERS = 6;
const FORM = /^gb_[0-9A-Za-z]{49}$/;

function base62(value: bigint, characters: number): string {
  let text = '';
  for (let rest = value; text.length < characters; rest /= 62n) {
    text = ALPHABET[Number(rest % 62n)]! + text;
  }
  return text;
}

/** The same for a number of 32 bits: big ones take twice as long as the hash. */
function checksum(body: string): string {
  let text = '';
  for (let rest = crc32(body); text.length < CHECKSUM_CHARACTERS; rest = Math.floor(rest / 62)) {
    text = ALPHABET[rest % 62]! + text;
  }
  return text;
}

/** A fresh token. Show it once; store only {@link hashToken} of it. */
export function createToken(): string {
  const secret = BigInt('0x' + randomBytes(SECRET_BYTES).toString('hex'));
  const body = PREFIX + base62(secret, SECRET_CHARACTERS);
  return body + checksum(body);
}

/** Whether the text claims to be a token of ours. */
export function looksLikeToken(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** Whether the text has the form of a token, and its checksum is right. */
export function isWellFormedToken(text: string): boolean {
  return FORM.test(text) && text.endsWith(checksum(text.slice(0, -CHECKSUM_CHARACTERS)));
}

/** SHA-256 of the token in hexadecimal: the key of its credential. */
export function hashToken(token: string): string {
  return hash('sha256', token, 'hex');
}
