/**
 * What a behaviour is tried on: a database, two replicas, an app, and the proxy in front of them, with its file of
 * deploy/.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { call, type Call, type Reply } from '../../support/proxy-client.js';
import type { GateAddress, ProxySetup, RunningProxy, TestProxy } from '../../support/proxies/proxy.js';
import { startReplica, type Replica } from '../../support/replica.js';
import { startSampleApp, type SampleApp } from '../../support/sample-app.js';
import { addCredential, createWorld, type World } from '../../support/gate-rows.js';

export const LOGIN = 'https://login.test/start';

export interface Stage {
  readonly proxy: TestProxy;
  readonly database: TestDatabase;
  readonly world: World;
  /** dora's token: she is granted the app, and nothing of hers is ever changed but by one behaviour. */
  readonly dora: string;
  readonly replicas: readonly Replica[];
  readonly app: SampleApp;
  readonly port: number;
  call(asked?: Call): Promise<Reply>;
  /** One more replica; stopped at the end. */
  replica(name: string, env?: NodeJS.ProcessEnv): Promise<Replica>;
  /** One more of the proxy, in front of other replicas; stopped at the end. */
  front(setup: Omit<ProxySetup, 'app'>): Promise<RunningProxy>;
  stop(): Promise<void>;
}

/** Where a proxy reaches a replica: host and port, or `unix:` and the path of its socket. */
export const gateOf = ({ auth, ops }: Replica): GateAddress => ({
  auth: auth.startsWith('unix:') ? auth : new URL(auth).host,
  ops: new URL(ops).host,
});

/** @param way how the proxy reaches the replicas: over ports, or over Unix sockets */
export async function setStage(proxy: TestProxy, way: 'ports' | 'sockets' = 'ports'): Promise<Stage> {
  const database = await createTestDatabase();
  const world = await createWorld(database);
  await database.sql(`
    insert into gatebell.users (name) values ('dora');
    insert into gatebell.grants (user_id, app_id)
      select u.id, a.id from gatebell.users u, gatebell.apps a where u.name = 'dora' and a.name = 'photos';
    insert into gatebell.app_routes (app_id, path_prefix, access, preflight)
      select id, path, access, preflight from gatebell.apps,
        (values ('/api', 'grant', true), ('/pub', 'public', false),
        ('/pub/admin', 'grant', false)) as r(path, access, preflight)
      where name = 'photos';
  `);
  const dora = await addCredential(database, 'dora');
  const app = await startSampleApp();
  const started: (() => Promise<unknown>)[] = [];
  const folder = await mkdtemp(path.join(tmpdir(), 'gatebell-stage-'));
  let count = 0;
  const replica: Stage['replica'] = async (name, env = {}) => {
    const socket = `unix:${path.join(folder, `auth-${(count += 1)}.sock`)}`;
    const place = way === 'sockets' ? { GATEBELL_LISTEN: socket, GATEBELL_PORT: '' } : {};
    const fresh = await startReplica(database.url, { name, env: { GATEBELL_LOGIN_URL: LOGIN, ...place, ...env } });
    started.push(() => fresh.stop());
    return fresh;
  };
  const front: Stage['front'] = async setup => {
    const running = await proxy.start({ ...setup, app: app.address });
    started.push(() => running.stop());
    return running;
  };
  const replicas = await Promise.all([replica('a'), replica('b')]);
  const { port } = await front({ gates: replicas.map(gateOf) });
  return {
    proxy,
    database,
    world,
    dora,
    replicas,
    app,
    port,
    call: asked => call(port, asked),
    replica,
    front,
    async stop() {
      for (const end of started.toReversed()) {
        await end();
      }
      await app.stop();
      await database.drop();
      await rm(folder, { recursive: true });
    },
  };
}
