import { describe, expect, test } from 'vitest';
import { ConfigError, readConfig } from '../../../src/config/config.js';
import { isPublicSuffix, isUnder } from '../../../src/sign-in/settings.js';

const ON = {
  GATEBELL_OIDC_ISSUER: 'https://id.example.com/realms/home',
  GATEBELL_OIDC_CLIENT_ID: 'gatebell',
  GATEBELL_OIDC_CLIENT_SECRET: 'hidden-secret-of-16',
};
const CENTRAL = { ...ON, GATEBELL_SIGN_IN_HOST: 'auth.example.com', GATEBELL_COOKIE_DOMAIN: 'example.com' };

function problems(env: NodeJS.ProcessEnv): string {
  try {
    readConfig({}, env);
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
}

test('is off by default, and on with an issuer, a client and its secret', () => {
  expect(readConfig({}, {})).toMatchObject({
    oidcIssuer: null,
    oidcClientSecret: null,
    oidcScopes: 'openid profile email',
    oidcClaim: 'preferred_username',
    signInHost: null,
    cookieDomain: null,
    sessionHours: 168,
  });
  expect(readConfig({}, ON)).toMatchObject({ oidcIssuer: ON.GATEBELL_OIDC_ISSUER, oidcClientId: 'gatebell' });
  expect(problems(CENTRAL)).toBe('');
});

test.each(['co.uk', 'github.io', 'com.au', 'herokuapp.com', 'azurewebsites.net', 'xn--55qx5d.cn'])(
  'a cookie for all of %s is refused: everybody can have a name there',
  domain => {
    const env = { ...CENTRAL, GATEBELL_COOKIE_DOMAIN: domain, GATEBELL_SIGN_IN_HOST: `auth.${domain}` };
    expect(problems(env)).toContain(`GATEBELL_COOKIE_DOMAIN is "${domain}"; allowed: a domain of two labels or more`);
    expect(
      problems({
        ...env,
        GATEBELL_COOKIE_DOMAIN: `example.${domain}`,
        GATEBELL_SIGN_IN_HOST: `auth.example.${domain}`,
      }),
    ).toBe('');
  },
);

test.each(['home.example.com', 'corp.lan', 'example.test', 'photos.localhost', 'nas.home.arpa'])(
  '%s is a domain',
  domain => {
    const env = { ...CENTRAL, GATEBELL_COOKIE_DOMAIN: domain, GATEBELL_SIGN_IN_HOST: `auth.${domain}` };
    expect(problems(env)).toBe('');
  },
);

test.each(['__Host-gatebell', '__host-gatebell', '__HOST-x'])('the cookie %s for a whole domain is refused', cookie => {
  expect(problems({ ...CENTRAL, GATEBELL_COOKIE: cookie })).toContain('a name without __Host-');
  expect(problems({ ...ON, GATEBELL_COOKIE: cookie })).toBe('');
});

describe('is refused with its name, the value and what is allowed:', () => {
  test.each([
    [
      { ...ON, GATEBELL_OIDC_ISSUER: 'http://id.example.com' },
      'GATEBELL_OIDC_ISSUER is "http://id.example.com"; allowed: an https URL',
    ],
    [{ ...ON, GATEBELL_OIDC_ISSUER: 'https://u:hidden@id.example.com' }, 'GATEBELL_OIDC_ISSUER is'],
    [{ ...ON, GATEBELL_OIDC_ISSUER: 'https://id.example.com?x' }, 'GATEBELL_OIDC_ISSUER is'],
    [{ ...ON, GATEBELL_OIDC_ISSUER: 'id.example.com' }, 'GATEBELL_OIDC_ISSUER is'],
    [
      { ...ON, GATEBELL_OIDC_CLIENT_ID: '' },
      'GATEBELL_OIDC_CLIENT_ID is ""; allowed: what the provider has given this gate',
    ],
    [{ ...ON, GATEBELL_OIDC_CLIENT_SECRET: '' }, 'GATEBELL_OIDC_CLIENT_SECRET is ""; allowed: what the provider'],
    [{ ...ON, GATEBELL_OIDC_CLIENT_SECRET: 'hidden' }, 'GATEBELL_OIDC_CLIENT_SECRET is "***"; allowed: 16 to 1024'],
    [
      { ...ON, GATEBELL_OIDC_SCOPES: 'profile' },
      'GATEBELL_OIDC_SCOPES is "profile"; allowed: scopes separated by single spaces, openid among them',
    ],
    [{ ...ON, GATEBELL_OIDC_CLAIM: 'a b' }, 'GATEBELL_OIDC_CLAIM is "a b"'],
    [{ ...ON, GATEBELL_SESSION_HOURS: '0' }, 'GATEBELL_SESSION_HOURS is "0"; allowed: a whole number from 1 to 8760'],
    [
      { ...ON, GATEBELL_LOGIN_URL: 'https://login.example.com' },
      'GATEBELL_LOGIN_URL is "https://login.example.com"; allowed: none when GATEBELL_OIDC_ISSUER is set',
    ],
    [{ ...CENTRAL, GATEBELL_COOKIE_DOMAIN: '' }, 'GATEBELL_COOKIE_DOMAIN is ""; allowed: the domain of all apps'],
    [{ ...CENTRAL, GATEBELL_SIGN_IN_HOST: '' }, 'GATEBELL_SIGN_IN_HOST is ""; allowed: a host at or under example.com'],
    [
      { ...CENTRAL, GATEBELL_SIGN_IN_HOST: 'auth.notexample.com' },
      'GATEBELL_SIGN_IN_HOST is "auth.notexample.com"; allowed: a host at ' +
        'or under GATEBELL_COOKIE_DOMAIN, which is example.com',
    ],
    [{ ...CENTRAL, GATEBELL_SIGN_IN_HOST: 'Auth.example.com' }, 'GATEBELL_SIGN_IN_HOST is "Auth.example.com"'],
    [{ ...CENTRAL, GATEBELL_COOKIE_DOMAIN: '.example.com' }, 'GATEBELL_COOKIE_DOMAIN is ".example.com"'],
    [{ ...CENTRAL, GATEBELL_COOKIE_DOMAIN: 'com' }, 'GATEBELL_COOKIE_DOMAIN is "com"'],
    [{ ...CENTRAL, GATEBELL_COOKIE_DOMAIN: '10.0.0.1' }, 'GATEBELL_COOKIE_DOMAIN is "10.0.0.1"'],
    [
      { ...CENTRAL, GATEBELL_COOKIE: '__Host-gatebell' },
      'GATEBELL_COOKIE is "__Host-gatebell"; allowed: a name without __Host-',
    ],
    [
      { GATEBELL_OIDC_CLIENT_ID: 'gatebell' },
      'GATEBELL_OIDC_ISSUER is ""; allowed: the URL of a provider, since GATEBELL_OIDC_CLIENT_ID is set',
    ],
  ])('%o', (env, says) => {
    const message = problems(env);
    expect(message).toContain(says);
    expect(message).not.toContain('hidden');
  });

  test('together with others, and none that was refused already is missed', () => {
    expect(problems({ ...CENTRAL, GATEBELL_PORT: 'x', GATEBELL_OIDC_CLIENT_SECRET: 'short' }).split('\n')).toHaveLength(
      2,
    );
    const bad = { GATEBELL_SIGN_IN_HOST: '-', GATEBELL_COOKIE: ';', GATEBELL_OIDC_CLIENT_ID: 'é' };
    expect(problems({ ...CENTRAL, ...bad }).split('\n')).toHaveLength(3);
    expect(problems({ ...CENTRAL, GATEBELL_COOKIE_DOMAIN: '-' }).split('\n')).toHaveLength(1);
    expect(problems({ ...CENTRAL, GATEBELL_OIDC_ISSUER: '-' }).split('\n')).toHaveLength(1);
  });

  test('all of them at once', () => {
    expect(
      problems({
        ...ON,
        GATEBELL_OIDC_CLIENT_ID: '',
        GATEBELL_LOGIN_URL: 'https://l.test',
        GATEBELL_SIGN_IN_HOST: 'a.test',
      }).split('\n'),
    ).toHaveLength(3);
  });
});

test.each(['http://localhost:4000', 'http://127.0.0.1', 'http://[::1]:9/x'])(
  'a provider on this machine needs no TLS: %s',
  issuer => {
    expect(problems({ ...ON, GATEBELL_OIDC_ISSUER: issuer })).toBe('');
  },
);

test('a host is under a domain by whole labels', () => {
  expect(['a.example.com', 'example.com', 'a.b.example.com'].every(host => isUnder(host, 'example.com'))).toBe(true);
  expect(['notexample.com', 'example.com.evil.com', 'com'].some(host => isUnder(host, 'example.com'))).toBe(false);
});

test.each(['com', 'co.uk', 'github.io', 'duckdns.org', 'ck', 'foo.ck', 'xn--p1ai'])('%s is a public suffix', domain => {
  expect(isPublicSuffix(domain)).toBe(true);
});

// The suffixes of homes are in no list, and nobody gives names under them to strangers.
test.each(['lan', 'home', 'test', 'internal', 'local', 'nas', 'localhost', 'example.com', 'x.github.io', 'www.ck'])(
  '%s is none',
  domain => {
    expect(isPublicSuffix(domain)).toBe(false);
  },
);
