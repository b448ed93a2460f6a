/** Audits on real Postgres: what changes without a signal is found, said and forgotten, and nothing else is. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CoherentCache } from '../../src/coherence/coherence.js';
import { createFactReader } from '../../src/auth/facts.js';
import type { FactTypes } from '../../src/auth/facts.js';
import type { Reader } from '../../src/coherence/facts/reader.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createInsideCoherence, type InsideCoherence } from '../support/inside.js';
import { createWorld } from '../support/gate-rows.js';

let database: TestDatabase;
let inside: InsideCoherence;

beforeEach(async () => {
  database = await createTestDatabase();
  inside = createInsideCoherence({ connectionString: database.url, auditIntervalMs: 100 });
});

afterEach(async () => {
  await inside.coherence.stop();
  await database.drop();
});

interface Price {
  cents: number;
  label: string;
}

describe('a fact that changed without a signal is found:', () => {
  let prices: CoherentCache<Price>;

  beforeEach(async () => {
    await database.sql(`
      create type label as enum ('dear', 'cheap');
      create table prices (sku text primary key, cents integer, label label);
      insert into prices values ('apple', 1, 'dear'), ('pear', 2, 'cheap');
      select gatebell.watch('prices', 'price', '{sku}', '{cents}')`);
    prices = inside.coherence.coherentCache({
      topic: 'price',
      load: {
        text: 'select p.sku, p.cents, p.label from prices p where p.sku = any ($1::text[])',
        key: row => [String(row['sku'])],
        value: row => ({ cents: Number(row['cents']), label: String(row['label']) }),
      },
    });
    const live = inside.seen('fence_proven');
    inside.coherence.start();
    await live;
    await Promise.all(['apple', 'pear', 'plum'].map(sku => prices.get([sku])));
    await inside.seen('audit', 2);
    expect(inside.coherence.audits).toMatchObject([{ topic: 'price', stale: 0, staleAgeMs: 0 }]);
  });

  test.each<[what: string, cheat: () => Promise<unknown>, apple: Price]>([
    [
      'the load reads a column that is not watched',
      () => database.sql(`update prices set label = 'cheap' where sku = 'apple'`),
      { cents: 1, label: 'cheap' },
    ],
    [
      'DDL that changes what a value reads as',
      () => database.sql(`alter type label rename value 'dear' to 'costly'`),
      { cents: 1, label: 'costly' },
    ],
    [
      'the program changed the value in memory',
      async () => {
        const apple = await prices.get(['apple']);
        apple!.cents = 0;
      },
      { cents: 1, label: 'dear' },
    ],
  ])('%s', async (_, cheat, apple) => {
    const found = inside.seen('audit_stale');
    await cheat();
    const { topic, facts, ageMs } = await found;
    expect({ topic, facts }).toEqual({ topic: 'price', facts: 1 });
    expect(ageMs).toBeGreaterThan(0);
    expect(prices.size + prices.negativeEntries).toBe(0);
    expect(await prices.get(['apple'])).toEqual(apple);
    expect(inside.coherence.audits).toEqual([
      { topic: 'price', facts: expect.any(Number) as number, stale: 1, staleAgeMs: ageMs },
    ]);
    // Once, not again: what was forgotten has been loaded again.
    await inside.seen('audit', 2);
    expect(inside.coherence.audits[0]?.stale).toBe(1);
  });
});

test('the facts of the gate compare as data, and signalled changes are never taken for stale', async () => {
  const world = await createWorld(database);
  expect(world.alice).toBeTruthy();
  await database.sql(`
    update gatebell.apps set headers = '{"X-Webauth-User": "{{user.name}} of {{app.name}}"}';
    update gatebell.app_routes set headers = '{"X-Role": "{{grant.role}}"}';
    update gatebell.grants set expires_at = now() - interval '1 hour'`);
  const reader: Reader<FactTypes> = createFactReader(inside.coherence, () => undefined);
  const live = inside.seen('fence_proven');
  inside.coherence.start();
  await live;
  const credentials = await database.sql(
    `select encode(token_hash, 'hex') as hash, user_id::text from gatebell.credentials`,
  );
  const apps = await database.sql(`select id::text, host from gatebell.apps`);
  const readAll = async (): Promise<void> => {
    const keys: (readonly [keyof FactTypes, readonly string[]])[] = [
      ...credentials.map(row => ['credential', [String(row['hash'])]] as const),
      ['credential', ['00'.repeat(32)]],
      ...credentials.map(row => ['user', [String(row['user_id'])]] as const),
      ...['alice', 'bob', 'nobody'].map(name => ['user_name', [name]] as const),
      ['identity', ['https://id.test', 'a']] as const,
      ...['jti-0', 'jti-1', 'jti-2'].map(jti => ['revoked_jwt', [jti]] as const),
      ...apps.flatMap(row => [
        ['app', [String(row['host'])]] as const,
        ['route', [String(row['id'])]] as const,
        ...credentials.map(of => ['grant', [String(of['user_id']), String(row['id'])]] as const),
      ]),
    ];
    await reader.read(facts => {
      const lacks = keys.filter(([topic, key]) => facts.get(topic, key) === undefined);
      return lacks.length > 0
        ? { lacks: lacks.map(([topic, key]) => ({ topic, key })) }
        : { answer: null, strong: false };
    });
  };
  await readAll();
  const audits = (): number => inside.observations.filter(({ event }) => event === 'audit').length;
  // A topic that has nothing to serve when its turn comes is passed over: until each was looked at.
  const first = audits();
  const isEnough = (): boolean => audits() >= first + 20 && inside.coherence.audits.every(({ facts }) => facts > 0);
  for (let turn = 0; !isEnough(); turn++) {
    await database.sql(`
      update gatebell.grants set role = 'role-${turn}';
      update gatebell.users set groups = '{group-${turn}}',
        jwt_not_before = '2020-01-01'::timestamptz + interval '1 ms' * ${turn};
      delete from gatebell.revoked_jwts;
      insert into gatebell.revoked_jwts (jti) values ('jti-${turn % 2}');
      update gatebell.credentials set revoked_at = ${turn % 2 === 0 ? 'now()' : 'null'};
      update gatebell.app_routes set headers = '{"X-Role": "${turn}{{grant.role}}"}'`);
    await readAll();
  }
  expect(inside.coherence.audits.map(({ topic, stale }) => [topic, stale])).toEqual(
    ['credential', 'user', 'identity', 'user_name', 'revoked_jwt', 'app', 'route', 'grant'].map(topic => [topic, 0]),
  );
  expect(inside.observations.filter(({ event }) => event === 'audit_failed')).toEqual([]);
});
