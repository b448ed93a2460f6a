/**
 * Envoy's ext_authz over HTTP: the subrequest has the original method and `Host`, and the original path and query after
 * a prefix (`path_prefix: /auth/envoy`); the scheme is in `X-Forwarded-Proto`, which Envoy sets itself. Nothing else of
 * `X-Forwarded-*`, and nothing of `X-Original-*`, says what is asked for.
 *
 * Exactly 200 allows. A status of 5xx is an error to Envoy, and with `failure_mode_allow` lets the request through: so
 * none is sent, not even for what cannot be decided.
 * https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/ext_authz/v3/ext_authz.proto
 */
import type { Dialect } from '../reply.js';
import { requireHeader } from '../request/request.js';

/** What stands before the original path. */
export const ENVOY_PREFIX = '/auth/envoy';

export const envoyDialect: Dialect = {
  name: 'envoy',
  readTarget(headers, { method = '', url = '' }) {
    const host = requireHeader(headers, 'host');
    if (typeof host !== 'string') {
      return host;
    }
    const proto = requireHeader(headers, 'x-forwarded-proto');
    return typeof proto === 'string' ? { method, proto, host, uri: url.slice(ENVOY_PREFIX.length) } : proto;
  },
  clientAddress: 'x-forwarded-for',
  status: status => (status === 503 ? 403 : status),
  redirects: true,
};
