import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { CONFIG_FLAGS, CONFIG_VARIABLES, ConfigError, namesDatabase, readConfig } from '../../../src/config/config.js';
import { createSigningKey } from '../../support/jwt-issuer.js';

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
    [{ DATABASE_URL: 'mysql://u:hidden@h/d' }, 'DATABASE_URL is "***"; allowed: a connection string'],
    [{ GATEBELL_OPS_PORT: '4280' }, 'GATEBELL_OPS_PORT is "4280"; allowed: another port than GATEBELL_PORT'],
    [{ DATABASE_URL: 'postgres://owner:pa/hidden@localhost:5432/db' }, 'DATABASE_URL is "***"'],
    [{ GATEBELL_LISTEN_URL: 'host=db user=u password=hidden' }, 'GATEBELL_LISTEN_URL is "***"'],
    [{ GATEBELL_LOGIN_URL: 'https://a:hid/den@x@login.test/' }, 'GATEBELL_LOGIN_URL is "https://***@login.test/"'],
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

describe('a Unix socket', () => {
  const LISTEN = { GATEBELL_LISTEN: 'unix:/run/gatebell/auth.sock' };

  test('takes the place of the port, with a mode and a group', () => {
    expect(readConfig({}, LISTEN)).toMatchObject({
      listenPath: '/run/gatebell/auth.sock',
      listenMode: 0o660,
      listenGroup: null,
    });
    const more = { GATEBELL_LISTEN_MODE: '600', GATEBELL_LISTEN_GROUP: 'www-data' };
    expect(readConfig({}, { ...LISTEN, ...more })).toMatchObject({ listenMode: 0o600, listenGroup: 'www-data' });
    expect(readConfig({ listenPath: 'unix:/a.sock', listenMode: '0600' }, {}).listenPath).toBe('/a.sock');
  });

  test('may take as many bytes as the system allows, and no more', () => {
    const longest = `/run/${'x'.repeat(102)}`;
    expect(readConfig({}, { GATEBELL_LISTEN: `unix:${longest}` }).listenPath).toBe(longest);
    expect(readConfig({}, { GATEBELL_LISTEN: `unix:/${'x'.repeat(98)}/s` }).listenPath).toHaveLength(101);
    expect(problems({}, { GATEBELL_LISTEN: `unix:${longest}x` })).toMatch(/at most 107 bytes; this one takes 108$/);
    expect(problems({}, { GATEBELL_LISTEN: `unix:/run/${'é'.repeat(52)}` })).toMatch(/this one takes 109$/);
    // Another name of six bytes must fit in the same directory.
    expect(problems({}, { GATEBELL_LISTEN: `unix:/${'x'.repeat(100)}/s` })).toMatch(/this one takes 108$/);
  });

  test.each([
    ['/run/gatebell/auth.sock', 'allowed: unix: and an absolute path of at most 107 bytes'],
    ['127.0.0.1:4280', 'allowed: unix: and an absolute path of at most 107 bytes'],
    ['unix:', 'this path is not absolute'],
    ['unix:auth.sock', 'this path is not absolute'],
    ['unix://auth.sock/', 'this path is that of a directory'],
    ['unix:@gatebell', 'an abstract socket has no mode, so every local user could ask as a proxy does'],
    ['unix:/run/a\u0000b', 'this path holds a control character'],
  ])('GATEBELL_LISTEN=%j is refused', (text, says) => {
    expect(problems({}, { GATEBELL_LISTEN: text })).toContain(says);
  });

  test.each(['0060', '0260', '0o660', '1777', '66', 'rw-rw----', '0688', '-660'])('mode %j is refused', text => {
    expect(problems({}, { ...LISTEN, GATEBELL_LISTEN_MODE: text })).toBe(
      `GATEBELL_LISTEN_MODE is "${text}"; allowed: an octal mode such as 0660, with which the owner may read and write`,
    );
  });

  test.each(['www data', '-1', 'a:b', '1.5', '12345678901'])('group %j is refused', text => {
    expect(problems({}, { ...LISTEN, GATEBELL_LISTEN_GROUP: text })).toContain('the name or the number of a group');
  });

  test('goes with no port, and a mode or a group with no port', () => {
    const says = 'GATEBELL_LISTEN, which names a Unix socket';
    expect(problems({}, { ...LISTEN, GATEBELL_PORT: '4280' })).toBe(
      `GATEBELL_PORT is "4280"; allowed: not with ${says}`,
    );
    expect(problems({ port: '0' }, LISTEN)).toBe(`--port is "0"; allowed: not with ${says}`);
    expect(problems({}, { GATEBELL_LISTEN_MODE: '0600', GATEBELL_LISTEN_GROUP: '33' })).toBe(
      `GATEBELL_LISTEN_MODE is "0600"; allowed: only with ${says}\n` +
        `GATEBELL_LISTEN_GROUP is "33"; allowed: only with ${says}`,
    );
    // What Kubernetes sets is no setting, and the ops port may then have any number.
    const env = { ...LISTEN, GATEBELL_PORT: 'tcp://10.96.12.34:4280', GATEBELL_OPS_PORT: '4280' };
    expect(problems({}, env)).toBe('');
  });

  test('what is wrong with it is told once', () => {
    expect(problems({}, { GATEBELL_LISTEN: 'x', GATEBELL_LISTEN_MODE: 'y', GATEBELL_PORT: 'z' }).split('\n')).toEqual([
      expect.stringContaining('GATEBELL_PORT is "z"'),
      expect.stringContaining('GATEBELL_LISTEN is "x"'),
      expect.stringContaining('GATEBELL_LISTEN_MODE is "y"'),
    ]);
  });
});

describe('JWTs', () => {
  const RSA = createSigningKey('RS256');
  const EC = createSigningKey('ES256');
  const WHO = { GATEBELL_JWT_ISSUER: 'https://issuer.test', GATEBELL_JWT_AUDIENCE: 'gatebell' };
  const URL = { GATEBELL_JWT_JWKS_URL: 'https://issuer.test/keys' };
  const SECRET = 'a secret of exactly 32 bytes, so';
  const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey;
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const pem = (key: KeyObject): string => key.export({ format: 'pem', type: 'spki' }).toString();
  const forms = 'GATEBELL_JWT_KEY is "***"; allowed: a public key as PEM or JWK (RSA of at least 2048 bits';

  test('are off without an issuer', () => {
    expect(readConfig({}, {}).jwt).toBeNull();
    expect(readConfig({}, { GATEBELL_JWT_AUDIENCE: 'x', GATEBELL_JWT_CLAIM: 'email' }).jwt).toBeNull();
  });

  test('with a key set', () => {
    expect(readConfig({}, { ...WHO, ...URL }).jwt).toEqual({
      issuer: 'https://issuer.test',
      audiences: ['gatebell'],
      keys: {
        source: 'jwks',
        url: 'https://issuer.test/keys',
        refreshMs: 600_000,
        algorithms: ['RS256', 'ES256', 'EdDSA'],
      },
      claim: 'sub',
      leewayMs: 30_000,
    });
    const more = {
      GATEBELL_JWT_AUDIENCE: 'a, https://b.test/',
      GATEBELL_JWT_ALGORITHMS: 'ES256, EdDSA',
      GATEBELL_JWT_JWKS_REFRESH_SECONDS: '5',
      GATEBELL_JWT_CLAIM: 'https://claims.test/name',
      GATEBELL_JWT_LEEWAY_SECONDS: '0',
    };
    expect(readConfig({}, { ...WHO, ...URL, ...more }).jwt).toMatchObject({
      audiences: ['a', 'https://b.test/'],
      keys: { refreshMs: 5_000, algorithms: ['ES256', 'EdDSA'] },
      claim: 'https://claims.test/name',
      leewayMs: 0,
    });
  });

  test.each([
    ['PEM', RSA.text, {}, 'RS256'],
    ['PEM', EC.text, {}, 'ES256'],
    ['JWK', JSON.stringify(createSigningKey('EdDSA').jwk), {}, 'EdDSA'],
    ['secret', SECRET, { GATEBELL_JWT_ALGORITHMS: 'HS256' }, 'HS256'],
    ['JWK', JSON.stringify({ kty: 'oct', k: 'A'.repeat(43) }), { GATEBELL_JWT_ALGORITHMS: 'HS256' }, 'HS256'],
  ])('with one key, a %s %#, for its own algorithm alone', (_, text, more, algorithm) => {
    const keys = { source: 'key', key: { algorithm } };
    expect(readConfig({}, { ...WHO, ...more, GATEBELL_JWT_KEY: text }).jwt?.keys).toMatchObject(keys);
    const fromFile = readConfig({}, { ...WHO, ...more, GATEBELL_JWT_KEY_FILE: '/key' }, () => `${text}\n`);
    expect(fromFile.jwt?.keys).toMatchObject(keys);
    expect(readConfig({ jwtKey: '/key' }, { ...WHO, ...more }, () => text).jwt?.keys).toMatchObject(keys);
  });

  test.each<[what: string, env: NodeJS.ProcessEnv, says: string]>([
    [
      'no audience',
      { GATEBELL_JWT_ISSUER: 'x', ...URL },
      'GATEBELL_JWT_AUDIENCE is ""; allowed: whom the JWTs are for',
    ],
    ['an empty audience', { ...WHO, ...URL, GATEBELL_JWT_AUDIENCE: 'a,' }, 'GATEBELL_JWT_AUDIENCE is "a,"'],
    ['no key', WHO, 'GATEBELL_JWT_KEY is ""; allowed: a public key as PEM or JWK'],
    ['a key, but no issuer', { GATEBELL_JWT_KEY: RSA.text }, 'GATEBELL_JWT_ISSUER is ""; allowed: the issuer'],
    ['a key set, but no issuer', URL, 'GATEBELL_JWT_ISSUER is ""'],
    ['a key and a key set', { ...WHO, ...URL, GATEBELL_JWT_KEY: RSA.text }, 'not both'],
    ['a key and a file', { ...WHO, GATEBELL_JWT_KEY: RSA.text, GATEBELL_JWT_KEY_FILE: '/x' }, 'not both'],
    [
      'a file that is not there',
      { ...WHO, GATEBELL_JWT_KEY_FILE: '/no/such/file' },
      'GATEBELL_JWT_KEY_FILE is "/no/such/file"',
    ],
    [
      'HS256 with a key set',
      { ...WHO, ...URL, GATEBELL_JWT_ALGORITHMS: 'HS256' },
      'a key set is public, a shared secret is not',
    ],
    [
      'HS256 with a public key',
      { ...WHO, GATEBELL_JWT_ALGORITHMS: 'HS256', GATEBELL_JWT_KEY: RSA.text },
      'GATEBELL_JWT_ALGORITHMS is "HS256"; allowed: RS256',
    ],
    [
      'a secret without HS256',
      { ...WHO, GATEBELL_JWT_KEY: SECRET },
      'allowed: HS256 with this GATEBELL_JWT_KEY, which is a shared secret',
    ],
    [
      'a secret with RS256',
      { ...WHO, GATEBELL_JWT_ALGORITHMS: 'RS256', GATEBELL_JWT_KEY: SECRET },
      'GATEBELL_JWT_ALGORITHMS is "RS256"; allowed: HS256',
    ],
    [
      'a P-256 key with RS256',
      { ...WHO, GATEBELL_JWT_ALGORITHMS: 'RS256', GATEBELL_JWT_KEY: EC.text },
      'allowed: ES256',
    ],
    ['HS256 beside another', { ...WHO, ...URL, GATEBELL_JWT_ALGORITHMS: 'HS256,RS256' }, 'or HS256 alone'],
    ['no algorithm at all', { ...WHO, ...URL, GATEBELL_JWT_ALGORITHMS: 'none' }, 'GATEBELL_JWT_ALGORITHMS is "none"'],
    ['a secret of 31 bytes', { ...WHO, GATEBELL_JWT_KEY: SECRET.slice(1) }, forms],
    [
      'a secret of 31 bytes as a JWK',
      { ...WHO, GATEBELL_JWT_KEY: '{"kty":"oct","k":"' + 'A'.repeat(41) + '"}' },
      forms,
    ],
    ['a weak key', { ...WHO, GATEBELL_JWT_KEY: pem(weak) }, forms],
    ['another curve', { ...WHO, GATEBELL_JWT_KEY: pem(p384.publicKey) }, forms],
    [
      'a private key',
      { ...WHO, GATEBELL_JWT_KEY: p384.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() },
      forms,
    ],
    ['a private JWK', { ...WHO, GATEBELL_JWT_KEY: JSON.stringify({ ...EC.jwk, d: 'AA' }) }, forms],
    ['a PEM that is broken', { ...WHO, GATEBELL_JWT_KEY: EC.text.replace(/\n.*\n/, '\nAAAA\n') }, forms],
    [
      'a JWK that is none',
      { ...WHO, GATEBELL_JWT_KEY: '{"kty":"EC","crv":"P-256","x":"aaaaaaaaaaaaaaaaaaaaaaaaaaaa"}' },
      forms,
    ],
    ['a URL of another kind', { ...WHO, GATEBELL_JWT_JWKS_URL: 'file:///etc/passwd' }, 'allowed: an https URL'],
    [
      'a URL on which anybody could answer',
      { ...WHO, GATEBELL_JWT_JWKS_URL: 'http://issuer.test/keys' },
      'allowed: an https URL',
    ],
    [
      'a URL with a password',
      { ...WHO, GATEBELL_JWT_JWKS_URL: 'https://a:hidden@issuer.test/' },
      'GATEBELL_JWT_JWKS_URL is "https://***@issuer.test/"',
    ],
    [
      'too much leeway',
      { ...WHO, ...URL, GATEBELL_JWT_LEEWAY_SECONDS: '301' },
      'allowed: a whole number from 0 to 300',
    ],
    ['a claim with a space', { ...WHO, ...URL, GATEBELL_JWT_CLAIM: 'a b' }, 'GATEBELL_JWT_CLAIM is "a b"'],
    ['an issuer with a space', { ...WHO, ...URL, GATEBELL_JWT_ISSUER: 'a b' }, 'GATEBELL_JWT_ISSUER is "a b"'],
  ])('are refused with %s, in one line that shows no key', (_, env, says) => {
    const message = problems({}, env);
    expect(message).toContain(says);
    expect(message.split('\n')).toHaveLength(1);
    for (const secret of ['hidden', SECRET, SECRET.slice(1), 'AAAA', 'BEGIN', '"EC']) {
      expect(message).not.toContain(secret);
    }
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
