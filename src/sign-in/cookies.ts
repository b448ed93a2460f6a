/**
 * The cookies of sign-in: the session's, which `GATEBELL_COOKIE` names and the gate reads on every request, and one for
 * each sign-in under way. No script sees them, and other sites' requests carry them only when they lead a person here.
 */

import type { SentCookie } from '../auth/request/cookies.js';

/** Where a cookie is for. */
interface Scope {
  readonly secure: boolean;
  /** The domain with all hosts under it; null: this host alone. */
  readonly domain: string | null;
}

const attributes = ({ secure, domain }: Scope, maxAgeSeconds: number): string =>
  `; Path=/${domain === null ? '' : `; Domain=${domain}`}; Max-Age=${maxAgeSeconds}${secure ? '; Secure' : ''}; ` +
  'HttpOnly; SameSite=Lax';

/** The text that sets a cookie. */
export function setCookie(name: string, value: string, scope: Scope, maxAgeSeconds: number): string {
  return `${name}=${value}${attributes(scope, maxAgeSeconds)}`;
}

/** The text that removes a cookie. */
export function removeCookie(name: string, scope: Scope): string {
  return `${name}=${attributes(scope, 0)}`;
}

/** Characters of the state that tell cookies of flows apart. */
const STATE_CHARACTERS = 16;

/**
 * What the names of flow cookies begin with. With `__Host-` no other host of the domain can have set it; browsers take
 * it over https alone.
 */
export const flowCookiePrefix = (secure: boolean): string => `${secure ? '__Host-' : ''}gatebell_flow_`;

/** Name of the cookie that holds the flow with this state. */
export const flowCookieName = (state: string, secure: boolean): string =>
  flowCookiePrefix(secure) + state.slice(0, STATE_CHARACTERS);

/**
 * Sign-ins that one browser may have under way besides a new one, and characters of their cookies: proxies take headers
 * of 8 KB at most.
 */
const FLOWS_MAX = 4;
const FLOWS_CHARACTERS_MAX = 3_000;

/** Names of the flow cookies that have to go before another is set: the oldest. */
export function surplusFlows(cookies: readonly SentCookie[], secure: boolean): readonly string[] {
  let characters = 0;
  return cookies
    .filter(({ name }) => name.startsWith(flowCookiePrefix(secure)))
    .toReversed()
    .filter(({ name, value }, index) => {
      characters += name.length + value.length;
      return index >= FLOWS_MAX || characters > FLOWS_CHARACTERS_MAX;
    })
    .map(({ name }) => name);
}
