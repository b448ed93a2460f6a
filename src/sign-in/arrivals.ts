/**
 * Notices a browser that goes round in circles. A user who has signed in, or was signed in already, is sent to an
 * address of an app. When the browser is back at the login page moments later, the app did not get the session: the
 * browser does not keep the cookie, or another host of the domain has set one of the same name. A cookie that lasts a
 * few seconds shows it.
 */
import { hash } from 'node:crypto';
import { cookieValues } from '../auth/request/cookies.js';

/** Where a browser was sent lately, by its cookie. */
export interface Arrivals {
  /** Times that it was sent to this very address; several tabs may do so once or twice. */
  readonly times: number;
  /** Whether it was sent anywhere with a session that it does not send now, or not alone. */
  readonly isWithoutSession: boolean;
}

/**
 * How long it is remembered: longer than a page takes to come back, and not so long that it hinders a user who has
 * signed out since.
 */
export const ARRIVAL_SECONDS = 20;
const DIGEST_CHARACTERS = 11;
const FORM = /^([A-Za-z0-9_-]{11})\.([A-Za-z0-9_-]{11})\.([1-9])$/;
const TIMES_MAX = 9;

const digest = (text: string): string => hash('sha256', text, 'base64url').slice(0, DIGEST_CHARACTERS);

/** Name of the cookie; on this host alone, like those of flows. */
export const arrivalCookieName = (secure: boolean): string => `${secure ? '__Host-' : ''}gatebell_arrival`;

/** The value of the cookie when the browser is sent to the address once more, with a session of this token. */
export function nextArrival({ times }: Arrivals, address: string, token: string): string {
  return `${digest(address)}.${digest(token)}.${Math.min(times + 1, TIMES_MAX)}`;
}

/**
 * Reads the cookie.
 * @param address where the browser is to be sent
 * @param tokens what it sends in cookies of the session's name
 */
export function readArrivals(
  cookieHeader: string | undefined,
  secure: boolean,
  address: string,
  tokens: readonly string[],
): Arrivals {
  const sent = cookieValues(cookieHeader, arrivalCookieName(secure)).map(value => FORM.exec(value));
  const match = sent.find(one => one !== null);
  if (match === undefined) {
    return { times: 0, isWithoutSession: false };
  }
  const [, sentTo, sentWith, times] = match;
  const [token, ...others] = tokens;
  return {
    times: sentTo === digest(address) ? Number(times) : 0,
    isWithoutSession: token === undefined || others.length > 0 || sentWith !== digest(token),
  };
}
