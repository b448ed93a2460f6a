/**
 * `gatebell doctor`: looks at everything that a replica rests on, with the replica's own connection strings and role,
 * and says what is wrong and what to do.
 */
import { NOBODY } from '../../coherence/proof/server.js';
import { EXIT } from '../errors.js';
import { errorText } from '../../ops/log-lines.js';
import { readMigrationStatus, requireCurrentSchema } from '../../postgres/migrate.js';
import { createDatabase, type Database } from '../../postgres/pool.js';
import { requireDatabase, withClient, type CommandContext } from '../context.js';
import type { Check } from './check.js';
import { checkKeySet, checkProvider } from './identity.js';
import { connectionProblem, hearFence } from './listen.js';
import { checkOwnRights, checkPrivileges, checkSignInRights } from './privileges.js';
import { checkConstraints, checkRows } from './rows.js';
import { checkFenceKey, checkTriggers } from './signals.js';
import { checkSocket } from './socket.js';

/** Options of the command. */
export interface DoctorOptions {
  /** Roles that are no replica's and have rights on purpose. */
  readonly allowRole?: readonly string[];
}

const OLDEST_VERSION = 150_000;
const QUEUE_USAGE_MAX = 0.5;

/**
 * Minor versions before which LISTEN can fail with "could not access status of transaction", when what is in the queue
 * is older than what vacuum has kept. https://www.postgresql.org/docs/release/
 */
const LISTEN_MENDED: Readonly<Record<number, number>> = { 18: 2, 17: 8, 16: 12, 15: 16 };

/** Judges the server's version, as `server_version_num` has it. */
export function judgeVersion(version: number): Check {
  const [major, minor] = [Math.floor(version / 10_000), version % 10_000];
  const name = 'version';
  const detail = `Postgres ${major}.${minor}`;
  if (version < OLDEST_VERSION) {
    return { name, ok: false, detail: `${detail}; 15 or newer is needed` };
  }
  const mended = LISTEN_MENDED[major];
  return mended !== undefined && minor < mended
    ? {
        name,
        ok: true,
        warning: true,
        detail:
          `${detail}; LISTEN can fail with "could not access status of transaction" there: update to ` +
          `${major}.${mended} or newer`,
      }
    : { name, ok: true, detail };
}

/** Which server answers, and what is wrong with it. */
async function checkServer(database: Database): Promise<Check[]> {
  const [row] = await database.query<{ version: number; role: string; database: string; standby: boolean }>(
    'doctor',
    `select current_setting('server_version_num')::int as version, current_user as role,
      current_database() as database, pg_is_in_recovery() as standby`,
  );
  return [
    { name: 'database reachable', ok: true, detail: `${row?.database ?? ''} as ${row?.role ?? ''}` },
    judgeVersion(row?.version ?? 0),
    {
      name: 'not a standby',
      ok: row?.standby === false,
      detail:
        row?.standby === false
          ? 'this is a primary'
          : 'this is a standby: LISTEN does not work there; name the primary',
    },
  ];
}

function checkQueue(usage: number): Check {
  const ok = usage < QUEUE_USAGE_MAX;
  return {
    name: 'notification queue',
    ok,
    detail:
      `${(usage * 100).toFixed(1)} % in use` +
      (ok ? '' : ': some session listens but does not read; look for old idle transactions'),
  };
}

async function checkSchema(context: CommandContext): Promise<Check> {
  try {
    const status = await withClient(context, readMigrationStatus);
    requireCurrentSchema(status);
    return { name: 'schema', ok: true, detail: `migration ${status.version} of ${status.newest}` };
  } catch (error) {
    return { name: 'schema', ok: false, detail: errorText(error) };
  }
}

/** All that rests on the database; it ends at the first thing without which the rest cannot be looked at. */
async function examineDatabase(
  context: CommandContext,
  database: Database,
  { allowRole = [] }: DoctorOptions,
): Promise<Check[]> {
  const checks: Check[] = [];
  try {
    checks.push(...(await checkServer(database)));
  } catch (error) {
    return [{ name: 'database reachable', ok: false, detail: connectionProblem(error) }];
  }
  for (const required of [() => checkSchema(context), () => checkOwnRights(database)]) {
    const check = await required();
    checks.push(check);
    if (!check.ok) {
      return checks;
    }
  }
  const fenceKey = await checkFenceKey(database);
  checks.push(
    await checkSignInRights(context, database),
    await checkPrivileges(database, allowRole),
    fenceKey,
    await checkRows(database),
    await checkConstraints(database),
  );
  checks.push(await checkTriggers(database));
  if (fenceKey.ok) {
    // Whether the connection is a direct one is not known.
    const { queueUsage } = await database.askFence('never', NOBODY, false);
    checks.push(checkQueue(queueUsage), await hearFence(context, database));
  }
  return checks;
}

async function examine(context: CommandContext, database: Database, options: DoctorOptions): Promise<Check[]> {
  const checks = await examineDatabase(context, database, options);
  const keys = context.config.jwt?.keys;
  if (keys?.source === 'jwks') {
    checks.push(await checkKeySet(context, keys.url));
  }
  const others = [await checkProvider(context), await checkSocket(context.config)];
  return [...checks, ...others.filter(check => check !== null)];
}

const markOf = ({ ok, warning = false }: Check): string => (ok ? (warning ? 'warn  ' : 'ok    ') : 'FAILED');

/** Prints all checks; the exit code says whether all are well. */
export async function doctor(context: CommandContext, options: DoctorOptions = {}): Promise<number> {
  requireDatabase(context);
  const { config } = context;
  const database = createDatabase({
    connectionString: config.databaseUrl ?? undefined,
    listenConnectionString: config.listenUrl ?? undefined,
    poolMax: 2,
    applicationName: 'gatebell-doctor',
  });
  try {
    const checks = await examine(context, database, options);
    const ok = checks.every(check => check.ok);
    context.print({ ok, checks }, [
      ...checks.map(check => `${markOf(check)}  ${check.name}: ${check.detail}`),
      ok ? 'All is well.' : 'Not all is well.',
    ]);
    return ok ? EXIT.done : EXIT.failed;
  } finally {
    await database.close();
  }
}
