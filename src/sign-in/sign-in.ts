/** Sign-in put together: the provider, sessions in Postgres, the endpoints, and where the gate sends browsers. */
import type { RequestListener } from 'node:http';
import type { BlockList } from 'node:net';
import type { LoginPage } from '../auth/login.js';
import type { ClientRateLimiter } from '../auth/client-rate-limiter.js';
import type { IsTrusted } from '../auth/request/trusted-proxy.js';
import type { Reader } from '../coherence/facts/reader.js';
import type { FactTypes } from '../auth/facts.js';
import type { WriteListened } from '../postgres/listened-writes.js';
import { createAdmission, type AdmissionLimits } from './admission.js';
import { createAppHosts } from './app-hosts.js';
import { createSignInEndpoints, createSignInPage } from './endpoints.js';
import { createFlowSealer } from './flow.js';
import { createProvider, type ProviderObservation } from './provider.js';
import { createSessions } from './sessions.js';
import type { SignInObservation } from './shared.js';
import { createSignedInCheck } from './signed-in.js';

export interface SignIn {
  readonly loginPage: LoginPage;
  /** Answers the endpoints, and 404 for all else. */
  readonly handle: RequestListener;
  /** Begins to ask the provider for its metadata. */
  start(): void;
  stop(): void;
}

/** The settings that have been checked. */
export interface SignInConfig {
  readonly cookie: string;
  /** Null: no sign-in of our own, and the settings of sign-in mean nothing. */
  readonly oidcIssuer: string | null;
  readonly oidcClientId: string | null;
  readonly oidcClientSecret: string | null;
  readonly oidcScopes: string;
  /** The claim whose text is the name of a user. */
  readonly oidcClaim: string;
  /** Null: people sign in on each app's own host. */
  readonly signInHost: string | null;
  /** The parent domain that the session cookie is for; null: the host alone. */
  readonly cookieDomain: string | null;
  readonly sessionHours: number;
  readonly trustedProxies: BlockList;
}

/** A page costs little, an answer of the provider a question or two to the provider. */
const VISITS: AdmissionLimits = { visitsMax: 256, visitsOfSourceMax: 64 };
const CALLBACKS: AdmissionLimits = { visitsMax: 32, visitsOfSourceMax: 8 };

/** What it needs of its surroundings. */
export interface SignInDeps {
  readonly reader: Reader<FactTypes>;
  readonly write: WriteListened;
  readonly isTrusted: IsTrusted;
  readonly limiter: ClientRateLimiter;
  readonly observe: (observation: SignInObservation | ProviderObservation) => void;
}

/** Creates sign-in that does nothing yet; null if it is not configured. */
export function createSignIn(
  config: SignInConfig,
  { reader, write, isTrusted, limiter, observe }: SignInDeps,
): SignIn | null {
  const {
    oidcIssuer: issuer,
    oidcClientId: clientId,
    oidcClientSecret: clientSecret,
    signInHost,
    cookieDomain,
  } = config;
  if (issuer === null || clientId === null || clientSecret === null) {
    return null;
  }
  const central = signInHost === null || cookieDomain === null ? null : { host: signInHost, cookieDomain };
  const provider = createProvider({
    issuer,
    clientId,
    clientSecret,
    scopes: config.oidcScopes,
    claim: config.oidcClaim,
    observe,
  });
  return {
    loginPage: createSignInPage(central),
    handle: createSignInEndpoints({
      isTrusted,
      admission: createAdmission(limiter, config.trustedProxies, VISITS),
      callbackAdmission: createAdmission(limiter, config.trustedProxies, CALLBACKS),
      findApp: createAppHosts(reader),
      isSignedIn: createSignedInCheck(reader),
      provider,
      sealer: createFlowSealer(clientSecret, `${issuer}\n${clientId}`),
      sessions: createSessions(write, config.sessionHours),
      sessionCookie: config.cookie,
      sessionHours: config.sessionHours,
      central,
      observe,
    }),
    start() {
      provider.start();
    },
    stop() {
      provider.stop();
    },
  };
}
