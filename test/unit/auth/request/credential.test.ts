import { expect, test } from 'vitest';
import {
  createCredentialReader,
  withoutCredential,
  type PresentedCredential,
} from '../../../../src/auth/request/credential.js';
import { singleHeaders } from '../../../../src/auth/request/headers.js';
import type { JwtPresented, JwtVerifier } from '../../../../src/auth/jwt/verifier.js';
import { createToken, hashToken } from '../../../../src/auth/token.js';

const OURS = 'eyJ.ours.x';
const KNOWN = 'eyJ.known.x';
const LATELY = 'eyJ.lately.x';
const FOREIGN = 'eyJ.foreign.x';
const CLAIMS = {
  kind: 'jwt',
  issuer: 'issuer',
  subject: 'a',
  userId: null,
  name: 'alice',
  jti: null,
  issuedAtMs: null,
  validFromMs: 0,
  validUntilMs: 1,
} satisfies JwtPresented;
const TOKEN = createToken();
const SESSION = createToken();

let asked: string[] = [];
const JWT: Pick<JwtVerifier, 'present' | 'recall'> = {
  recall: bearer => (bearer === LATELY ? CLAIMS : undefined),
  present(bearer) {
    asked.push(bearer);
    return bearer === OURS ? { kind: 'unverified', token: OURS } : bearer === KNOWN ? CLAIMS : null;
  },
};
const readCredential = createCredentialReader('gatebell', JWT);

function read(authorization: string | null, cookie?: string): PresentedCredential {
  asked = [];
  return readCredential(
    singleHeaders([
      ...(authorization === null ? [] : ['Authorization', authorization]),
      ...(cookie === undefined ? [] : ['Cookie', `gatebell=${cookie}`]),
    ]),
  );
}

const session = { kind: 'token', hashes: [hashToken(SESSION)] };

test('a JWT of ours wins over the cookie, verified or not', () => {
  expect(read(`Bearer ${OURS}`, SESSION)).toEqual({ kind: 'unverified', token: OURS });
  expect(read(`bearer  ${KNOWN} `, SESSION)).toBe(CLAIMS);
});

test('one that was seen lately is known at once', () => {
  expect(read(`Bearer ${LATELY}`, SESSION)).toBe(CLAIMS);
  expect(asked).toEqual([]);
});

test("another issuer's JWT is the app's own business where there is a cookie, else it is bad", () => {
  expect(read(`Bearer ${FOREIGN}`, SESSION)).toEqual(session);
  expect(read(`Bearer ${FOREIGN}`)).toEqual({ kind: 'bad' });
});

test('a token of our own form is no JWT, nor is what is in the cookie', () => {
  expect(read(`Bearer ${TOKEN}`)).toEqual({ kind: 'token', hashes: [hashToken(TOKEN)] });
  expect(asked).toEqual([]);
  expect(read(null, SESSION)).toEqual(session);
  expect(read(null, OURS)).toEqual({ kind: 'bad' });
  expect(read(`Basic ${OURS}`, SESSION)).toEqual(session);
  expect(asked).toEqual([]);
});

test('what an app is given instead holds no JWT of ours, and every other', () => {
  const left = (bearer: string, jwt: typeof JWT | null = JWT): string =>
    withoutCredential(singleHeaders(['Authorization', `Bearer ${bearer}`]), 'gatebell', jwt).authorization;
  expect(left(OURS)).toBe('');
  expect(left(KNOWN)).toBe('');
  expect(left(FOREIGN)).toBe(`Bearer ${FOREIGN}`);
  expect(left(OURS, null)).toBe(`Bearer ${OURS}`);
});

test('what an app is given instead is found among few JWTs, wherever it stands; a header with more than anybody needs is ours', () => {
  const left = (authorization: string): string => {
    asked = [];
    return withoutCredential(singleHeaders(['Authorization', authorization]), 'gatebell', JWT).authorization;
  };
  for (const ours of [TOKEN, OURS, KNOWN, 'gb_x']) {
    for (const header of [
      `${FOREIGN} ${ours}`,
      `a="${ours}"`,
      `Digest x=${ours},y`,
      `\t${ours};`,
      `Basic\u00a0${ours}`,
    ]) {
      expect(left(header), header).toBe('');
    }
  }
  for (const theirs of [
    `Bearer ${FOREIGN}`,
    `DPoP ${FOREIGN}, ${FOREIGN} ${FOREIGN};${FOREIGN}`,
    'Bearer eyJ',
    `xgb_y, x${OURS}`,
  ]) {
    expect(left(theirs)).toBe(theirs);
  }
  for (const unit of ['ey.A.,', 'eyJ.foreign.x ', 'ey', 'ey.', 'gb', 'x,', '=']) {
    left(`Bearer ${unit.repeat(15_000 / unit.length)}`);
    expect(asked.length, unit).toBeLessThanOrEqual(4);
  }
});

test('where JWTs are off, every one is foreign', () => {
  const off = createCredentialReader('gatebell');
  expect(off(singleHeaders(['Authorization', `Bearer ${OURS}`]))).toEqual({ kind: 'bad' });
  expect(off(singleHeaders(['Authorization', `Bearer ${OURS}`, 'Cookie', `gatebell=${SESSION}`]))).toEqual(session);
});
