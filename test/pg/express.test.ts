/** The face for Express on a real Postgres: what is changed there by SQL counts for the next request. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createFactReader } from '../../src/auth/facts.js';
import { accessOf, requireAccess } from '../../src/express.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createWorld, type World } from '../support/gate-rows.js';
import { createInsideCoherence, type InsideCoherence } from '../support/inside.js';
import { fetchAnswer, type Answer } from '../support/replica.js';

let database: TestDatabase;
let inside: InsideCoherence;
let world: World;
let server: Server;
let url: string;

beforeEach(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  await database.sql(`
    insert into gatebell.app_routes (app_id, path_prefix, access, consistency)
    select id, '/strong', 'grant', 'strong' from gatebell.apps where name = 'photos'`);
  inside = createInsideCoherence({ connectionString: database.url, auditIntervalMs: 0 });
  const reader = createFactReader(inside.coherence, () => undefined);
  const app = express();
  app.use(requireAccess({ reader }, { app: 'photos.test' }));
  app.use((request, response) => {
    response.json(accessOf(request));
  });
  server = app.listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  // A listening TCP server has an address of this form.
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await inside.coherence.stop();
  await database.drop();
});

/** Begins to listen; resolves when facts are served from memory. */
async function becomeLive(): Promise<void> {
  const live = new Promise<void>(resolve => {
    const look = (): void => {
      if (inside.coherence.state === 'live') {
        resolve();
      } else {
        void inside.seen('listener_state').then(look);
      }
    };
    look();
  });
  inside.coherence.start();
  await live;
}

const ask = (path: string, token?: string): Promise<Answer> =>
  fetchAnswer(`${url}${path}`, token === undefined ? {} : { Authorization: `Bearer ${token}` });

const reasonOf = async (path: string, token?: string): Promise<string> => {
  const { status, reason, body } = await ask(path, token);
  return status === 200 ? (JSON.parse(body) as { reason: string }).reason : `${status} ${reason}`;
};

const REVOKE = `delete from gatebell.grants where user_id = (select id from gatebell.users where name = 'alice')`;
const GRANT = `insert into gatebell.grants (user_id, app_id) select u.id, a.id from gatebell.users u, gatebell.apps a
  where u.name = 'alice' and a.name = 'photos'`;

test('identity, roles and public routes are those of the rows', async () => {
  await becomeLive();
  expect(JSON.parse((await ask('/', world.alice)).body)).toEqual({
    app: 'photos',
    reason: 'granted',
    user: {
      id: expect.any(String),
      name: 'alice',
      email: 'alice@example.test',
      displayName: 'Alice',
      groups: ['family', 'staff'],
    },
    role: 'user',
  });
  expect(await reasonOf('/share/1')).toBe('public');
  expect(await reasonOf('/')).toBe('401 no_credential');
  expect(await reasonOf('/', world.bob)).toBe('403 no_grant');
  expect(await reasonOf('/', world.carol)).toBe('403 disabled_user');
  expect(await reasonOf('/admin', world.alice)).toBe('403 role_required');
  await database.sql(`update gatebell.grants set role = 'admin'`);
  await expect.poll(() => reasonOf('/admin', world.alice)).toBe('granted');
});

test('warm decisions cost no query, and a grant that SQL takes away is denied once its signal came', async () => {
  await becomeLive();
  expect(await reasonOf('/', world.alice)).toBe('granted');
  const queries = inside.queries('load_grant');
  expect(queries).toBe(1);
  expect(await reasonOf('/', world.alice)).toBe('granted');
  expect(inside.queries('load_grant')).toBe(queries);
  const heard = new Promise(resolve => inside.coherence.on('grant', resolve));
  await database.sql(REVOKE);
  await heard;
  expect(await reasonOf('/', world.alice)).toBe('403 no_grant');
});

test('a strong route sees each change with the very next request', async () => {
  await becomeLive();
  for (let times = 0; times < 10; times++) {
    expect(await reasonOf('/strong', world.alice)).toBe('granted');
    await database.sql(REVOKE);
    expect(await reasonOf('/strong', world.alice)).toBe('403 no_grant');
    await database.sql(GRANT);
  }
});

test('a session that SQL revokes is no credential any more', async () => {
  await becomeLive();
  const visit = async (): Promise<string> => {
    const { status, reason } = await fetchAnswer(`${url}/strong`, { Cookie: `gatebell=${world.session}` });
    return `${status} ${reason}`;
  };
  expect(await visit()).toBe('200 ');
  await database.sql(`update gatebell.credentials set revoked_at = now() where kind = 'session'`);
  expect(await visit()).toBe('401 bad_credential');
});

test('before it listens, decisions are read from Postgres; without Postgres they are 503', async () => {
  expect(await reasonOf('/', world.alice)).toBe('granted');
  await inside.coherence.stop();
  expect(await reasonOf('/', world.alice)).toBe('503 unavailable');
  expect(await reasonOf('/share/1')).toBe('503 unavailable');
});
