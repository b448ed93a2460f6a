/**
 * A standby of a running server: a copy of its files, which follows it by streaming until it is promoted. Made without
 * pg_basebackup, which the embedded Postgres does not bring.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePort, type PostgresServer, type StopMode } from '../../src/dev/postgres.js';

export interface Standby {
  /** The server; a full one after it was promoted. */
  readonly server: PostgresServer;
  /** Resolves when it has replayed all that the primary has written. */
  catchUp(): Promise<void>;
  /** Makes it a primary; resolves when it takes writes. */
  promote(): Promise<void>;
}

const POLL_MS = 20;
const READY_MS = 30_000;
/** Made anew when the server starts, or of no use to another one. */
const NOT_COPIED = new Set(['postmaster.pid', 'postmaster.opts', 'pg_wal', 'pg_replslot', 'pg_notify', 'pg_stat_tmp']);

async function withClient<T>(connectionString: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await use(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

const one = async (client: pg.Client, text: string, values: readonly unknown[] = []): Promise<string> => {
  const { rows } = await client.query<Record<string, string>>(text, [...values]);
  return Object.values(rows[0] ?? {})[0] ?? '';
};

/** Who Postgres runs as, when we are root and it is not; and where its programs are. */
interface Installation {
  readonly account: { readonly uid?: number; readonly gid?: number };
  readonly bin: string;
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

/**
 * Copies a folder in which files come and go: one that has gone is not needed, for what removed it is in the log that
 * is replayed. https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP-DATA
 */
async function copyTree(from: string, to: string, isCopied: (file: string) => boolean): Promise<void> {
  await mkdir(to, { recursive: true });
  const entries = await readdir(from, { withFileTypes: true }).catch((error: unknown) => {
    if (isMissing(error)) {
      return [];
    }
    throw error;
  });
  for (const entry of entries) {
    const file = path.join(from, entry.name);
    if (!isCopied(file)) {
      continue;
    }
    if (entry.isDirectory()) {
      await copyTree(file, path.join(to, entry.name), isCopied);
    } else if (entry.isFile()) {
      await copyFile(file, path.join(to, entry.name)).catch((error: unknown) => {
        if (!isMissing(error)) {
          throw error;
        }
      });
    }
  }
}

/** Copies the files of a running server. */
function copyFiles(primary: PostgresServer, directory: string): Promise<Installation> {
  const data = path.join(directory, 'data');
  return withClient(primary.url('postgres'), async client => {
    const source = await one(client, 'show data_directory');
    const bin = await one(client, `select setting from pg_config where name = 'BINDIR'`);
    await client.query(`select pg_backup_start('standby', true)`);
    await copyTree(
      source,
      data,
      file => !NOT_COPIED.has(path.relative(source, file)) && !path.basename(file).startsWith('pg_internal.init'),
    );
    const label = await one(client, 'select labelfile from pg_backup_stop(false)');
    await writeFile(path.join(data, 'backup_label'), label);
    for (const folder of ['pg_wal/archive_status', 'pg_replslot', 'pg_notify', 'pg_stat_tmp']) {
      await mkdir(path.join(data, folder), { recursive: true });
    }
    await writeFile(path.join(data, 'standby.signal'), '');
    await chmod(data, 0o700);
    if (process.getuid?.() !== 0) {
      return { account: {}, bin };
    }
    const { uid, gid } = await stat(source);
    execFileSync('chown', ['-R', `${uid}:${gid}`, directory]);
    return { account: { uid, gid }, bin };
  });
}

/** Ends the server and deletes its folder when this process is gone without having done so. */
function startGuard(directory: string): ChildProcess {
  const script = 'read -r line; kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"; sleep 1; rm -rf "$1"';
  const guard = spawn('sh', ['-c', script, 'guard', directory], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.unref();
  return guard;
}

/**
 * Makes a standby and starts it. @param upstreamPort where it finds its primary, so that the stream can be cut
 * @param settings as those of the primary: some must not be smaller
 */
export async function startStandby(
  primary: PostgresServer,
  upstreamPort: number,
  settings: Readonly<Record<string, string>>,
): Promise<Standby> {
  const directory = await mkdtemp(path.join(tmpdir(), 'gatebell-standby-'));
  const data = path.join(directory, 'data');
  const logFile = path.join(directory, 'log');
  const port = await freePort();
  const url = (database: string): string => {
    const target = new URL(primary.url(database));
    target.port = String(port);
    return target.href;
  };
  let child: ChildProcess | null = null;
  let guard: ChildProcess | null = null;
  const stop = async (mode: StopMode = 'fast'): Promise<void> => {
    if (child !== null) {
      const ended = once(child, 'exit');
      child.kill(mode === 'fast' ? 'SIGINT' : mode === 'immediate' ? 'SIGQUIT' : 'SIGKILL');
      await ended;
    }
  };
  const remove = async (): Promise<void> => {
    await stop('immediate');
    guard?.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  };

  try {
    const { account, bin } = await copyFiles(primary, directory);
    const upstream = new URL(primary.url('postgres'));
    const start = async (): Promise<void> => {
      const all = {
        ...settings,
        listen_addresses: '127.0.0.1',
        port: String(port),
        unix_socket_directories: '',
        primary_conninfo: `host=127.0.0.1 port=${upstreamPort} user=${upstream.username} password=${upstream.password}`,
      };
      const log = await open(logFile, 'a');
      const started = spawn(
        path.join(bin, 'postgres'),
        ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
        {
          ...account,
          cwd: directory,
          detached: true,
          stdio: ['ignore', log.fd, log.fd],
          env: { ...process.env, LC_ALL: 'C' },
        },
      );
      await log.close();
      child = started;
      started.on('exit', () => {
        child = null;
      });
      const deadlineMs = performance.now() + READY_MS;
      while (!(await withClient(url('postgres'), () => Promise.resolve(true)).catch(() => false))) {
        if (child === null || performance.now() > deadlineMs) {
          throw new Error(`the standby did not start: ${(await readFile(logFile, 'utf8')).slice(-2_000)}`);
        }
        await sleep(POLL_MS);
      }
    };
    guard = startGuard(directory);
    await start();
    const { superuser, password } = primary;
    return {
      server: { port, superuser, password, url, start, stop, remove, log: () => readFile(logFile, 'utf8') },
      async catchUp() {
        const written = await withClient(primary.url('postgres'), client =>
          one(client, 'select pg_current_wal_flush_lsn()::text'),
        );
        await withClient(url('postgres'), async client => {
          while ((await one(client, 'select (pg_last_wal_replay_lsn() >= $1::pg_lsn)::text', [written])) !== 'true') {
            await sleep(POLL_MS);
          }
        });
      },
      async promote() {
        await withClient(url('postgres'), client => client.query('select pg_promote(true, 30)'));
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
