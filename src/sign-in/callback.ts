/**
 * `/_gatebell/callback`: opens the flow, redeems the code, begins a session and sends the browser back to the address
 * that it wanted. That address is checked once more.
 */
import { addressText } from '../auth/login.js';
import { flowCookieName, removeCookie, setCookie } from './cookies.js';
import type { Flow, FlowSealer } from './flow.js';
import type { Answer } from './page.js';
import { REFUSAL_PAGES, SignInRefused } from './refusal.js';
import { originText } from './return-address.js';
import {
  CALLBACK,
  NEGATIVE_LOOKUPS,
  flowScope,
  isSecure,
  parameter,
  signedIn,
  type AnswerRequest,
  type Refusals,
  type Shared,
  type SignInOptions,
  type SignInRequest,
} from './shared.js';

/** The secret of the flow, and behind it, sealed, the address to return to. */
const STATE = /^([A-Za-z0-9_-]{43})(?:\.([A-Za-z0-9_.-]{1,1000}))?$/;
/** How often the provider is asked about one flow: it may be away for a moment, and its codes count once. */
const REDEMPTIONS_MAX = 5;
/** Flows of which that is known; they live for some minutes. */
const FLOWS_KNOWN_MAX = 1_000;
/** Cookies of one flow that are opened: its own, and some that other hosts of the domain have set under that name. */
const FLOW_COOKIES_MAX = 4;

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
const findFlow = async (
  sealer: FlowSealer,
  { origin, cookies }: SignInRequest,
  state: string,
): Promise<Flow | null> => {
  const name = flowCookieName(state, isSecure(origin));
  const opened = await Promise.all(
    cookies
      .filter(cookie => cookie.name === name)
      .slice(0, FLOW_COOKIES_MAX)
      .map(({ value }) => sealer.open(value)),
  );
  const redirectUri = originText(origin) + CALLBACK;
  return opened.find(flow => flow?.state === state && flow.redirectUri === redirectUri) ?? null;
};

/** Creates a counter of how often each flow is tried. */
function createRedemptionCounter(): (flow: Flow) => void {
  /** By the state of the flow; those of long ago first. */
  const redemptions = new Map<string, number>();

  /** @throws SignInRefused if the provider has been asked about this flow often enough */
  return ({ state }: Flow): void => {
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
}

/** Creates what answers a browser without a flow. */
function createWithoutFlow(
  options: SignInOptions,
  shared: Shared,
  { refuse }: Refusals,
): (request: SignInRequest, sealed: string | null) => Promise<Answer> {
  const { central, findApp, isSignedIn, sealer } = options;
  const { requireReturnAddress, sessionTokens, arrive } = shared;

  /**
   * A browser that has no flow of this state: it came back twice, or others took the place. If it is signed in, all is
   * well.
   */
  return async (request: SignInRequest, sealed: string | null): Promise<Answer> => {
    const { origin, cookies } = request;
    const text =
      (sealed === null ? null : await sealer.openAddress(sealed)) ??
      (central === null ? `${originText(origin)}/` : null);
    const address = text === null ? null : await requireReturnAddress(text, origin);
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
}

/** Creates what begins a session. */
function createFinish(
  options: SignInOptions,
  shared: Shared,
): (request: SignInRequest, flow: Flow, sent: string) => Promise<Answer> {
  const { central, findApp, observe, provider, sessions, sessionCookie, sessionHours } = options;
  const { requireReturnAddress, sessionScope, sessionTokens, arrive } = shared;

  /** @param sent the state as the provider has it */
  return async (request: SignInRequest, flow: Flow, sent: string): Promise<Answer> => {
    const { origin, cookies, query } = request;
    const returnTo = flow.returnTo === null ? null : await requireReturnAddress(flow.returnTo, origin);
    const identity = await provider.redeem(query, { ...flow, state: sent });
    // A cookie of one host is for its app alone. What the browser had before ends: a token that somebody else has put
    // there is useless.
    const appId = central === null ? await findApp(origin.host) : null;
    const session = await sessions.begin(identity, appId, sessionTokens(cookies));
    if ('problem' in session) {
      throw new SignInRefused('unknown_user', session.problem);
    }
    observe({ event: 'sign_in', userId: session.userId, credentialId: session.credentialId });
    const set = [
      removeCookie(flowCookieName(flow.state, isSecure(origin)), flowScope(origin)),
      setCookie(sessionCookie, session.token, sessionScope(origin), sessionHours * 3_600),
    ];
    return returnTo === null ? signedIn(set) : arrive(request, addressText(returnTo), session.token, set);
  };
}

/** Creates the endpoint. */
export function createCallback(options: SignInOptions, shared: Shared, refusals: Refusals): AnswerRequest {
  const { callbackAdmission, sealer } = options;
  const { requireHost } = shared;
  const { refusalOf, refuse } = refusals;
  const countRedemption = createRedemptionCounter();
  const withoutFlow = createWithoutFlow(options, shared, refusals);
  const finish = createFinish(options, shared);

  return async request => {
    const { origin } = request;
    await requireHost(origin);
    const { sent, state, address } = readState(request.query);
    const flow = await findFlow(sealer, request, state);
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
      visit.leave(NEGATIVE_LOOKUPS.has(refused.code));
      const isOver = REFUSAL_PAGES[refused.code].status !== 503;
      const name = flowCookieName(flow.state, isSecure(origin));
      return refuse(refused, isOver ? [removeCookie(name, flowScope(origin))] : []);
    }
  };
}
