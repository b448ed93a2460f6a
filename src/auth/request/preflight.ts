/**
 * Whether a browser asks if a script of another origin may ask (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
 * Such a request never carries a credential, a body or another method under its own: what does is sent by somebody
 * else, and an app may do what it says.
 */
import type { HeaderName, SingleHeaders } from './headers.js';

const NEEDED: readonly HeaderName[] = ['origin', 'access-control-request-method'];
const FOREIGN: readonly HeaderName[] = ['authorization', 'cookie', 'transfer-encoding', 'x-http-method-override'];
/** Parameters of a query by which some apps take another method for that of the request. */
const OVERRIDE_IN_QUERY = /[?&;](?:_method|_?http_?method|\$httpmethod|x[_-](?:http[_-])?method(?:[_-]override)?)=/i;

/** Whether it is a preflight, as far as the proxy tells. */
export function isPreflight(headers: SingleHeaders, method: string, uri: string): boolean {
  return (
    method === 'OPTIONS' &&
    NEEDED.every(name => (headers.get(name) ?? '') !== '' && !headers.isRepeated(name)) &&
    FOREIGN.every(name => (headers.get(name) ?? '') === '' && !headers.isRepeated(name)) &&
    (headers.get('content-length') ?? '0') === '0' &&
    !OVERRIDE_IN_QUERY.test(decodeLightly(uri))
  );
}

/** A parameter's name may be escaped. */
function decodeLightly(uri: string): string {
  const query = uri.indexOf('?');
  return query === -1
    ? ''
    : uri
        .slice(query)
        .replace(/%([2-7][0-9A-Fa-f])/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
