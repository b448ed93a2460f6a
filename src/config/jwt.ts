/**
 * The settings of JWTs: which go together, and what they come to. JWTs are off unless an issuer is named. Then whose
 * they are, whom they are for, and what verifies them are all required: each that is left out would let in tokens that
 * were made for somebody else.
 */
import { JWT_ALGORITHMS, JWT_KEY_FORMS, type JwtAlgorithm, type JwtKey } from '../auth/jwt/key.js';
import type { Refuse } from './secret.js';
import type { ValuesOf } from './setting.js';
import type { JWT_SETTINGS } from './settings/jwt.js';

/** What verifies signatures. */
export type JwtKeys =
  | { readonly source: 'key'; readonly key: JwtKey }
  | {
      readonly source: 'jwks';
      readonly url: string;
      readonly refreshMs: number;
      readonly algorithms: readonly JwtAlgorithm[];
    };

/** JWTs that are accepted. */
export interface JwtConfig {
  readonly issuer: string;
  /** One of them must be among the token's. */
  readonly audiences: readonly string[];
  readonly keys: JwtKeys;
  /** The claim whose text is the name of a user. */
  readonly claim: string;
  readonly leewayMs: number;
}

/** The settings one by one, as they were given. */
type JwtValues = ValuesOf<typeof JWT_SETTINGS>;

const PUBLIC_ALGORITHMS = JWT_ALGORITHMS.filter(algorithm => algorithm !== 'HS256');

/** What verifies signatures; null if it was refused. */
function readKeys(values: JwtValues, given: ReadonlySet<string>, refuse: Refuse): JwtKeys | null {
  const { jwtAlgorithms: algorithms, jwtJwksUrl: url, jwtKey: key } = values;
  const shown = algorithms?.join(',') ?? '';
  if (url !== null && key !== null) {
    refuse({
      name: 'GATEBELL_JWT_JWKS_URL',
      value: url,
      allowed: 'one of GATEBELL_JWT_JWKS_URL and GATEBELL_JWT_KEY, not both',
    });
    return null;
  }
  if (url !== null) {
    if (algorithms?.includes('HS256') === true) {
      refuse({
        name: 'GATEBELL_JWT_ALGORITHMS',
        value: shown,
        allowed:
          `${PUBLIC_ALGORITHMS.join(', ')} with GATEBELL_JWT_JWKS_URL: ` +
          'a key set is public, a shared secret is not',
      });
      return null;
    }
    const refreshMs = values.jwtJwksRefreshSeconds * 1_000;
    return { source: 'jwks', url, refreshMs, algorithms: algorithms ?? PUBLIC_ALGORITHMS };
  }
  if (key === null) {
    // One that was refused has been reported already.
    if (!given.has('jwtKey') && !given.has('jwtJwksUrl')) {
      refuse({
        name: 'GATEBELL_JWT_KEY',
        value: '',
        allowed: `${JWT_KEY_FORMS}; or give GATEBELL_JWT_JWKS_URL instead`,
      });
    }
    return null;
  }
  if (!(algorithms ?? PUBLIC_ALGORITHMS).includes(key.algorithm)) {
    refuse({
      name: 'GATEBELL_JWT_ALGORITHMS',
      value: shown,
      allowed:
        `${key.algorithm} with this GATEBELL_JWT_KEY` + (key.algorithm === 'HS256' ? ', which is a shared secret' : ''),
    });
    return null;
  }
  return { source: 'key', key };
}

/**
 * What the settings come to; null if JWTs are off, or something was refused.
 *
 * @param given keys of the settings that were given at all, well or badly
 */
export function readJwtConfig(values: JwtValues, given: ReadonlySet<string>, refuse: Refuse): JwtConfig | null {
  const { jwtIssuer: issuer, jwtAudience: audiences } = values;
  if (issuer === null) {
    if (!given.has('jwtIssuer') && (given.has('jwtKey') || given.has('jwtJwksUrl'))) {
      refuse({
        name: 'GATEBELL_JWT_ISSUER',
        value: '',
        allowed: 'the issuer of the JWTs, since there is a key for them',
      });
    }
    return null;
  }
  if (audiences === null && !given.has('jwtAudience')) {
    refuse({
      name: 'GATEBELL_JWT_AUDIENCE',
      value: '',
      allowed: 'whom the JWTs are for, one name or several with commas, since GATEBELL_JWT_ISSUER is set',
    });
  }
  const keys = readKeys(values, given, refuse);
  return audiences === null || keys === null
    ? null
    : { issuer, audiences, keys, claim: values.jwtClaim, leewayMs: values.jwtLeewaySeconds * 1_000 };
}
