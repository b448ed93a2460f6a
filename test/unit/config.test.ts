import { describe, expect, test } from 'vitest';
import { CONFIG_FLAGS, CONFIG_VARIABLES, ConfigError, namesDatabase, readConfig } from '../../src/config.js';

const problems = (flags: Parameters<typeof readConfig>[0], env: NodeJS.ProcessEnv): string => {
  try {
    readConfig(flags, env);
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
};

test('without anything, the defaults of the documentation', () => {
  const config = readConfig({}, {});
  expect(config).toMatchObject({
    databaseUrl: null,
    listenUrl: null,
    host: '127.0.0.1',
    port: 4280,
    opsPort: 4281,
    leaseMs: 3000,
    fenceIntervalMs: 1000,
    auditIntervalMs: 10_000,
    poolMax: 4,
    channel: 'gatebell',
    cookie: 'gatebell',
    loginUrl: null,
  });
  expect(config.replica).toMatch(/^[\x21-\x7e]{1,48}$/);
  for (const [address, family] of [
    ['127.0.0.1', 'ipv4'],
    ['127.8.9.1', 'ipv4'],
    ['::1', 'ipv6'],
    ['::ffff:127.0.0.1', 'ipv6'],
  ] as const) {
    expect(config.trustedProxies.check(address, family), address).toBe(true);
  }
  expect(config.trustedProxies.check('10.0.0.1')).toBe(false);
});

test('flags win over the environment, the environment over defaults, and an empty variable is none', () => {
  expect(readConfig({ port: '1' }, { GATEBELL_PORT: '2' }).port).toBe(1);
  expect(readConfig({}, { GATEBELL_PORT: '2' }).port).toBe(2);
  expect(readConfig({}, { GATEBELL_PORT: '' }).port).toBe(4280);
});

describe('a bad value is refused with its name, the value and what is allowed:', () => {
  test.each([
    [{ GATEBELL_PORT: '65536' }, 'GATEBELL_PORT is "65536"; allowed: a whole number from 0 to 65535'],
    [{ GATEBELL_PORT: '1e3' }, 'GATEBELL_PORT is "1e3"'],
    [{ GATEBELL_PORT: '-1' }, 'GATEBELL_PORT is "-1"'],
    [{ GATEBELL_OPS_PORT: 'x' }, 'GATEBELL_OPS_PORT is "x"'],
    [{ GATEBELL_HOST: 'example.com' }, 'GATEBELL_HOST is "example.com"; allowed: an IP address or localhost'],
    [{ GATEBELL_LEASE_MS: '0' }, 'GATEBELL_LEASE_MS is "0"'],
    [{ GATEBELL_FENCE_INTERVAL_MS: '1501' }, 'at most half of GATEBELL_LEASE_MS, which is 3000'],
    [{ GATEBELL_POOL_MAX: '1' }, 'GATEBELL_POOL_MAX is "1"; allowed: a whole number from 2 to 100'],
    [{ GATEBELL_CHANNEL: 'x'.repeat(64) }, 'allowed: 1 to 63 bytes'],
    [{ GATEBELL_CHANNEL: 'é'.repeat(32) }, 'allowed: 1 to 63 bytes'],
    [{ GATEBELL_REPLICA: 'x'.repeat(49) }, 'allowed: 1 to 48 printable ASCII characters'],
    [{ GATEBELL_REPLICA: 'é' }, 'GATEBELL_REPLICA is "é"'],
    [{ GATEBELL_COOKIE: 'a;b' }, 'GATEBELL_COOKIE is "a;b"'],
    [{ GATEBELL_LOGIN_URL: 'javascript:alert(1)' }, 'allowed: an http or https URL'],
    [{ GATEBELL_LOGIN_URL: 'https://x.test/#a' }, 'GATEBELL_LOGIN_URL is'],
    [{ GATEBELL_LOGIN_URL: 'https://x.test/\r\nA: b' }, 'GATEBELL_LOGIN_URL is'],
    [{ GATEBELL_TRUSTED_PROXIES: '10.0.0.0/33' }, 'GATEBELL_TRUSTED_PROXIES is "10.0.0.0/33"'],
    [{ GATEBELL_TRUSTED_PROXIES: '10.0.0.0/8,' }, 'allowed: IP addresses and CIDR ranges'],
    [{ GATEBELL_TRUSTED_PROXIES: 'proxy' }, 'GATEBELL_TRUSTED_PROXIES is "proxy"'],
    [{ DATABASE_URL: 'mysql://u:hidden@h/d' }, 'DATABASE_URL is "mysql://u:***@h/d"'],
    [{ GATEBELL_OPS_PORT: '4280' }, 'GATEBELL_OPS_PORT is "4280"; allowed: another port than GATEBELL_PORT'],
    [{ GATEBELL_PROXY_SECRET: 'hidden' }, 'GATEBELL_PROXY_SECRET is "***"; allowed: 16 to 256 printable'],
    [{ GATEBELL_OPS_TOKEN: 'hidden by this line\n' }, 'GATEBELL_OPS_TOKEN is "***"'],
    [{ GATEBELL_UNKNOWN_APP_STATUS: '500' }, 'GATEBELL_UNKNOWN_APP_STATUS is "500"; allowed: 403 or 404'],
    [{ GATEBELL_STRIP_CREDENTIALS: 'yes' }, 'GATEBELL_STRIP_CREDENTIALS is "yes"; allowed: true or false'],
    [{ GATEBELL_LOG_LEVEL: 'loud' }, 'allowed: debug, info, warn or error'],
  ])('%o', (env, says) => {
    const message = problems({}, env);
    expect(message).toContain(says);
    expect(message).not.toContain('hidden');
  });

  test('all of them at once, and flags by their own name', () => {
    expect(problems({ port: 'x' }, { GATEBELL_POOL_MAX: 'y' }).split('\n')).toEqual([
      '--port is "x"; allowed: a whole number from 0 to 65535; 0 takes any free port',
      'GATEBELL_POOL_MAX is "y"; allowed: a whole number from 2 to 100',
    ]);
  });
});

test('every variable has a flag, and a line of help that names it', () => {
  expect(CONFIG_VARIABLES.length).toBeGreaterThanOrEqual(CONFIG_FLAGS.length);
  for (const variable of CONFIG_VARIABLES) {
    expect(
      CONFIG_FLAGS.some(({ help }) => help.includes(variable)),
      variable,
    ).toBe(true);
  }
});

test("a database is named by DATABASE_URL or by libpq's variables", () => {
  expect(namesDatabase({ databaseUrl: 'postgres://x' }, {})).toBe(true);
  expect(namesDatabase({ databaseUrl: null }, { PGHOST: 'x' })).toBe(true);
  expect(namesDatabase({ databaseUrl: null }, { PGHOST: '' })).toBe(false);
});
