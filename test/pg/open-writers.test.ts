/**
 * A transaction that began to write before the triggers were as they are now may commit without a signal. Until all of
 * those have ended a replica answers from Postgres (P11). There are no audits here.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type pg from 'pg';
import type { CoherentCache } from '../../src/coherence/coherence.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createInsideCoherence, type InsideCoherence } from '../support/inside.js';

let database: TestDatabase;
let inside: InsideCoherence;
let cache: CoherentCache<string>;
let writer: pg.Client;
let other: pg.Client;

function createReplica(): void {
  inside = createInsideCoherence({
    connectionString: database.url,
    leaseMs: 2_000,
    fenceIntervalMs: 50,
    auditIntervalMs: 0,
  });
  cache = inside.coherence.coherentCache({
    topic: 't',
    load: {
      text: 'select t.id::text, t.v from s.t where t.id = any ($1::text[]::integer[])',
      key: row => [String(row['id'])],
      value: row => String(row['v']),
    },
  });
}

beforeAll(async () => {
  database = await createTestDatabase();
  writer = await database.connect();
  other = await database.connect();
});

afterAll(() => database.drop());

beforeEach(async () => {
  await database.sql(`
    drop schema if exists s cascade; create schema s;
    delete from gatebell.watches where not target::text like 'gatebell.%';
    create table s.t (id integer, v text) partition by range (id);
    create table s.low partition of s.t for values from (0) to (10);
    create table s.unwatched (id integer);
    insert into s.t values (1, 'old'), (2, 'two');
    select gatebell.watch('s.t', 't', '{id}', '{v}')`);
  createReplica();
});

afterEach(async () => {
  await writer.query('rollback');
  await other.query('rollback');
  await inside.coherence.stop();
});

const fenced = (): Promise<unknown> => inside.seen('fence_proven', 2);
const waits = (): boolean => inside.coherence.watchProblems.get('t')?.startsWith('waiting for writers') === true;

/** The value, and whether it came from memory. */
async function serve(): Promise<{ readonly value: string | null; readonly fromMemory: boolean }> {
  const before = inside.queries('load_t');
  const value = await cache.get(['1']);
  return { value, fromMemory: inside.queries('load_t') === before };
}

async function start(): Promise<void> {
  const live = inside.seen('fence_proven');
  inside.coherence.start();
  await live;
}

async function warm(value: string): Promise<void> {
  while (inside.coherence.watchProblems.size > 0) {
    await inside.seen('fence_proven');
  }
  await cache.get(['1']);
  expect(await serve()).toEqual({ value, fromMemory: true });
}

/** Runs `during` while the trigger function does nothing. */
async function withoutSignals(during: () => Promise<unknown>): Promise<void> {
  const [row] = await database.sql(`
    select p.proname::text as name, pg_get_functiondef(p.oid) as definition
    from gatebell.watches w join pg_proc p on p.proname = 'signal_' || w.id where w.topic = 't'`);
  await database.sql(
    `create or replace function gatebell.${String(row!['name'])}() returns trigger
      language plpgsql as 'begin return null; end'`,
  );
  await during();
  await database.sql(String(row!['definition']));
  // The text of it is what it was, so its digest is, too.
  await expect(database.sql(`select problem from gatebell.watch_status where topic = 't'`)).resolves.toEqual([
    { problem: null },
  ]);
}

const WRITES = [
  { by: 'an update', write: `update s.t set v = 'new' where id = 1` },
  { by: 'an update of the partition alone', write: `update s.low set v = 'new' where id = 1` },
  { by: 'a subtransaction', write: `savepoint a; update s.t set v = 'new' where id = 1; release a` },
  { by: 'a delete and an insert', write: `delete from s.t where id = 1; insert into s.t values (1, 'new')` },
];

describe.each(WRITES)('what $by wrote while another trigger function was there', ({ write }) => {
  test('is served when it commits, and not what it replaced', async () => {
    await start();
    await warm('old');
    await withoutSignals(() => writer.query(`begin; ${write}`));
    await fenced();
    await serve();
    expect(await serve()).toEqual({ value: 'old', fromMemory: false });
    expect(waits()).toBe(true);
    await writer.query('commit');
    await warm('new');
  });

  test('is served by a replica that was started before it committed', async () => {
    await withoutSignals(() => writer.query(`begin; ${write}`));
    await start();
    await serve();
    expect(await serve()).toEqual({ value: 'old', fromMemory: false });
    expect(waits()).toBe(true);
    await writer.query('commit');
    await warm('new');
  });

  test('is served when it was prepared meanwhile, and is committed by somebody else', async () => {
    await withoutSignals(() => writer.query(`begin; ${write}`));
    await start();
    await writer.query(`prepare transaction 'a'`);
    await fenced();
    expect(await serve()).toEqual({ value: 'old', fromMemory: false });
    expect(waits()).toBe(true);
    await database.sql(`commit prepared 'a'`);
    await warm('new');
  });

  test('is served when it had been prepared before', async () => {
    await withoutSignals(() => writer.query(`begin; ${write}; prepare transaction 'a'`));
    await start();
    expect(await serve()).toEqual({ value: 'old', fromMemory: false });
    await database.sql(`commit prepared 'a'`);
    await warm('new');
  });

  test('does not count when it is rolled back', async () => {
    await withoutSignals(() => writer.query(`begin; ${write}`));
    await start();
    expect(waits()).toBe(true);
    await writer.query('rollback');
    await warm('old');
  });
});

test('a writer that began before the function was replaced uses the old one, and is waited for too', async () => {
  await start();
  await warm('old');
  await withoutSignals(async () => {
    await writer.query(`begin; update s.t set v = 'x' where id = 2`);
  });
  // It has its lock, so it learns nothing of what was put back.
  await writer.query(`update s.t set v = 'new' where id = 1`);
  await fenced();
  await serve();
  expect(await serve()).toEqual({ value: 'old', fromMemory: false });
  await writer.query('commit');
  await warm('new');
});

test('an enum label is renamed while somebody writes: the signal has the old label, the load the new', async () => {
  await database.sql(`
    create type s.mood as enum ('low', 'high');
    create table s.m (mood s.mood primary key, v text);
    insert into s.m values ('low', 'old');
    select gatebell.watch('s.m', 'm', '{mood}', '{v}')`);
  const moods = inside.coherence.coherentCache({
    topic: 'm',
    load: {
      text: 'select m.mood::text, m.v from s.m where m.mood::text = any ($1::text[])',
      key: row => [String(row['mood'])],
      value: row => String(row['v']),
    },
  });
  await start();
  await fenced();
  await writer.query(`begin; update s.m set v = 'new' where mood = 'low'`);
  await database.sql(`alter type s.mood rename value 'low' to 'down'`);
  await fenced();
  expect(await moods.get(['down'])).toBe('old');
  await writer.query('commit');
  await fenced();
  expect(await moods.get(['down'])).toBe('new');
});

describe('do not hold a replica up:', () => {
  test('writers who begin when it has seen the triggers', async () => {
    await start();
    await warm('old');
    await writer.query(`begin; update s.t set v = 'new' where id = 1`);
    await fenced();
    expect(await serve()).toEqual({ value: 'old', fromMemory: true });
    await writer.query('commit');
    await fenced();
    expect((await serve()).value).toBe('new');
  });

  test('those who begin while it waits for others', async () => {
    await writer.query(`begin; update s.t set v = 'new' where id = 1`);
    await start();
    expect(waits()).toBe(true);
    await other.query(`begin; update s.t set v = 'other' where id = 2`);
    await fenced();
    await writer.query('commit');
    await warm('new');
  });

  test('writers of other tables, readers, and those who lock rows', async () => {
    await writer.query('begin; insert into s.unwatched values (1); select from s.t');
    await other.query('begin; select from s.t for update');
    await start();
    // Other tests' transactions may be ending.
    await expect.poll(() => inside.coherence.watchProblems.size, { timeout: 60_000 }).toBe(0);
  });

  test('VACUUM and ANALYZE, and what comes and goes as temporary tables', async () => {
    await writer.query('begin; create temp table mine (id integer) on commit drop; insert into mine values (1)');
    await other.query('begin; analyze s.low');
    await start();
    // Other tests' transactions may be ending.
    await expect.poll(() => inside.coherence.watchProblems.size, { timeout: 60_000 }).toBe(0);
  });
});

test('a start beside a stream of ordinary short writers takes a few fences, and nothing is reported', async () => {
  const ended = new AbortController();
  const stream = async (client: pg.Client, id: number): Promise<void> => {
    for (let n = 0; !ended.signal.aborted; n++) {
      await client.query(`update s.t set v = '${n}' where id = ${id}`);
    }
  };
  const streams = [stream(writer, 1), stream(other, 2)];
  try {
    const before = inside.queries('fence');
    await start();
    while (inside.coherence.watchProblems.size > 0) {
      await inside.seen('fence_proven');
    }
    expect(inside.queries('fence') - before).toBeLessThanOrEqual(6);
    expect(inside.observations.filter(({ event }) => event === 'watch_changed')).toEqual([]);
  } finally {
    ended.abort();
    await Promise.all(streams);
  }
});

describe('gatebell.open_writers', () => {
  const open = async (seen = 'pg_current_snapshot()'): Promise<unknown> => {
    const [row] = await database.sql(`select gatebell.open_writers('s.t', ${seen}) as writers`);
    return row!['writers'];
  };
  const numberOf = async (client: pg.Client): Promise<bigint> => {
    const { rows } = await client.query<{ xid: string }>('select pg_current_xact_id()::text as xid');
    return BigInt(rows[0]!.xid);
  };

  test('names a transaction whose lock lets it write, once', async () => {
    await expect.poll(() => open(), { timeout: 60_000 }).toEqual([]);
    await writer.query('begin; lock table s.t in row exclusive mode; lock table s.low in exclusive mode');
    await expect.poll(() => open(), { timeout: 60_000 }).toHaveLength(1);
  });

  test.each(['row exclusive', 'share row exclusive', 'exclusive', 'access exclusive'])('counts %s mode', async mode => {
    await writer.query(`begin; lock table s.low in ${mode} mode`);
    await expect.poll(() => open(), { timeout: 60_000 }).toHaveLength(1);
  });

  test.each(['access share', 'row share', 'share update exclusive', 'share'])('does not count %s mode', async mode => {
    await writer.query(`begin; lock table s.low in ${mode} mode`);
    await expect.poll(() => open(), { timeout: 60_000 }).toEqual([]);
  });

  test('does not count who waits for a lock, for it learns what has changed when it gets it', async () => {
    await writer.query('begin; lock table s.t in share mode');
    const waiting = other.query(`begin; update s.t set v = 'x'`);
    for (;;) {
      const rows = await database.sql(`select from pg_locks where not granted and relation = 's.t'::regclass`);
      if (rows.length > 0) {
        break;
      }
    }
    await expect.poll(() => open(), { timeout: 60_000 }).toEqual([]);
    await writer.query('rollback');
    await waiting;
    await expect.poll(() => open(), { timeout: 60_000 }).toHaveLength(1);
  });

  /** A snapshot in which the writer runs, and one in which it has ended; `rounds` times 2^32 later. */
  async function snapshots(rounds: bigint): Promise<{ readonly running: string; readonly ended: string }> {
    const xid = await numberOf(writer);
    const [row] = await database.sql('select pg_current_snapshot()::text as seen');
    const [xmin, xmax, xip] = String(row!['seen']).split(':') as [string, string, string];
    const listed = new Set(xip.split(',').filter(Boolean).map(BigInt));
    for (let later = BigInt(xmax); later <= xid; later++) {
      listed.add(later);
    }
    const after = (number: bigint): bigint => number + (rounds << 32n);
    const end = xid >= BigInt(xmax) ? xid + 1n : BigInt(xmax);
    const text = (list: readonly bigint[]): string =>
      `'${after(BigInt(xmin))}:${after(end)}:${list.map(after).join(',')}'::pg_snapshot`;
    const running = [...listed].sort((a, b) => Number(a - b));
    return { running: text(running), ended: text(running.filter(one => one !== xid)) };
  }

  // Numbers in pg_locks lack their upper half.
  test.each([0n, 7n])(
    'knows nothing while a transaction that the snapshot sees ended still holds its locks (%d times 2^32)',
    async rounds => {
      await writer.query('begin');
      const { running, ended } = await snapshots(rounds);
      expect(await open(ended)).toBeNull();
      // Other tests' transactions may be ending.
      await expect.poll(() => open(running), { timeout: 60_000 }).toEqual([]);
      await writer.query('commit');
      await expect.poll(() => open(ended), { timeout: 60_000 }).toEqual([]);
    },
  );

  test('does not wait for a vacuum, which is in no snapshot but has a number when it shortens a table', async () => {
    await database.sql(`
      create table s.shrinking (id integer) with (autovacuum_enabled = off);
      insert into s.shrinking select n from generate_series(1, 100000) n; delete from s.shrinking`);
    const cleaner = await database.connect();
    // It tries for five seconds to lock out the readers of the table.
    await other.query('begin; select from s.shrinking limit 1');
    const vacuum = cleaner.query('vacuum s.shrinking');
    const numbered = `
      select from pg_stat_progress_vacuum v join pg_locks l using (pid)
      where l.locktype = 'transactionid' and v.relid = 's.shrinking'::regclass`;
    await expect.poll(() => database.sql(numbered), { timeout: 60_000 }).toHaveLength(1);
    // Only numbers below the newest that has ended could be missing in a snapshot.
    await database.sql('select pg_current_xact_id()');
    await expect.poll(() => open(), { timeout: 4_000 }).toEqual([]);
    expect(await database.sql(numbered)).toHaveLength(1);
    await other.query('rollback');
    await vacuum;
  });

  test('is not taken in by numbers of subtransactions, which are in no snapshot', async () => {
    await writer.query(
      `begin; savepoint a; update s.t set v = 'x' where id = 1; savepoint b; update s.t set v = 'y' where id = 2`,
    );
    await other.query('begin; select pg_current_xact_id()');
    await expect.poll(() => open(), { timeout: 60_000 }).toHaveLength(1);
  });
});
