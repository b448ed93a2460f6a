/**
 * The schema goes back in time, or starts over, while a replica remembers. Whatever the way: when the listening
 * connection falls silent right after it, a revocation is seen by strong reads at once, and by all within the lease.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CoherentCache } from '../../src/coherence/coherence.js';
import type { CoherenceObservation } from '../../src/coherence/observation.js';
import { createPostgresCoherence, type PostgresCoherence } from '../../src/postgres/coherence.js';
import { migrate } from '../../src/postgres/migrate.js';
import type { StoreObservation } from '../../src/postgres/pool.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const LEASE_MS = 1_500;
const TOOLS = '/usr/lib/postgresql/15/bin';
/** Debian's tools dump no server that is newer than they are. */
const canDump = process.env['GATEBELL_TEST_PG_BIN'] === TOOLS && existsSync(`${TOOLS}/pg_restore`);
const FACTS = `
  insert into gatebell.users (id, name) overriding system value values (7, 'alice');
  insert into gatebell.apps (id, host, name) overriding system value values (12, 'photos.test', 'photos');
  insert into gatebell.grants (user_id, app_id) values (7, 12)`;
const KEY = ['7', '12'];

let database: TestDatabase;
let coherence: PostgresCoherence;
let grants: CoherentCache<string>;
let folder: string;
let frozen: number | null;
let observations: (CoherenceObservation | StoreObservation)[];
let noticed: () => void;

/** Resolves when what was observed since `from` says so. */
async function observed(
  fits: (observation: CoherenceObservation | StoreObservation) => boolean,
  from = 0,
): Promise<void> {
  while (!observations.slice(from).some(fits)) {
    await new Promise<void>(resolve => {
      noticed = resolve;
    });
  }
}

const isLive = (observation: CoherenceObservation | StoreObservation): boolean =>
  observation.event === 'listener_state' && observation.to === 'live';
const closings = (): string[] =>
  observations.flatMap(observation => (observation.event === 'connection_closed' ? [observation.cause] : []));

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gatebell-dump-'));
  frozen = null;
  observations = [];
  noticed = () => undefined;
  database = await createTestDatabase();
  await database.sql(FACTS);
  coherence = createPostgresCoherence({
    connectionString: database.url,
    replica: 'restored',
    leaseMs: LEASE_MS,
    observe: observation => {
      observations.push(observation);
      noticed();
    },
  });
  grants = coherence.coherentCache({
    topic: 'grant',
    load: {
      text: `select g.user_id::text, g.app_id::text, g.role from gatebell.grants g
             join unnest($1::text[], $2::text[]) as k (user_id, app_id)
               on g.user_id = k.user_id::bigint and g.app_id = k.app_id::bigint`,
      key: row => [String(row['user_id']), String(row['app_id'])],
      value: row => String(row['role']),
    },
  });
  coherence.start();
  await observed(isLive);
  // Numbers that are set back are below those that were heard.
  for (let fences = 0; fences < 3; fences++) {
    await grants.get(KEY, { strong: true });
  }
});

afterEach(async () => {
  if (frozen !== null) {
    process.kill(frozen, 'SIGCONT');
  }
  await coherence.stop();
  await database.drop();
  rmSync(folder, { recursive: true, force: true });
});

/** Stops the process that serves the newest listening connection, however often it is replaced meanwhile. */
async function freezeListener(): Promise<void> {
  const [row] = await database.sql(
    `select pid from pg_stat_activity where application_name like 'gatebell/restored#%'
      and datname = current_database()`,
  );
  frozen = row === undefined ? null : Number(row['pid']);
  if (frozen !== null) {
    process.kill(frozen, 'SIGSTOP');
  }
}

/** What a read says; one that is refused serves nothing. */
const read = (strong: boolean): Promise<string | null> => grants.get(KEY, { strong }).catch(() => 'refused');

async function expectRevocationSeen(): Promise<void> {
  await freezeListener();
  await database.sql('delete from gatebell.grants');
  const revokedMs = performance.now();
  expect(await read(true)).not.toBe('user');
  for (let answer = await read(false); ; answer = await read(false)) {
    const askedLate = performance.now() > revokedMs + LEASE_MS;
    if (askedLate) {
      answer = await read(false);
      expect(answer).not.toBe('user');
      expect(await read(true)).not.toBe('user');
      break;
    }
    await new Promise(resolve => setImmediate(resolve));
  }
}

const tool = (name: string, ...args: readonly string[]): void => {
  execFileSync(join(TOOLS, name), args, { stdio: 'pipe' });
};
const dump = (...args: readonly string[]): string => {
  const file = join(folder, 'dump');
  tool('pg_dump', '-Fc', ...args, '-f', file, database.url);
  return file;
};

describe('after', () => {
  test.each([
    ['the sequence is set back', `select setval('gatebell.fence_number', 1)`],
    ['the sequence starts over', 'alter sequence gatebell.fence_number restart'],
    ['the sequence is set ahead', `select setval('gatebell.fence_number', 1000000)`],
    ['the sequence is at its end', `select setval('gatebell.fence_number', 9007199254740991)`],
    [
      'the sequence is created again',
      'drop sequence gatebell.fence_number; create sequence gatebell.fence_number maxvalue 9007199254740991 cycle',
    ],
  ])('%s, the epoch goes on, and nothing false is proven', async (_, statement) => {
    await database.sql(statement);
    await expectRevocationSeen();
    process.kill(frozen!, 'SIGCONT');
    frozen = null;
    const from = observations.length;
    await observed(({ event }) => event === 'fence_proven', from);
    expect(closings().filter(cause => cause !== 'fence_overdue')).toEqual([]);
  });

  test.each([
    ['the key of the fences is written again', 'update gatebell.fence_key set key = key'],
    ['the key of the fences is created again', 'delete from gatebell.fence_key; select gatebell.make_fence_key()'],
    [
      'the key of the fences is emptied and created again',
      'truncate gatebell.fence_key; select gatebell.make_fence_key()',
    ],
  ])('%s, the epoch ends, and the next one knows the new key', async (_, statement) => {
    const from = observations.length;
    await database.sql(`begin; ${statement}; commit`);
    await observed(isLive, from);
    expect(closings()).toEqual(['schema_changed']);
    expect(await read(true)).toBe('user');
    await expectRevocationSeen();
  });

  test('the schema is dropped and migrated again, the epoch ends', async () => {
    const [before] = await database.sql('select server_id from gatebell.server');
    const from = observations.length;
    await database.sql('drop schema gatebell cascade');
    await migrate(database.client, 'up');
    await database.sql(FACTS);
    await observed(isLive, from);
    const [after] = await database.sql('select server_id from gatebell.server');
    expect(after?.['server_id']).not.toBe(before?.['server_id']);
    expect(coherence.serverId).toBe(after?.['server_id']);
    await expectRevocationSeen();
  });

  test('a load has seen the other schema, the epoch ends at once', async () => {
    await database.sql('update gatebell.fence_key set key = key');
    const from = observations.length;
    await expect(grants.get(['7', '13'])).rejects.toMatchObject({ reason: 'foreign_reading' });
    expect(closings()).toEqual(['schema_changed']);
    await observed(isLive, from);
  });

  describe.skipIf(!canDump)('a dump is restored in place', () => {
    test.each([
      ['object by object', ['--clean', '--if-exists'], []],
      ['in one transaction', ['--clean', '--if-exists', '--single-transaction'], []],
      ['of this schema alone', ['--clean', '--if-exists', '-n', 'gatebell'], ['-n', 'gatebell']],
      ['without owners and privileges', ['--clean', '--if-exists', '-O', '-x'], ['-O', '-x']],
    ])('%s', async (_, restoring, dumping) => {
      const file = dump(...dumping);
      for (let fences = 0; fences < 3; fences++) {
        await grants.get(KEY, { strong: true });
      }
      tool('pg_restore', ...restoring, '-d', database.url, file);
      await expectRevocationSeen();
      expect(closings()[0]).toBe('schema_changed');
    });

    test('the data alone, into emptied tables', async () => {
      const file = dump('--data-only');
      await database.sql('truncate gatebell.users, gatebell.apps, gatebell.watches, gatebell.fence_key cascade');
      tool('pg_restore', '--data-only', '--disable-triggers', '-d', database.url, file);
      await expectRevocationSeen();
    });
  });
});

test('a listening backend whose place another process took is found out with the next question', async () => {
  await freezeListener();
  const before = frozen!;
  // Its socket goes with the process: so the process lives, and listens to nothing.
  const from = observations.length;
  await database.sql('select pg_terminate_backend($1)', [before]);
  process.kill(before, 'SIGCONT');
  frozen = null;
  await observed(({ event }) => event === 'connection_closed', from);
  await observed(isLive, from);
  expect(await read(true)).toBe('user');
});
