/** Ways to write to a watched table, and what transactions do to the signals. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSignalDatabase, type Heard, type SignalDatabase } from '../support/signals.js';

let database: SignalDatabase;

beforeAll(async () => {
  database = await createSignalDatabase();
  // The key is not the primary key, and the primary key may be swapped within a statement.
  await database.sql(`
    create table site (
      id integer primary key deferrable, host text, owner text, seen integer default 0,
      shout text generated always as (upper(owner)) stored);
    create table news (id integer, host text, owner text);
    create table parent (id integer primary key);
    create table child (id integer primary key, parent integer references parent on update cascade on delete set null,
      note text);
    select gatebell.watch('site', 'site', '{host}', '{owner}');
    select gatebell.watch('child', 'child', '{id}', '{parent}')`);
});

beforeEach(async () => {
  await database.sql(`
    truncate site, news, parent, child;
    insert into site values (1, 'a', 'ada'), (2, 'b', 'ben'), (3, 'c', 'cyd');
    insert into news values (3, 'c', 'new'), (4, 'd', 'new');
    insert into parent values (1), (2);
    insert into child values (10, 1), (20, 2), (21, 2)`);
});

afterAll(() => database.drop());

describe('every way of writing signals', () => {
  test.each<[statement: string, heard: Heard]>([
    [`insert into site select id + 100, host || '2', owner from site`, { site: [['a2'], ['b2'], ['c2']] }],
    [`insert into site values (9, null, 'nobody'), (8, 'h', 'hal')`, { site: [['h']] }],
    [`update site set owner = n.owner from news n where n.id = site.id`, { site: [['c']] }],
    [`update site set host = host || '!', seen = 1 where id < 3`, { site: [['a'], ['a!'], ['b'], ['b!']] }],
    [`update site set host = null where id = 1`, { site: [['a']] }],
    [`update site set host = case host when 'a' then 'b' else 'a' end where id < 3`, { site: [['a'], ['b']] }],
    [`update site set id = 3 - id where id < 3`, { site: [['a'], ['b']] }],
    [`update site set id = id + 50`, { site: [['a'], ['b'], ['c']] }],
    [`delete from site using news where site.host = news.host`, { site: [['c']] }],
    [
      `with gone as (delete from site where id = 1 returning *), more as (insert into site values (6, 'f', 'fay')),
         other as (update site set owner = 'x' where id = 2) select from gone`,
      { site: [['a'], ['b'], ['f']] },
    ],
    [
      `merge into site s using news n on n.id = s.id
       when matched then update set owner = n.owner when not matched then insert values (n.id, n.host, n.owner)`,
      { site: [['c'], ['d']] },
    ],
    [
      `merge into site s using news n on n.id = s.id when matched then delete when not matched then do nothing`,
      { site: [['c']] },
    ],
    [
      `do $$ begin for i in 1..3 loop update site set owner = 'loop' where id = i; end loop; end $$`,
      { site: [['a'], ['b'], ['c']] },
    ],
    [`update parent set id = 9 where id = 2`, { child: [['20'], ['21']] }],
    [`delete from parent`, { child: [['10'], ['20'], ['21']] }],
    [`truncate parent cascade`, { child: 'all' }],
    [`alter table site add extra integer default 5`, {}],
  ])('%s', async (statement, heard) => {
    expect(await database.heard(statement)).toEqual(heard);
  });

  test('INSERT ... ON CONFLICT, which may insert, update or do nothing', async () => {
    // A deferrable key cannot arbitrate.
    await database.sql('create unique index site_host on site (host)');
    expect(
      await database.heard(`insert into site values (91, 'a', 'x'), (7, 'g', 'gus') on conflict (host) do nothing`),
    ).toEqual({ site: [['g']] });
    const statement = (owner: string): string =>
      `insert into site values (3, 'c', '${owner}'), (4, 'd', '${owner}')
        on conflict (host) do update set owner = excluded.owner`;
    expect(await database.heard(statement('new'))).toEqual({ site: [['c'], ['d']] });
    expect(await database.heard(statement('new'))).toEqual({});
    expect(await database.heard(statement('newer'))).toEqual({ site: [['c'], ['d']] });
    await database.sql('drop index site_host');
  });

  test('COPY', async () => {
    const [row] = await database.sql(
      `select current_setting('data_directory') || '/copy-' || gen_random_uuid() as file`,
    );
    const file = String(row?.['file']);
    await database.sql(`copy (select g, 'copied' || g, 'c' from generate_series(101, 103) g) to '${file}'`);
    expect(await database.heard(`copy site (id, host, owner) from '${file}'`)).toEqual({
      site: [['copied101'], ['copied102'], ['copied103']],
    });
  });

  test('a function that a trigger of the user calls', async () => {
    await database.sql(`
      create function rename_owner() returns trigger language plpgsql as $$
        begin new.owner := 'by trigger'; return new; end $$;
      create trigger rename_owner before update on site for each row execute function rename_owner()`);
    expect(await database.heard('update site set seen = 5 where id = 1')).toEqual({ site: [['a']] });
    await database.sql('drop trigger rename_owner on site; drop function rename_owner()');
  });
});

describe('is silent', () => {
  test.each([
    `update site set seen = seen + 1`,
    `update site set owner = owner, host = host`,
    `update site set owner = 'x' where false`,
    `update site set owner = upper(lower(owner)) where owner = upper(owner)`,
    `insert into site select * from news where false`,
    `delete from site where id > 1000`,
    `merge into site s using news n on n.id = s.id when not matched and false then do nothing`,
    `insert into site values (9, null, 'no key')`,
    `select * from site for update`,
    `update parent set id = id`,
    `begin; update site set owner = 'x'; rollback`,
    `do $$ begin update site set owner = 'x'; raise 'stop'; exception when others then null; end $$`,
  ])('%s', async statement => {
    expect(await database.heard(statement)).toEqual({});
  });

  test('a statement that fails at its end', async () => {
    const act = (): Promise<unknown> => expect(database.sql('update site set id = 1')).rejects.toThrow(/duplicate key/);
    expect(await database.heard(act)).toEqual({});
  });
});

describe('in a transaction', () => {
  test('signals nothing before the commit, and everything then', async () => {
    const writer = await database.connect();
    expect(
      await database.heard(async () => {
        await writer.query('begin');
        await writer.query(`update site set owner = 'x' where id = 1`);
        await writer.query('delete from site where id = 2');
      }),
    ).toEqual({});
    expect(await database.heard('commit', writer)).toEqual({ site: [['a'], ['b']] });
  });

  test.each<[end: string, heard: Heard]>([
    ['rollback to second', { site: [['a'], ['c']] }],
    ['release second', { site: [['a'], ['b'], ['c']] }],
    ['rollback to second; release second', { site: [['a'], ['c']] }],
    ['release first', { site: [['a'], ['b'], ['c']] }],
    ['rollback to first', { site: [['c']] }],
  ])('after %s signals what is left', async (end, heard) => {
    const statement = `begin; savepoint first; update site set owner = 'x' where id = 1;
      savepoint second; update site set owner = 'x' where id = 2; ${end};
      update site set owner = 'x' where id = 3; commit`;
    expect(await database.heard(statement)).toEqual(heard);
  });

  test('tells in commit order, not in order of the statements', async () => {
    const [early, late] = [await database.connect(), await database.connect()];
    const payloads = await database.payloads(async () => {
      await early.query(`begin; update site set owner = 'x' where id = 1`);
      await late.query(`begin; update site set owner = 'x' where id = 2`);
      await late.query('commit');
      await early.query('commit');
    });
    expect(payloads).toEqual(['{"v":1,"s":"site","k":[["b"]]}', '{"v":1,"s":"site","k":[["a"]]}']);
  });

  test('PREPARE TRANSACTION is refused by Postgres after a signal, and allowed without one', async () => {
    const writer = await database.connect();
    await writer.query(`begin; update site set owner = 'x'`);
    await expect(writer.query(`prepare transaction 'site'`)).rejects.toMatchObject({ code: '0A000' });
    await writer.query('begin; update site set seen = 3');
    await writer.query(`prepare transaction 'site'`);
    await writer.query(`commit prepared 'site'`);
  });
});
