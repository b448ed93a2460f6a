/** Looks at an OpenID Connect provider once, with the bounds and the rules that sign-in has, for `doctor`. */
import { allowInsecureRequests, customFetch, discovery } from 'openid-client';
import { parseJwks } from '../auth/jwt/jwks.js';
import { createFetch, problemText } from './provider.js';

/** What was found. */
export interface ProviderFindings {
  /** What keeps people from signing in; empty if nothing does. */
  readonly problems: readonly string[];
  /** Public keys that ID tokens may be signed with. */
  readonly keys: number;
  /** How far the provider's clock is ahead of this one, in seconds; null if it sends no `Date`. */
  readonly skewSeconds: number | null;
}

const REQUEST_SECONDS = 10;
/** As much as the library allows for when it looks at the times in an ID token. */
const SKEW_SECONDS_MAX = 30;
/** Codes of Node's TLS that mean: the certificate is of an authority that is not known here. */
const UNKNOWN_AUTHORITY = /SELF_SIGNED_CERT|UNABLE_TO_(?:VERIFY|GET_ISSUER)/;

/** What to do when a server cannot be reached, as far as the environment shows. */
export function connectionHint(problem: string, env: NodeJS.ProcessEnv): string {
  if (UNKNOWN_AUTHORITY.test(problem)) {
    return '; if a private authority has signed its certificate, name that one’s file in NODE_EXTRA_CA_CERTS';
  }
  const proxy = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'].find(name => (env[name] ?? '') !== '');
  if (proxy !== undefined && env['NODE_USE_ENV_PROXY'] !== '1') {
    return `; ${proxy} is set, and is not used: Node heeds it from 22.21 and 24 on, with NODE_USE_ENV_PROXY=1`;
  }
  return '';
}

/** Reads the metadata and the key set. Never throws. */
export async function examineProvider(
  issuer: string,
  clientId: string,
  env: NodeJS.ProcessEnv,
): Promise<ProviderFindings> {
  const problems: string[] = [];
  let skewSeconds: number | null = null;
  let keys = 0;
  const bounded = createFetch(new AbortController().signal);
  const timed: typeof bounded = async (url, options) => {
    const response = await bounded(url, options);
    const date = Date.parse(response.headers.get('date') ?? '');
    if (Number.isFinite(date)) {
      // `Date` has whole seconds.
      skewSeconds = Math.trunc((date - Date.now()) / 1000);
    }
    return response;
  };
  try {
    const server = new URL(issuer);
    const configuration = await discovery(server, clientId, undefined, undefined, {
      [customFetch]: timed,
      timeout: REQUEST_SECONDS,
      execute: server.protocol === 'http:' ? [allowInsecureRequests] : [],
    });
    const metadata = configuration.serverMetadata();
    for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const) {
      if (metadata[name] === undefined) {
        problems.push(`its metadata names no ${name}`);
      }
    }
    if (metadata.response_types_supported?.includes('code') === false) {
      problems.push('it does not offer the code flow');
    }
    if (metadata.code_challenge_methods_supported?.includes('S256') === false) {
      problems.push('it does not offer PKCE with S256');
    }
    if (metadata.jwks_uri !== undefined) {
      keys = await countKeys(metadata.jwks_uri, timed);
    }
  } catch (error) {
    const problem = problemText(error);
    problems.push(problem + connectionHint(problem, env));
  }
  if (skewSeconds !== null && Math.abs(skewSeconds) > SKEW_SECONDS_MAX) {
    problems.push(
      `its clock is ${Math.abs(skewSeconds)} s ${skewSeconds > 0 ? 'ahead of' : 'behind'} this machine's: ` +
        'set both by NTP',
    );
  }
  return { problems, keys, skewSeconds };
}

async function countKeys(url: string, fetchBounded: ReturnType<typeof createFetch>): Promise<number> {
  const response = await fetchBounded(url, {
    method: 'GET',
    headers: { accept: 'application/json' },
    body: undefined,
    redirect: 'manual',
    signal: AbortSignal.timeout(REQUEST_SECONDS * 1000),
  });
  if (response.status !== 200) {
    throw new Error(`the key set was answered with status ${response.status}`);
  }
  return parseJwks(await response.text()).keys.length;
}
