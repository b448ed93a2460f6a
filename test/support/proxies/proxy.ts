/** What the tests of proxies need of each: a name, how it is started, and what differs by its nature. */
import { fileURLToPath } from 'node:url';
import type { ServerProcess } from '../server-process.js';

/** Where a replica listens: `host:port` of its auth and of its ops listener, or `unix:` and a path for the first. */
export interface GateAddress {
  readonly auth: string;
  readonly ops: string;
}

export interface ProxySetup {
  /** The replicas, one or two. */
  readonly gates: readonly GateAddress[];
  /** `host:port` of the app. */
  readonly app: string;
  /** With the lines for GATEBELL_STRIP_CREDENTIALS, if the file has some that are off. */
  readonly strip?: boolean;
  /** With the lines for GATEBELL_PROXY_SECRET, and this secret. */
  readonly secret?: string;
  /** With the lines for a load balancer before the proxy, which connects from this IPv4 address. */
  readonly hop?: string;
}

export type RunningProxy = ServerProcess;

export interface TestProxy {
  readonly name: 'nginx' | 'Caddy' | 'HAProxy' | 'Traefik' | 'Envoy';
  /** The program itself, or a port of what its source does. */
  readonly kind: 'real' | 'conformance';
  /** What a client may get when no replica answers. */
  readonly unanswered: readonly number[];
  /** Whether it asks another replica when a connection is cut before the answer; all do when none can be opened. */
  readonly retriesCuts: boolean;
  start(setup: ProxySetup): Promise<RunningProxy>;
}

/** A file of deploy/. */
export const deployFile = (name: string): string => fileURLToPath(new URL(`../../../deploy/${name}`, import.meta.url));

/** Whether replicas listen on Unix sockets. */
export const areSockets = (gates: readonly GateAddress[]): boolean =>
  gates.every(({ auth }) => auth.startsWith('unix:'));

/** What the files of deploy/ have of one socket, and what that takes the place of. */
const SOCKET_LINES = /^ *#unix (?:server .*|- endpoint:\n *#unix .*)\n/gm;
const PORT_LINES: readonly RegExp[] = [
  /^ *server 127\.0\.0\.1:42.*\n/gm,
  /^ *type: STRICT_DNS\n(?=(?: *# .*\n)+ *#unix type:)/gm,
  /^ *- endpoint:\n.*gatebell-\d,.*\n.*health_check_config.*\n/gm,
];

/** A file of deploy/ with its lines for Unix sockets in place of those for ports, as its comments say. */
export function switchToSockets(text: string, paths: readonly string[]): string {
  return PORT_LINES.reduce((rest, lines) => rest.replaceAll(lines, ''), text)
    .replaceAll(SOCKET_LINES, lines => paths.map(path => lines.replace('/run/gatebell/auth.sock', path)).join(''))
    .replaceAll('#unix ', '');
}

/** A file of deploy/ with the lines switched on that are wanted, as its comments say. */
export function switchOn(
  text: string,
  { strip = false, secret, hop }: Pick<ProxySetup, 'strip' | 'secret' | 'hop'>,
): string {
  const stripped = strip ? text.replaceAll('#strip ', '') : text;
  const behindHop = hop === undefined ? stripped : stripped.replaceAll('#hop ', '').replaceAll('192.0.2.10', hop);
  return secret === undefined ? behindHop : behindHop.replaceAll('#secret ', '').replaceAll('the-secret', secret);
}
