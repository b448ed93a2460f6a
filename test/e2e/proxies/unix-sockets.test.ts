/** The same proxies, with replicas that listen on Unix sockets. Traefik knows none. */
import { caddy } from '../../support/proxies/caddy.js';
import { envoy } from '../../support/proxies/envoy.js';
import { haproxy } from '../../support/proxies/haproxy.js';
import { nginx } from '../../support/proxies/nginx.js';
import { describeOverSockets } from './describe-proxy.js';

for (const proxy of [nginx, caddy, haproxy, envoy]) {
  describeOverSockets(proxy);
}
