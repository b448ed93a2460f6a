/** Debian's HAProxy, with its files of deploy/. */
import { haproxy } from '../../support/proxies/haproxy.js';
import { describeProxy } from './describe-proxy.js';

describeProxy(haproxy);
