/** What login, callback and logout share: a request, where it may come from and go to, its cookies, and refusals. */
import type { SentCookie } from '../auth/request/cookies.js';
import type { SingleHeaders } from '../auth/request/headers.js';
import type { WantedAddress } from '../auth/login.js';
import type { IsTrusted } from '../auth/request/trusted-proxy.js';
import { isWellFormedToken } from '../auth/token.js';
import { UnavailableError } from '../coherence/errors.js';
import type { Admission } from './admission.js';
import type { FindApp } from './app-hosts.js';
import { ARRIVAL_SECONDS, arrivalCookieName, nextArrival, readArrivals, type Arrivals } from './arrivals.js';
import { setCookie } from './cookies.js';
import type { FlowSealer } from './flow.js';
import { cookieHeaders, pageAnswer, redirectAnswer, type Answer, type Page } from './page.js';
import type { Provider } from './provider.js';
import { REFUSAL_PAGES, SignInRefused, type Refusal } from './refusal.js';
import { isWithin, parseReturnAddress, type Origin } from './return-address.js';
import type { Sessions } from './sessions.js';
import type { IsSignedIn } from './signed-in.js';

/** What is observed of sign-in. It never contains a token, a code, a state, a cookie, or text that a stranger chose. */
export type SignInObservation =
  | { readonly event: 'sign_in'; readonly userId: string; readonly credentialId: string }
  | { readonly event: 'sign_in_refused'; readonly reason: Refusal; readonly detail: string | null }
  | { readonly event: 'sign_out'; readonly credentialId: string }
  | { readonly event: 'sign_in_failed'; readonly error: unknown };

/** What the endpoints need. */
export interface SignInOptions {
  readonly isTrusted: IsTrusted;
  /** Who may ask. */
  readonly admission: Admission;
  /** Who may ask the provider and Postgres to begin a session. */
  readonly callbackAdmission: Admission;
  readonly findApp: FindApp;
  readonly isSignedIn: IsSignedIn;
  readonly provider: Provider;
  readonly sealer: FlowSealer;
  readonly sessions: Sessions;
  readonly sessionCookie: string;
  readonly sessionHours: number;
  /** One host for all apps, and the domain of its cookie; null: each app's own host. */
  readonly central: { readonly host: string; readonly cookieDomain: string } | null;
  readonly observe: (observation: SignInObservation) => void;
}

const PREFIX = '/_gatebell';
export const LOGIN = `${PREFIX}/login`;
export const CALLBACK = `${PREFIX}/callback`;
export const LOGOUT = `${PREFIX}/logout`;
/**
 * Sessions of one browser that are ended at once: that of the host, that of the domain, and one that somebody else has
 * put there.
 */
const SESSIONS_MAX = 4;
const OF_SIGNING_OUT: ReadonlySet<Refusal> = new Set(['foreign_origin', 'not_signed_out']);

/** Refusals that count as negative lookups of the client: a browser that the gate has sent here gets none of them. */
export const NEGATIVE_LOOKUPS: ReadonlySet<Refusal> = new Set([
  'unknown_host',
  'bad_return_address',
  'bad_flow',
  'bad_provider_answer',
]);

/** A request to one of the endpoints. */
export interface SignInRequest {
  /** Where it was sent to; its header `Origin` is another thing. */
  readonly origin: Origin;
  readonly headers: SingleHeaders;
  readonly cookies: readonly SentCookie[];
  readonly query: string;
}

/** The one value of a parameter; null if there is none. */
export const parameter = (parameters: URLSearchParams, name: string): string | null => {
  const values = parameters.getAll(name);
  if (values.length > 1) {
    throw new SignInRefused('bad_request');
  }
  return values[0] ?? null;
};

/** Whether the browser came over https. */
export const isSecure = ({ proto }: Origin): boolean => proto === 'https';

/** Where the cookies of flows are for: this host alone. */
export const flowScope = (origin: Origin): { secure: boolean; domain: null } => ({
  secure: isSecure(origin),
  domain: null,
});

/** The page for a browser that has signed in and has no address to return to. */
export const signedIn = (cookies: readonly string[]): Answer =>
  pageAnswer({ status: 200, title: 'Signed in', says: 'You are signed in.', headers: cookieHeaders(cookies) });

/** Answers a request to one of the endpoints. */
export type AnswerRequest = (request: SignInRequest) => Promise<Answer>;

/** Turns errors into refusals, and refusals into pages. */
export interface Refusals {
  /** The refusal that an error comes to; reports an error that is neither a refusal nor expected. */
  readonly refusalOf: (error: unknown) => SignInRefused;
  /** The page of a refusal; reports it. */
  readonly refuse: (
    refused: SignInRefused,
    cookies?: readonly string[],
    more?: Partial<Pick<Page, 'says' | 'link'>>,
  ) => Answer;
}

/** Creates the refusals. */
export function createRefusals(observe: SignInOptions['observe']): Refusals {
  const refusalOf = (error: unknown): SignInRefused => {
    if (error instanceof SignInRefused) {
      return error;
    }
    if (!(error instanceof UnavailableError)) {
      observe({ event: 'sign_in_failed', error });
    }
    return new SignInRefused('unavailable');
  };

  const refuse = (
    { code, detail }: SignInRefused,
    cookies: readonly string[] = [],
    more: Partial<Pick<Page, 'says' | 'link'>> = {},
  ): Answer => {
    observe({ event: 'sign_in_refused', reason: code, detail });
    const title = OF_SIGNING_OUT.has(code) ? 'Not signed out' : 'Not signed in';
    return pageAnswer({ ...REFUSAL_PAGES[code], title, ...more, headers: cookieHeaders(cookies) });
  };

  return { refusalOf, refuse };
}

/** What all endpoints need to know of hosts, return addresses and cookies. */
export interface Shared {
  /** Null: the cookies are for one host each. */
  readonly cookieDomain: string | null;
  readonly isAppHost: (host: string) => Promise<boolean>;
  /** @throws SignInRefused if nobody signs in on this host: neither the one for all, nor that of an app */
  readonly requireHost: (origin: Origin) => Promise<void>;
  /** @throws SignInRefused if a browser may not be sent there from this origin */
  readonly requireReturnAddress: (text: string, origin: Origin) => Promise<WantedAddress>;
  /** Where the cookie of the session is for. */
  readonly sessionScope: (origin: Origin) => { secure: boolean; domain: string | null };
  /** Tokens in session cookies; somebody who can set a cookie of a parent domain may have added some. */
  readonly sessionTokens: (cookies: readonly SentCookie[]) => readonly string[];
  readonly arrivalsOf: (request: SignInRequest, address: string) => Arrivals;
  /** Sends a browser to the address, with a session of this token. */
  readonly arrive: (request: SignInRequest, address: string, token: string, cookies: readonly string[]) => Answer;
}

/** Creates them. */
export function createShared({
  findApp,
  central,
  sessionCookie,
}: Pick<SignInOptions, 'findApp' | 'central' | 'sessionCookie'>): Shared {
  const cookieDomain = central?.cookieDomain ?? null;

  const isAppHost = async (host: string): Promise<boolean> => (await findApp(host)) !== null;

  const requireHost = async ({ host }: Origin): Promise<void> => {
    if (!(central === null ? await isAppHost(host) : host === central.host)) {
      throw new SignInRefused('unknown_host');
    }
  };

  const requireReturnAddress = async (text: string, origin: Origin): Promise<WantedAddress> => {
    const address = parseReturnAddress(text);
    if (address === null || !isWithin(address, origin, cookieDomain) || !(await isAppHost(address.host))) {
      throw new SignInRefused('bad_return_address');
    }
    return address;
  };

  const sessionScope = (origin: Origin): { secure: boolean; domain: string | null } => ({
    secure: isSecure(origin),
    domain: cookieDomain,
  });

  const sessionTokens = (cookies: readonly SentCookie[]): readonly string[] => {
    const tokens = cookies.filter(({ name, value }) => name === sessionCookie && isWellFormedToken(value));
    return [...new Set(tokens.map(({ value }) => value))].slice(0, SESSIONS_MAX);
  };

  const arrivalsOf = ({ origin, headers, cookies }: SignInRequest, address: string): Arrivals =>
    readArrivals(headers.get('cookie'), isSecure(origin), address, sessionTokens(cookies));

  const arrive = (request: SignInRequest, address: string, token: string, cookies: readonly string[]): Answer => {
    const scope = flowScope(request.origin);
    const value = nextArrival(arrivalsOf(request, address), address, token);
    return redirectAnswer(address, [
      ...cookies,
      setCookie(arrivalCookieName(scope.secure), value, scope, ARRIVAL_SECONDS),
    ]);
  };

  return {
    cookieDomain,
    isAppHost,
    requireHost,
    requireReturnAddress,
    sessionScope,
    sessionTokens,
    arrivalsOf,
    arrive,
  };
}
