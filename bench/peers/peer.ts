/**
 * What all peers share: how a question is read, how it is answered, and how the program tells its port. The answer has
 * the very same headers as an allow of Gatebell; a measurement begins by comparing the two.
 *
 * A peer is a program of its own: it prints `{"port":…}` when it accepts connections, and ends when its standard input
 * does.
 */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Who asks, in the words of the answer's headers. */
export interface Identity {
  readonly user: string;
  readonly name: string;
  readonly email: string;
  /** Joined with commas. */
  readonly groups: string;
  readonly app: string;
  readonly role: string;
}

/** What a peer looks at. */
export interface Question {
  /** Session cookie or bearer token; empty if there is none. */
  readonly token: string;
  readonly host: string;
}

/** Seconds as Gatebell keeps connections; the header that tells it is then the same, too. */
const KEEP_ALIVE_MS = 75_000;
const COOKIE = 'gatebell';
const BEARER = 'Bearer ';

function readCookie(header: string): string {
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === COOKIE) {
      return pair.slice(equals + 1).trim();
    }
  }
  return '';
}

/** Reads the question that a proxy asks. */
export function readQuestion({ headers }: IncomingMessage): Question {
  const bearer = headers.authorization;
  return {
    token: bearer?.startsWith(BEARER) === true ? bearer.slice(BEARER.length) : readCookie(headers.cookie ?? ''),
    host: String(headers['x-forwarded-host'] ?? ''),
  };
}

/** Headers of an allow, name and value. */
export function identityHeaders({ user, name, email, groups, app, role }: Identity): [string, string][] {
  return [
    ['X-Gatebell-Reason', 'granted'],
    ['Cache-Control', 'no-store'],
    ['Remote-User', user],
    ['Remote-Name', name],
    ['Remote-Email', email],
    ['Remote-Groups', groups],
    ['X-Gatebell-App', app],
    ['X-Gatebell-Role', role],
    ['Content-Length', '0'],
  ];
}

/** Answers on bare `node:http`: 200 to somebody, 403 to nobody. */
export function answer(response: ServerResponse, identity: Identity | null): void {
  if (identity === null) {
    response.writeHead(403, { 'Content-Length': 0 }).end();
    return;
  }
  const { user, name, email, groups, app, role } = identity;
  response.writeHead(200, [
    'X-Gatebell-Reason',
    'granted',
    'Cache-Control',
    'no-store',
    'Remote-User',
    user,
    'Remote-Name',
    name,
    'Remote-Email',
    email,
    'Remote-Groups',
    groups,
    'X-Gatebell-App',
    app,
    'X-Gatebell-Role',
    role,
    'Content-Length',
    '0',
  ]);
  response.end();
}

/** A listener that looks the question up; what goes wrong is answered 503. */
export function answering(lookUp: (question: Question) => Promise<Identity | null>): RequestListener {
  return (request, response) => {
    lookUp(readQuestion(request)).then(
      identity => {
        answer(response, identity);
      },
      () => {
        response.writeHead(503, { 'Content-Length': 0 }).end();
      },
    );
  };
}

/** A setting from the environment. @throws when it is missing */
export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') {
    throw new Error(`the environment variable ${name} must be set`);
  }
  return value;
}

/**
 * Says that the program is ready, and ends it when its standard input does.
 * @param port 0 if it accepts no connections
 */
export function ready(port: number): void {
  process.stdout.write(`${JSON.stringify({ port })}\n`);
  process.stdin.on('end', () => process.exit(0)).resume();
}

/** Accepts connections on a free port of the loopback interface, and says which. */
export function serve(listener: RequestListener): void {
  const server = createServer({ keepAlive: true }, listener);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.listen(0, '127.0.0.1', () => {
    ready((server.address() as AddressInfo).port);
  });
}
