/**
 * Where browsers are sent to sign in. The address to return to goes along in `rd`; its host is that of a registered
 * app, never what the request claims (CVE-2020-5233).
 */

/** The address that a browser wanted, of a registered app. */
export interface WantedAddress {
  readonly proto: 'http' | 'https';
  readonly host: string;
  /** With its colon, or empty. */
  readonly port: string;
  /** Path and query, in ASCII. */
  readonly uri: string;
}

/** The address of the login page for who wants that address; null: there is none. */
export type LoginPage = (wanted: WantedAddress) => string | null;

/** The absolute URL of an address. */
export const addressText = ({ proto, host, port, uri }: WantedAddress): string => `${proto}://${host}${port}${uri}`;

/** A login page of somebody else's, at a fixed URL. */
export function createLoginPage(loginUrl: string): LoginPage {
  const head = `${loginUrl}${loginUrl.includes('?') ? '&' : '?'}rd=`;
  return wanted => head + encodeURIComponent(addressText(wanted));
}
