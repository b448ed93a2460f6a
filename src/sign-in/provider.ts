/**
 * The OpenID Connect provider, as sign-in needs it. Its metadata is read in the background, again and again until it is
 * there, and every hour from then on: no request waits for it. Everything that it answers is bounded in time and size,
 * and none of its errors contains a secret.
 */
import {
  allowInsecureRequests,
  AuthorizationResponseError,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  calculatePKCECodeChallenge,
  ClientError,
  ClientSecretBasic,
  ClientSecretPost,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
  type ClientAuth,
  type Configuration,
  type CustomFetch,
} from 'openid-client';
import { backoffMs } from '../time/backoff.js';
import { sleep, systemClock, systemRandom, type Clock, type Random } from '../time/clock.js';
import type { Flow } from './flow.js';
import { SignInRefused } from './refusal.js';
import type { Identity } from './sessions.js';
import { isLoopback } from './settings.js';

/** What is observed of the identity provider. */
export type ProviderObservation =
  | { readonly event: 'provider_discovered'; readonly issuer: string }
  | { readonly event: 'provider_failed'; readonly problem: string; readonly retryMs: number };

export interface Provider {
  /** Where a browser signs in. @throws SignInRefused until its metadata has been read */
  authorizationUrl(flow: Flow): Promise<URL>;
  /**
   * The user whom the provider's answer names.
   * @param query of the callback's URL
   * @throws SignInRefused
   */
  redeem(query: string, flow: Flow): Promise<Identity>;
  /** Where a browser signs out of the provider, too; null if it has no such page. */
  endSessionUrl(): URL | null;
  start(): void;
  stop(): void;
}

/** What a provider is made of. */
export interface ProviderOptions {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly scopes: string;
  readonly claim: string;
  readonly observe: (observation: ProviderObservation) => void;
  readonly clock?: Clock;
  readonly random?: Random;
}

const REQUEST_SECONDS = 10;
const REFRESH_MS = 3_600_000;
const ANSWER_BYTES_MAX = 1_048_576;
/** OpenID Connect Core 1.0, 2. */
const SUBJECT = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/;
const USER_NAME = /^[^\x00-\x1f\x7f]{1,200}$/;
/** Error codes are of this form; anything else is not worth a line in the log. */
const ERROR_CODE = /^[a-z_]{1,40}$/;

const errorCode = (code: string): string => (ERROR_CODE.test(code) ? code : 'an unknown error');

/** Codes of the library that mean: no answer. */
const NO_ANSWER = new Set(['OAUTH_TIMEOUT', 'OAUTH_ABORT', 'OAUTH_RESPONSE_IS_NOT_CONFORM']);

/** What went wrong, without anything that was sent. */
export function problemText(error: unknown): string {
  if (error instanceof ResponseBodyError) {
    return `the provider answered ${error.status} ${errorCode(error.error)}`;
  }
  if (error instanceof WWWAuthenticateChallengeError) {
    return `the provider answered ${error.status}`;
  }
  if (error instanceof ClientError) {
    return error.message + (error.code === undefined ? '' : ` (${error.code})`);
  }
  if (error instanceof Error) {
    const cause = error.cause instanceof Error && 'code' in error.cause ? ` (${String(error.cause.code)})` : '';
    return error.message + cause;
  }
  return 'an unknown error';
}

/** Why the answer is not taken. */
function refusalOf(error: unknown): SignInRefused {
  if (error instanceof SignInRefused) {
    return error;
  }
  if (error instanceof AuthorizationResponseError) {
    return new SignInRefused('provider_refused', errorCode(error.error), { cause: error });
  }
  const isOfTheAnswer =
    error instanceof ResponseBodyError
      ? error.error === 'invalid_grant'
      : error instanceof ClientError && !NO_ANSWER.has(error.code ?? '');
  return new SignInRefused(isOfTheAnswer ? 'bad_provider_answer' : 'provider_unavailable', problemText(error), {
    cause: error,
  });
}

/** An email address is believed only if the provider has verified it. */
function userNameOf(claims: Readonly<Record<string, unknown>>, claim: string): string | null | undefined {
  const value = claims[claim];
  if (value === undefined) {
    return undefined;
  }
  const isSure = claim !== 'email' || claims['email_verified'] === true;
  return typeof value === 'string' && isSure && USER_NAME.test(value) ? value : null;
}

/** A provider that does not say how takes Basic. */
const clientAuth =
  (clientSecret: string): ClientAuth =>
  (server, ...rest) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
    const present = methods.includes('client_secret_basic') ? ClientSecretBasic : ClientSecretPost;
    present(clientSecret)(server, ...rest);
  };

/** Fetches over TLS, or on this machine, and no more than is reasonable. */
export function createFetch(stopping: AbortSignal): CustomFetch {
  return async (address, { body, signal, ...options }) => {
    const url = new URL(address);
    if (url.protocol !== 'https:' && !isLoopback(url)) {
      throw new TypeError('the provider names an address without TLS');
    }
    const response = await fetch(url, {
      ...options,
      body: body ?? null,
      redirect: 'manual',
      signal: AbortSignal.any([stopping, ...(signal === undefined ? [] : [signal])]),
    });
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      bytes += part.byteLength;
      if (bytes > ANSWER_BYTES_MAX) {
        throw new TypeError(`the provider's answer is longer than ${ANSWER_BYTES_MAX} bytes`);
      }
      parts.push(part);
    }
    return new Response(response.body === null ? null : Buffer.concat(parts), response);
  };
}

/** Creates a provider that is asked nothing yet. */
export function createProvider(options: ProviderOptions): Provider {
  const {
    issuer,
    clientId,
    clientSecret,
    scopes,
    claim,
    observe,
    clock = systemClock,
    random = systemRandom,
  } = options;
  const server = new URL(issuer);
  const stopping = new AbortController();
  const fetchBounded = createFetch(stopping.signal);
  let configuration: Configuration | null = null;
  let started = false;

  const ready = (): Configuration => {
    if (configuration === null) {
      throw new SignInRefused('provider_unavailable', 'its metadata has not been read yet');
    }
    return configuration;
  };

  const discover = (): Promise<Configuration> =>
    discovery(server, clientId, undefined, clientAuth(clientSecret), {
      [customFetch]: fetchBounded,
      timeout: REQUEST_SECONDS,
      // The ID token comes over TLS, which would do; its signature is checked nevertheless. Without TLS, on this
      // machine alone, it must be.
      execute: [enableNonRepudiationChecks, ...(server.protocol === 'http:' ? [allowInsecureRequests] : [])],
    });

  const keepDiscovering = async (): Promise<void> => {
    let failures = 0;
    let isNews = true;
    while (!stopping.signal.aborted) {
      let waitMs = REFRESH_MS;
      try {
        configuration = await discover();
        failures = 0;
        if (isNews) {
          observe({ event: 'provider_discovered', issuer });
          isNews = false;
        }
      } catch (error) {
        failures += 1;
        isNews = true;
        waitMs = backoffMs(failures, random);
        if (!stopping.signal.aborted) {
          observe({ event: 'provider_failed', problem: problemText(error), retryMs: waitMs });
        }
      }
      await sleep(clock, waitMs, stopping.signal);
    }
  };

  const readIdentity = async (query: string, flow: Flow): Promise<Identity> => {
    const using = ready();
    const tokens = await authorizationCodeGrant(using, new URL(`${flow.redirectUri}?${query}`), {
      expectedState: flow.state,
      expectedNonce: flow.nonce,
      pkceCodeVerifier: flow.codeVerifier,
      idTokenExpected: true,
    });
    const claims = tokens.claims();
    if (claims === undefined) {
      throw new SignInRefused('bad_provider_answer', 'there is no ID token');
    }
    if (!SUBJECT.test(claims.sub)) {
      throw new SignInRefused('bad_provider_answer', 'claim sub cannot be a subject');
    }
    let name = userNameOf(claims, claim);
    // Many providers give the profile only when asked.
    if (name === undefined && using.serverMetadata().userinfo_endpoint !== undefined) {
      name = userNameOf(await fetchUserInfo(using, tokens.access_token, claims.sub), claim);
    }
    if (typeof name !== 'string') {
      throw new SignInRefused('no_user_name', `claim ${claim} is ${name === undefined ? 'missing' : 'of no use'}`);
    }
    return { issuer: claims.iss, subject: claims.sub, name };
  };

  return {
    async authorizationUrl({ redirectUri, state, nonce, codeVerifier }) {
      return buildAuthorizationUrl(ready(), {
        response_type: 'code',
        scope: scopes,
        redirect_uri: redirectUri,
        state,
        nonce,
        code_challenge: await calculatePKCECodeChallenge(codeVerifier),
        code_challenge_method: 'S256',
      });
    },
    async redeem(query, flow) {
      try {
        return await readIdentity(query, flow);
      } catch (error) {
        throw refusalOf(error);
      }
    },
    endSessionUrl() {
      return configuration?.serverMetadata().end_session_endpoint === undefined
        ? null
        : buildEndSessionUrl(configuration);
    },
    start() {
      if (!started) {
        started = true;
        void keepDiscovering();
      }
    },
    stop() {
      stopping.abort();
    },
  };
}
