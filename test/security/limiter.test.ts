/** A client that asks for what does not exist is limited, and no other client is limited for it. */
import { describe, expect, test } from 'vitest';
import { createClientRateLimiter } from '../../src/auth/client-rate-limiter.js';
import { createToken } from '../../src/auth/token.js';
import type { Reader } from '../../src/coherence/facts/reader.js';
import type { FactTypes } from '../../src/auth/facts.js';
import type { Pairs } from '../support/auth-server.js';
import { PROXY_DIALECTS, type ProxyDialect } from '../support/dialects.js';
import { createWorld } from '../support/memory-facts.js';
import { BEARER, useGate, verdictOf } from './gate.js';

const BURST = 5;
const SOURCES_MAX = 100;

/** Nothing is in memory: every permit waits for a load. */
function coldReader(): Reader<FactTypes> {
  const facts = createWorld();
  return {
    async read(permit) {
      permit({ ...facts, get: () => undefined });
      await Promise.resolve();
      const outcome = permit(facts);
      if ('lacks' in outcome) {
        throw new Error('a fact is lacking');
      }
      return outcome.answer;
    },
  };
}

const from = (dialect: ProxyDialect, address: string): [string, string] =>
  dialect.name === 'nginx' ? ['X-Real-IP', address] : ['X-Forwarded-For', address];
const madeUp = (): Pairs => [['Authorization', `Bearer ${createToken()}`]];

describe.each(PROXY_DIALECTS)('limiter locks everyone out (CVE-2026-77561): never on $name', dialect => {
  const limits = { burst: BURST, sourcesMax: SOURCES_MAX, nowMs: () => 0 };
  const gate = useGate({ reader: coldReader(), limiter: createClientRateLimiter(limits) });
  const warm = useGate({ limiter: createClientRateLimiter({ ...limits, burst: 0 }) });
  const ask = async (address: string, client: Pairs): Promise<string> =>
    verdictOf(await gate.ask(dialect, { uri: '/me' }, [...client, from(dialect, address)]));
  const limited = `${dialect.statusOf(503)} unavailable`;

  test('a flood from one address leaves others alone, also the right credential from elsewhere', async () => {
    const heard = [];
    for (let i = 0; i < BURST + 3; i += 1) {
      heard.push(await ask('203.0.113.9', madeUp()));
    }
    expect(heard.slice(0, BURST)).toEqual(Array.from({ length: BURST }, () => '401 bad_credential'));
    expect(heard.slice(BURST)).toEqual([limited, limited, limited]);
    expect(await ask('203.0.113.10', BEARER)).toBe('200 authenticated');
    expect(await ask('198.51.100.1', madeUp())).toBe('401 bad_credential');
  });

  test('what a client claims of where it comes from makes nobody else exhausted', async () => {
    for (let i = 0; i < BURST + 3; i += 1) {
      // The proxy's own entry stands to the right of the claim.
      await ask(dialect.name === 'nginx' ? '203.0.113.20' : '192.0.2.1, 203.0.113.20', madeUp());
    }
    expect(await ask('192.0.2.1', BEARER)).toBe('200 authenticated');
    expect(await ask('203.0.113.20', madeUp())).toBe(limited);
  });

  test('from more sources than are remembered, those who ask rightly are answered', async () => {
    for (let i = 0; i < SOURCES_MAX * 2; i += 1) {
      await ask(`10.1.${i >> 8}.${i & 255}`, madeUp());
    }
    expect(await ask('10.9.9.9', BEARER)).toBe('200 authenticated');
  });

  test.each([
    '',
    'unknown',
    'fe80::1%eth0',
    '::1%1, 127.0.0.1',
    '::',
    '1.2.3',
    '1.2.3.4:80',
    '[::1]',
    ', ,',
    'x, 127.0.0.1',
    '127.0.0.1',
    '::ffff:127.0.0.1',
    '0x7f.1',
  ])("an address that is told as %j is nobody's fault", async address => {
    expect(await ask(address, BEARER)).toBe('200 authenticated');
    expect(await ask(address, madeUp())).toBe('401 bad_credential');
  });

  test('what memory can answer is never limited', async () => {
    for (let i = 0; i < BURST * 2; i += 1) {
      const client = [...madeUp(), from(dialect, '203.0.113.9')];
      expect(verdictOf(await warm.ask(dialect, { uri: '/me' }, client))).toBe('401 bad_credential');
    }
  });
});
