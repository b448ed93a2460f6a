/**
 * `gatebell doctor`: looks at everything that a replica rests on, with the replica's own connection strings and role, and says what is wrong and what to do.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createJwksFetcher, fetchFailure, parseJwks } from '../auth/jwks.js';
import { createHeardFences } from '../coherence/fences.js';
import { NEVER, type FenceReceipt } from '../coherence/listener.js';
import { parseMessage } from '../coherence/signal.js';
import { createSubscriptionOpener } from '../coherence/subscriber.js';
import { EXIT } from '../errors.js';
import { errorText } from '../ops/log.js';
import { factCaches } from '../store/facts.js';
import { readMigrationStatus, requireCurrentSchema } from '../store/migrate.js';
import { createDatabase, sqlState, type Database } from '../store/pool.js';
import { requireDatabase, withClient, type CommandContext } from './context.js';

/** One thing that was looked at. */
interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

const OLDEST_VERSION = 150_000;
const QUEUE_USAGE_MAX = 0.5;
const ECHO_MS = 2_000;
/** Protocol violation: what PgBouncer answers to start-up options. */
const STARTUP_REFUSED = '08P01';

const POOLER =
  'this looks like a connection pooler: keep DATABASE_URL, and set GATEBELL_LISTEN_URL to a direct connection';

/** What the role of a replica must be able to do. */
const RIGHTS: readonly (readonly [what: string, expression: string])[] = [
  ['use schema gatebell', `has_schema_privilege('gatebell', 'usage')`],
  ['read gatebell.users', `has_column_privilege('gatebell.users', 'name', 'select')`],
  ['read gatebell.identities', `has_column_privilege('gatebell.identities', 'subject', 'select')`],
  ['read gatebell.revoked_jwts', `has_column_privilege('gatebell.revoked_jwts', 'jti', 'select')`],
  ['read gatebell.apps', `has_column_privilege('gatebell.apps', 'host', 'select')`],
  ['read gatebell.app_routes', `has_column_privilege('gatebell.app_routes', 'access', 'select')`],
  ['read gatebell.grants', `has_column_privilege('gatebell.grants', 'role', 'select')`],
  ['read gatebell.credentials', `has_column_privilege('gatebell.credentials', 'token_hash', 'select')`],
  ['read gatebell.watched', `has_table_privilege('gatebell.watched', 'select')`],
  ['send fences', `has_function_privilege('gatebell.fence(bigint)', 'execute')`],
];

/** What it must be able to do besides, where people sign in. */
const SIGN_IN_RIGHTS: readonly string[] = [
  `has_function_privilege('gatebell.sign_in(text, text, text, text, bigint, bytea, interval, text, bytea[])', 'execute')`,
  `has_function_privilege('gatebell.sign_out(text, bytea)', 'execute')`,
];

/** LISTENs, sends a fence from the pool, and waits for it. */
async function hearFence(context: CommandContext, database: Database): Promise<Check> {
  const name = 'LISTEN delivers what others send';
  const heard = createHeardFences();
  const abort = new AbortController();
  const variable = context.config.listenUrl === null ? 'DATABASE_URL' : 'GATEBELL_LISTEN_URL';
  let receipt: FenceReceipt | null = null;
  let arrive: (isHeard: boolean) => void = () => undefined;
  const arrived = new Promise<boolean>(resolve => {
    arrive = resolve;
  });
  const look = (): void => {
    if (receipt !== null && heard.hasHeardSince(receipt.newest, receipt.origin)) {
      arrive(true);
    }
  };
  try {
    const subscription = await createSubscriptionOpener(database.listenConfig)(
      context.config.channel,
      {
        onMessage: payload => {
          const message = parseMessage(payload);
          if (message.type === 'fence') {
            heard.hear(message);
            look();
          }
        },
        onLost: () => undefined,
      },
      abort.signal,
    );
    try {
      receipt = await database.askFence(null, subscription.backend);
      heard.learnKey(receipt.key);
      look();
      if (receipt.listener === 'absent') {
        return { name, ok: false, detail: `the pool reads from another server than ${variable} leads to` };
      }
      if (await Promise.race([arrived, sleep(ECHO_MS, false, { signal: abort.signal })])) {
        return { name, ok: true, detail: `a fence came back through ${variable}` };
      }
      return {
        name,
        ok: false,
        detail:
          receipt.channel === context.config.channel
            ? `LISTEN was accepted, but a fence sent from another connection did not arrive within ${ECHO_MS} ms; ${POOLER}`
            : `the triggers signal on channel '${receipt.channel}', GATEBELL_CHANNEL is '${context.config.channel}': set it, or run "gatebell migrate up" with the one that you want`,
      };
    } finally {
      subscription.close();
    }
  } catch (error) {
    return {
      name,
      ok: false,
      detail: `${errorText(error)}${sqlState(error) === STARTUP_REFUSED ? `; ${POOLER}` : ''}`,
    };
  } finally {
    abort.abort();
  }
}

/** Fetches the key set that JWTs are verified with. */
async function fetchKeySet(url: string): Promise<Check> {
  const name = 'JWT key set';
  try {
    const { keys, ignored } = parseJwks(await createJwksFetcher(url)(new AbortController().signal));
    return {
      name,
      ok: true,
      detail: `${keys.length} public keys${ignored === 0 ? '' : `, ${ignored} others ignored`}`,
    };
  } catch (error) {
    return { name, ok: false, detail: `${errorText(fetchFailure(error))}: until it is there, JWTs are answered 503` };
  }
}

async function examine(context: CommandContext, database: Database): Promise<Check[]> {
  const checks: Check[] = [];
  const check = (name: string, ok: boolean, detail: string): boolean => {
    checks.push({ name, ok, detail });
    return ok;
  };

  let version: number;
  try {
    const [row] = await database.query<{ version: number; role: string; database: string; standby: boolean }>(
      'doctor',
      `select current_setting('server_version_num')::int as version, current_user as role, current_database() as database, pg_is_in_recovery() as standby`,
    );
    version = row?.version ?? 0;
    check('database reachable', true, `${row?.database ?? ''} as ${row?.role ?? ''}`);
    check(
      'version',
      version >= OLDEST_VERSION,
      `Postgres ${Math.floor(version / 10_000)}.${version % 10_000}${version >= OLDEST_VERSION ? '' : '; 15 or newer is needed'}`,
    );
    check(
      'not a standby',
      row?.standby === false,
      row?.standby === false ? 'this is a primary' : 'this is a standby: LISTEN does not work there; name the primary',
    );
  } catch (error) {
    check(
      'database reachable',
      false,
      `${errorText(error)}${sqlState(error) === STARTUP_REFUSED ? `; ${POOLER}` : ''}`,
    );
    return checks;
  }

  try {
    const status = await withClient(context, readMigrationStatus);
    requireCurrentSchema(status);
    check('schema', true, `migration ${status.version} of ${status.newest}`);
  } catch (error) {
    check('schema', false, errorText(error));
    return checks;
  }

  const [rights] = await database.query<Record<string, boolean>>(
    'doctor',
    `select ${RIGHTS.map(([, expression], index) => `${expression} as r${index}`).join(', ')}`,
  );
  const lacking = RIGHTS.filter((_, index) => rights?.[`r${index}`] !== true).map(([what]) => what);
  if (
    !check(
      "role's rights",
      lacking.length === 0,
      lacking.length === 0
        ? 'all that a replica needs'
        : `cannot ${lacking.join(', ')}: GRANT gatebell_daemon TO this role`,
    )
  ) {
    return checks;
  }

  if (context.config.oidcIssuer !== null) {
    const [row] = await database.query<{ may: boolean }>('doctor', `select ${SIGN_IN_RIGHTS.join(' and ')} as may`);
    check(
      'rights to sign people in',
      row?.may === true,
      row?.may === true
        ? 'sessions can begin and end'
        : 'cannot begin and end sessions: GRANT gatebell_sign_in TO this role, or unset GATEBELL_OIDC_ISSUER',
    );
  }

  // Of nobody: whether the connection is a direct one is not known.
  const receipt = await database.askFence(NEVER, { processId: 0, mark: '' });
  const remedies = await database.query<{ statement: string }>(
    'doctor',
    `select format('select gatebell.watch(%L, %L, %L, %L);', target, subject, key_columns, watched_columns) as statement
     from gatebell.watched where problem is not null order by subject`,
  );
  const subjects = Object.keys(factCaches(() => undefined));
  const problems = [
    ...subjects
      .filter(subject => !receipt.watches.some(watch => watch.subject === subject))
      .map(subject => `${subject}: not watched`),
    ...receipt.watches
      .filter(({ problem }) => problem !== null)
      .map(({ subject, problem }) => `${subject}: ${problem}`),
  ];
  check(
    'triggers present, enabled and current',
    problems.length === 0,
    problems.length === 0
      ? receipt.watches.map(({ subject }) => subject).join(', ')
      : `${problems.join('; ')}; this puts them back: ${remedies.length > 0 ? remedies.map(({ statement }) => statement).join(' ') : 'gatebell.watch()'}`,
  );
  check(
    'notification queue',
    receipt.queueUsage < QUEUE_USAGE_MAX,
    `${(receipt.queueUsage * 100).toFixed(1)} % in use${receipt.queueUsage < QUEUE_USAGE_MAX ? '' : ': some session listens but does not read; look for old idle transactions'}`,
  );
  checks.push(await hearFence(context, database));
  const keys = context.config.jwt?.keys;
  if (keys?.source === 'jwks') {
    checks.push(await fetchKeySet(keys.url));
  }
  return checks;
}

/** Prints all checks; the exit code says whether all are well. */
export async function doctor(context: CommandContext): Promise<number> {
  requireDatabase(context);
  const { config } = context;
  const database = createDatabase({
    connectionString: config.databaseUrl ?? undefined,
    listenConnectionString: config.listenUrl ?? undefined,
    poolMax: 2,
    applicationName: 'gatebell-doctor',
  });
  try {
    const checks = await examine(context, database);
    const ok = checks.every(check => check.ok);
    context.print({ ok, checks }, [
      ...checks.map(({ name, ok: fine, detail }) => `${fine ? 'ok    ' : 'FAILED'}  ${name}: ${detail}`),
      ok ? 'All is well.' : 'Not all is well.',
    ]);
    return ok ? EXIT.done : EXIT.failed;
  } finally {
    await database.close();
  }
}
