/** The proxy does to connections what it says: what the faults of a network are made of. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

/** A server that answers every chunk with its own name and the chunk. */
async function startEcho(name: string): Promise<Server & { readonly sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer(socket => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', chunk => socket.write(`${name}:${String(chunk)}`));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(server, { sockets });
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

let [one, two]: Awaited<ReturnType<typeof startEcho>>[] = [];
let proxy: TcpProxy;

beforeAll(async () => {
  [one, two] = [await startEcho('one'), await startEcho('two')];
  proxy = await startTcpProxy(portOf(one));
});

afterAll(async () => {
  await proxy.close();
  one!.close();
  two!.close();
});

interface Client {
  readonly socket: Socket;
  /** Everything that has come. */
  readonly heard: () => string;
  /** Resolves when this is what has come back, as a whole: the server's name in between tells nothing. */
  hears(text: string): Promise<void>;
}

async function open(): Promise<Client> {
  const socket = connect(proxy.port, '127.0.0.1');
  let heard = '';
  socket.setEncoding('utf8');
  socket.on('error', () => undefined);
  socket.on('data', (text: string) => {
    heard += text;
    socket.emit('heard');
  });
  await once(socket, 'connect');
  return {
    socket,
    heard: () => heard,
    async hears(text) {
      while (heard.replaceAll('one:', '').length < text.length) {
        await once(socket, 'heard');
      }
      expect(heard.replaceAll('one:', '')).toBe(text);
    },
  };
}

/** Time for what is under way to arrive: another connection, through a proxy that is well, has its turns. */
async function turns(): Promise<void> {
  const beside = await startTcpProxy(portOf(two!));
  const other = connect(beside.port, '127.0.0.1');
  for (let turn = 0; turn < 20; turn++) {
    other.write('x');
    await once(other, 'data');
  }
  other.destroy();
  await beside.close();
}

test('a black hole lets nothing out, either way or one way; what was kept back then comes in order', async () => {
  const { socket, heard, hears } = await open();
  socket.write('a');
  await hears('a');
  const serverSide = one!.sockets.at(-1)!;
  let arrived = '';
  serverSide.on('data', chunk => (arrived += String(chunk)));
  proxy.blackHole('up', 'down');
  socket.write('b');
  await turns();
  expect(arrived).toBe('');
  proxy.blackHole('down');
  await once(serverSide, 'data');
  await turns();
  expect([arrived, heard()]).toEqual(['b', 'one:a']);
  socket.write('c');
  await once(serverSide, 'data');
  proxy.blackHole();
  await hears('abc');
  socket.destroy();
});

test('the news that a peer has closed does not get out of a black hole, either', async () => {
  const { socket, hears } = await open();
  socket.write('a');
  await hears('a');
  const serverSide = one!.sockets.at(-1)!;
  proxy.blackHole('up', 'down');
  socket.destroy();
  await turns();
  expect(serverSide.destroyed).toBe(false);
  const closed = once(serverSide, 'close');
  proxy.blackHole();
  await closed;
});

test('retarget sends new connections elsewhere, old ones stay; cut breaks them', async () => {
  const old = await open();
  old.socket.write('a');
  await old.hears('a');
  proxy.retarget(portOf(two!));
  const fresh = await open();
  fresh.socket.write('b');
  await fresh.hears('two:b');
  old.socket.write('b');
  await old.hears('ab');
  const closed = Promise.all([once(old.socket, 'close'), once(fresh.socket, 'close')]);
  proxy.cut();
  await closed;
  proxy.retarget(portOf(one!));
});

test('latency delays every chunk and keeps the order', async () => {
  const { socket, hears } = await open();
  proxy.setLatency({ delayMs: 20, jitterMs: 30 });
  const startedMs = performance.now();
  for (const letter of 'abcde') {
    socket.write(letter);
    await turns();
  }
  await hears('abcde');
  // Timers may fire a millisecond early.
  expect(performance.now() - startedMs).toBeGreaterThanOrEqual(38);
  proxy.setLatency({ delayMs: 0 });
  socket.destroy();
});
