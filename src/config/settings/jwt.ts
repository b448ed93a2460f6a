/** The settings of JWTs. Which go together is decided in `config/jwt.ts`. */
import { JWT_ALGORITHMS, JWT_KEY_FORMS, parseJwtKey } from '../../auth/jwt/key.js';
import { integer, parseAlgorithms, parseAudiences, parseIssuer, secureUrl } from '../parsers.js';
import { maskUser, type Setting } from '../setting.js';

/** All of them. */
export const JWT_SETTINGS = {
  jwtIssuer: {
    variable: 'GATEBELL_JWT_ISSUER',
    flag: 'jwt-issuer',
    help: 'issuer of the JWTs that are accepted as bearers; none without it',
    allowed: '1 to 512 printable ASCII characters without spaces',
    parse: parseIssuer,
  },
  jwtAudience: {
    variable: 'GATEBELL_JWT_AUDIENCE',
    flag: 'jwt-audience',
    help: 'whom JWTs are for; one of these must be among the audiences of each',
    allowed: 'names of printable ASCII characters without spaces, separated by commas',
    parse: parseAudiences,
  },
  /** Null: those that the keys allow. */
  jwtAlgorithms: {
    variable: 'GATEBELL_JWT_ALGORITHMS',
    flag: 'jwt-algorithms',
    help: 'algorithms that JWTs may be signed with',
    allowed: `some of ${JWT_ALGORITHMS.slice(1).join(', ')}, separated by commas; or HS256 alone`,
    computed: 'RS256,ES256,EdDSA',
    parse: parseAlgorithms,
  },
  jwtJwksUrl: {
    variable: 'GATEBELL_JWT_JWKS_URL',
    flag: 'jwt-jwks-url',
    help: "where the issuer's public keys are",
    allowed: 'an https URL without user or fragment, or http to this machine',
    parse: secureUrl,
    mask: maskUser,
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
    parse: text => parseJwtKey(text) ?? undefined,
    kind: 'secret',
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
} as const satisfies Readonly<Record<string, Setting>>;
