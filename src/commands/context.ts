/** What every command is given: its configuration, a connection, and how to print for people or as JSON. */
import cluster from 'node:cluster';
import pg from 'pg';
import { namesDatabase, readConfig, type Config, type SettingKey } from '../config/config.js';
import { UsageError } from './errors.js';

/** Options that every command takes, as the parser hands them over. */
export type GlobalFlags = Readonly<Partial<Record<SettingKey, string>>> & { readonly json?: boolean };

export interface CommandContext {
  readonly config: Config;
  readonly json: boolean;
  readonly env: NodeJS.ProcessEnv;
  /** Prints a result: as JSON if asked to, else as the lines given. */
  print(result: unknown, lines: readonly string[] | string): void;
}

/** The error when no setting says where Postgres is. */
const NO_DATABASE = `no database is named: Gatebell keeps its facts in Postgres.

  Set DATABASE_URL (or libpq's PGHOST, PGDATABASE, …), then apply the schema once:

    export DATABASE_URL=postgres://user:password@host:5432/database
    gatebell migrate up
    gatebell serve

  To see it work without a database of your own: gatebell dev`;

/** Reads the configuration and makes the context. @throws ConfigError */
export function createContext(flags: GlobalFlags, env: NodeJS.ProcessEnv): CommandContext {
  const { json = false, ...texts } = flags;
  return {
    config: readConfig(texts, env, undefined, message => {
      // Workers have the same environment as the process that has said it.
      if (cluster.isPrimary) {
        process.stderr.write(`gatebell: ${message}\n`);
      }
    }),
    json,
    env,
    print(result, lines) {
      process.stdout.write(json ? JSON.stringify(result) + '\n' : [lines].flat().join('\n') + '\n');
    },
  };
}

/** Ends the command when no setting says where Postgres is. @throws UsageError */
export function requireDatabase({ config, env }: CommandContext): void {
  if (!namesDatabase(config, env)) {
    throw new UsageError(NO_DATABASE);
  }
}

/** Runs work with one connection, and closes it. */
export function withClient<T>(context: CommandContext, work: (client: pg.Client) => Promise<T>): Promise<T> {
  return connected(context, context.config.databaseUrl, work);
}

/** The same with a connection that leads through no pooler, if one is named: `GATEBELL_LISTEN_URL`. */
export function withDirectClient<T>(context: CommandContext, work: (client: pg.Client) => Promise<T>): Promise<T> {
  return connected(context, context.config.listenUrl ?? context.config.databaseUrl, work);
}

async function connected<T>(
  context: CommandContext,
  connectionString: string | null,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  requireDatabase(context);
  const client = new pg.Client({
    ...(connectionString === null ? {} : { connectionString }),
    application_name: 'gatebell-cli',
    connectionTimeoutMillis: 5_000,
  });
  // A lost connection shows in the statement that waits for it.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    // A server that waits for a password would keep the connection, and with it this process, for a minute.
    client.end().catch(() => undefined);
    throw error;
  }
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Rows as an aligned table; a note when there are none. */
export function formatTable(columns: readonly string[], rows: readonly (readonly unknown[])[]): string[] {
  const cell = (value: unknown): string => {
    if (value === null || value === undefined) {
      return '';
    }
    if (value instanceof Date) {
      return value.toISOString();
    }
    if (Buffer.isBuffer(value)) {
      return `\\x${value.toString('hex')}`;
    }
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    // What was stored by somebody must not speak to the terminal.
    return text.replace(
      /[\x00-\x1f\x7f-\x9f]/g,
      control => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );
  };
  const cells = [columns, ...rows].map(row => row.map(cell));
  const widths = columns.map((_, column) => Math.max(...cells.map(row => row[column]?.length ?? 0)));
  return cells.map(row =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
