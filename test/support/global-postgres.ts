/**
 * One real Postgres for all test files, with a migrated template database; each file makes databases of its own from
 * it. GATEBELL_TEST_PG_BIN runs the same suite on another version: the directory of its `initdb` and `postgres`.
 */
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { createPostgresServer } from '../../src/dev/postgres.js';
import { migrate } from '../../src/postgres/migrate.js';

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string;
  }
}

export const TEMPLATE = 'gatebell_template';

export default function setup(project: TestProject): Promise<() => Promise<void>> {
  return setUpPostgres(project, process.env['GATEBELL_TEST_PG_BIN']);
}

/** Starts the server of these binaries (the embedded ones by default) and makes the template. */
export async function setUpPostgres(
  project: TestProject,
  binDirectory: string | undefined,
): Promise<() => Promise<void>> {
  const server = await createPostgresServer({
    binDirectory,
    settings: {
      fsync: 'off',
      max_connections: '300',
      wal_level: 'logical',
      max_prepared_transactions: '5',
      shared_preload_libraries: 'pg_stat_statements',
      'pg_stat_statements.track': 'all',
    },
  });
  try {
    const admin = new pg.Client({ connectionString: server.url('postgres') });
    await admin.connect();
    await admin.query(`create database ${TEMPLATE}`);
    await admin.end();
    const client = new pg.Client({ connectionString: server.url(TEMPLATE) });
    await client.connect();
    await migrate(client, 'up');
    await client.end();
  } catch (error) {
    await server.remove();
    throw error;
  }
  project.provide('postgresUrl', server.url('postgres'));
  return () => server.remove();
}
