/** A port of Envoy's ext_authz, with its files of deploy/. */
import { envoy } from '../../support/proxies/envoy.js';
import { describeProxy } from './describe-proxy.js';

describeProxy(envoy);
