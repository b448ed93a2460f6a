/**
 * Sign-in for browsers: `/_gatebell/login`, `/_gatebell/callback` and `/_gatebell/logout`, which the proxy hands on from each app's host, or
 * from one sign-in host. What comes of it is a session in the cookie that the gate reads.
 *
 * login: looks at `rd`, seals the flow into a cookie, and sends the browser to the provider. callback: opens the flow, redeems the code,
 * begins a session and sends the browser to where it wanted to go, which is looked at once more. logout: a button, and what it does.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readCookies, type SentCookie } from '../auth/cookies.js';
import { singleHeaders, type SingleHeaders } from '../auth/headers.js';
import { addressText, type LoginPage, type WantedAddress } from '../auth/login.js';
import { parseHost, parseProto, requireHeader } from '../auth/request.js';
import { isWellFormedToken } from '../auth/token.js';
import type { IsTrusted } from '../auth/trusted-proxy.js';
import { UnavailableError } from '../coherence/errors.js';
import type { Admission } from './admission.js';
import type { FindApp } from './app-hosts.js';
import { flowCookieName, removeCookie, setCookie, surplusFlows } from './cookies.js';
import { FLOW_SECONDS, type Flow, type FlowSealer } from './flow.js';
import { cookieHeaders, pageAnswer, redirectAnswer, type Answer } from './page.js';
import type { Provider } from './provider.js';
import { REFUSAL_PAGES, SignInRefused, type Refusal } from './refusal.js';
import { createPlace, isWithin, keptAddress, originText, parseReturnAddress, type Place } from './return-address.js';
import type { Sessions } from './sessions.js';
import { isUnder } from './settings.js';

/** What happens in here. Never a token, a code, a state, a cookie, or what a stranger chose. */
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
const LOGIN = `${PREFIX}/login`;
const CALLBACK = `${PREFIX}/callback`;
const LOGOUT = `${PREFIX}/logout`;
const SECRET_BYTES = 32;
const STATE = /^[A-Za-z0-9_-]{43}$/;
/** How often the provider is asked about one flow: it may be away for a moment, and its codes count once. */
const REDEMPTIONS_MAX = 5;
/** Flows of which that is known; they live for some minutes. */
const FLOWS_KNOWN_MAX = 1_000;
/** Sessions of one browser that are ended at once: that of the host, that of the domain, and one that somebody else has put there. */
const SESSIONS_MAX = 3;
/** What nobody asks for who was sent here by the gate. */
const IN_VAIN: ReadonlySet<Refusal> = new Set([
  'unknown_host',
  'bad_return_address',
  'bad_flow',
  'bad_provider_answer',
]);
const QUERY_CHARACTERS_MAX = 8_192;

const secret = (): string => randomBytes(SECRET_BYTES).toString('base64url');

/** A request to one of the endpoints. */
interface SignInRequest {
  readonly place: Place;
  readonly headers: SingleHeaders;
  readonly cookies: readonly SentCookie[];
  readonly query: string;
}

/** Where browsers are sent to sign in: this host, or the one for all. An app that the cookie would not reach has no login page. */
export function createSignInPage(central: SignInOptions['central']): LoginPage {
  return wanted => {
    if (central !== null && !isUnder(wanted.host, central.cookieDomain)) {
      return null;
    }
    const { proto, port } = wanted;
    const page = addressText({ proto, host: central?.host ?? wanted.host, port, uri: LOGIN });
    return `${page}?rd=${encodeURIComponent(addressText(keptAddress(wanted)))}`;
  };
}

/** Creates the endpoints; they answer 404 to all other paths. */
export function createSignInEndpoints(
  options: SignInOptions,
): (message: IncomingMessage, response: ServerResponse) => void {
  const {
    isTrusted,
    admission,
    callbackAdmission,
    findApp,
    provider,
    sealer,
    sessions,
    sessionCookie,
    sessionHours,
    central,
    observe,
  } = options;
  const cookieDomain = central?.cookieDomain ?? null;
  /** How often each flow was tried, by its state; those of long ago first. */
  const redemptions = new Map<string, number>();

  const isAppHost = async (host: string): Promise<boolean> => (await findApp(host)) !== null;

  const readRequest = (message: IncomingMessage, query: string): SignInRequest => {
    const headers = singleHeaders(message.rawHeaders);
    const host = requireHeader(headers, 'x-forwarded-host');
    const proto = requireHeader(headers, 'x-forwarded-proto');
    const parsedHost = typeof host === 'string' ? parseHost(host) : null;
    const parsedProto = typeof proto === 'string' ? parseProto(proto) : null;
    const repeated = (['cookie', 'origin', 'sec-fetch-site'] as const).find(name => headers.isRepeated(name));
    if (parsedHost === null || parsedProto === null || repeated !== undefined || query.length > QUERY_CHARACTERS_MAX) {
      throw new SignInRefused('bad_request');
    }
    return {
      place: createPlace(parsedProto, parsedHost),
      headers,
      cookies: readCookies(headers.get('cookie')),
      query,
    };
  };

  /** People sign in on the host for all, or on that of an app. */
  const requireHost = async ({ host }: Place): Promise<void> => {
    if (!(central === null ? await isAppHost(host) : host === central.host)) {
      throw new SignInRefused('unknown_host');
    }
  };

  const requireReturnAddress = async (text: string, place: Place): Promise<WantedAddress> => {
    const address = parseReturnAddress(text);
    if (address === null || !isWithin(address, place, cookieDomain) || !(await isAppHost(address.host))) {
      throw new SignInRefused('bad_return_address');
    }
    return address;
  };

  /** The one value of a parameter; null if there is none. */
  const parameter = (parameters: URLSearchParams, name: string): string | null => {
    const values = parameters.getAll(name);
    if (values.length > 1) {
      throw new SignInRefused('bad_request');
    }
    return values[0] ?? null;
  };

  const isSecure = ({ proto }: Place): boolean => proto === 'https';
  const flowScope = (place: Place): { secure: boolean; domain: null } => ({ secure: isSecure(place), domain: null });
  const sessionScope = (place: Place): { secure: boolean; domain: string | null } => ({
    secure: isSecure(place),
    domain: cookieDomain,
  });

  const login = async ({ place, cookies, query }: SignInRequest): Promise<Answer> => {
    await requireHost(place);
    const rd = parameter(new URLSearchParams(query), 'rd');
    // Whoever comes by hand goes to the front page; the host for all has none.
    const text = rd ?? (central === null ? `${originText(place)}/` : null);
    const returnTo = text === null ? null : addressText(keptAddress(await requireReturnAddress(text, place)));
    const flow: Flow = {
      state: secret(),
      nonce: secret(),
      codeVerifier: secret(),
      redirectUri: originText(place) + CALLBACK,
      returnTo,
    };
    const url = await provider.authorizationUrl(flow);
    const scope = flowScope(place);
    return redirectAnswer(url.href, [
      ...surplusFlows(cookies, scope.secure).map(name => removeCookie(name, scope)),
      setCookie(flowCookieName(flow.state, scope.secure), await sealer.seal(flow), scope, FLOW_SECONDS),
    ]);
  };

  const refusalOf = (error: unknown): SignInRefused => {
    if (error instanceof SignInRefused) {
      return error;
    }
    if (!(error instanceof UnavailableError)) {
      observe({ event: 'sign_in_failed', error });
    }
    return new SignInRefused('unavailable');
  };

  const refuse = ({ code, detail }: SignInRefused, cookies: readonly string[] = []): Answer => {
    observe({ event: 'sign_in_refused', reason: code, detail });
    const { status, says } = REFUSAL_PAGES[code];
    return pageAnswer({ status, title: 'Not signed in', says, headers: cookieHeaders(cookies) });
  };

  /** The flow that this browser has begun on this host, with this state. */
  const requireFlow = async ({ place, cookies, query }: SignInRequest): Promise<Flow> => {
    const state = parameter(new URLSearchParams(query), 'state');
    if (state === null || !STATE.test(state)) {
      throw new SignInRefused('bad_flow');
    }
    const name = flowCookieName(state, isSecure(place));
    const [sealed, ...others] = cookies.filter(cookie => cookie.name === name);
    const flow = sealed === undefined || others.length > 0 ? null : await sealer.open(sealed.value);
    if (flow === null || flow.state !== state || flow.redirectUri !== originText(place) + CALLBACK) {
      throw new SignInRefused('bad_flow');
    }
    return flow;
  };

  /** Tokens in session cookies; whoever can set a cookie of a parent domain may have added some. */
  const sessionTokens = (cookies: readonly SentCookie[]): readonly string[] => {
    const tokens = cookies.filter(({ name, value }) => name === sessionCookie && isWellFormedToken(value));
    return [...new Set(tokens.map(({ value }) => value))].slice(0, SESSIONS_MAX);
  };

  /** @throws SignInRefused if the provider has been asked about this flow often enough */
  const countRedemption = ({ state }: Flow): void => {
    const times = (redemptions.get(state) ?? 0) + 1;
    if (times > REDEMPTIONS_MAX) {
      throw new SignInRefused('bad_flow');
    }
    redemptions.set(state, times);
    const oldest = redemptions.keys().next();
    if (redemptions.size > FLOWS_KNOWN_MAX && oldest.done !== true) {
      redemptions.delete(oldest.value);
    }
  };

  const finish = async (request: SignInRequest, flow: Flow): Promise<Answer> => {
    const { place, cookies, query } = request;
    const returnTo = flow.returnTo === null ? null : await requireReturnAddress(flow.returnTo, place);
    const identity = await provider.redeem(query, flow);
    // A cookie of one host is for its app alone. What the browser had before ends: a token that somebody else has put there is of no use.
    const appId = central === null ? await findApp(place.host) : null;
    const session = await sessions.begin(identity, appId, sessionTokens(cookies));
    if ('problem' in session) {
      throw new SignInRefused('unknown_user', session.problem);
    }
    observe({ event: 'sign_in', userId: session.userId, credentialId: session.credentialId });
    const set = [
      removeCookie(flowCookieName(flow.state, isSecure(place)), flowScope(place)),
      setCookie(sessionCookie, session.token, sessionScope(place), sessionHours * 3_600),
    ];
    return returnTo === null
      ? pageAnswer({ status: 200, title: 'Signed in', says: 'You are signed in.', headers: cookieHeaders(set) })
      : redirectAnswer(addressText(returnTo), set);
  };

  const callback = async (request: SignInRequest): Promise<Answer> => {
    const { place } = request;
    await requireHost(place);
    const flow = await requireFlow(request);
    const visit = callbackAdmission.enter(request.headers);
    try {
      countRedemption(flow);
      const answered = await finish(request, flow);
      visit.leave(false);
      return answered;
    } catch (error) {
      // A flow is for one answer of the provider; only what was our own trouble may be tried again.
      const refused = refusalOf(error);
      visit.leave(IN_VAIN.has(refused.code));
      const isOver = REFUSAL_PAGES[refused.code].status !== 503;
      const name = flowCookieName(flow.state, isSecure(place));
      return refuse(refused, isOver ? [removeCookie(name, flowScope(place))] : []);
    }
  };

  /** Signing out is done on the host on which the cookie is. */
  const elsewhere = async ({ place }: SignInRequest): Promise<Answer | null> =>
    central !== null && place.host !== central.host && (await isAppHost(place.host))
      ? redirectAnswer(addressText({ ...place, host: central.host, uri: LOGOUT }), [])
      : null;

  const askToSignOut = async (request: SignInRequest): Promise<Answer> => {
    const there = await elsewhere(request);
    if (there !== null) {
      return there;
    }
    await requireHost(request.place);
    const endSession = provider.endSessionUrl();
    return pageAnswer({
      status: 200,
      title: 'Sign out',
      says: 'Do you want to sign out?',
      button: 'Sign out',
      formLeadsTo: endSession === null ? [] : [endSession.origin],
    });
  };

  const signOut = async ({ place, headers, cookies }: SignInRequest): Promise<Answer> => {
    await requireHost(place);
    // Another site's form must not sign anybody out. Browsers say where a form is from in at least one of these.
    const origin = headers.get('origin');
    const site = headers.get('sec-fetch-site');
    const isForeign = (origin ?? originText(place)) !== originText(place) || (site ?? 'same-origin') !== 'same-origin';
    if (isForeign || (origin === undefined && site === undefined)) {
      throw new SignInRefused('foreign_origin');
    }
    for (const token of sessionTokens(cookies)) {
      const credentialId = await sessions.end(token);
      if (credentialId !== null) {
        observe({ event: 'sign_out', credentialId });
      }
    }
    const gone = [removeCookie(sessionCookie, sessionScope(place))];
    if (cookieDomain !== null) {
      gone.push(removeCookie(sessionCookie, flowScope(place)));
    }
    const endSession = provider.endSessionUrl();
    return endSession === null
      ? pageAnswer({ status: 200, title: 'Signed out', says: 'You are signed out.', headers: cookieHeaders(gone) })
      : redirectAnswer(endSession.href, gone);
  };

  const ENDPOINTS: ReadonlyMap<string, Readonly<Record<string, (request: SignInRequest) => Promise<Answer>>>> = new Map(
    [
      [LOGIN, { GET: login, HEAD: login }],
      [CALLBACK, { GET: callback }],
      [LOGOUT, { GET: askToSignOut, HEAD: askToSignOut, POST: signOut }],
    ],
  );

  const answer = async (message: IncomingMessage): Promise<Answer> => {
    // The path as it was sent: another spelling of it is another path.
    const url = message.url ?? '/';
    const mark = url.indexOf('?');
    const path = mark === -1 ? url : url.slice(0, mark);
    const methods = ENDPOINTS.get(path);
    if (methods === undefined) {
      return pageAnswer({ status: 404, title: 'Not found', says: 'There is nothing here.' });
    }
    if (!isTrusted(message)) {
      throw new SignInRefused('untrusted_proxy');
    }
    const endpoint = Object.hasOwn(methods, message.method ?? '') ? methods[message.method ?? ''] : undefined;
    if (endpoint === undefined) {
      const headers = ['Allow', Object.keys(methods).join(', ')];
      return pageAnswer({
        status: 405,
        title: 'Not allowed',
        says: 'This page is not asked for in this way.',
        headers,
      });
    }
    const request = readRequest(message, mark === -1 ? '' : url.slice(mark + 1));
    const visit = admission.enter(request.headers);
    try {
      const answered = await endpoint(request);
      visit.leave(false);
      return answered;
    } catch (error) {
      visit.leave(error instanceof SignInRefused && IN_VAIN.has(error.code));
      throw error;
    }
  };

  return (message, response) => {
    // None of them has a body; one that comes nevertheless is not read.
    if ((message.headers['content-length'] ?? '0') !== '0' || message.headers['transfer-encoding'] !== undefined) {
      response.shouldKeepAlive = false;
    }
    answer(message)
      .catch((error: unknown) => refuse(refusalOf(error)))
      .then(({ status, headers, body }) => {
        response.writeHead(status, [...headers, 'Content-Length', String(Buffer.byteLength(body))]);
        response.end(message.method === 'HEAD' ? '' : body);
      })
      .catch((error: unknown) => {
        observe({ event: 'sign_in_failed', error });
        response.destroy();
      });
  };
}
