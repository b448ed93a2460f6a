import { EncryptJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { createFlowSealer, FLOW_SECONDS, type Flow } from '../../../src/sign-in/flow.js';

const SECRET = 'the secret of the client';
const CONTEXT = 'https://id.example.com\ngatebell';
const FLOW: Flow = {
  state: 's'.repeat(43),
  nonce: 'n'.repeat(43),
  codeVerifier: 'v'.repeat(43),
  redirectUri: 'https://wiki.example.com/_gatebell/callback',
  returnTo: 'https://wiki.example.com/page',
};

test('what one replica seals another opens', async () => {
  const sealed = await createFlowSealer(SECRET, CONTEXT).seal(FLOW);
  expect(await createFlowSealer(SECRET, CONTEXT).open(sealed)).toEqual(FLOW);
  const nowhere = { ...FLOW, returnTo: null };
  const sealer = createFlowSealer(SECRET, CONTEXT);
  expect(await sealer.open(await sealer.seal(nowhere))).toEqual(nowhere);
});

test('nothing of it can be read, and no two are alike', async () => {
  const sealer = createFlowSealer(SECRET, CONTEXT);
  const [one, other] = [await sealer.seal(FLOW), await sealer.seal(FLOW)];
  expect(one).not.toBe(other);
  const bytes = one.split('.').map(part => Buffer.from(part, 'base64url').toString('latin1'));
  expect(bytes.join('')).not.toMatch(/sss|nnn|vvv|wiki/);
});

test('a cookie can hold it, also with the longest address', async () => {
  const returnTo = `https://${'a'.repeat(50)}.${'b'.repeat(50)}.example.com:12345/${'c'.repeat(1_199)}`;
  const redirectUri = `${returnTo.slice(0, 130)}/_gatebell/callback`;
  const sealed = await createFlowSealer(SECRET, CONTEXT).seal({ ...FLOW, returnTo, redirectUri });
  expect(sealed.length).toBeLessThan(3_000);
  expect(sealed).toMatch(/^[A-Za-z0-9._-]+$/);
});

describe('is refused', () => {
  test.each([
    ['with another secret', createFlowSealer(`${SECRET}.`, CONTEXT)],
    ['for another client', createFlowSealer(SECRET, `${CONTEXT}2`)],
  ])('when sealed %s', async (_, other) => {
    expect(await createFlowSealer(SECRET, CONTEXT).open(await other.seal(FLOW))).toBeNull();
  });

  test('when too old, by the clock of who opens it', async () => {
    let nowMs = 1_750_000_000_000;
    const sealer = createFlowSealer(SECRET, CONTEXT, () => nowMs);
    const sealed = await sealer.seal(FLOW);
    nowMs += FLOW_SECONDS * 1_000;
    expect(await sealer.open(sealed)).toEqual(FLOW);
    nowMs += 11_000;
    expect(await sealer.open(sealed)).toBeNull();
  });

  test('when a single character is another', async () => {
    const sealer = createFlowSealer(SECRET, CONTEXT);
    const sealed = await sealer.seal(FLOW);
    for (let at = 0; at < sealed.length - 1; at += 7) {
      const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1);
      expect(await sealer.open(changed), String(at)).toBeNull();
    }
  });

  test.each(['', 'x', '....', 'a.b.c.d.e', 'eyJhbGciOiJub25lIn0.e30.', 'é'.repeat(10)])('when it is %j', async text => {
    expect(await createFlowSealer(SECRET, CONTEXT).open(text)).toBeNull();
  });

  test('when sealed in another way, though with some key', async () => {
    const key = new Uint8Array(64);
    const sealed = await new EncryptJWT({ ...FLOW })
      .setProtectedHeader({ alg: 'dir', enc: 'A256CBC-HS512' })
      .setExpirationTime('1h')
      .encrypt(key);
    expect(await createFlowSealer(SECRET, CONTEXT).open(sealed)).toBeNull();
  });
});
