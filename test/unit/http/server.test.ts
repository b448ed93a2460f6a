/** How servers end. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { close, createHttpServer, listen, type GateServer } from '../../../src/http/server.js';

const REQUEST = 'GET / HTTP/1.1\r\nHost: gate\r\n\r\n';

interface Client {
  readonly socket: Socket;
  /** Resolves with the response, which the server has not answered yet. */
  ask(): Promise<ServerResponse>;
  /** What was received; resolves when the connection is closed. */
  readonly closed: Promise<string>;
}

let server: GateServer;
const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) {
    socket.destroy();
  }
});

async function start(): Promise<() => Client> {
  const waiting: ((response: ServerResponse) => void)[] = [];
  server = createHttpServer((_, response) => {
    waiting.shift()!(response);
  });
  const { port } = new URL(await listen(server, '127.0.0.1', 0));
  return () => {
    const socket = connect(Number(port), '127.0.0.1');
    sockets.push(socket);
    let received = '';
    socket.setEncoding('latin1').on('data', (part: string) => (received += part));
    socket.on('error', () => undefined);
    return {
      socket,
      ask: () =>
        new Promise(resolve => {
          waiting.push(resolve);
          socket.write(REQUEST);
        }),
      closed: once(socket, 'close').then(() => received),
    };
  };
}

const connectionsOf = (received: string): (string | undefined)[] =>
  [...received.matchAll(/^Connection: (\S+)\r$/gm)].map(match => match[1]);

test('an answer that is under way when the server closes says that it is the last on its connection', async () => {
  const open = await start();
  const client = open();
  const response = await client.ask();
  const closed = close(server);
  response.end();
  expect(connectionsOf(await client.closed)).toEqual(['close']);
  await closed;
});

test('a connection that is kept is closed at once, and so is one on which nothing is ever sent', async () => {
  const open = await start();
  const kept = open();
  (await kept.ask()).end();
  await once(kept.socket, 'data');
  const silent = open();
  await once(silent.socket, 'connect');
  const closed = close(server);
  expect(connectionsOf(await kept.closed)).toEqual(['keep-alive']);
  expect(await silent.closed).toBe('');
  await closed;
});

test('a stop waits for the longest request that is under way, and for nothing else', async () => {
  const open = await start();
  const [slow, part, kept] = [open(), open(), open()];
  const response = await slow.ask();
  part.socket.write('GET / HT');
  (await kept.ask()).end();
  await once(kept.socket, 'data');
  let isClosed = false;
  const closed = close(server).then(() => {
    isClosed = true;
  });
  await Promise.all([part.closed, kept.closed]);
  expect(isClosed).toBe(false);
  response.end();
  expect(connectionsOf(await slow.closed)).toEqual(['close']);
  await closed;
});

test('while it drains, new connections are accepted, and each is for one answer', async () => {
  const open = await start();
  const kept = open();
  (await kept.ask()).end();
  await once(kept.socket, 'data');
  server.drain();
  await kept.closed;
  const fresh = open();
  (await fresh.ask()).end();
  expect(connectionsOf(await fresh.closed)).toEqual(['close']);
  await close(server);
});
