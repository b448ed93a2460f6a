/** What the tests of proxies need of each: a name, how it is started, and what differs by its nature. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where a replica listens: `host:port` of its auth and of its ops listener. */
export interface GateAddress {
  readonly auth: string;
  readonly ops: string;
}

export interface ProxySetup {
  /** The replicas, one or two. */
  readonly gates: readonly GateAddress[];
  /** `host:port` of the app. */
  readonly app: string;
  /** With the lines for GATEBELL_STRIP_CREDENTIALS, if the file has some that are off. */
  readonly strip?: boolean;
  /** With the lines for GATEBELL_PROXY_SECRET, and this secret. */
  readonly secret?: string;
}

export interface RunningProxy {
  readonly port: number;
  stop(): Promise<void>;
}

export interface TestProxy {
  readonly name: 'nginx' | 'Caddy' | 'HAProxy' | 'Traefik' | 'Envoy';
  /** The program itself, or a port of what its source does. */
  readonly kind: 'real' | 'conformance';
  /** What a client may get when no replica answers. */
  readonly unanswered: readonly number[];
  /** Whether it asks another replica when a connection is cut before the answer; all do when none can be opened. */
  readonly retriesCuts: boolean;
  start(setup: ProxySetup): Promise<RunningProxy>;
}

/** A file of deploy/. */
export const deployFile = (name: string): string => fileURLToPath(new URL(`../../../deploy/${name}`, import.meta.url));

/** A file of deploy/ with the lines switched on that are wanted, as its comments say. */
export function switchOn(text: string, { strip = false, secret }: Pick<ProxySetup, 'strip' | 'secret'>): string {
  const stripped = strip ? text.replaceAll('#strip ', '') : text;
  return secret === undefined ? stripped : stripped.replaceAll('#secret ', '').replaceAll('the-secret', secret);
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A proxy as a process of its own, in a directory of its own; resolves when its port accepts connections. */
export async function startProxy(
  port: number,
  launch: (scratch: string) => Promise<{
    readonly program: string;
    readonly args: readonly string[];
    readonly env?: NodeJS.ProcessEnv;
  }>,
): Promise<RunningProxy> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-proxy-'));
  const { program, args, env = {} } = await launch(scratch);
  const child: ChildProcess = spawn(program, args, {
    cwd: scratch,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      // The end tells why a start has failed.
      said = (said + text).slice(-10_000);
    });
  }
  let ended = false;
  const exit = once(child, 'exit').then(() => {
    ended = true;
  });
  while (!(await accepts(port))) {
    if (ended) {
      throw new Error(`${program} did not start: ${said}`);
    }
  }
  return {
    port,
    async stop() {
      if (!ended) {
        // Open WebSockets would let it wait.
        child.kill('SIGKILL');
      }
      await exit;
      await rm(scratch, { recursive: true, force: true });
    },
  };
}
