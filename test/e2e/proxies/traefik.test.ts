/** A port of Traefik's forwardAuth, with its files of deploy/. */
import { traefik } from '../../support/proxies/traefik.js';
import { describeProxy } from './describe-proxy.js';

describeProxy(traefik);
