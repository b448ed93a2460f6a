/** `/_gatebell/login`: reads `rd`, seals the flow into a cookie, and sends the browser to the provider. */
import { randomBytes } from 'node:crypto';
import { addressText } from '../auth/login.js';
import { arrivalCookieName } from './arrivals.js';
import { flowCookieName, removeCookie, setCookie, surplusFlows } from './cookies.js';
import { FLOW_SECONDS, type Flow } from './flow.js';
import { redirectAnswer, type Answer } from './page.js';
import { REFUSAL_PAGES, SignInRefused } from './refusal.js';
import { keptAddress, originText } from './return-address.js';
import {
  CALLBACK,
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

const SECRET_BYTES = 32;
/** Longer ones do not go along in the state: providers limit it. */
const STATE_ADDRESS_CHARACTERS_MAX = 500;
/**
 * Times that a browser is sent to one address before a page says that it goes round in circles; several tabs may be
 * opened at once.
 */
const ARRIVALS_MAX = 6;
/** Names that browsers take over https alone. */
const SECURE_NAME = /^__(?:Host|Secure|Http|Host-Http)-/i;

const secret = (): string => randomBytes(SECRET_BYTES).toString('base64url');

/** Creates what sends a browser to the provider. */
function createFlowStart({
  provider,
  sealer,
}: SignInOptions): (request: SignInRequest, returnTo: string | null) => Promise<Answer> {
  return async ({ origin, cookies }, returnTo) => {
    const state = secret();
    const flow: Flow = {
      state,
      nonce: secret(),
      codeVerifier: secret(),
      redirectUri: originText(origin) + CALLBACK,
      returnTo,
    };
    const goesAlong = returnTo !== null && returnTo.length <= STATE_ADDRESS_CHARACTERS_MAX;
    const sent = goesAlong ? `${state}.${await sealer.sealAddress(returnTo)}` : state;
    const url = await provider.authorizationUrl({ ...flow, state: sent });
    const scope = flowScope(origin);
    return redirectAnswer(url.href, [
      ...surplusFlows(cookies, scope.secure).map(name => removeCookie(name, scope)),
      setCookie(flowCookieName(state, scope.secure), await sealer.seal(flow), scope, FLOW_SECONDS),
    ]);
  };
}

/** Creates the endpoint. */
export function createLogin(options: SignInOptions, shared: Shared, { refuse }: Refusals): AnswerRequest {
  const { central, findApp, isSignedIn, sessionCookie } = options;
  const { requireHost, requireReturnAddress, sessionTokens, arrivalsOf, arrive } = shared;
  const beginFlow = createFlowStart(options);

  /** The page for a browser that has signed in, and whose session the app did not get. */
  const tellOfCookie = ({ origin, cookies }: SignInRequest, address: string): Answer => {
    const sent = cookies.filter(({ name }) => name === sessionCookie).length;
    const cause =
      sent === 0
        ? `Your browser does not send the cookie ${sessionCookie}: allow cookies for this site.`
        : `A cookie ${sessionCookie} is in the way, which an earlier session or another site of this domain has set: ` +
          'remove the cookies of this site and of its domain.';
    const says = `${REFUSAL_PAGES.cookie_in_the_way.says} ${cause}`;
    const refused = new SignInRefused('cookie_in_the_way', `the browser sends ${sent} cookies ${sessionCookie}`);
    const over = removeCookie(arrivalCookieName(isSecure(origin)), flowScope(origin));
    return refuse(refused, [over], { says, link: { url: address, text: 'Try again', follow: 'when clicked' } });
  };

  return async request => {
    const { origin, cookies, query } = request;
    await requireHost(origin);
    if (!isSecure(origin) && SECURE_NAME.test(sessionCookie)) {
      throw new SignInRefused('cookie_needs_https');
    }
    const rd = parameter(new URLSearchParams(query), 'rd');
    // Without `rd`, typed by hand, it leads to the front page; the host for all has none.
    const text = rd ?? (central === null ? `${originText(origin)}/` : null);
    const address = text === null ? null : keptAddress(await requireReturnAddress(text, origin));
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
}
