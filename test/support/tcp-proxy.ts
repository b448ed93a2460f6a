/** A TCP proxy to put between a replica and Postgres: delays, holds back, cuts off. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface TcpProxy {
  readonly port: number;
  /** Connections open now, and the most that ever were. */
  readonly open: number;
  readonly openMax: number;
  /** Keeps back what Postgres answers, until `release()`. Resolves when something is kept back. */
  hold(): Promise<void>;
  release(): void;
  close(): Promise<void>;
}

/** Starts a proxy on a free port. @param delayMs how long each chunk takes, each way. */
export async function startTcpProxy(targetPort: number, { delayMs = 0 } = {}): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let open = 0;
  let openMax = 0;
  let held: (() => void)[] | null = null;
  let onHeld: () => void = () => undefined;

  const pipe = (from: Socket, to: Socket, isAnswer: boolean): void => {
    const write = (chunk: Buffer): void => {
      if (!to.destroyed) {
        to.write(chunk);
      }
    };
    from.on('data', (chunk: Buffer) => {
      if (isAnswer && held !== null) {
        held.push(() => {
          write(chunk);
        });
        onHeld();
      } else if (delayMs === 0) {
        write(chunk);
      } else {
        setTimeout(write, delayMs, chunk);
      }
    });
    from.on('close', () => to.destroy());
    from.on('error', () => to.destroy());
  };

  const server = createServer(client => {
    const upstream = connect(targetPort, '127.0.0.1');
    open += 1;
    openMax = Math.max(openMax, open);
    client.on('close', () => {
      open -= 1;
    });
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    }
    pipe(client, upstream, false);
    pipe(upstream, client, true);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new Error('no port');
  }
  return {
    port: address.port,
    get open() {
      return open;
    },
    get openMax() {
      return openMax;
    },
    hold() {
      held = [];
      return new Promise(resolve => {
        onHeld = resolve;
      });
    },
    release() {
      const waiting = held ?? [];
      held = null;
      for (const go of waiting) {
        go();
      }
    },
    async close() {
      server.close();
      for (const socket of sockets) {
        socket.destroy();
      }
      await once(server, 'close');
    },
  };
}
