/** Every setting: what it is called, what it is for, what is allowed, and its default. What they must agree on is looked at elsewhere. */
import { isIP } from 'node:net';
import { JWT_ALGORITHMS, JWT_KEY_FORMS, parseJwtKey } from '../auth/jwt/key.js';
import type { SignInConfig } from '../sign-in/sign-in.js';
import { canonicalHost, issuerUrl, oidcScopes, parentDomain } from '../sign-in/settings.js';
import { defaultReplica, isReplicaName } from '../postgres/replica-name.js';
import { parseAlgorithms, parseAudiences, parseIssuer, type JwtConfig, type JwtValues } from './jwt.js';
import { readPostgresUrl } from './libpq.js';
import {
  addressProblem,
  addressRanges,
  headerSecret,
  httpUrl,
  integer,
  oneOf,
  postgresUrl,
  secureUrl,
} from './parsers.js';

/** What a replica runs with. Times in milliseconds. */
export interface Config extends SignInConfig {
  /** Null: libpq's `PG*` variables. */
  readonly databaseUrl: string | null;
  /** Null: the same as `databaseUrl`. */
  readonly listenUrl: string | null;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly opsPort: number;
  readonly leaseMs: number;
  readonly fenceIntervalMs: number;
  /** 0: never. */
  readonly auditIntervalMs: number;
  readonly poolMax: number;
  /** How long new connections are still accepted after the signal to stop, at most. */
  readonly drainMs: number;
  /** Processes that decide; 1: this one alone. */
  readonly workers: number;
  readonly channel: string;
  readonly replica: string;
  readonly loginUrl: string | null;
  readonly proxySecret: string | null;
  readonly unknownAppStatus: 403 | 404;
  readonly stripCredentials: boolean;
  readonly opsToken: string | null;
  /** Null: JWTs are bearers of somebody else's. */
  readonly jwt: JwtConfig | null;
  readonly logFormat: 'text' | 'json';
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** The settings one by one; some together make one part of {@link Config}. */
export type Values = Omit<Config, 'jwt'> & JwtValues;

/** Which setting. */
export type SettingKey = keyof Values;

/** A setting: its names, its default, and how its text is read; `parse` returns undefined for what is not allowed. */
export interface Setting<T> {
  readonly variable: string;
  /** Of a secret it ends in `-file`, and its value is the path of a file. */
  readonly flag: string;
  readonly help: string;
  readonly allowed: string;
  readonly fallback: string | null;
  readonly parse: (text: string) => T | undefined;
  /** What exactly is wrong with a text that is not allowed, if that can be said; else `allowed` has to do. */
  readonly explain?: (text: string) => string | null;
  /** Never shown, and may be read from a file; see `secret.ts`. */
  readonly secret?: true;
  /** A connection string: never shown, may be read from a file, and must not have a password as a flag. */
  readonly connection?: true;
}

type Settings = { readonly [K in SettingKey]: Setting<Values[K]> };

const HEADER_SECRET = '16 to 256 printable ASCII characters without spaces';
const CONNECTION_STRING = 'a connection string, postgres://user:password@host:port/database';
const PORT = 'a whole number from 0 to 65535; 0 takes any free port';

/** All of them. */
export const SETTINGS: Settings = {
  databaseUrl: {
    variable: 'DATABASE_URL',
    flag: 'database-url',
    help: "Postgres; without it libpq's PG* variables are used",
    allowed: CONNECTION_STRING,
    fallback: null,
    parse: postgresUrl,
    explain: text => readPostgresUrl(text)?.problem ?? null,
    connection: true,
  },
  listenUrl: {
    variable: 'GATEBELL_LISTEN_URL',
    flag: 'listen-url',
    help: 'direct connection for LISTEN, when DATABASE_URL goes through a pooler',
    allowed: CONNECTION_STRING,
    fallback: null,
    parse: postgresUrl,
    explain: text => readPostgresUrl(text)?.problem ?? null,
    connection: true,
  },
  host: {
    variable: 'GATEBELL_HOST',
    flag: 'host',
    help: 'address to listen on',
    allowed: 'an IP address or localhost',
    fallback: '127.0.0.1',
    parse: text => (isIP(text) !== 0 || text === 'localhost' ? text : undefined),
  },
  port: {
    variable: 'GATEBELL_PORT',
    flag: 'port',
    help: 'port of the auth endpoints',
    allowed: PORT,
    fallback: '4280',
    parse: integer(0, 65_535),
  },
  opsPort: {
    variable: 'GATEBELL_OPS_PORT',
    flag: 'ops-port',
    help: 'port of /livez, /readyz, /metrics and /status',
    allowed: PORT,
    fallback: '4281',
    parse: integer(0, 65_535),
  },
  leaseMs: {
    variable: 'GATEBELL_LEASE_MS',
    flag: 'lease-ms',
    help: 'bound of staleness under faults, in milliseconds',
    allowed: 'a whole number from 100 to 600000',
    fallback: '3000',
    parse: integer(100, 600_000),
  },
  fenceIntervalMs: {
    variable: 'GATEBELL_FENCE_INTERVAL_MS',
    flag: 'fence-interval-ms',
    help: 'from one fence to the next, in milliseconds',
    allowed: 'a whole number from 20 to 300000, at most half of the lease',
    // A third of the lease, at most a second.
    fallback: null,
    parse: integer(20, 300_000),
  },
  auditIntervalMs: {
    variable: 'GATEBELL_AUDIT_INTERVAL_MS',
    flag: 'audit-interval-ms',
    help: 'from one audit of cached facts to the next, in milliseconds; 0 switches them off',
    allowed: '0, or a whole number from 100 to 3600000',
    fallback: '10000',
    parse: text => (text === '0' ? 0 : integer(100, 3_600_000)(text)),
  },
  poolMax: {
    variable: 'GATEBELL_POOL_MAX',
    flag: 'pool-max',
    help: 'connections besides the listening one; one of them is kept for fences',
    allowed: 'a whole number from 2 to 100',
    fallback: '4',
    parse: integer(2, 100),
  },
  drainMs: {
    variable: 'GATEBELL_DRAIN_MS',
    flag: 'drain-ms',
    help: 'how long new connections are still accepted after the signal to stop, at most, in milliseconds',
    allowed: 'a whole number from 0 to 60000',
    fallback: '1000',
    parse: integer(0, 60_000),
  },
  workers: {
    variable: 'GATEBELL_WORKERS',
    flag: 'workers',
    help: 'processes that decide requests; they share the port and the listening connection, and each has its share of the pool',
    allowed: 'a whole number from 1 to 64',
    fallback: '1',
    parse: integer(1, 64),
  },
  channel: {
    variable: 'GATEBELL_CHANNEL',
    flag: 'channel',
    help: 'channel that the triggers signal on',
    allowed: '1 to 63 bytes',
    fallback: 'gatebell',
    parse: text => (text !== '' && Buffer.byteLength(text) <= 63 ? text : undefined),
  },
  replica: {
    variable: 'GATEBELL_REPLICA',
    flag: 'replica',
    help: 'name of this replica',
    allowed: '1 to 48 printable ASCII characters, not ending in /pool',
    fallback: defaultReplica(),
    parse: text => (isReplicaName(text) ? text : undefined),
  },
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
    fallback: null,
    parse: httpUrl,
  },
  oidcIssuer: {
    variable: 'GATEBELL_OIDC_ISSUER',
    flag: 'oidc-issuer',
    help: 'OpenID Connect provider that browsers sign in with; switches sign-in on',
    allowed: 'an https URL without user, query or fragment (http on this machine alone)',
    fallback: null,
    parse: issuerUrl,
  },
  oidcClientId: {
    variable: 'GATEBELL_OIDC_CLIENT_ID',
    flag: 'oidc-client-id',
    help: 'what the provider calls this gate',
    allowed: '1 to 255 printable ASCII characters',
    fallback: null,
    parse: text => (/^[\x20-\x7e]{1,255}$/.test(text) ? text : undefined),
  },
  oidcClientSecret: {
    variable: 'GATEBELL_OIDC_CLIENT_SECRET',
    flag: 'oidc-client-secret-file',
    help: 'secret that the provider has given this gate',
    // The cookies of sign-ins under way are sealed with it: a short one could be guessed from them.
    allowed: '16 to 1024 printable ASCII characters',
    fallback: null,
    parse: text => (/^[\x20-\x7e]{16,1024}$/.test(text) ? text : undefined),
    secret: true,
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
  signInHost: {
    variable: 'GATEBELL_SIGN_IN_HOST',
    flag: 'sign-in-host',
    help: 'one host on which people sign in to all apps; without it they do on each app’s own',
    allowed: 'a host name in lower case, without scheme and port, at or under GATEBELL_COOKIE_DOMAIN',
    fallback: null,
    parse: canonicalHost,
  },
  cookieDomain: {
    variable: 'GATEBELL_COOKIE_DOMAIN',
    flag: 'cookie-domain',
    help: 'domain of all apps, which the session cookie is for when there is a sign-in host',
    allowed: 'a domain of two labels or more, in lower case, without a leading dot, and no public suffix such as co.uk',
    fallback: null,
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
  trustedProxies: {
    variable: 'GATEBELL_TRUSTED_PROXIES',
    flag: 'trusted-proxies',
    help: 'addresses and ranges of the proxies that may ask',
    allowed: 'IP addresses and CIDR ranges, separated by commas',
    fallback: '127.0.0.0/8,::1',
    parse: addressRanges,
    explain: addressProblem,
  },
  proxySecret: {
    variable: 'GATEBELL_PROXY_SECRET',
    flag: 'proxy-secret-file',
    help: 'secret that proxies must show in X-Gatebell-Secret, where addresses say too little',
    allowed: HEADER_SECRET,
    fallback: null,
    parse: headerSecret,
    secret: true,
  },
  unknownAppStatus: {
    variable: 'GATEBELL_UNKNOWN_APP_STATUS',
    flag: 'unknown-app-status',
    help: 'status for a host that no app has',
    allowed: '403 or 404',
    fallback: '403',
    parse: text => ([403, 404] as const).find(status => String(status) === text),
  },
  stripCredentials: {
    variable: 'GATEBELL_STRIP_CREDENTIALS',
    flag: 'strip-credentials',
    help: 'whether a 200 carries Cookie and Authorization without the credential, for the proxy to pass on',
    allowed: 'true or false',
    fallback: 'false',
    parse: text => (text === 'true' ? true : text === 'false' ? false : undefined),
  },
  opsToken: {
    variable: 'GATEBELL_OPS_TOKEN',
    flag: 'ops-token-file',
    help: 'bearer token for /metrics and /status of the ops port',
    allowed: HEADER_SECRET,
    fallback: null,
    parse: headerSecret,
    secret: true,
  },
  jwtIssuer: {
    variable: 'GATEBELL_JWT_ISSUER',
    flag: 'jwt-issuer',
    help: 'issuer of the JWTs that are accepted as bearers; none without it',
    allowed: '1 to 512 printable ASCII characters without spaces',
    fallback: null,
    parse: parseIssuer,
  },
  jwtAudience: {
    variable: 'GATEBELL_JWT_AUDIENCE',
    flag: 'jwt-audience',
    help: 'whom JWTs are for; one of these must be among the audiences of each',
    allowed: 'names of printable ASCII characters without spaces, separated by commas',
    fallback: null,
    parse: parseAudiences,
  },
  jwtAlgorithms: {
    variable: 'GATEBELL_JWT_ALGORITHMS',
    flag: 'jwt-algorithms',
    help: 'algorithms that JWTs may be signed with',
    allowed: `some of ${JWT_ALGORITHMS.slice(1).join(', ')}, separated by commas; or HS256 alone`,
    fallback: null,
    parse: parseAlgorithms,
  },
  jwtJwksUrl: {
    variable: 'GATEBELL_JWT_JWKS_URL',
    flag: 'jwt-jwks-url',
    help: "where the issuer's public keys are",
    allowed: 'an https URL without user or fragment, or http to this machine',
    fallback: null,
    parse: secureUrl,
  },
  jwtJwksRefreshSeconds: {
    variable: 'GATEBELL_JWT_JWKS_REFRESH_SECONDS',
    flag: 'jwt-jwks-refresh-seconds',
    help: 'from one fetch of those keys to the next, in seconds',
    allowed: 'a whole number from 1 to 86400',
    fallback: '600',
    parse: integer(1, 86_400),
  },
  jwtKey: {
    variable: 'GATEBELL_JWT_KEY',
    flag: 'jwt-key-file',
    help: 'key that verifies JWTs, if there is no key set',
    allowed: JWT_KEY_FORMS,
    fallback: null,
    parse: text => parseJwtKey(text) ?? undefined,
    secret: true,
  },
  jwtClaim: {
    variable: 'GATEBELL_JWT_CLAIM',
    flag: 'jwt-claim',
    help: 'claim that is the name of a user, when a subject is seen for the first time',
    allowed: '1 to 200 printable ASCII characters without spaces',
    fallback: 'sub',
    parse: text => (/^[\x21-\x7e]{1,200}$/.test(text) ? text : undefined),
  },
  jwtLeewaySeconds: {
    variable: 'GATEBELL_JWT_LEEWAY_SECONDS',
    flag: 'jwt-leeway-seconds',
    help: "how far the issuer's clock may be from Postgres' clock, in seconds",
    allowed: 'a whole number from 0 to 300',
    fallback: '30',
    parse: integer(0, 300),
  },
  logFormat: {
    variable: 'GATEBELL_LOG_FORMAT',
    flag: 'log-format',
    help: 'how log lines look',
    allowed: 'text or json',
    fallback: 'text',
    parse: oneOf('text', 'json'),
  },
  logLevel: {
    variable: 'GATEBELL_LOG_LEVEL',
    flag: 'log-level',
    help: 'least level that is logged',
    allowed: 'debug, info, warn or error',
    fallback: 'info',
    parse: oneOf('debug', 'info', 'warn', 'error'),
  },
};
