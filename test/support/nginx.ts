/** nginx with the files of deploy/nginx as they are: only the addresses are of the test. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../src/dev/postgres.js';
import { findTool } from './tool.js';

export interface Nginx {
  readonly url: string;
  readonly port: number;
  log(): Promise<string>;
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

/** Starts it in front of an app, asking the gates. @param gates host:port of each replica's auth listener */
export async function startNginx(gates: readonly string[], app: string): Promise<Nginx> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-nginx-'));
  const gatebell = path.join(scratch, 'gatebell');
  await cp(fileURLToPath(new URL('../../deploy/nginx', import.meta.url)), gatebell, { recursive: true });
  const port = await freePort();
  await writeFile(path.join(gatebell, 'gatebell-listen.conf'), `listen 127.0.0.1:${port};\nserver_name _;\n`);
  const upstream = path.join(gatebell, 'gatebell-upstream.conf');
  const addresses = (await readFile(upstream, 'utf8'))
    .replace(/^ *server 127\.0\.0\.1:42.*\n/gm, '')
    .replace(
      'zone gatebell 64k;',
      `zone gatebell 64k;\n${gates.map(gate => `    server ${gate} max_fails=1 fail_timeout=2s;`).join('\n')}`,
    )
    .replace(/server 127\.0\.0\.1:8000;/, `server ${app};`);
  await writeFile(upstream, addresses);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map(name => `${name}_temp_path ${scratch}/${name};`)
    .join(' ');
  const conf = path.join(scratch, 'nginx.conf');
  await writeFile(
    conf,
    `daemon off; master_process off; pid ${scratch}/pid; error_log ${scratch}/error.log info;
     events { worker_connections 256; } http { access_log off; ${temporary} include gatebell/gatebell.conf; }\n`,
  );
  const child = spawn(findTool('nginx'), ['-p', scratch, '-c', conf], { stdio: ['ignore', 'ignore', 'inherit'] });
  let ended = false;
  const exit = once(child, 'exit').then(() => {
    ended = true;
  });
  while (!(await accepts(port))) {
    if (ended) {
      throw new Error(`nginx did not start: ${await readFile(path.join(scratch, 'error.log'), 'utf8')}`);
    }
  }
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    log: () => readFile(path.join(scratch, 'error.log'), 'utf8'),
    async stop() {
      child.kill('SIGTERM');
      await exit;
      await rm(scratch, { recursive: true, force: true });
    },
  };
}
