/**
 * Debian's HAProxy with the files of deploy/haproxy as they are: only the addresses are of the test, from the
 * environment.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from '../../../src/dev/postgres.js';
import { findTool } from '../tool.js';
import { deployFile, switchOn, type TestProxy } from './proxy.js';
import { startServerProcess } from '../server-process.js';

/** As many replicas as the file names. */
const REPLICAS = [1, 2, 3];

export const haproxy: TestProxy = {
  name: 'HAProxy',
  kind: 'real',
  unanswered: [503],
  retriesCuts: true,
  // Stripping needs no other file: what the gate has to say of Cookie and Authorization is always taken over.
  async start({ gates, app, ...switches }) {
    const port = await freePort();
    const addresses = REPLICAS.map((number, index) => {
      const { auth, ops } = gates[Math.min(index, gates.length - 1)]!;
      return { [`GATE_${number}`]: auth.replace(/^unix:/, 'unix@'), [`GATE_${number}_OPS_PORT`]: ops.split(':')[1]! };
    });
    return startServerProcess(port, async scratch => {
      const file = path.join(scratch, 'haproxy.cfg');
      await writeFile(file, switchOn(await readFile(deployFile('haproxy/haproxy.cfg'), 'utf8'), switches));
      return {
        program: findTool('haproxy'),
        args: ['-db', '-f', file],
        env: {
          HOPS: switches.hop ?? '',
          GATEBELL_PROXY_SECRET: switches.secret ?? '',
          SITE: `127.0.0.1:${port}`,
          APP: app,
          GATE: `abns@gatebell-${port}`,
          GATEBELL_LUA: deployFile('haproxy/gatebell.lua'),
          ...Object.assign({}, ...addresses),
        },
      };
    });
  },
};
