/**
 * Where the apps stand: a database with the routes of two hosts, a replica, every app, and each proxy in front of each
 * app.
 */
import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createTestDatabase } from '../../support/database.js';
import {
  startFlask,
  startHypercorn,
  startNginxFiles,
  startPhp,
  startRails,
  startTomcat,
} from '../../support/neighbours/start.js';
import type { TestProxy } from '../../support/proxies/proxy.js';
import { startReplica } from '../../support/replica.js';
import type { ServerProcess } from '../../support/server-process.js';
import { addCredential } from '../../support/gate-rows.js';
import { gateOf } from '../proxies/stage.js';

const STARTS = {
  flask: startFlask,
  hypercorn: startHypercorn,
  files: startNginxFiles,
  php: startPhp,
  rails: startRails,
  tomcat: startTomcat,
  switcher: startSwitcher,
} satisfies Readonly<Record<string, () => Promise<ServerProcess>>>;

export type App = keyof typeof STARTS;
export const APPS = Object.keys(STARTS) as readonly App[];

export interface Neighbourhood {
  /** A token of a user who is granted both hosts, without a role. */
  readonly token: string;
  /** Where an app itself listens. */
  readonly direct: Readonly<Record<App, number>>;
  /** Puts a proxy in front of every app; its ports. */
  front(proxy: TestProxy): Promise<Front>;
  stop(): Promise<void>;
}

export interface Front {
  readonly proxy: TestProxy;
  readonly token: string;
  readonly direct: Readonly<Record<App, number>>;
  readonly ports: Readonly<Record<App, number>>;
  stop(): Promise<void>;
}

/** Answers every request with 101, whether it was asked to or not, and then ends the connection. */
async function startSwitcher(): Promise<ServerProcess> {
  const server = createServer(socket => {
    socket.on('error', () => socket.destroy());
    socket.once('data', () => {
      socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nswitched');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    // A listening TCP server has an address of this form.
    port: (server.address() as AddressInfo).port,
    async stop() {
      server.close();
      await once(server, 'close');
    },
  };
}

const portsOf = (servers: readonly ServerProcess[]): Readonly<Record<App, number>> =>
  // One for each app, in their order.
  Object.fromEntries(APPS.map((app, index) => [app, servers[index]!.port])) as Record<App, number>;

export async function startNeighbourhood(): Promise<Neighbourhood> {
  const database = await createTestDatabase();
  await database.sql(`
    insert into gatebell.users (name) values ('dora');
    insert into gatebell.apps (name, host) values ('lab', 'lab.test'), ('site', 'site.test');
    insert into gatebell.grants (user_id, app_id) select u.id, a.id from gatebell.users u, gatebell.apps a;
    insert into gatebell.app_routes (app_id, path_prefix, access, preflight, roles)
      select id, path, access, preflight, roles::text[] from gatebell.apps, (values
        ('lab', '/public', 'public', false, '{}'), ('lab', '/api', 'grant', true, '{}'),
        ('lab', '/admin', 'grant', false, '{admin}'), ('site', '/', 'public', false, '{}'),
        ('site', '/admin', 'grant', false, '{}'), ('site', '/private', 'grant', false, '{}'),
        ('site', '/pub/box/kept', 'grant', false, '{}')
      ) as r(app, path, access, preflight, roles) where app = name;
  `);
  const token = await addCredential(database, 'dora');
  const [replica, ...apps] = await Promise.all([
    startReplica(database.url, { name: 'a' }),
    ...APPS.map(app => STARTS[app]()),
  ]);
  const direct = portsOf(apps);
  return {
    token,
    direct,
    async front(proxy) {
      const running = await Promise.all(
        APPS.map(app => proxy.start({ gates: [gateOf(replica)], app: `127.0.0.1:${direct[app]}` })),
      );
      return {
        proxy,
        token,
        direct,
        ports: portsOf(running),
        stop: async () => {
          await Promise.all(running.map(one => one.stop()));
        },
      };
    },
    async stop() {
      await Promise.all([...apps.map(app => app.stop()), replica.stop()]);
      await database.drop();
    },
  };
}
