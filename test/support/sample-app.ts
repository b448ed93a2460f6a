/** An app behind a proxy: it tells what reached it, and remembers it. WebSockets are echoed. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request as it reached the app. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  /** By lower-case name, all values in order. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly bodyBytes: number;
}

export interface SampleApp {
  /** `host:port`. */
  readonly address: string;
  /** Everything that has reached it, the newest last. */
  readonly received: readonly Seen[];
  stop(): Promise<void>;
}

/** An answer of the app has this header. */
export const APP_HEADER = 'x-sample';

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

function seenOf(request: IncomingMessage, bodyBytes: number): Seen {
  const headers: Record<string, string[]> = {};
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    (headers[request.rawHeaders[i]!.toLowerCase()] ??= []).push(request.rawHeaders[i + 1]!);
  }
  return { method: request.method ?? '', url: request.url ?? '', headers, bodyBytes };
}

export async function startSampleApp(): Promise<SampleApp> {
  const received: Seen[] = [];
  // It takes whatever gets through, so that nothing that should not get through is hidden by its own strictness.
  const server = createServer({ maxHeaderSize: 1_048_576, requireHostHeader: false }, (request, response) => {
    let bodyBytes = 0;
    request.on('data', (chunk: Buffer) => {
      bodyBytes += chunk.length;
    });
    request.on('end', () => {
      const seen = seenOf(request, bodyBytes);
      received.push(seen);
      response.setHeader(APP_HEADER, 'yes');
      response.end(JSON.stringify(seen));
    });
  });
  const sockets = new Set<Socket>();
  server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    received.push(seenOf(request, 0));
    sockets.add(socket);
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key'] ?? ''}${WEBSOCKET_GUID}`)
      .digest('base64');
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.on('error', () => socket.destroy());
    // Frames of a client are masked, those of a server are not: the payload goes back unmasked.
    socket.on('data', (frame: Buffer) => {
      const length = frame[1]! & 0x7f;
      const mask = frame.subarray(2, 6);
      const payload = frame.subarray(6, 6 + length).map((byte, index) => byte ^ mask[index % 4]!);
      socket.write(Buffer.concat([Buffer.from([0x81, length]), payload]));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    received,
    async stop() {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
