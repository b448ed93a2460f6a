/**
 * Partitioned tables and inheritance: whichever table of the tree a statement names, the changed keys are signalled.
 */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSignalDatabase, type Heard, type SignalDatabase } from '../support/signals.js';

let database: SignalDatabase;
let replica: pg.Client;

beforeAll(async () => {
  database = await createSignalDatabase();
  replica = await database.connect();
  await replica.query('set session_replication_role = replica');
});

beforeEach(async () => {
  // low is partitioned itself; high has its columns in another order.
  await database.sql(`
    drop schema if exists s cascade; create schema s;
    create table s.t (id integer, k text, v text, seen integer default 0, primary key (id)) partition by range (id);
    create table s.low partition of s.t for values from (0) to (100) partition by range (id);
    create table s.lowest partition of s.low for values from (0) to (50);
    create table s.lower partition of s.low for values from (50) to (100);
    create table s.high (seen integer default 0, v text, gone integer, k text, id integer not null);
    alter table s.high drop column gone;
    alter table s.t attach partition s.high for values from (100) to (200);
    delete from gatebell.watches where topic = 't';
    select gatebell.watch('s.t', 't', '{k}', '{v}');
    insert into s.t values (1, 'a', '1'), (60, 'b', '2'), (110, 'c', '3')`);
});

afterAll(() => database.drop());

const problem = async (): Promise<unknown> =>
  (await database.sql(`select problem from gatebell.watch_status where topic = 't'`))[0]?.['problem'];

const WRITES: readonly [statement: string, heard: Heard][] = [
  [`insert into s.t values (2, 'd', '1'), (111, 'e', '2')`, { t: [['d'], ['e']] }],
  [`insert into s.low values (2, 'd', '1')`, { t: [['d']] }],
  [`insert into s.high (id, k) values (120, 'f')`, { t: [['f']] }],
  [`update s.t set v = v || '!'`, { t: [['a'], ['b'], ['c']] }],
  [`update s.low set v = 'x'`, { t: [['a'], ['b']] }],
  [`update s.lowest set v = 'x'`, { t: [['a']] }],
  [`update s.high set k = 'g'`, { t: [['c'], ['g']] }],
  [`update s.t set id = id + 100 where id = 1`, { t: [['a']] }],
  [`update s.t set id = id + 100, k = 'h' where id = 1`, { t: [['a'], ['h']] }],
  [`update s.low set id = 70, v = 'x' where id = 1`, { t: [['a']] }],
  [`update s.t set seen = 1`, {}],
  [`update s.high set seen = 1`, {}],
  [`delete from s.t where id > 50`, { t: [['b'], ['c']] }],
  [`delete from s.high`, { t: [['c']] }],
  [
    `insert into s.t values (1, 'a', 'new'), (3, 'i', 'new') on conflict (id) do update set v = excluded.v`,
    { t: [['a'], ['i']] },
  ],
  [
    `merge into s.t using (values (1), (5)) as n (id) on n.id = t.id when matched then delete
    when not matched then insert values (n.id, 'm', 'm')`,
    { t: [['a'], ['m']] },
  ],
  [`truncate s.t`, { t: 'all' }],
  [`truncate s.lower`, { t: 'all' }],
];

describe('a partitioned table', () => {
  test.each(WRITES)('signals: %s', async (statement, heard) => {
    expect(await database.heard(statement)).toEqual(heard);
  });

  test.each(WRITES)('signals in the replica role: %s', async (statement, heard) => {
    expect(await database.heard(statement, replica)).toEqual(heard);
  });

  test('signals rows that are moved to a partition whose trigger refuses them: they are gone', async () => {
    await database.sql(`
      create function s.refuse() returns trigger language plpgsql as 'begin return null; end';
      create trigger refuse before insert on s.high for each row execute function s.refuse()`);
    expect(await database.heard(`update s.t set id = id + 100 where id = 1`)).toEqual({ t: [['a']] });
    await database.sql(`insert into s.t values (2, 'd', '1'), (3, 'e', '1')`);
    expect(await database.heard(`update s.t set id = id + 100 where id < 50`)).toEqual({ t: [['d'], ['e']] });
    expect(await database.sql('select k from s.t order by k')).toEqual([{ k: 'b' }, { k: 'c' }]);
  });

  test('says that a partition attached later is not watched, until it is', async () => {
    expect(await problem()).toBeNull();
    await database.sql('create table s.top partition of s.t for values from (200) to (300)');
    expect(await problem()).toBe('trigger gatebell_t_delete on s.top is missing');
    // Through the parent it is seen already.
    expect(await database.heard(`insert into s.t values (210, 'p', '1')`)).toEqual({ t: [['p']] });
    expect(await database.heard(`update s.top set v = '2'`)).toEqual({});

    expect(await database.heard(`select gatebell.watch('s.t', 't', '{k}', '{v}')`)).toEqual({ t: 'all' });
    expect(await problem()).toBeNull();
    expect(await database.heard(`update s.top set v = '3'`)).toEqual({ t: [['p']] });
  });

  test('keeps signalling for a partition that was detached, until watched again', async () => {
    await database.sql('alter table s.t detach partition s.high');
    expect(await problem()).toBeNull();
    expect(await database.heard(`update s.high set v = 'x'`)).toEqual({ t: [['c']] });
    await database.sql(`select gatebell.watch('s.t', 't', '{k}', '{v}')`);
    expect(await database.heard(`update s.high set v = 'y'`)).toEqual({});
  });

  test('is refused with a foreign table in it, where writes would fail; one added later is reported', async () => {
    await database.sql(`create foreign data wrapper none; create server nowhere foreign data wrapper none;
      create table s.f (id integer, k text) partition by range (id); select gatebell.watch('s.f', 't', '{k}')`);
    await database.sql(`create foreign table s.far partition of s.f for values from (0) to (9) server nowhere`);
    const rows = await database.sql(`select problem from gatebell.watch_status where target = 's.f'::regclass`);
    expect(rows).toEqual([{ problem: 'a foreign table was added to it' }]);
    await expect(database.sql(`select gatebell.watch('s.f', 't', '{k}')`)).rejects.toMatchObject({
      code: '42809',
      message: 'gatebell.watch: a foreign table is part of s.f',
      hint: expect.stringContaining('watch the table where it lives') as unknown,
    });
    await database.sql('drop foreign data wrapper none cascade');
  });
});

describe('a table with children by inheritance', () => {
  beforeEach(async () => {
    await database.sql(`
      create table s.base (id integer primary key, k text, v text, seen integer);
      create table s.left_child (extra text) inherits (s.base);
      create table s.right_child () inherits (s.base);
      create table s.grandchild () inherits (s.left_child, s.right_child);
      select gatebell.watch('s.base', 'base', '{k}', '{v}');
      insert into s.base values (1, 'a', '1');
      insert into s.left_child values (1, 'b', '1');
      insert into s.grandchild values (3, 'c', '1')`);
  });

  test.each<[statement: string, heard: Heard]>([
    [`insert into s.left_child values (9, 'l', '1')`, { base: [['l']] }],
    [`update s.base set v = v || '!'`, { base: [['a'], ['b'], ['c']] }],
    [`update only s.base set v = 'x'`, { base: [['a']] }],
    [`update s.right_child set k = 'r'`, { base: [['c'], ['r']] }],
    [`update s.base set v = 'x' where k = 'b'`, { base: [['b']] }],
    [`update s.base set seen = 1 where k = 'c'`, {}],
    [`delete from s.base`, { base: [['a'], ['b'], ['c']] }],
    [`truncate s.grandchild`, { base: 'all' }],
  ])('signals: %s', async (statement, heard) => {
    expect(await database.heard(statement)).toEqual(heard);
    expect(await database.heard(`update s.grandchild set v = 'y'`, replica)).toBeDefined();
  });

  test('is watched once: neither a child nor another parent as well', async () => {
    for (const target of ['s.left_child', 's.grandchild']) {
      await expect(database.sql(`select gatebell.watch('${target}', 'base', '{k}')`)).rejects.toMatchObject({
        code: '42710',
        message: `gatebell.watch: ${target} is already watched for topic 'base' together with s.base`,
      });
    }
    await database.sql(`select gatebell.watch('s.grandchild', 'other', '{k}')`);
    expect(await database.heard(`update s.grandchild set k = 'd'`)).toEqual({
      base: [['c'], ['d']],
      other: [['c'], ['d']],
    });
  });
});
