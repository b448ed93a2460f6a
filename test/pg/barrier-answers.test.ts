/**
 * What counts as an answer to a barrier, how often it is said, and what it leaves behind. The replicas are the test's
 * own connections.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { parseMessage } from '../../src/coherence/signal.js';
import { barrier, openBarrier, type BarrierOptions } from '../../src/postgres/barrier.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

/** What answers is answered for long before; what does not, is waited for so long. */
const LEASE_MS = 3_000;
const SHORT_LEASE_MS = 600;
/** From one repetition to the next. */
const REPEAT_MS = 250;
/** Held exclusively, it keeps Postgres from saying what the channel is called. */
const LOCK = 7;

let database: TestDatabase;
let replicas: pg.Client[] = [];

const options = (more: BarrierOptions = {}): BarrierOptions => ({
  connectionString: database.url,
  leaseMs: LEASE_MS,
  ...more,
});

beforeAll(async () => {
  database = await createTestDatabase();
  await database.sql(`create or replace function gatebell.channel() returns text language plpgsql as $$
    begin
      perform pg_advisory_xact_lock_shared(${LOCK});
      return 'gatebell';
    end $$`);
  // A server that was started less than a lease ago has barriers wait for the lease.
  await database.sql(
    `select pg_sleep(greatest(0, $1 - extract(epoch from clock_timestamp() - pg_postmaster_start_time())))`,
    [LEASE_MS / 1_000],
  );
});

afterAll(() => database.drop());

afterEach(async () => {
  await Promise.all(replicas.map(replica => replica.end()));
  replicas = [];
});

/** Listens as a replica does, and says what `answer` makes of the message, which it hears for the so-manieth time. */
async function listen(
  name: string,
  answer: (id: string, times: number) => string | null,
  url = database.url,
): Promise<{ readonly heard: readonly number[] }> {
  const client = new pg.Client({ connectionString: url, application_name: `gatebell/${name}` });
  await client.connect();
  replicas.push(client);
  const heard: number[] = [];
  client.on('notification', ({ payload = '' }) => {
    const message = parseMessage(payload);
    if (message.type === 'barrier') {
      heard.push(performance.now());
      const id = answer(message.id, heard.length);
      if (id !== null) {
        client.query('select pg_notify($1, $2)', ['gatebell', JSON.stringify({ v: 1, a: id, r: name })]).catch(() => {
          // The barrier was passed, and the connection has been closed: nobody waits for this answer.
        });
      }
    }
  });
  await client.query('listen gatebell');
  return { heard };
}

/** Resolves when no barrier has a connection to the database. */
async function closed(of: TestDatabase): Promise<void> {
  for (;;) {
    const open = await of.sql(
      `select from pg_stat_activity where application_name = 'gatebell-barrier' and datname = current_database()`,
    );
    if (open.length === 0) {
      return;
    }
  }
}

describe('a barrier', () => {
  test('is passed at once when there is nobody to answer', async () => {
    const passed = await barrier(options());
    expect(passed).toMatchObject({ replicas: [], waitedForLease: false });
    expect(passed.ms).toBeLessThan(LEASE_MS);
  });

  test('is passed with the last answer; replicas come by their names', async () => {
    await listen('two', id => id);
    await listen('one', id => id);
    const passed = await barrier(options());
    expect(passed.replicas.map(({ replica }) => replica)).toEqual(['one', 'two']);
    expect(passed.waitedForLease).toBe(false);
    expect(passed.ms).toBeLessThan(LEASE_MS);
  });

  test('is not passed by the answer to another one', async () => {
    await listen('one', () => crypto.randomUUID());
    const passed = await barrier(options({ leaseMs: SHORT_LEASE_MS }));
    expect(passed).toMatchObject({ replicas: [{ ms: null }], waitedForLease: true });
  });

  test('asks nobody who is connected to another database', async () => {
    await listen('elsewhere', () => null, inject('postgresUrl'));
    expect(await barrier(options())).toMatchObject({ replicas: [], waitedForLease: false });
  });

  test('is said again until all have answered; the first answer of each counts', async () => {
    const { heard } = await listen('early', id => id);
    const late = await listen('late', (id, times) => (times < 3 ? null : id));
    const startedMs = performance.now();
    const passed = await barrier(options());
    expect(passed.waitedForLease).toBe(false);
    expect(late.heard).toHaveLength(3);
    expect(passed.replicas[0]!.ms).toBeLessThan(heard[1]! - startedMs);
  });
});

test('a lease that is shorter than from one repetition to the next is waited for no longer', async () => {
  await listen('one', () => null);
  const later = once(replicas[0]!, 'notification').then(async () => {
    await sleep(REPEAT_MS / 2);
    return 'later';
  });
  const passing = barrier(options({ leaseMs: 1 })).then(({ waitedForLease }) => waitedForLease);
  expect(await Promise.race([passing, later])).toBe(true);
});

describe('when Postgres is slow', () => {
  /** Passes a barrier; from when it was announced on, Postgres answers nothing until `release`. */
  async function passSlowly(
    timeoutMs: number,
    answer: (id: string, times: number) => string | null,
  ): Promise<{ readonly passing: Promise<unknown>; readonly heard: readonly number[]; release(): Promise<void> }> {
    const opened = await openBarrier(options({ timeoutMs }));
    const { heard } = await listen('one', answer);
    const passing = (async () => {
      try {
        return await opened.pass();
      } finally {
        await opened.close();
      }
    })();
    passing.catch(() => undefined);
    await once(replicas[0]!, 'notification');
    await database.sql(`select pg_advisory_lock(${LOCK})`);
    return {
      passing,
      heard,
      async release() {
        await database.sql(`select pg_advisory_unlock(${LOCK})`);
      },
    };
  }

  test('one repetition waits for it at a time: they do not all come when it answers again', async () => {
    const { passing, heard, release } = await passSlowly(LEASE_MS, (id, times) => (times < 4 ? null : id));
    // Time for six of them.
    await database.sql('select pg_sleep(1.6)');
    await release();
    await passing;
    expect(heard[3]! - heard[1]!).toBeGreaterThan(REPEAT_MS / 2);
  });

  test('a repetition that it does not take in time ends the pass: nothing is known', async () => {
    const { passing, release } = await passSlowly(300, () => null);
    await expect(passing).rejects.toThrow('timeout');
    await release();
  });

  test('so does a connection that is not accepted in time', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    await expect(barrier({ connectionString: `postgres://127.0.0.1:${port}/x`, timeoutMs: 200 })).rejects.toThrow(
      'timeout',
    );
    silent.close();
  });
});

test('a connection that is lost between two barriers fails the next one, and nothing else', async () => {
  const opened = await openBarrier(options());
  await opened.pass();
  await database.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gatebell-barrier'
      and datname = current_database()`,
  );
  await closed(database);
  await expect(opened.pass()).rejects.toThrow();
  await opened.close();
});

describe('nothing is left behind', () => {
  test('by one barrier', async () => {
    await barrier(options());
    await closed(database);
  });

  test('by one that finds no schema', async () => {
    const empty = await createTestDatabase({ migrated: false });
    await expect(barrier({ connectionString: empty.url })).rejects.toThrow('gatebell');
    await closed(empty);
    await empty.drop();
  });

  test('by many on one connection', async () => {
    const warnings: Error[] = [];
    const warn = (warning: Error): void => {
      warnings.push(warning);
    };
    process.on('warning', warn);
    const opened = await openBarrier(options());
    for (let passes = 0; passes < 12; passes++) {
      await opened.pass();
    }
    await opened.close();
    process.off('warning', warn);
    expect(warnings).toEqual([]);
  });
});
