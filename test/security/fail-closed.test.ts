/** Whatever goes wrong in the gate, nobody is let through by it. */
import { describe, expect, test } from 'vitest';
import { UnavailableError } from '../../src/coherence/errors.js';
import type { Reader } from '../../src/coherence/facts/reader.js';
import type { FactTypes } from '../../src/auth/facts.js';
import { PROXY_DIALECTS } from '../support/dialects.js';
import { ALICE, APP, createWorld, route, TOKEN } from '../support/memory-facts.js';
import { hashToken } from '../../src/auth/token.js';
import { BEARER, BROWSER, identityOf, useGate, verdictOf } from './gate.js';

const readerThat = (read: () => never | Promise<never>): { reader: Reader<FactTypes> } => ({ reader: { read } });
const throwing = (error: unknown) => (): never => {
  throw error;
};

/** What cannot be decided, and why not. */
const FAILURES = {
  'the database is down': useGate(readerThat(throwing(new UnavailableError('queue_full', 'down')))),
  'the database goes down while a request waits': useGate(
    readerThat(() => Promise.reject(new UnavailableError('queue_full', 'down'))),
  ),
  'the reader has a bug': useGate(readerThat(throwing(new TypeError('undefined is not a function')))),
  'a load rejects with nothing': useGate(readerThat(() => Promise.reject(new Error()))),
  'the app is not known yet': useGate({}, cold('app')),
  'the rules are not known yet': useGate({}, cold('route')),
};
/** The same, where only a private path needs what is lacking. */
const PRIVATE_FAILURES = {
  'the credential is not known yet': useGate({}, cold('credential')),
  'the user is not known yet': useGate({}, cold('user')),
  'the grant is not known yet': useGate({}, cold('grant')),
};

function cold(topic: keyof FactTypes): typeof createWorld {
  return () => {
    const facts = createWorld();
    facts.forget(topic);
    return facts;
  };
}

const CASES = PROXY_DIALECTS.flatMap(dialect => [
  ...Object.entries(FAILURES).map(([why, gate]) => ({ name: dialect.name, dialect, why, gate, uris: ['/pub', '/'] })),
  ...Object.entries(PRIVATE_FAILURES).map(([why, gate]) => ({ name: dialect.name, dialect, why, gate, uris: ['/'] })),
]);

describe('fail open (CVE-2026-54762) never happens', () => {
  test.each(CASES)('when $why on $name', async ({ dialect, gate, uris }) => {
    for (const uri of uris) {
      for (const client of [BEARER, [], [...BEARER, ...BROWSER]]) {
        const answer = await gate.ask(dialect, { uri }, client);
        // Who presents nothing is told so where only the credential could be lacking.
        expect(['unavailable', 'no_credential'], uri).toContain(answer.headers['x-gatebell-reason']);
        if (client.length > 0) {
          expect(answer.status).toBe(dialect.statusOf(503));
        }
        expect(identityOf(answer)).toEqual([]);
        expect(answer.headers['cache-control']).toBe('no-store');
      }
    }
  });

  const broken = createBroken();
  test.each(PROXY_DIALECTS)('when a row cannot be understood, on $name', async dialect => {
    for (const host of ['badapp.example.com', 'badroute.example.com', 'off.example.com']) {
      for (const uri of ['/pub', '/']) {
        expect(verdictOf(await broken.ask(dialect, { host, uri }, BEARER))).toBe('403 disabled_app');
      }
    }
    expect(verdictOf(await broken.ask(dialect, { uri: '/pub' }))).toBe('200 public');
  });

  test.each(PROXY_DIALECTS)('when the request cannot be parsed, on $name', async dialect => {
    const gate = broken;
    for (const { status = 400 as const, ...target } of [
      { uri: '/pub#x' },
      { uri: '/pub%zz' },
      { uri: '/pub/%2e%2e/x' },
      { uri: `/pub/${'x'.repeat(8_200)}`, status: 414 as const },
      { proto: 'ftp' },
      { proto: 'javascript' },
      { host: 'a b' },
    ]) {
      const answer = await gate.ask(dialect, target, BEARER);
      expect([status, dialect.statusOf(status)], JSON.stringify(target).slice(0, 60)).toContain(answer.status);
      expect(identityOf(answer)).toEqual([]);
    }
  });
});

function createBroken(): ReturnType<typeof useGate> {
  return useGate({}, () => {
    const facts = createWorld();
    const rules = [route('/pub', 'public'), route('/', 'authenticated')];
    facts.set('app', ['badapp.example.com'], { ...APP, id: '20', host: 'badapp.example.com', problem: 'a bad header' });
    facts.set('route', ['20'], { problem: null, routes: rules });
    facts.set('app', ['badroute.example.com'], { ...APP, id: '21', host: 'badroute.example.com' });
    facts.set('route', ['21'], { problem: 'a bad header', routes: rules });
    facts.set('app', ['off.example.com'], { ...APP, id: '22', host: 'off.example.com', enabled: false });
    facts.set('route', ['22'], { problem: null, routes: rules });
    facts.set('credential', [hashToken(TOKEN)], { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: null });
    return facts;
  });
}
