/**
 * Each kind of DDL on a watched table: what a replica forgets, what it says is wrong, and that what it answers is right
 * (P11). No audits.
 */
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { CoherentCache } from '../../src/coherence/coherence.js';
import { databaseUrl, createTestDatabase, type TestDatabase } from '../support/database.js';
import { createInsideCoherence, type InsideCoherence } from '../support/inside.js';
import { DDL, ddlTable, PARTITIONED } from './ddl-table.js';

const READER = 'gatebell_test_reader';
let database: TestDatabase;
let inside: InsideCoherence;
let cache: CoherentCache<string>;
let version: number;
let reader: pg.Client;

beforeAll(async () => {
  database = await createTestDatabase();
  const [server] = await database.sql(`select current_setting('server_version_num')::integer / 10000 as version`);
  version = Number(server!['version']);
  await database.sql(`
    create role ${READER} login password 'reader';
    create role gatebell_test_owner; create role gatebell_test_group;
    grant gatebell_daemon to ${READER}`);
  const url = new URL(databaseUrl(new URL(database.url).pathname.slice(1)));
  url.username = READER;
  url.password = 'reader';
  reader = new pg.Client({ connectionString: url.href });
  await reader.connect();
  inside = createInsideCoherence({
    connectionString: url.href,
    leaseMs: 5_000,
    fenceIntervalMs: 40,
    auditIntervalMs: 0,
  });
  cache = inside.coherence.coherentCache({
    topic: 't',
    load: {
      text: 'select t.id::text, t.v::text from s.t where t.id = any ($1::text[]::integer[])',
      key: row => [String(row['id'])],
      value: row => String(row['v']),
    },
  });
  const live = inside.seen('fence_proven');
  inside.coherence.start();
  await live;
});

afterAll(async () => {
  await inside.coherence.stop();
  await reader.end();
  await database.sql(`drop schema if exists s, moved cascade; drop owned by ${READER}, gatebell_test_owner,
    gatebell_test_group;
    drop role ${READER}, gatebell_test_owner, gatebell_test_group`);
  await database.drop();
});

/** One statement after the other, each in a transaction of its own where it must be. */
async function run(text: string, together: boolean): Promise<void> {
  if (together && !/concurrently|vacuum|add value/i.test(text)) {
    await database.sql(text);
    return;
  }
  for (const statement of text.split(';').filter(one => one.trim() !== '')) {
    await database.sql(statement);
  }
}

const get = (): Promise<string | null> => cache.get(['1']).catch(() => 'error');

async function serve(): Promise<{ readonly value: string | null; readonly fromMemory: boolean }> {
  const before = inside.queries('load_t');
  const value = await get();
  return { value, fromMemory: inside.queries('load_t') === before };
}

/** Two fences from now on, and until nothing waits for writers. */
async function settled(): Promise<void> {
  await inside.seen('fence_proven', 2);
  while (inside.coherence.watchProblems.get('t')?.startsWith('waiting') === true) {
    await inside.seen('fence_proven');
  }
}

/** As the replica's role reads it. */
const fingerprint = async (): Promise<unknown> =>
  (await reader.query<{ fingerprint: string }>(`select fingerprint from gatebell.watch_status where topic = 't'`))
    .rows[0]?.fingerprint;

beforeEach(async () => {
  await database.sql(`
    drop schema if exists s, moved cascade; create schema s; grant usage on schema s to public;
    alter default privileges in schema s grant select on tables to public;
    delete from gatebell.watches where not target::text like 'gatebell.%';
    create table s.t (id integer primary key, v text, w text);
    insert into s.t values (1, 'old', 'new')`);
});

test.each(DDL)('$title', async ({ setUp = '', ddl, touches, problem, value = 'old', since = 0, until = Infinity }) => {
  if (version < since || version > until) {
    await expect(run(`${setUp}; ${ddl}`, false)).rejects.toThrow();
    return;
  }
  await run(setUp, false);
  await database.sql(`select gatebell.watch('s.t', 't', '{id}', '{v}')`);
  await settled();
  await get();
  expect((await serve()).fromMemory).toBe(true);
  const before = await fingerprint();

  // In one transaction, so that no fence sees what is in between.
  await run(ddl, true);
  await settled();
  expect((await fingerprint()) !== before).toBe(touches);
  expect(inside.coherence.watchProblems.get('t') ?? null).toEqual(
    problem === null ? null : expect.stringContaining(problem),
  );
  const first = await serve();
  expect(first).toEqual({ value, fromMemory: !touches });
  expect(await serve()).toEqual({ value, fromMemory: problem === null });
});

test('DETACH PARTITION ... CONCURRENTLY that is cancelled half-way, and finalized later', async () => {
  await run(PARTITIONED, false);
  await database.sql(`select gatebell.watch('s.t', 't', '{id}', '{v}')`);
  await settled();
  await get();
  expect(await serve()).toEqual({ value: 'old', fromMemory: true });

  const [blocker, detacher] = [await database.connect(), await database.connect()];
  await blocker.query('begin; select from s.t');
  const { rows } = await detacher.query<{ pid: number }>('select pg_backend_pid() as pid');
  const detached = detacher
    .query('alter table s.t detach partition s.low concurrently')
    .catch((error: unknown) => error);
  await expect
    .poll(() => database.sql('select from pg_inherits where inhdetachpending'), { timeout: 60_000 })
    .toHaveLength(1);
  await database.sql('select pg_cancel_backend($1)', [rows[0]!.pid]);
  expect(await detached).toMatchObject({ code: '57014' });
  await blocker.query('commit');
  await settled();
  expect(await serve()).toEqual({ value: null, fromMemory: false });
  expect(await serve()).toEqual({ value: null, fromMemory: true });

  await database.sql('alter table s.t detach partition s.low finalize');
  await settled();
  expect(await serve()).toEqual({ value: null, fromMemory: false });
});

/** Each line of a table as its cells, however wide they are. */
const cells = (text: string): string =>
  text
    .split('\n')
    .map(line =>
      line
        .split('|')
        .map(cell => cell.trim().replace(/^-+$/, '-'))
        .join('|'),
    )
    .join('\n');

test('the documentation says the same', () => {
  const docs = readFileSync(new URL('../../docs/reliability.md', import.meta.url), 'utf8');
  expect(cells(docs)).toContain(cells(ddlTable()));
});
