/**
 * `gatebell dev`: everything on one machine, to see it work. A real Postgres in a temporary folder, the schema, sample
 * data, several replicas as processes of their own with role gatebell_daemon, and commands to paste.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { createPostgresServer, type PostgresServer } from '../dev/postgres.js';
import { loadSample, type Sample } from '../dev/sample.js';
import { CommandError, EXIT } from './errors.js';
import { migrate } from '../postgres/migrate.js';

/** Options of the command. */
export interface DevOptions {
  readonly replicas: number;
  /** Of the first replica; each takes two, auth and ops. 0: any free ones. */
  readonly port: number;
}

const CLI = fileURLToPath(new URL('../cli.js', import.meta.url));
const DATABASE = 'gatebell';
const READY_MS = 30_000;

interface Replica {
  readonly name: string;
  readonly child: ChildProcess;
  readonly urls: { auth: string; ops: string };
  /** Resolves when it is live, rejects when it has ended before. */
  readonly live: Promise<void>;
}

interface LogLine {
  readonly message: string;
  readonly event: string;
  readonly to?: string;
  readonly auth?: string;
  readonly ops?: string;
}

const say = (text: string): void => {
  process.stdout.write(text + '\n');
};

function startReplica(index: number, databaseUrl: string, port: number): Replica {
  const name = `replica-${index + 1}`;
  const child = spawn(process.execPath, [CLI, 'serve'], {
    // In a session of its own: Ctrl-C is for us to hear and to pass on.
    detached: true,
    // The channel closes when this process ends, however it ends.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: {
      ...process.env,
      DATABASE_URL: databaseUrl,
      // Those of the shell are of another database, and of one replica.
      GATEBELL_LISTEN_URL: '',
      GATEBELL_CHANNEL: '',
      GATEBELL_LISTEN: '',
      GATEBELL_LISTEN_MODE: '',
      GATEBELL_LISTEN_GROUP: '',
      GATEBELL_REPLICA: name,
      GATEBELL_PORT: String(port === 0 ? 0 : port + 2 * index),
      GATEBELL_OPS_PORT: String(port === 0 ? 0 : port + 2 * index + 1),
      GATEBELL_LOG_FORMAT: 'json',
    },
  });
  const urls = { auth: '', ops: '' };
  const live = new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout! }).on('line', text => {
      const line = JSON.parse(text) as LogLine;
      say(`${name} | ${line.message}`);
      if (line.event === 'listening') {
        urls.auth = line.auth ?? '';
        urls.ops = line.ops ?? '';
      } else if (line.event === 'listener_state' && line.to === 'live') {
        resolve();
      }
    });
    let problem = '';
    createInterface({ input: child.stderr! }).on('line', text => {
      say(`${name} | ${text}`);
      problem = text;
    });
    child.on('exit', code => {
      reject(new CommandError('replica_failed', `${name} ended with exit code ${code}: ${problem}`));
    });
  });
  live.catch(() => undefined);
  return { name, child, urls, live };
}

async function stopReplica({ child }: Replica): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
}

/** Creates the database, the schema, the sample and the replicas' role. */
async function prepare(
  server: PostgresServer,
): Promise<{ readonly sample: Sample; readonly replicaUrl: string; readonly version: string }> {
  const admin = new pg.Client({ connectionString: server.url('postgres') });
  await admin.connect();
  await admin.query(`create database ${DATABASE}`);
  await admin.end();
  const client = new pg.Client({ connectionString: server.url(DATABASE) });
  await client.connect();
  try {
    await migrate(client, 'up');
    const sample = await loadSample(client);
    const password = randomBytes(12).toString('hex');
    await client.query(`create role gatebell_replica login password '${password}' in role gatebell_daemon`);
    const replicaUrl = new URL(server.url(DATABASE));
    replicaUrl.username = 'gatebell_replica';
    replicaUrl.password = password;
    const { rows } = await client.query<{ server_version: string }>('show server_version');
    return { sample, replicaUrl: replicaUrl.href, version: rows[0]?.server_version ?? '' };
  } finally {
    await client.end();
  }
}

function isInstalled(command: string): boolean {
  return (process.env['PATH'] ?? '').split(path.delimiter).some(folder => {
    try {
      accessSync(path.join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A command that asks a replica as a proxy would, with what is on this machine. */
function askCommand(authUrl: string, sample: Sample, only: boolean): string {
  const headers = {
    'X-Forwarded-Method': 'GET',
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-Host': sample.host,
    'X-Forwarded-Uri': '/',
    Authorization: `Bearer ${sample.tokens.alice}`,
  };
  const url = `${authUrl}/auth/forward`;
  if (isInstalled('curl')) {
    const given = Object.entries(headers).map(([name, value]) => `-H '${name}: ${value}'`);
    const shown = only ? `-o /dev/null -w '%{http_code} %header{x-gatebell-reason}\\n'` : '-i';
    return `curl -s ${shown} ${given.join(' ')} ${url}`;
  }
  const print = only ? `r.status, r.headers.get("x-gatebell-reason")` : 'r.status, r.headers';
  return `node -e 'fetch("${url}", { headers: ${JSON.stringify(headers)} }).then(r => console.log(${print}))'`;
}

/** A command that takes alice's grant away, in plain SQL. */
function revokeCommand(databaseUrl: string): string {
  // On one line, for a shell.
  const statement =
    'delete from gatebell.grants using gatebell.users u, gatebell.apps a ' +
    "where user_id = u.id and app_id = a.id and u.name = 'alice' and a.name = 'photos'";
  return isInstalled('psql')
    ? `psql '${databaseUrl}' -c "${statement}"`
    : `DATABASE_URL='${databaseUrl}' node ${CLI} sql "${statement}"`;
}

function printGuide(server: PostgresServer, version: string, replicas: readonly Replica[], sample: Sample): void {
  const [first] = replicas;
  const databaseUrl = server.url(DATABASE);
  say(`
Gatebell is up: ${replicas.length} replicas on a real Postgres ${version}, in a temporary folder until you press Ctrl-C.

  Postgres    ${databaseUrl}
${replicas.map(({ name, urls }) => `  ${name}   auth ${urls.auth}   ops ${urls.ops}/status`).join('\n')}

Ask like a proxy does: may alice reach photos? (in another terminal; paste as it is)

  ${askCommand(first?.urls.auth ?? '', sample, false)}

Take her grant away, in plain SQL:

  ${revokeCommand(databaseUrl)}

Ask every replica again: denied, from memory.

${replicas.map(({ urls }) => `  ${askCommand(urls.auth, sample, true)}`).join('\n')}

Give it back, or change anything else:

  export DATABASE_URL='${databaseUrl}'
  node ${CLI} grant alice photos --role admin
  node ${CLI} --help
`);
}

/** Runs until it is told to stop; the promise resolves with the exit code. */
export async function dev({ replicas: count, port }: DevOptions): Promise<number> {
  const asked = new Promise<void>(resolve => {
    let again = false;
    const onSignal = (): void => {
      if (again) {
        process.exit(EXIT.failed);
      }
      again = true;
      resolve();
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
  const replicas: Replica[] = [];
  let server: PostgresServer | null = null;
  try {
    say('starting Postgres …');
    server = await createPostgresServer();
    const { sample, replicaUrl, version } = await prepare(server);
    say(`starting ${count} replicas …`);
    for (let index = 0; index < count; index++) {
      replicas.push(startReplica(index, replicaUrl, port));
    }
    const timeout = AbortSignal.timeout(READY_MS);
    const late = new Promise<never>((_, reject) => {
      timeout.addEventListener('abort', () => {
        reject(new CommandError('timeout', `the replicas were not live within ${READY_MS / 1000} s`));
      });
    });
    const ready = Promise.all(replicas.map(({ live }) => live)).then(() => true);
    if (await Promise.race([ready, late, asked.then(() => false)])) {
      printGuide(server, version, replicas, sample);
      await asked;
    }
    return EXIT.done;
  } finally {
    say('stopping …');
    await Promise.all(replicas.map(stopReplica));
    await server?.remove();
  }
}
