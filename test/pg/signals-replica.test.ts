/** Writers that fire no ordinary triggers: session_replication_role = replica, and the apply of logical replication. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseMessage } from '../../src/coherence/signal.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createSignalDatabase, type Heard, type SignalDatabase } from '../support/signals.js';

let database: SignalDatabase;

beforeAll(async () => {
  database = await createSignalDatabase();
});

afterAll(() => database.drop());

describe('in the replica role', () => {
  let writer: pg.Client;

  beforeAll(async () => {
    writer = await database.connect();
    await writer.query('set session_replication_role = replica');
    await writer.query(`
      create table site (id integer primary key, host text, owner text, seen integer default 0);
      select gatebell.watch('site', 'site', '{host}', '{owner}')`);
  });

  // In this order: each builds on the one before.
  test.each<[statement: string, heard: Heard]>([
    [`insert into site values (1, 'a', 'ada'), (2, 'b', 'ben'), (3, null, 'cyd')`, { site: [['a'], ['b']] }],
    [`update site set owner = 'x' where id = 1`, { site: [['a']] }],
    [`update site set owner = 'x' where id = 1`, {}],
    [`update site set owner = owner, host = host, seen = seen + 1`, {}],
    [`update site set host = 'c' where id = 1`, { site: [['a'], ['c']] }],
    [`update site set host = null where id = 2`, { site: [['b']] }],
    [`update site set host = 'b' where id = 2`, { site: [['b']] }],
    [`update site set owner = 'y' where host is null`, {}],
    [`update site set host = repeat('x', 700) where id = 2`, { site: 'all' }],
    [`delete from site where host is null`, {}],
    [`delete from site where id = 1`, { site: [['c']] }],
    [`truncate site`, { site: 'all' }],
    [`insert into gatebell.users (id, name) values (7, 'gus')`, { user: [['7']], user_name: [['gus']] }],
    [
      `insert into gatebell.credentials (user_id, kind, token_hash) values (7, 'token', '\\x${'ab'.repeat(32)}')`,
      { credential: [['ab'.repeat(32)]] },
    ],
    [`update gatebell.credentials set last_seen_at = now()`, {}],
    [`delete from gatebell.users`, { user: [['7']], user_name: [['gus']] }],
    [
      `truncate gatebell.users cascade`,
      { user: 'all', user_name: 'all', identity: 'all', grant: 'all', credential: 'all' },
    ],
  ])('%s', async (statement, heard) => {
    expect(await database.heard(statement, writer)).toEqual(heard);
  });

  test('each change signals once, in either role', async () => {
    const insert = `insert into site values (5, 'once', 'x')`;
    const once_ = ['{"v":1,"s":"site","k":[["once"]]}'];
    expect(await database.payloads(insert, writer)).toEqual(once_);
    await database.sql('delete from site');
    expect(await database.payloads(insert)).toEqual(once_);
  });
});

describe('logical replication', () => {
  const name = `s${randomBytes(6).toString('hex')}`;
  let publisher: TestDatabase;

  beforeAll(async () => {
    publisher = await createTestDatabase();
    await publisher.sql(`create table page (id integer primary key, host text, v text, seen integer)`);
    await publisher.sql(`create publication ${name} for table page, gatebell.users, gatebell.grants, gatebell.apps`);
    // Made beforehand: made by the subscription it would wait for the transaction that makes the subscription.
    await publisher.sql(`select pg_create_logical_replication_slot('${name}', 'pgoutput')`);
    await database.sql(`create table page (id integer primary key, host text, v text, seen integer)`);
    await database.sql(`select gatebell.watch('page', 'page', '{host}', '{v}')`);
    await database.sql(
      `create subscription ${name} connection '${publisher.url}' publication ${name}
        with (create_slot = false, copy_data = false)`,
    );
  });

  afterAll(async () => {
    await database.sql(`alter subscription ${name} disable`);
    await database.sql(`alter subscription ${name} set (slot_name = none)`);
    await database.sql(`drop subscription ${name}`);
    // The walsender lets go of the slot when the worker has gone.
    await publisher.sql(
      `select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = $1 and active`,
      [name],
    );
    await publisher.sql(`select pg_drop_replication_slot($1)`, [name]);
    await publisher.drop();
  });

  /** What arrives until the row that is inserted last has. */
  async function applied(statements: string): Promise<string[]> {
    const mark = randomBytes(4).readUInt16BE() + 10_000;
    const received: string[] = [];
    const end = new AbortController();
    const hear = ({ payload = '' }: pg.Notification): void => {
      const message = parseMessage(payload);
      if (message.type === 'change' && message.keys?.[0]?.[0] === `mark${mark}`) {
        end.abort();
      } else {
        received.push(payload);
      }
    };
    database.listener.on('notification', hear);
    const ended = once(end.signal, 'abort');
    await publisher.client.query(statements);
    await publisher.client.query(`insert into page values (${mark}, 'mark${mark}')`);
    await ended;
    database.listener.off('notification', hear);
    return received;
  }

  const page = (...keys: string[]): string => JSON.stringify({ v: 1, s: 'page', k: keys.map(key => [key]) });

  test('signals what it applies: each row, and TRUNCATE', async () => {
    await applied('select 1');
    expect(await applied(`insert into page values (1, 'a', '1', 1), (2, 'b', '1', 1)`)).toEqual([page('a'), page('b')]);
    expect(await applied(`update page set v = '2' where id = 1`)).toEqual([page('a')]);
    expect(await applied(`update page set host = 'c' where id = 1`)).toEqual([page('a', 'c')]);
    expect(await applied(`update page set seen = 2`)).toEqual([]);
    expect(await applied(`update page set v = v`)).toEqual([]);
    expect(await applied(`delete from page where id = 2`)).toEqual([page('b')]);
    expect(await applied(`truncate page`)).toEqual(['{"v":1,"s":"page"}']);
  });

  test('signals the auth tables', async () => {
    await applied(`insert into gatebell.users (id, name) values (1, 'ada')`);
    await applied(`insert into gatebell.apps (id, name, host) values (1, 'wiki', 'wiki.test')`);
    const grant = '{"v":1,"s":"grant","k":[["1","1"]]}';
    expect(await applied('insert into gatebell.grants (user_id, app_id) values (1, 1)')).toEqual([grant]);
    expect(await applied(`update gatebell.users set enabled = false`)).toEqual(['{"v":1,"s":"user","k":[["1"]]}']);
    // The cascade was the publisher's.
    const gone = await applied('delete from gatebell.users');
    expect(gone.sort()).toEqual([grant, '{"v":1,"s":"user","k":[["1"]]}', '{"v":1,"s":"user_name","k":[["ada"]]}']);
  });
});
