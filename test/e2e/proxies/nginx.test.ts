/** Debian's nginx, with its files of deploy/. */
import { nginx } from '../../support/proxies/nginx.js';
import { describeProxy } from './describe-proxy.js';

describeProxy(nginx);
