/** Prometheus' own check of what /metrics says. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startReplica, type Replica } from '../support/replica.js';
import { runTool } from '../support/tool.js';
import { createWorld, type World } from '../support/gate-rows.js';

let database: TestDatabase;
let replica: Replica;
let world: World;

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  replica = await startReplica(database.url);
});

afterAll(async () => {
  await replica.stop();
  await database.drop();
});

test('promtool finds nothing to say about the scrape', async () => {
  await replica.ask({ token: world.alice });
  await replica.ask({ host: 'nowhere.test' });
  await database.sql(`update gatebell.grants set role = 'admin'`);
  const { body } = await replica.get('/metrics');
  expect(await runTool('promtool', ['check', 'metrics'], { input: body })).toBe('');
});
