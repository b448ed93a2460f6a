/** A Redis for measurements: Debian's, on a free port of the loopback interface, in memory alone. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from '../../src/dev/postgres.js';
import { findTool } from '../../test/support/tool.js';
import { endWithUs } from './program.js';

export interface RedisServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** Starts a server and waits until it is ready. @throws when redis-server is not installed */
export async function startRedis(): Promise<RedisServer> {
  const program = findTool('redis-server');
  const directory = await mkdtemp(path.join(tmpdir(), 'gatebell-redis-'));
  const port = await freePort();
  const settings = { port: String(port), bind: '127.0.0.1', dir: directory, save: '', appendonly: 'no' };
  const child = spawn(
    program,
    Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  endWithUs(child);
  const exited = once(child, 'exit');
  let output = '';
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', line => {
      output += `${line}\n`;
      if (line.includes('Ready to accept connections')) {
        resolve();
      }
    });
    void exited.then(([code]) => {
      reject(new Error(`redis-server ended with exit code ${code}: ${output}`));
    });
  });
  return {
    port,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
