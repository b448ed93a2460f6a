/** Whether the sources of identity can be reached: the issuer of JWTs, and the provider of sign-in. */
import { createJwksFetcher, fetchFailure, parseJwks } from '../../auth/jwt/jwks.js';
import { errorText } from '../../ops/log-lines.js';
import { connectionHint, examineProvider } from '../../sign-in/provider-check.js';
import type { CommandContext } from '../context.js';
import type { Check } from './check.js';

/** Fetches the key set that JWTs are verified with. */
export async function checkKeySet({ env }: CommandContext, url: string): Promise<Check> {
  const name = 'JWT key set';
  try {
    const { keys, ignored } = parseJwks(await createJwksFetcher(url)(new AbortController().signal));
    return {
      name,
      ok: true,
      detail: `${keys.length} public keys${ignored === 0 ? '' : `, ${ignored} others ignored`}`,
    };
  } catch (error) {
    const failure = fetchFailure(error);
    const code = failure instanceof Error && 'code' in failure ? ` (${String(failure.code)})` : '';
    const problem = errorText(failure) + code;
    return {
      name,
      ok: false,
      detail: `${problem}${connectionHint(problem, env)}: until it is there, JWTs are answered 503`,
    };
  }
}

/** Reads the provider's configuration, as sign-in does. */
export async function checkProvider({ config, env }: CommandContext): Promise<Check | null> {
  const { oidcIssuer, oidcClientId } = config;
  if (oidcIssuer === null) {
    return null;
  }
  const { problems, keys, skewSeconds } = await examineProvider(oidcIssuer, oidcClientId ?? '', env);
  return {
    name: 'OpenID provider',
    ok: problems.length === 0,
    detail:
      problems.length === 0
        ? `${oidcIssuer}, ${keys} public keys` +
          (skewSeconds === null ? '' : `, its clock differs by ${Math.abs(skewSeconds)} s`)
        : `${oidcIssuer}: ${problems.join('; ')}. Until that is mended nobody can sign in`,
  };
}
