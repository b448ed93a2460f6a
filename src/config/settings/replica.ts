/** The settings of a replica: Postgres, ports, times and sizes. Times in milliseconds. */
import { isIP } from 'node:net';
import { defaultReplica, isReplicaName } from '../../postgres/replica-name.js';
import { SOCKET_PATH_BYTES_MAX } from '../../http/unix-socket.js';
import { readPostgresUrl } from '../libpq.js';
import { groupName, socketMode, socketPath, socketProblem } from '../listen.js';
import { integer, postgresUrl } from '../parsers.js';
import type { Setting } from '../setting.js';

const CONNECTION_STRING = 'a connection string, postgres://user:password@host:port/database';
const PORT = 'a whole number from 0 to 65535; 0 takes any free port';

/** All of them. */
export const REPLICA_SETTINGS = {
  /** Null: libpq's `PG*` variables. */
  databaseUrl: {
    variable: 'DATABASE_URL',
    flag: 'database-url',
    help: "Postgres; without it libpq's PG* variables are used",
    allowed: CONNECTION_STRING,
    parse: postgresUrl,
    explain: text => readPostgresUrl(text)?.problem ?? null,
    kind: 'connection',
  },
  /** Null: the same as `databaseUrl`. */
  listenUrl: {
    variable: 'GATEBELL_LISTEN_URL',
    flag: 'listen-url',
    help: 'direct connection for LISTEN, when DATABASE_URL goes through a pooler',
    allowed: CONNECTION_STRING,
    parse: postgresUrl,
    explain: text => readPostgresUrl(text)?.problem ?? null,
    kind: 'connection',
  },
  host: {
    variable: 'GATEBELL_HOST',
    flag: 'host',
    help: 'address to listen on',
    allowed: 'an IP address or localhost',
    fallback: '127.0.0.1',
    parse: text => (isIP(text) !== 0 || text === 'localhost' ? text : undefined),
  },
  /** 0: any free one. */
  port: {
    variable: 'GATEBELL_PORT',
    flag: 'port',
    help: 'port of the auth endpoints',
    allowed: PORT,
    fallback: '4280',
    parse: integer(0, 65_535),
  },
  /** The path of a socket; null: `host` and `port`. */
  listenPath: {
    variable: 'GATEBELL_LISTEN',
    flag: 'listen',
    help: 'Unix socket of the auth endpoints, in place of GATEBELL_PORT',
    allowed: `unix: and an absolute path of at most ${SOCKET_PATH_BYTES_MAX} bytes`,
    parse: socketPath,
    explain: socketProblem,
  },
  listenMode: {
    variable: 'GATEBELL_LISTEN_MODE',
    flag: 'listen-mode',
    help: 'mode of that socket: all who may write to it may ask',
    allowed: 'an octal mode such as 0660, with which the owner may read and write',
    fallback: '0660',
    parse: socketMode,
  },
  /** Null: that of the process. */
  listenGroup: {
    variable: 'GATEBELL_LISTEN_GROUP',
    flag: 'listen-group',
    help: 'group of that socket, such as that of the proxy',
    allowed: 'the name or the number of a group',
    computed: 'that of the process',
    parse: groupName,
  },
  /** 0: any free one. */
  opsPort: {
    variable: 'GATEBELL_OPS_PORT',
    flag: 'ops-port',
    help: 'port of /livez, /readyz, /metrics and /status',
    allowed: PORT,
    fallback: '4281',
    parse: integer(0, 65_535),
  },
  leaseMs: {
    variable: 'GATEBELL_LEASE_MS',
    flag: 'lease-ms',
    help: 'bound of staleness under faults, in milliseconds',
    allowed: 'a whole number from 100 to 600000',
    fallback: '3000',
    parse: integer(100, 600_000),
  },
  /** Null: see {@link defaultFenceIntervalMs}. */
  fenceIntervalMs: {
    variable: 'GATEBELL_FENCE_INTERVAL_MS',
    flag: 'fence-interval-ms',
    help: 'from one fence to the next, in milliseconds',
    allowed: 'a whole number from 20 to 300000, at most half of the lease',
    computed: '1000, or a third of a shorter lease',
    parse: integer(20, 300_000),
  },
  /** 0: never. */
  auditIntervalMs: {
    variable: 'GATEBELL_AUDIT_INTERVAL_MS',
    flag: 'audit-interval-ms',
    help: 'from one audit of cached facts to the next, in milliseconds; 0 switches them off',
    allowed: '0, or a whole number from 100 to 3600000',
    fallback: '10000',
    parse: text => (text === '0' ? 0 : integer(100, 3_600_000)(text)),
  },
  poolMax: {
    variable: 'GATEBELL_POOL_MAX',
    flag: 'pool-max',
    help: 'connections besides the listening one: one is kept for fences, and with JWTs or sign-in one for writes',
    allowed: 'a whole number from 2 to 100',
    fallback: '4',
    parse: integer(2, 100),
  },
  drainMs: {
    variable: 'GATEBELL_DRAIN_MS',
    flag: 'drain-ms',
    help: 'how long new connections are still accepted after the signal to stop, at most, in milliseconds',
    allowed: 'a whole number from 0 to 60000',
    fallback: '1000',
    parse: integer(0, 60_000),
  },
  /** 1: this process alone. */
  workers: {
    variable: 'GATEBELL_WORKERS',
    flag: 'workers',
    help:
      'processes that decide requests; they share the port and the listening connection, ' +
      'and each has its share of the pool',
    allowed: 'a whole number from 1 to 64',
    fallback: '1',
    parse: integer(1, 64),
  },
  channel: {
    variable: 'GATEBELL_CHANNEL',
    flag: 'channel',
    help: 'channel that the triggers signal on',
    allowed: '1 to 63 bytes',
    fallback: 'gatebell',
    parse: text => (text !== '' && Buffer.byteLength(text) <= 63 ? text : undefined),
  },
  replica: {
    variable: 'GATEBELL_REPLICA',
    flag: 'replica',
    help: 'name of this replica',
    allowed: '1 to 48 printable ASCII characters, not ending in /pool',
    fallback: defaultReplica(),
    computed: 'host name and process id',
    parse: text => (isReplicaName(text) ? text : undefined),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The fence interval if none is given: a third of the lease, at most one second. */
export const defaultFenceIntervalMs = (leaseMs: number): number => Math.min(1_000, Math.floor(leaseMs / 3));
