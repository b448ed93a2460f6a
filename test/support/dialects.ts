/**
 * Each proxy's subrequest as that proxy would write it, from what a client sent: where it puts the target, which of the
 * client's headers it passes on, and what it understands of the answer. Written from the proxies' behaviour, knowing
 * nothing of `src/auth`.
 */
import { exchange, readAnswer, type Answer, type AuthServer, type Pairs } from './auth-server.js';

/** What the client asked the proxy for. */
export interface Target {
  readonly method: string;
  readonly proto: string;
  readonly host: string;
  readonly uri: string;
}

/** The head of a subrequest: its request line and its headers, `Host` among them. */
export interface Subrequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Pairs;
}

export interface ProxyDialect {
  readonly name: 'forward' | 'internal' | 'nginx' | 'envoy' | 'haproxy';
  /** Headers that tell of the target; without any one of them there is no target. */
  readonly metadata: readonly string[];
  /** Headers by which other dialects tell of theirs: this one must not look at them. */
  readonly foreign: readonly string[];
  /** The status that the proxy gets for what the gate decides. */
  readonly statusOf: (status: 200 | 400 | 401 | 403 | 414 | 503) => number;
  /** Whether browsers are sent to the login page. */
  readonly redirects: boolean;
  readonly subrequest: (target: Target, client?: Pairs) => Subrequest;
}

const FORWARDED = ['X-Forwarded-Method', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Forwarded-Uri'] as const;
const ORIGINAL = ['X-Original-Method', 'X-Original-URL'] as const;

const forwarded = ({ method, proto, host, uri }: Target): Pairs => [
  ['X-Forwarded-Method', method],
  ['X-Forwarded-Proto', proto],
  ['X-Forwarded-Host', host],
  ['X-Forwarded-Uri', uri],
];

const forward = (name: 'forward' | 'internal', path: string): ProxyDialect => ({
  name,
  metadata: FORWARDED,
  foreign: ORIGINAL,
  statusOf: status => status,
  redirects: true,
  subrequest: (target, client = []) => ({
    method: 'GET',
    path,
    headers: [['Host', 'gate'], ...client, ...forwarded(target)],
  }),
});

const nginx: ProxyDialect = {
  name: 'nginx',
  metadata: ORIGINAL,
  foreign: FORWARDED,
  statusOf: status => (status === 200 || status === 401 ? status : 403),
  redirects: false,
  subrequest: ({ method, proto, host, uri }, client = []) => ({
    method: 'GET',
    path: '/auth/nginx',
    headers: [
      ['X-Original-URL', `${proto}://${host}${uri}`],
      ['X-Original-Method', method],
      ['Host', 'gate'],
      ...client,
    ],
  }),
};

/** The subrequest is the request, below a prefix; of the client's headers come those that the configuration names. */
const envoy: ProxyDialect = {
  name: 'envoy',
  metadata: ['Host', 'X-Forwarded-Proto'],
  foreign: ['X-Forwarded-Method', 'X-Forwarded-Host', 'X-Forwarded-Uri', ...ORIGINAL],
  statusOf: status => (status === 503 ? 403 : status),
  redirects: true,
  subrequest: ({ method, proto, host, uri }, client = []) => ({
    method,
    path: `/auth/envoy${uri}`,
    headers: [['Host', host], ...client, ['X-Forwarded-Proto', proto]],
  }),
};

/** auth-request.lua asks with HEAD. */
const haproxy: ProxyDialect = {
  name: 'haproxy',
  metadata: FORWARDED,
  foreign: ORIGINAL,
  statusOf: status => status,
  redirects: true,
  subrequest: (target, client = []) => ({
    method: 'HEAD',
    path: '/auth/haproxy',
    headers: [['host', 'gate'], ...client, ...forwarded(target)],
  }),
};

/** Every dialect that the gate speaks. */
export const PROXY_DIALECTS: readonly ProxyDialect[] = [
  forward('forward', '/auth/forward'),
  forward('internal', '/internal/auth'),
  nginx,
  envoy,
  haproxy,
];

/** The bytes of a subrequest, in Latin-1. */
export function subrequestBytes({ method, path, headers }: Subrequest, connection: 'keep-alive' | 'close'): string {
  const lines = [...headers, ['Connection', connection] as const].map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** Asks as the proxy would, on a connection of its own; null if the server ended it without an answer. */
export async function askAs(
  server: Pick<AuthServer, 'port'>,
  dialect: ProxyDialect,
  target: Partial<Target>,
  client: Pairs = [],
  change: (subrequest: Subrequest) => Subrequest = subrequest => subrequest,
): Promise<Answer | null> {
  const whole = { method: 'GET', proto: 'https', host: 'wiki.example.com', uri: '/', ...target };
  const subrequest = change(dialect.subrequest(whole, client));
  const text = await exchange(server.port, subrequestBytes(subrequest, 'close'));
  return readAnswer(text, subrequest.method === 'HEAD')?.answer ?? null;
}

/** Puts another value in place of a header's, or takes the header away (null). */
export function withHeader(name: string, value: string | null): (subrequest: Subrequest) => Subrequest {
  return subrequest => ({
    ...subrequest,
    headers: subrequest.headers.flatMap(([each, was]) =>
      each.toLowerCase() !== name.toLowerCase() ? [[each, was]] : value === null ? [] : [[each, value]],
    ),
  });
}

/** Adds headers behind those that are there. */
export function withMore(...more: Pairs): (subrequest: Subrequest) => Subrequest {
  return subrequest => ({ ...subrequest, headers: [...subrequest.headers, ...more] });
}
