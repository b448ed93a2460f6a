/**
 * What a behaviour is tried on: a database, two replicas, an app, and the proxy in front of them, with its file of
 * deploy/.
 */
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

export const gateOf = ({ auth, ops }: Replica): GateAddress => ({ auth: new URL(auth).host, ops: new URL(ops).host });

export async function setStage(proxy: TestProxy): Promise<Stage> {
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
  const replica: Stage['replica'] = async (name, env = {}) => {
    const fresh = await startReplica(database.url, { name, env: { GATEBELL_LOGIN_URL: LOGIN, ...env } });
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
    },
  };
}
