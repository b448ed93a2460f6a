/** How servers end. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { close, createHttpServer, listen } from '../../../src/http/server.js';

test('a kept connection is used to its end while the server closes: the next answer says that it is the last', async () => {
  const arrived: ServerResponse[] = [];
  let arrive: () => void = () => undefined;
  const server = createHttpServer((_, response) => {
    arrived.push(response);
    arrive();
  });
  const { port } = new URL(await listen(server, '127.0.0.1', 0));
  const socket = connect(Number(port), '127.0.0.1');
  let received = '';
  socket.setEncoding('latin1').on('data', (part: string) => (received += part));
  const ask = (): Promise<void> => {
    const here = new Promise<void>(resolve => (arrive = resolve));
    socket.write('GET / HTTP/1.1\r\nHost: gate\r\n\r\n');
    return here;
  };
  await ask();
  const closed = close(server);
  arrived[0]!.end();
  await ask();
  arrived[1]!.end();
  await once(socket, 'close');
  await closed;
  const connections = [...received.matchAll(/^Connection: (\S+)\r$/gm)].map(match => match[1]);
  expect(connections).toEqual(['keep-alive', 'close']);
});
