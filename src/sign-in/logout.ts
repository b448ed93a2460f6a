/** `/_gatebell/logout`: a page with a button, and what the button does: it ends the sessions of the browser. */
import { addressText } from '../auth/login.js';
import { arrivalCookieName } from './arrivals.js';
import { removeCookie } from './cookies.js';
import { cookieHeaders, pageAnswer, redirectAnswer, type Answer } from './page.js';
import { SignInRefused } from './refusal.js';
import { originText } from './return-address.js';
import {
  LOGOUT,
  flowScope,
  isSecure,
  type AnswerRequest,
  type Refusals,
  type Shared,
  type SignInOptions,
  type SignInRequest,
} from './shared.js';

/** Creates the page with the button. */
export function createSignOutPage({ central }: SignInOptions, { isAppHost, requireHost }: Shared): AnswerRequest {
  /** Signing out is done on the host on which the cookie is. */
  const elsewhere = async ({ origin }: SignInRequest): Promise<Answer | null> =>
    central !== null && origin.host !== central.host && (await isAppHost(origin.host))
      ? redirectAnswer(addressText({ ...origin, host: central.host, uri: LOGOUT }), [])
      : null;

  return async request => {
    const there = await elsewhere(request);
    if (there !== null) {
      return there;
    }
    await requireHost(request.origin);
    return pageAnswer({ status: 200, title: 'Sign out', says: 'Do you want to sign out?', button: 'Sign out' });
  };
}

/** Creates what the button does. */
export function createSignOut(options: SignInOptions, shared: Shared, { refusalOf }: Refusals): AnswerRequest {
  const { observe, provider, sessions, sessionCookie } = options;
  const { cookieDomain, requireHost, sessionScope, sessionTokens } = shared;

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

  return async ({ origin, headers, cookies }) => {
    await requireHost(origin);
    // Another site's form must not sign anybody out. Browsers say where a form is from in at least one of these.
    const sent = headers.get('origin');
    const site = headers.get('sec-fetch-site');
    const isForeign = (sent ?? originText(origin)) !== originText(origin) || (site ?? 'same-origin') !== 'same-origin';
    if (isForeign || (sent === undefined && site === undefined)) {
      throw new SignInRefused('foreign_origin');
    }
    await endSessions(sessionTokens(cookies));
    const gone = [
      removeCookie(sessionCookie, sessionScope(origin)),
      removeCookie(arrivalCookieName(isSecure(origin)), flowScope(origin)),
    ];
    if (cookieDomain !== null) {
      gone.push(removeCookie(sessionCookie, flowScope(origin)));
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
}
