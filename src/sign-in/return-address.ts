/**
 * Where to send a browser after signing in: `rd` of the login page. Anybody can make such a link, so it is taken apart,
 * checked and built again: an open redirect lends the app's good name to a phisher (CVE-2020-5233). It must
 * lead to a registered app, and with the scheme and port of the request at hand; without a sign-in host, to the same
 * host.
 */
import type { WantedAddress } from '../auth/login.js';
import { parseHost } from '../auth/request/request.js';
import { isUnder } from './settings.js';

/** An origin that a request was sent to: scheme, canonical host and port. */
export type Origin = Pick<WantedAddress, 'proto' | 'host' | 'port'>;

/** Scheme, host with port, path, query. Backslashes are slashes to browsers, but for those in the query. */
const FORM = /^(https?):\/\/([^/?#@\\]{1,260})(\/[\x21\x22\x24-\x3e\x40-\x5b\x5d-\x7e]*)?(\?[\x21\x22\x24-\x7e]*)?$/;
const RETURN_CHARACTERS_MAX = 8_192;
/** A longer one does not fit into a cookie. */
const KEPT_CHARACTERS_MAX = 1_200;
const DEFAULT_PORTS = { http: ':80', https: ':443' } as const;

/** An origin in its one form: without the port, if it is the default of the scheme. */
export function createOrigin(proto: 'http' | 'https', { host, port }: Pick<Origin, 'host' | 'port'>): Origin {
  return { proto, host, port: port === DEFAULT_PORTS[proto] ? '' : port };
}

/** As browsers write it in `Origin`. */
export const originText = ({ proto, host, port }: Origin): string => `${proto}://${host}${port}`;

/** Takes it apart; null if it is not an absolute URL of the plainest form. */
export function parseReturnAddress(text: string): WantedAddress | null {
  const match = text.length <= RETURN_CHARACTERS_MAX ? FORM.exec(text) : null;
  const at = match === null ? null : parseHost(match[2]!);
  if (match === null || at === null) {
    return null;
  }
  const proto = match[1] === 'http' ? 'http' : 'https';
  return { ...createOrigin(proto, at), uri: (match[3] ?? '/') + (match[4] ?? '') };
}

/** Whether it stays where a sign-in at this origin counts. Whether the app exists is another question. */
export function isWithin(
  { proto, host, port, uri }: WantedAddress,
  origin: Origin,
  cookieDomain: string | null,
): boolean {
  return (
    proto === origin.proto &&
    port === origin.port &&
    (cookieDomain === null ? host === origin.host : isUnder(host, cookieDomain)) &&
    // Back to signing in or out would go round in circles.
    !/^\/+_gatebell(?:[/?]|$)/.test(uri)
  );
}

/** As it is kept while the person is at the provider: of a very long one, the app's front page. */
export function keptAddress(address: WantedAddress): WantedAddress {
  return address.uri.length <= KEPT_CHARACTERS_MAX ? address : { ...address, uri: '/' };
}
