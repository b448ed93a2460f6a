/**
 * Sign-in for browsers: `/_gatebell/login`, `/_gatebell/callback` and `/_gatebell/logout`, which the proxy hands on
 * from each app's host, or from one sign-in host. What comes of it is a session in the cookie that the gate reads.
 *
 * login: looks at `rd`, seals the flow into a cookie, and sends the browser to the provider. callback: opens the flow,
 * redeems the code, begins a session and sends the browser to where it wanted to go, which is looked at once more. Both
 * send a browser that is signed in already to where it wanted to go. logout: a button, and what it does.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { readCookies, type SentCookie } from '../auth/request/cookies.js';
import { singleHeaders, type SingleHeaders } from '../auth/request/headers.js';
import { addressText, type LoginPage, type WantedAddress } from '../auth/login.js';
import { parseHost, parseProto, requireHeader } from '../auth/request/request.js';
import { isWellFormedToken } from '../auth/token.js';
import { createApplication, createRouter } from '../http/application.js';
import type { IsTrusted } from '../auth/request/trusted-proxy.js';
import { UnavailableError } from '../coherence/errors.js';
import type { Admission } from './admission.js';
import type { FindApp } from './app-hosts.js';
import { ARRIVAL_SECONDS, arrivalCookieName, nextArrival, readArrivals, type Arrivals } from './arrivals.js';
import { flowCookieName, removeCookie, setCookie, surplusFlows } from './cookies.js';
import { FLOW_SECONDS, type Flow, type FlowSealer } from './flow.js';
import { cookieHeaders, pageAnswer, redirectAnswer, type Answer, type Page } from './page.js';
import type { Provider } from './provider.js';
import { REFUSAL_PAGES, SignInRefused, type Refusal } from './refusal.js';
import { createPlace, isWithin, keptAddress, originText, parseReturnAddress, type Place } from './return-address.js';
import type { Sessions } from './sessions.js';
import { isUnder } from './settings.js';
import type { IsSignedIn } from './signed-in.js';

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
const LOGIN = `${PREFIX}/login`;
const CALLBACK = `${PREFIX}/callback`;
const LOGOUT = `${PREFIX}/logout`;
const SECRET_BYTES = 32;
/** The secret of the flow, and behind it, sealed, the address to return to. */
const STATE = /^([A-Za-z0-9_-]{43})(?:\.([A-Za-z0-9_.-]{1,1000}))?$/;
/** Longer ones do not go along in the state: providers limit it. */
const STATE_ADDRESS_CHARACTERS_MAX = 500;
/**
 * Times that a browser is sent to one address before it is told that it goes round in circles; several tabs may be
 * opened at once.
 */
const ARRIVALS_MAX = 6;
/** Names that browsers take over https alone. */
const SECURE_NAME = /^__(?:Host|Secure|Http|Host-Http)-/i;
/** How often the provider is asked about one flow: it may be away for a moment, and its codes count once. */
const REDEMPTIONS_MAX = 5;
/** Flows of which that is known; they live for some minutes. */
const FLOWS_KNOWN_MAX = 1_000;
/**
 * Sessions of one browser that are ended at once: that of the host, that of the domain, and one that somebody else has
 * put there.
 */
const SESSIONS_MAX = 4;
/** Cookies of one flow that are opened: its own, and some that other hosts of the domain have set under that name. */
const FLOW_COOKIES_MAX = 4;
/** What nobody asks for who was sent here by the gate. */
const IN_VAIN: ReadonlySet<Refusal> = new Set([
  'unknown_host',
  'bad_return_address',
  'bad_flow',
  'bad_provider_answer',
]);
const OF_SIGNING_OUT: ReadonlySet<Refusal> = new Set(['foreign_origin', 'not_signed_out']);
const QUERY_CHARACTERS_MAX = 8_192;

const secret = (): string => randomBytes(SECRET_BYTES).toString('base64url');

/** A request to one of the endpoints. */
interface SignInRequest {
  readonly place: Place;
  readonly headers: SingleHeaders;
  readonly cookies: readonly SentCookie[];
  readonly query: string;
}

/** What answers each method. */
type Endpoint = Readonly<Record<string, (request: SignInRequest) => Promise<Answer>>>;

/**
 * Where browsers are sent to sign in: this host, or the one for all. An app that the cookie would not reach has no
 * login page.
 */
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

/** Creates the endpoints, an Express application; it answers 404 to all other paths. */
export function createSignInEndpoints(options: SignInOptions): RequestListener {
  const {
    isTrusted,
    admission,
    callbackAdmission,
    findApp,
    isSignedIn,
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

  const arrivalsOf = ({ place, headers, cookies }: SignInRequest, address: string): Arrivals =>
    readArrivals(headers.get('cookie'), isSecure(place), address, sessionTokens(cookies));

  /** Sends a browser to the address, with a session of this token. */
  const arrive = (request: SignInRequest, address: string, token: string, cookies: readonly string[]): Answer => {
    const scope = flowScope(request.place);
    const value = nextArrival(arrivalsOf(request, address), address, token);
    return redirectAnswer(address, [
      ...cookies,
      setCookie(arrivalCookieName(scope.secure), value, scope, ARRIVAL_SECONDS),
    ]);
  };

  /** The page for a browser that has signed in, and whose session the app did not get. */
  const tellOfCookie = ({ place, cookies }: SignInRequest, address: string): Answer => {
    const sent = cookies.filter(({ name }) => name === sessionCookie).length;
    const says =
      sent === 0
        ? `${REFUSAL_PAGES.cookie_in_the_way.says} Your browser does not send the cookie ${sessionCookie}: allow cookies for this site.`
        : `${REFUSAL_PAGES.cookie_in_the_way.says} A cookie ${sessionCookie} is in the way, which an earlier session or another site of this domain has set: remove the cookies of this site and of its domain.`;
    const refused = new SignInRefused('cookie_in_the_way', `the browser sends ${sent} cookies ${sessionCookie}`);
    const over = removeCookie(arrivalCookieName(isSecure(place)), flowScope(place));
    return refuse(refused, [over], { says, link: { url: address, text: 'Try again', follow: 'when clicked' } });
  };

  const beginFlow = async ({ place, cookies }: SignInRequest, returnTo: string | null): Promise<Answer> => {
    const state = secret();
    const flow: Flow = {
      state,
      nonce: secret(),
      codeVerifier: secret(),
      redirectUri: originText(place) + CALLBACK,
      returnTo,
    };
    const goesAlong = returnTo !== null && returnTo.length <= STATE_ADDRESS_CHARACTERS_MAX;
    const sent = goesAlong ? `${state}.${await sealer.sealAddress(returnTo)}` : state;
    const url = await provider.authorizationUrl({ ...flow, state: sent });
    const scope = flowScope(place);
    return redirectAnswer(url.href, [
      ...surplusFlows(cookies, scope.secure).map(name => removeCookie(name, scope)),
      setCookie(flowCookieName(state, scope.secure), await sealer.seal(flow), scope, FLOW_SECONDS),
    ]);
  };

  const login = async (request: SignInRequest): Promise<Answer> => {
    const { place, cookies, query } = request;
    await requireHost(place);
    if (!isSecure(place) && SECURE_NAME.test(sessionCookie)) {
      throw new SignInRefused('cookie_needs_https');
    }
    const rd = parameter(new URLSearchParams(query), 'rd');
    // Whoever comes by hand goes to the front page; the host for all has none.
    const text = rd ?? (central === null ? `${originText(place)}/` : null);
    const address = text === null ? null : keptAddress(await requireReturnAddress(text, place));
    const tokens = sessionTokens(cookies);
    const isIn = await isSignedIn(tokens, address === null ? null : await findApp(address.host));
    if (address === null) {
      return isIn ? signedIn([]) : beginFlow(request, null);
    }
    const returnTo = addressText(address);
    const { times, isWithoutSession } = arrivalsOf(request, returnTo);
    if (isIn ? times >= ARRIVALS_MAX : isWithoutSession) {
      return tellOfCookie(request, returnTo);
    }
    return isIn ? arrive(request, returnTo, tokens[0]!, []) : beginFlow(request, returnTo);
  };

  const signedIn = (cookies: readonly string[]): Answer =>
    pageAnswer({ status: 200, title: 'Signed in', says: 'You are signed in.', headers: cookieHeaders(cookies) });

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

  /** What the provider has handed back: the state as it was sent, the secret in it, and the sealed address. */
  const readState = (
    query: string,
  ): { readonly sent: string; readonly state: string; readonly address: string | null } => {
    const sent = parameter(new URLSearchParams(query), 'state');
    const match = sent === null ? null : STATE.exec(sent);
    if (sent === null || match === null) {
      throw new SignInRefused('bad_flow');
    }
    return { sent, state: match[1]!, address: match[2] ?? null };
  };

  /** The flow that this browser has begun on this host, with this state; null if it has none. */
  const findFlow = async ({ place, cookies }: SignInRequest, state: string): Promise<Flow | null> => {
    const name = flowCookieName(state, isSecure(place));
    const opened = await Promise.all(
      cookies
        .filter(cookie => cookie.name === name)
        .slice(0, FLOW_COOKIES_MAX)
        .map(({ value }) => sealer.open(value)),
    );
    const redirectUri = originText(place) + CALLBACK;
    return opened.find(flow => flow?.state === state && flow.redirectUri === redirectUri) ?? null;
  };

  /**
   * A browser that has no flow of this state: it came back twice, or others took the place. If it is signed in, all is
   * well.
   */
  const withoutFlow = async (request: SignInRequest, sealed: string | null): Promise<Answer> => {
    const { place, cookies } = request;
    const text =
      (sealed === null ? null : await sealer.openAddress(sealed)) ??
      (central === null ? `${originText(place)}/` : null);
    const address = text === null ? null : await requireReturnAddress(text, place);
    const tokens = sessionTokens(cookies);
    if (await isSignedIn(tokens, address === null ? null : await findApp(address.host))) {
      return address === null ? signedIn([]) : arrive(request, addressText(address), tokens[0]!, []);
    }
    const link =
      address === null
        ? {}
        : { link: { url: addressText(address), text: 'Open the app', follow: 'when clicked' as const } };
    return refuse(new SignInRefused('bad_flow'), [], link);
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

  /** @param sent the state as the provider has it */
  const finish = async (request: SignInRequest, flow: Flow, sent: string): Promise<Answer> => {
    const { place, cookies, query } = request;
    const returnTo = flow.returnTo === null ? null : await requireReturnAddress(flow.returnTo, place);
    const identity = await provider.redeem(query, { ...flow, state: sent });
    // A cookie of one host is for its app alone. What the browser had before ends: a token that somebody else has put
    // there is of no use.
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
    return returnTo === null ? signedIn(set) : arrive(request, addressText(returnTo), session.token, set);
  };

  const callback = async (request: SignInRequest): Promise<Answer> => {
    const { place } = request;
    await requireHost(place);
    const { sent, state, address } = readState(request.query);
    const flow = await findFlow(request, state);
    if (flow === null) {
      return withoutFlow(request, address);
    }
    const visit = callbackAdmission.enter(request.headers);
    try {
      countRedemption(flow);
      const answered = await finish(request, flow, sent);
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
    return pageAnswer({ status: 200, title: 'Sign out', says: 'Do you want to sign out?', button: 'Sign out' });
  };

  /** @throws SignInRefused if one of them may go on */
  const endSessions = async (tokens: readonly string[]): Promise<void> => {
    try {
      for (const token of tokens) {
        const credentialId = await sessions.end(token);
        if (credentialId !== null) {
          observe({ event: 'sign_out', credentialId });
        }
      }
    } catch (error) {
      throw new SignInRefused('not_signed_out', refusalOf(error).code, { cause: error });
    }
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
    await endSessions(sessionTokens(cookies));
    const gone = [
      removeCookie(sessionCookie, sessionScope(place)),
      removeCookie(arrivalCookieName(isSecure(place)), flowScope(place)),
    ];
    if (cookieDomain !== null) {
      gone.push(removeCookie(sessionCookie, flowScope(place)));
    }
    const endSession = provider.endSessionUrl();
    return pageAnswer({
      status: 200,
      title: 'Signed out',
      says: 'You are signed out.',
      headers: cookieHeaders(gone),
      ...(endSession === null
        ? {}
        : { link: { url: endSession.href, text: 'Sign out of the identity provider, too', follow: 'at once' } }),
    });
  };

  const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map<string, Endpoint>([
    [LOGIN, { GET: login, HEAD: login }],
    [CALLBACK, { GET: callback }],
    [LOGOUT, { GET: askToSignOut, HEAD: askToSignOut, POST: signOut }],
  ]);

  const write = (message: IncomingMessage, response: ServerResponse, { status, headers, body }: Answer): void => {
    response.writeHead(status, [...headers, 'Content-Length', String(Buffer.byteLength(body))]);
    response.end(message.method === 'HEAD' ? '' : body);
  };

  const answer = async (methods: Endpoint, message: IncomingMessage): Promise<Answer> => {
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
    const url = message.url ?? '/';
    const mark = url.indexOf('?');
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

  const router = createRouter();
  for (const [path, methods] of ENDPOINTS) {
    router.all(path, async (request, response) => {
      write(request, response, await answer(methods, request));
    });
  }
  const application = createApplication({
    routers: [router],
    notFound(message, response) {
      write(message, response, pageAnswer({ status: 404, title: 'Not found', says: 'There is nothing here.' }));
    },
    failed(error, message, response) {
      const refusal = refuse(refusalOf(error));
      if (response.headersSent) {
        response.destroy();
      } else {
        write(message, response, refusal);
      }
    },
  });
  return (message, response) => {
    // None of them has a body; one that comes nevertheless is not read.
    if ((message.headers['content-length'] ?? '0') !== '0' || message.headers['transfer-encoding'] !== undefined) {
      response.shouldKeepAlive = false;
    }
    application(message, response);
  };
}
