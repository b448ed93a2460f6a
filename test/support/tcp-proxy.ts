/**
 * A TCP proxy to put between a replica and Postgres. Each direction can be delayed or become a black hole; connections
 * can be cut, and new ones sent to another server while old ones stay.
 *
 * A black hole is what a network without a route is: nothing comes out, not even the news that a peer has closed,
 * nothing is refused, and what was sent meanwhile arrives after all if the hole closes while both ends still wait (TCP
 * sends it again).
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** `up`: from the client to the server; `down`: what the server answers. */
export type Way = 'up' | 'down';

/** Times in milliseconds. Every chunk takes `delayMs`, and up to `jitterMs` more; the order of a connection stays. */
export interface Latency {
  readonly delayMs: number;
  readonly jitterMs?: number;
}

export interface TcpProxy {
  readonly port: number;
  /** Connections open now, and the most that ever were. */
  readonly open: number;
  readonly openMax: number;
  /** Connections that there have ever been. */
  readonly opened: number;
  /** Keeps back what Postgres answers, until `release()`. Resolves when something is kept back. */
  hold(): Promise<void>;
  release(): void;
  /** Makes these ways a black hole and opens the others. */
  blackHole(...ways: readonly Way[]): void;
  /** Changes how long chunks take from now on, each way. */
  setLatency(latency: Latency): void;
  /** Breaks every open connection. */
  cut(): void;
  /** Sends new connections to another server; open ones stay where they are. */
  retarget(port: number): void;
  close(): Promise<void>;
}

/** One way of one connection: chunks in their order, then the end. */
class Pipe {
  readonly #to: Socket;
  readonly #isHole: () => boolean;
  readonly #latency: () => Required<Latency>;
  readonly #onKept: () => void;
  /** Null is the end of the stream. */
  readonly #queue: { readonly dueMs: number; readonly chunk: Buffer | null }[] = [];
  #isWaiting = false;
  #newestDueMs = 0;

  constructor(to: Socket, isHole: () => boolean, latency: () => Required<Latency>, onKept: () => void) {
    this.#to = to;
    this.#isHole = isHole;
    this.#latency = latency;
    this.#onKept = onKept;
  }

  push(chunk: Buffer | null): void {
    const { delayMs, jitterMs } = this.#latency();
    this.#newestDueMs = Math.max(this.#newestDueMs, performance.now() + delayMs + Math.random() * jitterMs);
    this.#queue.push({ dueMs: this.#newestDueMs, chunk });
    if (chunk !== null && this.#isHole()) {
      this.#onKept();
    }
    this.drain();
  }

  /** Lets out what is due. */
  drain(): void {
    for (let next = this.#queue[0]; next !== undefined && !this.#isHole(); next = this.#queue[0]) {
      const waitMs = next.dueMs - performance.now();
      if (waitMs > 0) {
        if (!this.#isWaiting) {
          this.#isWaiting = true;
          setTimeout(() => {
            this.#isWaiting = false;
            this.drain();
          }, waitMs);
        }
        return;
      }
      this.#queue.shift();
      if (next.chunk === null) {
        this.#to.destroy();
      } else if (!this.#to.destroyed) {
        this.#to.write(next.chunk);
      }
    }
  }
}

/** Starts a proxy on a free port. @param delayMs how long each chunk takes, each way. */
export async function startTcpProxy(targetPort: number, { delayMs = 0 } = {}): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const pipes = new Set<Pipe>();
  let target = targetPort;
  let latency: Required<Latency> = { delayMs, jitterMs: 0 };
  let holes: ReadonlySet<Way> = new Set();
  let open = 0;
  let openMax = 0;
  let opened = 0;
  let onKept: () => void = () => undefined;

  const join = (from: Socket, to: Socket, way: Way): void => {
    const pipe = new Pipe(
      to,
      () => holes.has(way),
      () => latency,
      () => {
        onKept();
      },
    );
    pipes.add(pipe);
    from.on('data', (chunk: Buffer) => {
      pipe.push(chunk);
    });
    from.on('error', () => undefined);
    from.on('close', () => {
      pipe.push(null);
    });
    to.on('close', () => pipes.delete(pipe));
  };
  const blackHole = (...ways: readonly Way[]): void => {
    holes = new Set(ways);
    for (const pipe of pipes) {
      pipe.drain();
    }
  };
  const cut = (): void => {
    for (const socket of sockets) {
      socket.destroy();
    }
  };

  const server = createServer(client => {
    const upstream = connect(target, '127.0.0.1');
    open += 1;
    opened += 1;
    openMax = Math.max(openMax, open);
    client.on('close', () => {
      open -= 1;
    });
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    }
    join(client, upstream, 'up');
    join(upstream, client, 'down');
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
    get opened() {
      return opened;
    },
    hold() {
      blackHole('down');
      return new Promise(resolve => {
        onKept = resolve;
      });
    },
    release: () => {
      blackHole();
    },
    blackHole,
    setLatency({ delayMs, jitterMs = 0 }) {
      latency = { delayMs, jitterMs };
    },
    cut,
    retarget(port) {
      target = port;
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      cut();
      await closed;
    },
  };
}
