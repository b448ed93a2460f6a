/** Debian's Caddy with deploy/caddy/Caddyfile as it is: only the addresses are of the test, from the environment. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from '../../../src/dev/postgres.js';
import { findTool } from '../tool.js';
import { deployFile, switchOn, type TestProxy } from './proxy.js';
import { startServerProcess } from '../server-process.js';

export const caddy: TestProxy = {
  name: 'Caddy',
  kind: 'real',
  // 503 once it knows that all of them are gone.
  unanswered: [502, 503],
  retriesCuts: true,
  async start({ gates, app, ...switches }) {
    const port = await freePort();
    return startServerProcess(port, async scratch => {
      const file = path.join(scratch, 'Caddyfile');
      const text = await readFile(deployFile('caddy/Caddyfile'), 'utf8');
      // Its admin endpoint has one fixed port, and there are several of them.
      await writeFile(file, `{\n\tadmin off\n}\n${switchOn(text, switches)}`);
      return {
        program: findTool('caddy'),
        args: ['run', '--adapter', 'caddyfile', '--config', file],
        env: {
          SITE: `http://:${port}`,
          GATE_UPSTREAMS: gates.map(gate => gate.auth.replace(/^unix:/, 'unix/')).join(' '),
          APP_UPSTREAM: app,
          HOPS: switches.hop ?? '',
          GATEBELL_PROXY_SECRET: switches.secret ?? '',
          HOME: scratch,
          XDG_DATA_HOME: scratch,
          XDG_CONFIG_HOME: scratch,
        },
      };
    });
  },
};
