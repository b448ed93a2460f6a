/** The settings of sign-in for browsers. */
import { canonicalHost, issuerUrl, oidcScopes, parentDomain } from '../../sign-in/settings.js';
import { httpUrl, integer } from '../parsers.js';
import { maskUser, type Setting } from '../setting.js';

/** All of them. */
export const SIGN_IN_SETTINGS = {
  cookie: {
    variable: 'GATEBELL_COOKIE',
    flag: 'cookie',
    help: 'name of the session cookie',
    allowed: '1 to 64 letters, digits, _ and -',
    fallback: 'gatebell',
    parse: text => (/^[A-Za-z0-9_-]{1,64}$/.test(text) ? text : undefined),
  },
  loginUrl: {
    variable: 'GATEBELL_LOGIN_URL',
    flag: 'login-url',
    help: 'where browsers are sent to sign in; they come back to the URL in rd',
    allowed: 'an http or https URL without user or fragment',
    parse: httpUrl,
    mask: maskUser,
  },
  /** Null: Gatebell has no sign-in of its own, and the other settings of sign-in mean nothing. */
  oidcIssuer: {
    variable: 'GATEBELL_OIDC_ISSUER',
    flag: 'oidc-issuer',
    help: 'OpenID Connect provider that browsers sign in with; switches sign-in on',
    allowed: 'an https URL without user, query or fragment (http on this machine alone)',
    parse: issuerUrl,
    mask: maskUser,
  },
  oidcClientId: {
    variable: 'GATEBELL_OIDC_CLIENT_ID',
    flag: 'oidc-client-id',
    help: 'what the provider calls this gate',
    allowed: '1 to 255 printable ASCII characters',
    parse: text => (/^[\x20-\x7e]{1,255}$/.test(text) ? text : undefined),
  },
  oidcClientSecret: {
    variable: 'GATEBELL_OIDC_CLIENT_SECRET',
    flag: 'oidc-client-secret-file',
    help: 'secret that the provider has given this gate',
    // The cookies of sign-ins under way are sealed with it: a short one could be guessed from them.
    allowed: '16 to 1024 printable ASCII characters',
    parse: text => (/^[\x20-\x7e]{16,1024}$/.test(text) ? text : undefined),
    kind: 'secret',
  },
  oidcScopes: {
    variable: 'GATEBELL_OIDC_SCOPES',
    flag: 'oidc-scopes',
    help: 'what the provider is asked for',
    allowed: 'scopes separated by single spaces, openid among them',
    fallback: 'openid profile email',
    parse: oidcScopes,
  },
  oidcClaim: {
    variable: 'GATEBELL_OIDC_CLAIM',
    flag: 'oidc-claim',
    help: 'claim that holds the name of the user; email counts only if it is verified',
    allowed: '1 to 200 printable ASCII characters without spaces',
    fallback: 'preferred_username',
    parse: text => (/^[\x21-\x7e]{1,200}$/.test(text) ? text : undefined),
  },
  /** Null: people sign in on each app's own host. */
  signInHost: {
    variable: 'GATEBELL_SIGN_IN_HOST',
    flag: 'sign-in-host',
    help: 'one host on which people sign in to all apps; without it they do on each app’s own',
    allowed: 'a host name in lower case, without scheme and port, at or under GATEBELL_COOKIE_DOMAIN',
    parse: canonicalHost,
  },
  /** Null: the session cookie is for one host alone. */
  cookieDomain: {
    variable: 'GATEBELL_COOKIE_DOMAIN',
    flag: 'cookie-domain',
    help: 'domain of all apps, which the session cookie is for when there is a sign-in host',
    allowed: 'a domain of two labels or more, in lower case, without a leading dot, and no public suffix such as co.uk',
    parse: parentDomain,
  },
  sessionHours: {
    variable: 'GATEBELL_SESSION_HOURS',
    flag: 'session-hours',
    help: 'how long a session lasts that began by signing in, in hours',
    allowed: 'a whole number from 1 to 8760',
    fallback: '168',
    parse: integer(1, 8_760),
  },
} as const satisfies Readonly<Record<string, Setting>>;
