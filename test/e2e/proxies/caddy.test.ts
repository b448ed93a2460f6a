/** Debian's Caddy, with its files of deploy/. */
import { caddy } from '../../support/proxies/caddy.js';
import { describeProxy } from './describe-proxy.js';

describeProxy(caddy);
