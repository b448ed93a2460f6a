/**
 * Debian's Caddy with deploy/caddy/Caddyfile as it is, and a certificate that it signs itself: for what browsers do
 * over https alone.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../../src/dev/postgres.js';
import { findTool } from '../tool.js';

export interface CaddyHttps {
  readonly port: number;
  stop(): Promise<void>;
}

/** Resolves when it serves. @param gates host:port of each replica's auth listener */
export async function startCaddyHttps(
  hosts: readonly string[],
  gates: readonly string[],
  app: string,
): Promise<CaddyHttps> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-caddy-'));
  const port = await freePort();
  const file = path.join(scratch, 'Caddyfile');
  const text = await readFile(fileURLToPath(new URL('../../../deploy/caddy/Caddyfile', import.meta.url)), 'utf8');
  const own = ['admin off', 'local_certs', 'skip_install_trust', 'auto_https disable_redirects'];
  await writeFile(file, `{\n\t${own.join('\n\t')}\n}\n${text}`);
  const child = spawn(findTool('caddy'), ['run', '--adapter', 'caddyfile', '--config', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      SITE: hosts.map(host => `https://${host}:${port}`).join(', '),
      GATE_UPSTREAMS: gates.join(' '),
      APP_UPSTREAM: app,
      HOME: scratch,
      XDG_DATA_HOME: scratch,
      XDG_CONFIG_HOME: scratch,
    },
  });
  const exit = once(child, 'exit');
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const wanted = new Set(hosts);
    createInterface({ input: child.stderr }).on('line', line => {
      said += `${line}\n`;
      if (line.includes('certificate obtained successfully')) {
        hosts.filter(host => line.includes(`"${host}"`)).forEach(host => wanted.delete(host));
      }
      if (wanted.size === 0) {
        resolve();
      }
    });
    void exit.then(() => {
      reject(new Error(`caddy did not start: ${said}`));
    });
  });
  return {
    port,
    async stop() {
      child.kill('SIGKILL');
      await exit;
      await rm(scratch, { recursive: true, force: true });
    },
  };
}
