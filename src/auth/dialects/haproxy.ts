/**
 * HAProxy, which asks from Lua and with HEAD: the request is told in `X-Forwarded-*`, which the Lua of deploy/haproxy
 * sets. It gives our refusals to the client itself, so any status will do. `X-Original-*` is never looked at here.
 */
import { readForwardedTarget } from './forward.js';
import type { Dialect } from '../reply.js';

export const haproxyDialect: Dialect = {
  name: 'haproxy',
  readTarget: readForwardedTarget,
  clientAddress: 'x-forwarded-for',
  status: status => status,
  redirects: true,
};
