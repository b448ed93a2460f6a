/**
 * What a public rule lets through, Debian's nginx takes for public as well: the whole corpus of paths, asked with raw
 * bytes, against nginx' own locations, its files, and what an app behind it gets by each of the two ways of proxy_pass.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { selectRoute } from '../../src/auth/request/path.js';
import { createConnection } from '../support/auth-server.js';
import { startNginxLocations } from '../support/proxies/nginx-locations.js';
import type { RunningProxy } from '../support/proxies/proxy.js';
import { allSpellings, ROUTE_TABLES, type RouteTable, type Zone } from '../support/path-corpus.js';

// What ends a request line, or a part of it, is another request.
const SPELLINGS = allSpellings().filter(spelling => !/[\s\0]/.test(spelling));

const isLetThrough = ({ routes }: RouteTable, spelling: string): boolean => {
  const path = spelling.split('?')[0]!;
  return path.startsWith('/') && selectRoute(routes, path)?.access === 'public';
};
const isLetThroughNaively = ({ routes }: RouteTable, spelling: string): boolean =>
  routes.find(({ pathPrefix }) => spelling.startsWith(pathPrefix))?.access === 'public';

/** Asks for each path on a connection that is kept; what says no zone is refused. */
async function zonesOf(port: number, host: string, paths: readonly string[]): Promise<readonly (Zone | 'refused')[]> {
  const connection = createConnection(port);
  const zones: (Zone | 'refused')[] = [];
  for (const path of paths) {
    const answer = await connection.send(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    const zone = answer?.headers['x-zone'];
    zones.push(zone === 'public' || zone === 'private' ? zone : 'refused');
  }
  connection.close();
  return zones;
}

let app: Server;
let nginx: RunningProxy;
beforeAll(async () => {
  // The app reads the path as plain Node servers do; nginx names the table.
  app = createServer((request, response) => {
    const table = ROUTE_TABLES[Number(request.headers['x-table'])]!;
    let path: string | null = null;
    try {
      path = new URL(request.url ?? '', 'http://upstream').pathname;
    } catch {
      response.statusCode = 400;
    }
    response.setHeader('X-Zone', table.zoneOf(path));
    response.end();
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  // A listening TCP server has an address of this form.
  nginx = await startNginxLocations(ROUTE_TABLES, `127.0.0.1:${(app.address() as AddressInfo).port}`);
});
afterAll(async () => {
  await nginx.stop();
  app.closeAllConnections();
  app.close();
});

describe.each(ROUTE_TABLES.map((table, at) => ({ name: table.name, table, at })))('$name', ({ table, at }) => {
  test.each(['locations', 'unmerged', 'raw', 'normalised'] as const)('0 bypasses by nginx with %s', async kind => {
    const open = SPELLINGS.filter(spelling => isLetThrough(table, spelling));
    const zones = await zonesOf(nginx.port, `${kind}${at}.test`, open);
    expect(open.filter((_, i) => zones[i] === 'private')).toEqual([]);
    expect(zones).toContain('public');
  });
});

test.each(['locations', 'unmerged', 'raw', 'normalised'])(
  'nginx with %s sees holes in a gate that looks at how the path begins',
  async kind => {
    const table = ROUTE_TABLES[2]!;
    const open = SPELLINGS.filter(spelling => isLetThroughNaively(table, spelling));
    const zones = await zonesOf(nginx.port, `${kind}2.test`, open);
    expect(zones.filter(zone => zone === 'private').length).toBeGreaterThan(5);
  },
);
