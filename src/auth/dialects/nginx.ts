/**
 * nginx' auth_request, by the convention of its users: `X-Original-URL: $scheme://$http_host$request_uri` and
 * `X-Original-Method: $request_method`. nginx understands only 2xx, 401 and 403, and makes a 500 of anything else, so
 * nothing else is sent. `X-Forwarded-*` is never looked at here.
 */
import type { Dialect } from '../reply.js';
import { requireHeader } from '../request/request.js';

const URL_FORM = /^([A-Za-z]+):\/\/([^/?#]+)(\/.*)$/;

export const nginxDialect: Dialect = {
  name: 'nginx',
  readTarget(headers) {
    const method = requireHeader(headers, 'x-original-method');
    if (typeof method !== 'string') {
      return method;
    }
    const url = requireHeader(headers, 'x-original-url');
    if (typeof url !== 'string') {
      return url;
    }
    const match = URL_FORM.exec(url);
    if (match === null) {
      return { problem: 'header x-original-url must be scheme://host/path' };
    }
    return { method, proto: match[1]!, host: match[2]!, uri: match[3]! };
  },
  clientAddress: 'x-real-ip',
  status: status => (status === 200 || status === 401 ? status : 403),
  redirects: false,
};
