/**
 * nginx that says which of a route table's rules a path falls under, by its own normalisation: one server a table and a
 * kind. `locations` answers by location, `unmerged` the same without merging slashes; `raw` hands the path to an app as
 * it came, and `normalised` as nginx reads it.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from '../../../src/dev/postgres.js';
import type { RouteTable } from '../path-corpus.js';
import { findTool } from '../tool.js';
import { type RunningProxy } from './proxy.js';
import { startServerProcess } from '../server-process.js';

function servers(port: number, table: RouteTable, at: number, app: string): string {
  const say = (prefix: string): string => `add_header X-Zone ${table.zoneOf(prefix)} always; return 204;`;
  // A rule holds its prefix and what is below; a bare prefix location would hold `/publications` too.
  const rules = table.routes
    .filter(({ pathPrefix }) => pathPrefix !== '/')
    .map(
      ({ pathPrefix }) =>
        `location = ${pathPrefix} { ${say(pathPrefix)} } location ${pathPrefix}/ { ${say(pathPrefix)} }`,
    );
  const locations = `${rules.join('\n')} location / { ${say('/elsewhere')} }`;
  const server = (kind: string, body: string): string =>
    `server { listen 127.0.0.1:${port}; server_name ${kind}${at}.test; ${body} }`;
  const pass = (to: string): string =>
    `location / { proxy_pass http://${app}${to}; proxy_http_version 1.1; proxy_set_header X-Table ${at}; }`;
  return [
    server('locations', locations),
    server('unmerged', `merge_slashes off; ${locations}`),
    server('raw', pass('')),
    server('normalised', pass('/')),
  ].join('\n');
}

/** Starts it. @param app host:port of what stands behind it */
export async function startNginxLocations(tables: readonly RouteTable[], app: string): Promise<RunningProxy> {
  const port = await freePort();
  return startServerProcess(port, async scratch => {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map(name => `${name}_temp_path ${scratch}/${name};`)
      .join(' ');
    const conf = path.join(scratch, 'nginx.conf');
    await writeFile(
      conf,
      `daemon off; master_process off; pid ${scratch}/pid; error_log stderr crit;
       events { worker_connections 256; }
       http {
         access_log off; server_names_hash_bucket_size 128; keepalive_requests 100000; ${temporary}
         ${tables.map((table, at) => servers(port, table, at, app)).join('\n')}
       }\n`,
    );
    return { program: findTool('nginx'), args: ['-p', scratch, '-c', conf, '-e', 'stderr'] };
  });
}
