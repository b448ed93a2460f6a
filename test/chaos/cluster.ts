/**
 * What the faults are done to: one primary, and replicas as processes of their own. Each replica reaches Postgres
 * through two proxies, one for its listening connection and one for its pool.
 */
import pg from 'pg';
import { createPostgresServer, type PostgresServer } from '../../src/dev/postgres.js';
import { migrate } from '../../src/postgres/migrate.js';
import { startReplica, type Line, type Replica } from '../support/replica.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { History } from '../sim/history.js';
import { addPeople } from './people.js';
import { startReaders, type Asked, type Readers } from './readers.js';
import { createWriters, type Writers } from './writers.js';

export interface ClusterOptions {
  readonly replicas: number;
  /** Where `initdb` and `postgres` are. Default: the embedded ones. */
  readonly binDirectory: string | undefined;
  /** What the replicas run with, besides how to reach Postgres. */
  readonly env: NodeJS.ProcessEnv;
}

/** A replica, through all its lives. */
export interface Member extends Asked {
  /** Proxies of the listening connection and of the pool. */
  readonly listen: TcpProxy;
  readonly pool: TcpProxy;
  /** The process of the moment. */
  readonly process: Replica;
  /** What all its processes have logged. */
  readonly lines: readonly Line[];
  kill(): Promise<void>;
  /** Starts it again. @param env what is different this time; resolves when it listens for requests */
  start(env?: NodeJS.ProcessEnv): Promise<void>;
}

export interface Cluster {
  readonly history: History;
  readonly members: readonly Member[];
  readonly writers: Writers;
  readonly readers: Readers;
  readonly primary: PostgresServer;
  /** Settings of the servers; a standby needs the same. */
  readonly settings: Readonly<Record<string, string>>;
  /** Sends new connections of everybody to another server. */
  follow(server: PostgresServer): void;
  /** Connection string of the replicas' role through a proxy, or directly. */
  replicaUrl(port?: number): string;
  /** Runs a statement on the primary as its superuser, past the proxies. */
  sql(text: string, values?: readonly unknown[]): Promise<pg.QueryResultRow[]>;
  /**
   * A connection to the primary of a nemesis' own.
   * @param user who it is; the superuser may use the reserved connections
   */
  connect(user?: 'superuser' | 'replica'): Promise<pg.Client>;
  /** To be done at the end, whatever happens. */
  onStop(undo: () => Promise<void>): void;
  stop(): Promise<void>;
}

const DATABASE = 'gatebell';
const ROLE = 'gatebell_replica';
const PASSWORD = 'replica';
const SETTINGS = {
  fsync: 'off',
  max_connections: '40',
  wal_level: 'replica',
  wal_keep_size: '256MB',
  hot_standby: 'on',
  // Gives its place up sooner, or the end of a server waits for its standby.
  wal_sender_timeout: '2s',
};

async function startMember(
  name: string,
  port: () => number,
  url: (port: number) => string,
  baseEnv: NodeJS.ProcessEnv,
): Promise<Member & { readonly close: () => Promise<void> }> {
  const listen = await startTcpProxy(port());
  const pool = await startTcpProxy(port());
  const earlier: Line[] = [];
  let current: Replica | null = null;
  let isGone = true;
  let isClosed = false;
  const start = async (env: NodeJS.ProcessEnv = {}): Promise<void> => {
    earlier.push(...(current?.lines ?? []));
    const started = await startReplica(url(pool.port), {
      name,
      live: false,
      env: { GATEBELL_LISTEN_URL: url(listen.port), GATEBELL_LOG_FORMAT: 'json', ...baseEnv, ...env },
    });
    current = started;
    isGone = isClosed;
    if (isClosed) {
      started.child.kill('SIGKILL');
    }
    void started.exited.then(() => {
      isGone ||= current === started;
    });
  };
  const kill = async (): Promise<void> => {
    isGone = true;
    current?.child.kill('SIGKILL');
    await current?.exited;
  };
  const close = async (): Promise<void> => {
    isClosed = true;
    await kill();
    await Promise.all([listen.close(), pool.close()]);
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    name,
    listen,
    pool,
    hasWorkers: Number(baseEnv['GATEBELL_WORKERS'] ?? '1') > 1,
    get authUrl() {
      return isGone ? null : current!.auth;
    },
    get process() {
      return current!;
    },
    get lines() {
      return [...earlier, ...current!.lines];
    },
    start,
    kill,
    close,
  };
}

/** Starts everything; the writers are paused, the readers ask. */
export async function startCluster({ replicas, binDirectory, env }: ClusterOptions): Promise<Cluster> {
  const undos: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
      await undo().catch(() => undefined);
    }
  };
  try {
    const first = await createPostgresServer({ binDirectory, settings: SETTINGS });
    undos.push(() => first.remove());
    let primary: PostgresServer = first;
    const setUp = new pg.Client({ connectionString: first.url('postgres') });
    await setUp.connect();
    await setUp.query(`create database ${DATABASE}`);
    await setUp.end();

    const connect = async (user: 'superuser' | 'replica' = 'superuser'): Promise<pg.Client> => {
      const connectionString = user === 'superuser' ? primary.url(DATABASE) : replicaUrl();
      const client = new pg.Client({ connectionString, connectionTimeoutMillis: 5_000 });
      client.on('error', () => undefined);
      await client.connect();
      return client;
    };
    const replicaUrl = (port = primary.port): string => {
      const url = new URL(primary.url(DATABASE));
      [url.username, url.password, url.port] = [ROLE, PASSWORD, String(port)];
      return url.href;
    };
    const client = await connect();
    await migrate(client, 'up');
    await client.query(`create role ${ROLE} login password '${PASSWORD}' in role gatebell_daemon`);
    await addPeople(client);
    await client.end();

    const members: Awaited<ReturnType<typeof startMember>>[] = [];
    for (let index = 1; index <= replicas; index++) {
      const member = await startMember(`replica-${index}`, () => primary.port, replicaUrl, env);
      undos.push(() => member.close());
      members.push(member);
    }
    const history = new History();
    const writers = createWriters(history, () => primary.url(DATABASE));
    undos.push(() => writers.stop());
    await writers.reread(-Infinity);
    const readers = startReaders(members);
    undos.push(() => readers.stop());

    return {
      history,
      members,
      writers,
      readers,
      settings: SETTINGS,
      get primary() {
        return primary;
      },
      follow(server) {
        primary = server;
        for (const { listen, pool } of members) {
          listen.retarget(server.port);
          pool.retarget(server.port);
        }
      },
      replicaUrl,
      async sql(text, values = []) {
        const once = await connect();
        try {
          return (await once.query(text, [...values])).rows;
        } finally {
          await once.end().catch(() => undefined);
        }
      },
      connect,
      onStop(undo) {
        undos.push(undo);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
