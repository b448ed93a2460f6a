import { expect, test } from 'vitest';
import { leastConnections, reservedConnections } from '../../../src/config/agreement.js';
import { ConfigError, readConfig } from '../../../src/config/config.js';

const JWT = {
  GATEBELL_JWT_ISSUER: 'https://issuer.test',
  GATEBELL_JWT_AUDIENCE: 'gatebell',
  GATEBELL_JWT_JWKS_URL: 'https://issuer.test/keys',
};
const SIGN_IN = {
  GATEBELL_OIDC_ISSUER: 'https://id.test',
  GATEBELL_OIDC_CLIENT_ID: 'gatebell',
  GATEBELL_OIDC_CLIENT_SECRET: 'hidden-secret-of-16',
};

test.each([
  ['neither JWTs nor sign-in', {}, 1],
  ['JWTs', JWT, 2],
  ['sign-in', SIGN_IN, 2],
  ['both', { ...JWT, ...SIGN_IN }, 2],
])('with %s, loads leave the connections for fences and writes alone', (_, env, reserved) => {
  const config = readConfig({}, env);
  expect(reservedConnections(config)).toBe(reserved);
  expect(leastConnections(config)).toBe(reserved + 1);
  const pool = { GATEBELL_POOL_MAX: String(reserved + 1) };
  expect(readConfig({}, { ...env, ...pool }).poolMax).toBe(reserved + 1);
});

test.each([
  ['GATEBELL_JWT_ISSUER', JWT],
  ['GATEBELL_OIDC_ISSUER', SIGN_IN],
])('with %s a pool of two is refused: a write and a load would leave none for fences', (name, env) => {
  expect(() => readConfig({}, { ...env, GATEBELL_POOL_MAX: '2' })).toThrow(
    new ConfigError([
      {
        name: 'GATEBELL_POOL_MAX',
        value: '2',
        allowed: `at least 3 with ${name}: one for fences, one for writes, one for loads`,
      },
    ]),
  );
});

test('a pool that was refused already is reported once', () => {
  expect(() => readConfig({}, { ...JWT, GATEBELL_POOL_MAX: 'x' })).toThrow(
    new ConfigError([{ name: 'GATEBELL_POOL_MAX', value: 'x', allowed: 'a whole number from 2 to 100' }]),
  );
});
