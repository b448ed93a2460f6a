/**
 * Traefik's forwardAuth and Caddy's forward_auth: `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`. Any status passes
 * through to the client, redirects too. `X-Original-*` is never looked at here.
 */
import type { Dialect } from '../reply.js';
import { requireHeader, type ReadTarget } from '../request/request.js';

/** Reads the target that is told in `X-Forwarded-*`. */
export const readForwardedTarget: ReadTarget = headers => {
  const method = requireHeader(headers, 'x-forwarded-method');
  const proto = requireHeader(headers, 'x-forwarded-proto');
  const host = requireHeader(headers, 'x-forwarded-host');
  const uri = requireHeader(headers, 'x-forwarded-uri');
  if (typeof method !== 'string') {
    return method;
  }
  if (typeof proto !== 'string') {
    return proto;
  }
  if (typeof host !== 'string') {
    return host;
  }
  return typeof uri === 'string' ? { method, proto, host, uri } : uri;
};

export const forwardDialect: Dialect = {
  name: 'forward',
  readTarget: readForwardedTarget,
  clientAddress: 'x-forwarded-for',
  status: status => status,
  redirects: true,
};
