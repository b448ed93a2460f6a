/** PgBouncer in transaction mode in front of a database. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { freePort } from '../../src/dev/postgres.js';
import { findTool } from './tool.js';

export interface PgBouncer {
  /** The database, through it. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts it. @param ignoreOptions whether it swallows start-up options instead of refusing them */
export async function startPgBouncer(databaseUrl: string, ignoreOptions: boolean): Promise<PgBouncer> {
  const pgbouncer = findTool('pgbouncer');
  const scratch = await mkdtemp(path.join(tmpdir(), 'gatebell-pgbouncer-'));
  const port = await freePort();
  const target = new URL(databaseUrl);
  const name = target.pathname.slice(1);
  await writeFile(
    path.join(scratch, 'pgbouncer.ini'),
    `[databases]
${name} = host=${target.hostname} port=${target.port} dbname=${name} user=${target.username} password=${target.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
logfile = ${scratch}/log
${ignoreOptions ? 'ignore_startup_parameters = options,extra_float_digits' : ''}
`,
  );
  await chmod(scratch, 0o777);
  const account =
    process.getuid?.() === 0
      ? { uid: Number(execFileSync('id', ['-u', 'nobody'])), gid: Number(execFileSync('id', ['-g', 'nobody'])) }
      : {};
  const child = spawn(pgbouncer, [path.join(scratch, 'pgbouncer.ini')], { ...account, stdio: 'ignore' });
  const ended = once(child, 'exit');
  const stop = async (): Promise<void> => {
    child.kill('SIGINT');
    await ended;
    await rm(scratch, { recursive: true, force: true });
  };
  const url = new URL(databaseUrl);
  url.port = String(port);
  for (;;) {
    const client = new pg.Client({ connectionString: url.href });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return { url: url.href, stop };
    } catch (error) {
      if (child.exitCode !== null) {
        const log = await readFile(path.join(scratch, 'log'), 'utf8');
        await rm(scratch, { recursive: true, force: true });
        throw new Error(`pgbouncer did not start: ${log}`, { cause: error });
      }
    }
  }
}
