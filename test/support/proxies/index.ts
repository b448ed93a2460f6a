/** All proxies that the behaviours are tested with, in the order of the table in docs/proxies.md. */
import { caddy } from './caddy.js';
import { envoy } from './envoy.js';
import { haproxy } from './haproxy.js';
import { nginx } from './nginx.js';
import type { TestProxy } from './proxy.js';
import { traefik } from './traefik.js';

export const PROXIES: readonly TestProxy[] = [nginx, caddy, haproxy, traefik, envoy];
