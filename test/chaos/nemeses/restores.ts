/**
 * Nemeses that turn back what is numbered: backups that are restored while replicas run, schemas that are made anew,
 * sequences that are set back, and a crash that forgets what it had acknowledged. Right after it the processes that
 * serve the listening connections are stopped, so that what had been heard before would have to prove what is asked
 * after.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Cluster } from '../cluster.js';
import { everywhere, isEvent, LEASE_MS, repeatedly, type Nemesis, type Stop } from '../nemesis.js';
import { addPeople } from '../people.js';
import { stopListeners } from './processes.js';

/** Debian's tools. They dump no server that is newer than they are. */
const TOOLS = '/usr/lib/postgresql/15/bin';
const TOOLS_VERSION = 15;
const MIGRATIONS = fileURLToPath(new URL('../../../migrations', import.meta.url));
const TABLES = ['users', 'apps', 'app_routes', 'grants', 'credentials'];
/** From the dump to its restoration. */
const LATER_MS = 1_000;
/** How long the replicas hear nothing after it. */
const SILENT_MS = LEASE_MS + 1_000;
/** How long replicas do not notice a crash. */
const UNNOTICED_MS = 2_000;

const causedBy = (cause: string) => (line: { readonly event: string; readonly cause?: unknown }) =>
  line.event === 'connection_closed' && line.cause === cause;

const migrationFiles = (): string[] =>
  readdirSync(MIGRATIONS)
    .filter(name => name.endsWith('.up.sql'))
    .sort()
    .map(name => readFileSync(join(MIGRATIONS, name), 'utf8'));

/** Replaces the schema while nobody writes, and then lets nothing be heard for a while. */
async function replaceSchema(cluster: Cluster, replace: () => Promise<void>): Promise<Stop> {
  const { writers } = cluster;
  await writers.pause();
  const sinceMs = performance.now();
  // Readers lock the tables one after the other, and so does what replaces them: one of them may have to give way.
  for (let isReplaced = false; !isReplaced;) {
    isReplaced = await replace().then(
      () => true,
      (error: unknown) => {
        if (!String(error).includes('deadlock')) {
          throw error;
        }
        return false;
      },
    );
  }
  await writers.reread(sinceMs);
  const proceed = await stopListeners(cluster);
  writers.resume();
  await sleep(SILENT_MS);
  await proceed();
  return () => Promise.resolve();
}

/** In one transaction: what was, in a schema that is made anew. */
async function restoreBySql(cluster: Cluster): Promise<void> {
  const client = await cluster.connect();
  try {
    await client.query('begin');
    await client.query('drop schema gatebell cascade');
    for (const file of migrationFiles()) {
      await client.query(file);
    }
    for (const table of TABLES) {
      await client.query(`insert into gatebell.${table} overriding system value select * from backup.${table}`);
    }
    await client.query(
      `update gatebell.fence_key
        set (key, inner_key, outer_key) = (select key, inner_key, outer_key from backup.fence_key)`,
    );
    await client.query(`select setval('gatebell.fence_number', (select last_value from backup.fence_number))`);
    await client.query('drop schema backup cascade');
    await client.query('commit');
  } finally {
    await client.end();
  }
}

async function dumpBySql(cluster: Cluster): Promise<() => Promise<void>> {
  await cluster.sql(
    [
      'create schema backup',
      ...[...TABLES, 'fence_key', 'fence_number'].map(
        name => `create table backup.${name} as select * from gatebell.${name}`,
      ),
    ].join('; '),
  );
  return () => restoreBySql(cluster);
}

function dumpByTools(cluster: Cluster): () => Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'gatebell-dump-'));
  cluster.onStop(() => Promise.resolve(rmSync(folder, { recursive: true, force: true })));
  const file = join(folder, 'dump');
  const url = cluster.primary.url('gatebell');
  execFileSync(join(TOOLS, 'pg_dump'), ['-Fc', '-f', file, url]);
  return async () => {
    const args = ['--clean', '--if-exists', '--single-transaction', '-d', url, file];
    await promisify(execFile)(join(TOOLS, 'pg_restore'), args);
  };
}

export const restoreInPlace: Nemesis = {
  name: 'restore-in-place',
  does:
    'Restores a dump of a second ago into the same database (by pg_restore where it fits the server), and then ' +
    'stops the Postgres processes that serve the listening connections.',
  async start(cluster) {
    const [row] = await cluster.sql(`select current_setting('server_version_num')::integer / 10000 as version`);
    const hasTools = row?.['version'] === TOOLS_VERSION && existsSync(join(TOOLS, 'pg_restore'));
    await cluster.writers.pause();
    const restore = hasTools ? dumpByTools(cluster) : await dumpBySql(cluster);
    cluster.writers.resume();
    await sleep(LATER_MS);
    return replaceSchema(cluster, restore);
  },
  leaves: causedBy('schema_changed'),
};

export const schemaMadeAnew: Nemesis = {
  name: 'schema-made-anew',
  does:
    'Drops the schema and makes it anew, with everybody in it as in the beginning, and then stops the Postgres ' +
    'processes that serve the listening connections.',
  start: cluster =>
    replaceSchema(cluster, async () => {
      const client = await cluster.connect();
      try {
        await client.query('begin; drop schema gatebell cascade');
        for (const file of migrationFiles()) {
          await client.query(file);
        }
        await addPeople(client);
        await client.query('commit');
      } finally {
        await client.end();
      }
    }),
  leaves: causedBy('schema_changed'),
};

export const numbersSetBack: Nemesis = {
  name: 'numbers-set-back',
  does:
    'Sets the sequence of the fences back, and stops the Postgres processes that serve the listening connections ' +
    'for longer than the lease, again and again.',
  start: cluster =>
    Promise.resolve(
      repeatedly(LATER_MS, async () => {
        await cluster.sql(`select setval('gatebell.fence_number', 1)`);
        const proceed = await stopListeners(cluster);
        await sleep(SILENT_MS);
        await proceed();
      }),
    ),
  leaves: isEvent('fence_failed'),
};

export const crashUnlogged: Nemesis = {
  name: 'crash-asynchronous',
  does:
    'Kills a Postgres backend (SIGKILL), so that all others end and the last commits, with `synchronous_commit = ' +
    'off`, are lost; the listening connections do not notice it.',
  leastSeconds: 4,
  async start(cluster) {
    const { writers, members } = cluster;
    await cluster.sql('alter system set synchronous_commit = off');
    await cluster.sql(`alter system set wal_writer_delay = '10s'`);
    await cluster.sql('select pg_reload_conf()');
    await sleep(LATER_MS);
    await writers.pause();
    for (const { listen } of members) {
      listen.blackHole('up', 'down');
    }
    const sinceMs = performance.now();
    const victim = await cluster.connect();
    const { rows } = await victim.query<{ pid: number }>('select pg_backend_pid() as pid');
    process.kill(rows[0]!.pid, 'SIGKILL');
    await victim.end().catch(() => undefined);
    for (let isUp = false; !isUp;) {
      isUp = await cluster.sql('select').then(
        () => true,
        () => false,
      );
    }
    await writers.reread(sinceMs);
    writers.resume();
    await sleep(UNNOTICED_MS);
    await everywhere(cluster, ({ listen }) => {
      listen.blackHole();
      listen.cut();
    });
    return async () => {
      await cluster.sql('alter system reset all');
      await cluster.sql('select pg_reload_conf()');
    };
  },
  leaves: isEvent('connection_closed'),
};
