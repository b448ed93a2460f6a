/** Over a Unix socket nobody has an address: whoever may connect there is trusted, and nobody else for want of one. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { BlockList, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createProxyTrust } from '../../../../src/auth/request/trusted-proxy.js';
import { peerOf } from '../../../../src/http/peer.js';
import { close, createHttpServer, listen, listenOnSocket, type GateServer } from '../../../../src/http/server.js';
import { loopback } from '../../../support/auth-server.js';

const SECRET = 'a secret of a proxy';

let folder: string;
let server: GateServer;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'gatebell-socket-'));
});

afterEach(async () => {
  await close(server);
  await rm(folder, { recursive: true });
});

/** What `look` says of one request, which is made with these options. */
async function lookAt<T>(
  options: (server: GateServer) => Promise<RequestOptions>,
  look: (message: IncomingMessage) => T | Promise<T>,
): Promise<T> {
  let seen: (of: Promise<T>) => void = () => undefined;
  const promise = new Promise<T>(resolve => {
    seen = resolve;
  });
  server = createHttpServer((message, response) => {
    seen((async () => look(message))());
    response.end();
  });
  const request = httpRequest({ agent: false, ...(await options(server)) });
  request.on('error', () => undefined);
  request.end();
  return promise;
}

const overSocket =
  (headers = {}) =>
  async (on: GateServer): Promise<RequestOptions> => {
    const socketPath = path.join(folder, 'auth.sock');
    await listenOnSocket(on, socketPath);
    return { socketPath, headers };
  };

const overPort = async (on: GateServer): Promise<RequestOptions> => {
  await listen(on, '127.0.0.1', 0);
  // A listening TCP server has an address of this form.
  return { port: (on.address() as AddressInfo).port };
};

test('over a Unix socket a peer is trusted, and has a name in what is told of it', async () => {
  const isTrusted = createProxyTrust(new BlockList());
  expect(await lookAt(overSocket(), message => [isTrusted(message), peerOf(message.socket)])).toEqual([true, 'unix']);
});

test.each([
  [{}, false],
  [{ 'X-Gatebell-Secret': 'another secret, no less' }, false],
  [{ 'X-Gatebell-Secret': SECRET }, true],
])('it must show the secret if there is one: %j', async (headers, trusted) => {
  const isTrusted = createProxyTrust(loopback(), SECRET);
  expect(await lookAt(overSocket(headers), isTrusted)).toBe(trusted);
});

test('a TCP connection that has gone has no address either, and is not taken for one', async () => {
  const isTrusted = createProxyTrust(loopback());
  const seen = await lookAt(overPort, async message => {
    message.socket.destroy();
    await once(message.socket, 'close');
    return [message.socket.remoteAddress, isTrusted(message), peerOf(message.socket)];
  });
  expect(seen).toEqual([undefined, false, null]);
});

test('a peer on a Unix socket that has gone is still told of as one', async () => {
  const seen = await lookAt(overSocket(), async message => {
    message.socket.destroy();
    await once(message.socket, 'close');
    return peerOf(message.socket);
  });
  expect(seen).toBe('unix');
});
