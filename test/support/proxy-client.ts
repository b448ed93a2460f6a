/** Clients of a proxy: one that keeps connections, and one that writes bytes, which an HTTP library would refuse to. */
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { APP_HEADER, type Seen } from './sample-app.js';

export type Pairs = readonly (readonly [name: string, value: string])[];

export interface Call {
  readonly path?: string;
  readonly method?: string;
  readonly host?: string;
  readonly headers?: Pairs;
  readonly body?: string;
  readonly agent?: Agent;
}

/** An answer through the proxy; `seen` is what the app got, if it was the app that answered. */
export interface Reply {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
  readonly seen: Seen | null;
  readonly reusedSocket: boolean;
}

export const bearer = (token: string): Pairs => [['Authorization', `Bearer ${token}`]];

const once_ = new Agent({ keepAlive: false });

/** One request. */
export async function call(
  port: number,
  { path = '/', method = 'GET', host = 'photos.test', headers = [], body, agent = once_ }: Call = {},
): Promise<Reply> {
  const length: Pairs = body === undefined ? [] : [['Content-Length', String(Buffer.byteLength(body))]];
  const request = httpRequest({
    host: '127.0.0.1',
    port,
    path,
    method,
    agent,
    setHost: false,
    headers: [['Host', host], ...headers, ...length].flat(),
  });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const content = await text(response);
  const isApps = response.headers[APP_HEADER] === 'yes';
  return {
    status: response.statusCode ?? 0,
    headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, value?.toString()])),
    body: content,
    // The app answers HEAD without its body.
    seen: isApps && content !== '' ? (JSON.parse(content) as Seen) : null,
    reusedSocket: request.reusedSocket,
  };
}

/** Writes Latin-1 bytes on a connection of its own and reads until its end; a reset is an end. */
export function exchangeBytes(port: number, bytes: string): Promise<string> {
  return new Promise(resolve => {
    let received = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'));
    socket.setEncoding('latin1');
    socket.on('data', (part: string) => (received += part));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      resolve(received);
    });
  });
}

/** The status of each answer in a text. */
export const statusesOf = (received: string): number[] =>
  [...received.matchAll(/^HTTP\/1\.[01] (\d{3})/gm)].map(match => Number(match[1]));

/** A request of HTTP/1.1 that closes its connection. */
export const bytesOf = (line: string, headers: Pairs): string =>
  [line, ...[...headers, ['Connection', 'close'] as const].map(([name, value]) => `${name}: ${value}`), '', ''].join(
    '\r\n',
  );
