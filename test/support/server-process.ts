/** A server as a process of its own, with a directory of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface ServerProcess {
  readonly port: number;
  stop(): Promise<void>;
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

/** What ends those that still run: also when the test runner itself is ended. */
const kills = new Set<() => void>();
process.on('exit', () => {
  for (const kill of kills) {
    kill();
  }
});

/** Starts it; resolves when its port accepts connections. @throws when it ends before, with what it said */
export async function startServerProcess(
  port: number,
  launch: (scratch: string) => Promise<{
    readonly program: string;
    readonly args: readonly string[];
    readonly env?: NodeJS.ProcessEnv;
  }>,
): Promise<ServerProcess> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-server-'));
  const { program, args, env = {} } = await launch(scratch);
  const child = spawn(program, args, {
    cwd: scratch,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: some have workers, which would outlive it.
    detached: true,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      // The end tells why a start has failed.
      said = (said + text).slice(-10_000);
    });
  }
  let ended = false;
  const exit = once(child, 'exit').then(() => {
    ended = true;
  });
  const kill = (): void => {
    if (child.pid !== undefined && !ended) {
      process.kill(-child.pid, 'SIGKILL');
    }
  };
  kills.add(kill);
  while (!(await accepts(port))) {
    if (ended) {
      throw new Error(`${program} did not start: ${said}`);
    }
  }
  return {
    port,
    async stop() {
      // Not an orderly end: open WebSockets would let it wait.
      kill();
      kills.delete(kill);
      await exit;
      await rm(scratch, { recursive: true, force: true });
    },
  };
}
