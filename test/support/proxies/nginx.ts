/** Debian's nginx with the files of deploy/nginx as they are: only the addresses are of the test. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from '../../../src/dev/postgres.js';
import { findTool } from '../tool.js';
import { areSockets, deployFile, switchOn, switchToSockets, type GateAddress, type TestProxy } from './proxy.js';
import { startServerProcess } from '../server-process.js';

function withGates(text: string, gates: readonly GateAddress[]): string {
  if (areSockets(gates)) {
    return switchToSockets(
      text,
      gates.map(gate => gate.auth.slice('unix:'.length)),
    );
  }
  const servers = gates.map(gate => `    server ${gate.auth} max_fails=1 fail_timeout=2s;`).join('\n');
  return text
    .replace(/^ *server 127\.0\.0\.1:42.*\n/gm, '')
    .replace('zone gatebell 64k;', `zone gatebell 64k;\n${servers}`);
}

export const nginx: TestProxy = {
  name: 'nginx',
  kind: 'real',
  unanswered: [503],
  retriesCuts: true,
  async start({ gates, app, ...switches }) {
    const port = await freePort();
    return startServerProcess(port, async scratch => {
      const gatebell = path.join(scratch, 'gatebell');
      await cp(deployFile('nginx'), gatebell, { recursive: true });
      await writeFile(path.join(gatebell, 'gatebell-listen.conf'), `listen 127.0.0.1:${port};\nserver_name _;\n`);
      const upstream = path.join(gatebell, 'gatebell-upstream.conf');
      const addresses = withGates(await readFile(upstream, 'utf8'), gates)
        .replace(/server 127\.0\.0\.1:8000;/, `server ${app};`)
        .replace('default "";', `default "${switches.secret ?? ''}";`);
      await writeFile(upstream, switchOn(addresses, switches));
      for (const name of ['gatebell.conf', 'gatebell-headers.conf']) {
        const file = path.join(gatebell, name);
        await writeFile(file, switchOn(await readFile(file, 'utf8'), switches));
      }
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
        .map(name => `${name}_temp_path ${scratch}/${name};`)
        .join(' ');
      const conf = path.join(scratch, 'nginx.conf');
      await writeFile(
        conf,
        `daemon off; master_process off; pid ${scratch}/pid; error_log stderr warn;
         events { worker_connections 256; } http { access_log off; ${temporary} include gatebell/gatebell.conf; }\n`,
      );
      return { program: findTool('nginx'), args: ['-p', scratch, '-c', conf, '-e', 'stderr'] };
    });
  },
};
