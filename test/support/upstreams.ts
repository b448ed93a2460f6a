/**
 * Upstreams that really run, asked with raw bytes: what a path is to them, they say themselves. Each is a server with
 * the same layout: a handler (or a folder) for each prefix of a route table, which answers with the access of its rule.
 */
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import express, { type Express, type Response } from 'express';
import { createConnection } from './auth-server.js';
import type { RouteTable, Zone } from './path-corpus.js';

export interface Upstreams {
  readonly names: readonly string[];
  /** What each of the paths is to each upstream of a table's layout; a refusal is public, for it hides nothing. */
  readAll(
    table: RouteTable,
    paths: readonly string[],
  ): Promise<readonly { readonly upstream: string; readonly zones: readonly Zone[] }[]>;
  stop(): Promise<void>;
}

const ZONE = 'X-Zone';
const say = (response: Response, zone: Zone): void => void response.set(ZONE, zone).end();

/** Mounted handlers, as apps are usually put together. */
function mounted(table: RouteTable, isCaseSensitive: boolean): Express {
  const app = express();
  app.set('case sensitive routing', isCaseSensitive);
  for (const { pathPrefix } of table.routes) {
    app.use(pathPrefix, (_request, response) => say(response, table.zoneOf(pathPrefix)));
  }
  app.use((_request, response) => say(response, table.zoneOf('/elsewhere')));
  return app;
}

/** Parameters of the path, which Express decodes. */
function parameters(table: RouteTable): Express {
  const app = express();
  app.get('/{*parts}', (request, response) => {
    const parts: unknown = request.params['parts'];
    say(response, table.zoneOf(`/${Array.isArray(parts) ? parts.join('/') : ''}`));
  });
  return app;
}

/** Files, which Express resolves and decodes itself; what it sends elsewhere counts as reached. */
function files(table: RouteTable, root: string): Express {
  const app = express();
  app.use(
    express.static(root, {
      dotfiles: 'allow',
      setHeaders: (response, file) => {
        response.setHeader(ZONE, table.zoneOf(`/${path.relative(root, file).replace(/index\.html$/, '')}`));
      },
    }),
  );
  return app;
}

/** Node's URL, as plain servers use it. */
function plain(table: RouteTable, decode: (path: string) => string): RequestListener {
  return (request, response) => {
    try {
      const { pathname } = new URL(request.url ?? '', 'http://upstream');
      response.setHeader(ZONE, table.zoneOf(decode(pathname)));
    } catch {
      response.statusCode = 400;
    }
    response.end();
  };
}

async function makeFiles(root: string): Promise<void> {
  for (const folder of [
    '',
    'pub',
    'pub/admin',
    'pub/x',
    'private',
    'private/x',
    'private/open',
    'private/open/x',
    'a',
  ]) {
    await mkdir(path.join(root, folder), { recursive: true });
    await writeFile(path.join(root, folder, 'index.html'), 'x');
  }
}

/** Starts one of each kind for each table. */
export async function startUpstreams(tables: readonly RouteTable[]): Promise<Upstreams> {
  const root = await mkdtemp(path.join(tmpdir(), 'gatebell-files-'));
  await makeFiles(root);
  const kinds: Readonly<Record<string, (table: RouteTable) => RequestListener>> = {
    Express: table => mounted(table, false),
    'Express, case-sensitive': table => mounted(table, true),
    'Express, parameters': parameters,
    'Express, files': table => files(table, root),
    'new URL': table => plain(table, pathname => pathname),
    'new URL, decoded': table => plain(table, decodeURIComponent),
  };
  const servers: Server[] = [];
  const ports = new Map<RouteTable, ReadonlyMap<string, number>>();
  for (const table of tables) {
    const ofTable = new Map<string, number>();
    for (const [name, make] of Object.entries(kinds)) {
      const server = createServer(make(table)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      servers.push(server);
      // A listening TCP server has an address of this form.
      ofTable.set(name, (server.address() as AddressInfo).port);
    }
    ports.set(table, ofTable);
  }
  return {
    names: Object.keys(kinds),
    async readAll(table, paths) {
      return Promise.all(
        [...ports.get(table)!].map(async ([upstream, port]) => {
          const connection = createConnection(port);
          const zones: Zone[] = [];
          for (const each of paths) {
            const answer = await connection.send(`GET ${each} HTTP/1.1\r\nHost: app\r\n\r\n`);
            const zone = answer?.headers[ZONE.toLowerCase()];
            const sentTo = answer?.status === 301 ? (answer.headers['location'] ?? '/') : null;
            zones.push(sentTo === null ? (zone === 'private' ? 'private' : 'public') : table.zoneOf(sentTo));
          }
          connection.close();
          return { upstream, zones };
        }),
      );
    },
    async stop() {
      for (const server of servers) {
        server.closeAllConnections();
        server.close();
      }
      await rm(root, { recursive: true, force: true });
    },
  };
}
