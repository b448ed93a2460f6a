import { describe, expect, test } from 'vitest';
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
const JWT: Pick<JwtVerifier, 'present'> = {
  present(bearer) {
    asked.push(bearer);
    return bearer === OURS ? { kind: 'unverified', token: OURS } : bearer === KNOWN ? CLAIMS : null;
  },
};
const credentialReader = createCredentialReader('gatebell', JWT);

function read(authorization: string | null, cookie?: string): PresentedCredential {
  asked = [];
  return credentialReader.read(
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

describe('the text that it is read from', () => {
  const text = (...headers: string[]): string => credentialReader.text(singleHeaders(headers));
  const SENT = [
    [],
    ['Cookie', 'other=x'],
    ['Cookie', 'gatebell='],
    ['Cookie', 'gatebell=; gatebell='],
    ['Cookie', `gatebell=${SESSION}`],
    ['Cookie', `gatebell=${SESSION}; gatebell=${TOKEN}`],
    ['Cookie', `gatebell=Bearer ${TOKEN}`],
    ['Authorization', ''],
    ['Authorization', `Bearer ${TOKEN}`],
    ['Authorization', `Bearer ${FOREIGN}`],
    ['Authorization', `Bearer ${FOREIGN}`, 'Cookie', `gatebell=${SESSION}`],
    ['Authorization', `Bearer ${KNOWN}`, 'Cookie', `gatebell=${SESSION}`],
    ['Authorization', SESSION],
  ];

  test('is the same only where the credential is', () => {
    const read = new Map<string, PresentedCredential>();
    for (const headers of SENT) {
      const credential = credentialReader.read(singleHeaders(headers));
      expect(read.get(text(...headers)) ?? credential, headers.join(' ')).toEqual(credential);
      read.set(text(...headers), credential);
    }
    expect(read.size).toBe(SENT.length - 1);
  });

  test('has no cookie in it but that of the gate', () => {
    expect(text('Cookie', `a=1; gatebell=${SESSION}; b=2`)).toBe(text('Cookie', `b=3; gatebell="${SESSION}"`));
  });
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

test('what an app is given instead is found among few JWTs; a header with more than that is ours', () => {
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
  expect(off.read(singleHeaders(['Authorization', `Bearer ${OURS}`]))).toEqual({ kind: 'bad' });
  expect(off.read(singleHeaders(['Authorization', `Bearer ${OURS}`, 'Cookie', `gatebell=${SESSION}`]))).toEqual(
    session,
  );
});
