/** A database of a test's own, migrated, dropped at the end. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { TEMPLATE } from './global-postgres.js';

export interface TestDatabase {
  readonly url: string;
  /** A connection for the test's own statements, as the owner of everything. */
  readonly client: pg.Client;
  /** One more connection; closed with the database. */
  connect(): Promise<pg.Client>;
  /** Runs a statement and returns its rows. */
  sql(text: string, values?: readonly unknown[]): Promise<pg.QueryResultRow[]>;
  drop(): Promise<void>;
}

/** Connection string of another database of the same server. */
export function databaseUrl(name: string, server: string = inject('postgresUrl')): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** Makes a database from the migrated template, or from scratch. */
export async function createTestDatabase({
  migrated = true,
  server = inject('postgresUrl'),
} = {}): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  const admin = new pg.Client({ connectionString: server });
  admin.on('error', () => undefined);
  await admin.connect();
  await admin.query(`create database ${name} template ${migrated ? TEMPLATE : 'template0'}`);
  const url = databaseUrl(name, server);
  const clients: pg.Client[] = [];
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  };
  const client = await connect();
  return {
    url,
    client,
    connect,
    async sql(text, values = []) {
      return (await client.query(text, [...values])).rows;
    },
    async drop() {
      await Promise.all(clients.map(open => open.end().catch(() => undefined)));
      await admin.query(`drop database if exists ${name} with (force)`);
      await admin.end();
    },
  };
}
