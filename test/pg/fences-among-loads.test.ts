/** Loads that hang do not keep a replica from proving what it has: one connection of the pool is not theirs. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createInsideCoherence, type InsideCoherence } from '../support/inside.js';

const TABLES = ['apples', 'pears', 'plums', 'quinces'];
const POOL_MAX = 3;

let database: TestDatabase;
let inside: InsideCoherence;

beforeEach(async () => {
  database = await createTestDatabase();
});

afterEach(async () => {
  await inside.coherence.stop();
  await database.drop();
});

test.each([1, 2])(
  'with %d of 3 connections reserved, all others hang, and fences still come back',
  async reservedConnections => {
    inside = createInsideCoherence({
      connectionString: database.url,
      poolMax: POOL_MAX,
      reservedConnections,
      leaseMs: 10_000,
      fenceIntervalMs: 50,
      auditIntervalMs: 0,
      timeoutMs: 60_000,
    });
    for (const table of TABLES) {
      await database.sql(`
      create table ${table} (sku text primary key);
      insert into ${table} values ('a');
      select gatebell.watch('${table}', '${table}', '{sku}')`);
    }
    const caches = TABLES.map(table =>
      inside.coherence.coherentCache({
        topic: table,
        load: {
          text: `select t.sku from ${table} t where t.sku = any ($1::text[])`,
          key: row => [String(row['sku'])],
          value: row => String(row['sku']),
        },
      }),
    );
    const live = inside.seen('fence_proven');
    inside.coherence.start();
    await live;
    const locker = await database.connect();
    await locker.query(`begin; lock table ${TABLES.join()} in access exclusive mode`);
    let answered = 0;
    const answers = Promise.all(
      caches.map(async cache => {
        const value = await cache.get(['a']);
        answered += 1;
        return value;
      }),
    );
    const hanging = async (): Promise<unknown> =>
      (
        await database.sql(`
        select count(*)::integer as loads from pg_locks l
        where not l.granted and l.locktype = 'relation'
          and l.database = (select d.oid from pg_database d where d.datname = current_database())`)
      )[0]?.['loads'];
    await expect.poll(hanging, { timeout: 30_000 }).toBe(POOL_MAX - reservedConnections);
    const first = await Promise.race([inside.seen('fence_proven', 3), inside.seen('fence_failed')]);
    expect(first.event).toBe('fence_proven');
    expect(answered).toBe(0);
    expect(await hanging()).toBe(POOL_MAX - reservedConnections);
    await locker.query('commit');
    expect(await answers).toEqual(TABLES.map(() => 'a'));
  },
);
