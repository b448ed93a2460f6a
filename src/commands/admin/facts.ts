/**
 * `gatebell user|app|route|grant|revoke|token|jwt`: the facts, changed in plain SQL like anyone else would change them. No
 * command tells a replica anything; the triggers do.
 */
import { domainToASCII } from 'node:url';
import pg from 'pg';
import { createToken, hashToken } from '../../auth/token.js';
import { parseHost } from '../../auth/request/request.js';
import { CommandError, refusedValue, UsageError } from '../errors.js';
import { compileHeaders, TemplateError } from '../../auth/header-template.js';
import { errorText } from '../../ops/log.js';
import { isPublicSuffix } from '../../sign-in/settings.js';
import { describeBarrier, openCommandBarrier } from '../barrier.js';
import { confirm, type ConfirmOption } from './confirm.js';
import { formatTable, withClient, type CommandContext } from '../context.js';

type Row = Readonly<Record<string, unknown>>;

/** Ids as JSON numbers, in lists as in answers. */
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === pg.types.builtins.INT8 ? Number : (pg.types.getTypeParser(oid, format) as (text: string) => unknown),
};

/**
 * Runs one statement and returns its row.
 *
 * @param given the values by column, so that an error can name the one that was refused
 * @throws CommandError that says what is missing if there is none
 */
export async function one(
  client: pg.Client,
  text: string,
  values: readonly unknown[],
  missing: string,
  given?: Readonly<Record<string, unknown>>,
): Promise<Row> {
  const { rows } = await client.query<Row>({ text, values: [...values], types: TYPES }).catch((error: unknown) => {
    throw refusedValue(error, given) ?? error;
  });
  const [row] = rows;
  if (row === undefined) {
    throw new CommandError('not_found', missing);
  }
  return row;
}

const NAMED = { user: 'users', app: 'apps' } as const;

/** @throws CommandError unless there is a user, or an app, of this name */
async function requireNamed(client: pg.Client, kind: keyof typeof NAMED, name: string): Promise<void> {
  await one(
    client,
    `select id from gatebell.${NAMED[kind]} where name = $1`,
    [name],
    `there is no ${kind} ${JSON.stringify(name)}`,
  );
}

/**
 * Runs one statement that returns rows, and prints them.
 *
 * @param of the one whose rows these are, `$1` of the statement; without a name: everybody's
 * @throws CommandError if there is nobody of that name
 */
export async function list(
  context: CommandContext,
  text: string,
  of?: { readonly kind: keyof typeof NAMED; readonly name: string | undefined },
): Promise<void> {
  const { rows, fields } = await withClient(context, async client => {
    if (of?.name !== undefined) {
      await requireNamed(client, of.kind, of.name);
    }
    return client.query<Row>({ text, values: of === undefined ? [] : [of.name ?? null], types: TYPES });
  });
  const columns = fields.map(({ name }) => name);
  context.print(
    rows,
    rows.length === 0
      ? 'none'
      : formatTable(
          columns,
          rows.map(row => columns.map(column => row[column])),
        ),
  );
}

/** Whether a command returns only when every replica has applied what it did. */
export interface WaitOption {
  readonly wait?: boolean;
}

/** Makes a change that takes rights away, and says so; with `wait`, when every replica denies. */
export async function takeAway(
  context: CommandContext,
  { wait = false }: WaitOption,
  change: (client: pg.Client) => Promise<Row>,
  said: (row: Row) => string,
): Promise<void> {
  // Opened before: the time that is told is the time since the commit.
  const barrier = wait ? await openCommandBarrier(context) : null;
  try {
    const row = await withClient(context, change);
    if (barrier === null) {
      context.print(row, said(row));
      return;
    }
    const passed = await barrier.pass().catch((error: unknown) => {
      throw new CommandError(
        'barrier_failed',
        `${said(row)}, but whether every replica knows is not known: ${errorText(error)}`,
      );
    });
    context.print({ ...row, barrier: passed }, [said(row), ...describeBarrier(passed, 'denied')]);
  } finally {
    await barrier?.close();
  }
}

/** `a = $1, b = $2` for the values that are given. */
function assignments(
  given: Readonly<Record<string, unknown>>,
  from: number,
): { readonly text: string; readonly values: unknown[] } {
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  if (set.length === 0) {
    throw new UsageError('nothing to change: give at least one option');
  }
  return {
    text: set.map(([column], index) => `${column} = $${index + from}`).join(', '),
    values: set.map(([, value]) => value),
  };
}

const WILDCARD = '*.';

/** A host as people type it, in its one spelling: `Bücher.example` is `xn--bcher-kva.example`. @throws UsageError with a port */
function canonicalHost(host: string): string {
  const wildcard = host.startsWith(WILDCARD) ? WILDCARD : '';
  const name = host.slice(wildcard.length);
  // Of what looks like a URL, domainToASCII would take the host alone, and drop the rest.
  const isInternational = /[^\x20-\x7e]/.test(name) && !/[\x00-\x2c/\x3a-\x40[-^`{-\x7f]/.test(name);
  const parsed = parseHost(isInternational ? domainToASCII(name) : name);
  if (/:[0-9]*$/.test(name)) {
    throw new UsageError(
      `host ${JSON.stringify(host)} is not allowed: leave the port out, apps are told apart by their name alone`,
    );
  }
  if (parsed === null) {
    throw new UsageError(
      `host ${JSON.stringify(host)} is not allowed: a name of letters, digits, hyphens and dots, like photos.example.com, or *.example.com for all below it`,
    );
  }
  if (wildcard !== '' && isPublicSuffix(parsed.host)) {
    throw new UsageError(
      `host ${JSON.stringify(host)} is not allowed: everybody can have a name under ${parsed.host}, which is a public suffix; name a domain of yours, like *.example.com`,
    );
  }
  return wildcard + parsed.host;
}

/** `Name: template` pairs as a `headers` column. */
function headersOf(given: Several | undefined): string | undefined {
  const pairs = textsOf(given);
  if (pairs === undefined) {
    return undefined;
  }
  const headers = Object.fromEntries(
    pairs.map(pair => {
      const colon = pair.indexOf(':');
      if (colon < 1) {
        throw new UsageError(`header ${JSON.stringify(pair)} is not allowed: give it as 'Name: template'`);
      }
      return [pair.slice(0, colon).trim(), pair.slice(colon + 1).trim()];
    }),
  );
  try {
    compileHeaders(headers);
  } catch (error) {
    throw error instanceof TemplateError ? new UsageError(error.message) : error;
  }
  return JSON.stringify(headers);
}

const DURATION = /^([1-9][0-9]{0,5})(s|m|h|d|w)$/;
const UNITS: Readonly<Record<string, string>> = { s: 'seconds', m: 'minutes', h: 'hours', d: 'days', w: 'weeks' };

/** ISO 8601: a day, or a time of a day, without a zone in that of this machine. */
const TIME =
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?$/;

/** Whether the day is in its month: Date.parse takes February 30 for March 2. */
function isDayOfCalendar(time: string): boolean {
  const day = time.slice(0, 10);
  const parsed = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(day);
}

/** A time of Postgres: `30d` from now by its clock, or a timestamp; `never`. */
function expiryExpression(
  text: string | undefined,
  parameter: number,
): { readonly text: string; readonly values: unknown[] } {
  if (text === undefined || text === 'never') {
    return { text: 'null::timestamptz', values: [] };
  }
  const duration = DURATION.exec(text);
  if (duration !== null) {
    return { text: `now() + $${parameter}::interval`, values: [`${duration[1]} ${UNITS[duration[2]!]}`] };
  }
  const time = TIME.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time) || !isDayOfCalendar(text)) {
    throw new UsageError(
      `expiry ${JSON.stringify(text)} is not allowed: give a duration like 90s, 15m, 12h, 30d or 2w, a time like 2030-01-31T12:00:00Z, or never`,
    );
  }
  if (time <= Date.now()) {
    throw new UsageError(`expiry ${JSON.stringify(text)} is in the past`);
  }
  return { text: `$${parameter}::timestamptz`, values: [new Date(time).toISOString()] };
}

/** An option that may be repeated; false: it was given as `--no-…`, which clears what is stored. */
export type Several = readonly string[] | false;

/** What is stored of an option with one value: undefined leaves it as it is. */
const textOf = (given: string | false | undefined): string | null | undefined => (given === false ? null : given);

/** What is stored of an option that may be repeated. */
const textsOf = (given: Several | undefined): readonly string[] | undefined => (given === false ? [] : given);

/** Fields of a user that can be given. */
export interface UserFields {
  readonly name?: string;
  readonly email?: string | false;
  readonly displayName?: string | false;
  readonly group?: Several;
}

const columnsOf = ({ email, displayName, group }: UserFields): Record<string, unknown> => ({
  email: textOf(email),
  display_name: textOf(displayName),
  groups: textsOf(group),
});

export async function userAdd(context: CommandContext, name: string, fields: UserFields): Promise<void> {
  const user = await withClient(context, client =>
    one(
      client,
      `insert into gatebell.users (name, email, display_name, groups) values ($1, $2, $3, $4)
       returning id, name, email, display_name, groups, enabled`,
      [name, textOf(fields.email) ?? null, textOf(fields.displayName) ?? null, textsOf(fields.group) ?? []],
      'the user was not added',
      { name, ...columnsOf(fields) },
    ),
  );
  context.print(user, `user ${name} was added (id ${String(user['id'])})`);
}

function updateUser(
  client: pg.Client,
  name: string,
  fields: UserFields & { readonly enabled?: boolean },
): Promise<Row> {
  const given = { name: fields.name, ...columnsOf(fields), enabled: fields.enabled };
  const { text, values } = assignments(given, 2);
  return one(
    client,
    `update gatebell.users set ${text} where name = $1 returning id, name, email, display_name, groups, enabled`,
    [name, ...values],
    `there is no user ${JSON.stringify(name)}`,
    given,
  );
}

export async function userSet(
  context: CommandContext,
  name: string,
  fields: UserFields & { readonly enabled?: boolean },
): Promise<void> {
  const user = await withClient(context, client => updateUser(client, name, fields));
  context.print(user, `user ${String(user['name'])} was changed`);
}

export async function userDisable(context: CommandContext, name: string, options: WaitOption): Promise<void> {
  await takeAway(
    context,
    options,
    client => updateUser(client, name, { enabled: false }),
    () => `user ${name} was changed`,
  );
}

export async function userDelete(
  context: CommandContext,
  name: string,
  options: WaitOption & ConfirmOption,
): Promise<void> {
  await confirm(context, options, `this deletes user ${JSON.stringify(name)} with all grants and credentials`);
  await takeAway(
    context,
    options,
    client =>
      one(
        client,
        'delete from gatebell.users where name = $1 returning id, name',
        [name],
        `there is no user ${JSON.stringify(name)}`,
      ),
    () => `user ${name} was deleted, with all grants and credentials`,
  );
}

export async function userList(context: CommandContext): Promise<void> {
  await list(context, 'select id, name, email, display_name, groups, enabled from gatebell.users order by name');
}

/** Fields of an app that can be given. */
export interface AppFields {
  readonly name?: string;
  readonly host?: string;
  readonly header?: Several;
}

export async function appAdd(
  context: CommandContext,
  name: string,
  fields: AppFields & { readonly host: string },
): Promise<void> {
  const host = canonicalHost(fields.host);
  const app = await withClient(context, client =>
    one(
      client,
      'insert into gatebell.apps (name, host, headers) values ($1, $2, $3) returning id, name, host, enabled, headers',
      [name, host, headersOf(fields.header) ?? '{}'],
      'the app was not added',
      { name, host: fields.host },
    ),
  );
  context.print(app, `app ${name} was added at ${host} (id ${String(app['id'])})`);
}

function updateApp(client: pg.Client, name: string, fields: AppFields & { readonly enabled?: boolean }): Promise<Row> {
  const given = {
    name: fields.name,
    host: fields.host === undefined ? undefined : canonicalHost(fields.host),
    headers: headersOf(fields.header),
    enabled: fields.enabled,
  };
  const { text, values } = assignments(given, 2);
  return one(
    client,
    `update gatebell.apps set ${text} where name = $1 returning id, name, host, enabled, headers`,
    [name, ...values],
    `there is no app ${JSON.stringify(name)}`,
    given,
  );
}

export async function appSet(
  context: CommandContext,
  name: string,
  fields: AppFields & { readonly enabled?: boolean },
): Promise<void> {
  const app = await withClient(context, client => updateApp(client, name, fields));
  context.print(app, `app ${String(app['name'])} was changed`);
}

export async function appDisable(context: CommandContext, name: string, options: WaitOption): Promise<void> {
  await takeAway(
    context,
    options,
    client => updateApp(client, name, { enabled: false }),
    () => `app ${name} was changed`,
  );
}

export async function appDelete(
  context: CommandContext,
  name: string,
  options: WaitOption & ConfirmOption,
): Promise<void> {
  await confirm(context, options, `this deletes app ${JSON.stringify(name)} with all routes and grants`);
  await takeAway(
    context,
    options,
    client =>
      one(
        client,
        'delete from gatebell.apps where name = $1 returning id, name',
        [name],
        `there is no app ${JSON.stringify(name)}`,
      ),
    () => `app ${name} was deleted, with all routes and grants`,
  );
}

export async function appList(context: CommandContext): Promise<void> {
  await list(context, 'select id, name, host, enabled, headers from gatebell.apps order by name');
}

/** Fields of a route. What is not given stays as it is; of a new route it is what the schema says. */
export interface RouteFields {
  readonly access?: string;
  readonly role?: Several;
  readonly consistency?: string;
  readonly preflight?: boolean;
  readonly header?: Several;
}

interface RouteRow extends Row {
  readonly access: string;
  readonly roles: readonly string[];
}

/** Refuses what the whole route would be; the row is locked until the transaction ends. */
async function checkRoute(client: pg.Client, app: string, prefix: string, fields: RouteFields): Promise<void> {
  const { rows } = await client.query<RouteRow>(
    `select r.access, r.roles from gatebell.app_routes r join gatebell.apps a on a.id = r.app_id
     where a.name = $1 and r.path_prefix = $2 for update of r`,
    [app, prefix],
  );
  const [stored] = rows;
  const access = fields.access ?? stored?.access;
  if (access === undefined) {
    throw new UsageError(`app ${JSON.stringify(app)} has no route ${JSON.stringify(prefix)}: a new one needs --access`);
  }
  if (access === 'public' && (textsOf(fields.role) ?? stored?.roles ?? []).length > 0) {
    throw new UsageError(
      'a public route never looks at who asks, so it has no roles: leave --role out, clear them with --no-role, or choose another access',
    );
  }
}

export async function routeSet(
  context: CommandContext,
  app: string,
  prefix: string,
  fields: RouteFields,
): Promise<void> {
  const headers = headersOf(fields.header);
  const route = await withClient(context, async client => {
    await requireNamed(client, 'app', app);
    await client.query('begin');
    await checkRoute(client, app, prefix, fields);
    const written = await one(
      client,
      `insert into gatebell.app_routes as r (app_id, path_prefix, access, roles, consistency, preflight, headers)
       select id, $2, coalesce($3, 'granted'), coalesce($4::text[], '{}'), coalesce($5, 'bounded'), coalesce($6, false), coalesce($7::jsonb, '{}')
       from gatebell.apps where name = $1
       on conflict (app_id, path_prefix) do update set access = coalesce($3, r.access), roles = coalesce($4::text[], r.roles),
         consistency = coalesce($5, r.consistency), preflight = coalesce($6, r.preflight), headers = coalesce($7::jsonb, r.headers)
       returning app_id, path_prefix, access, roles, consistency, preflight, headers`,
      [
        app,
        prefix,
        fields.access ?? null,
        textsOf(fields.role) ?? null,
        fields.consistency ?? null,
        fields.preflight ?? null,
        headers ?? null,
      ],
      `there is no app ${JSON.stringify(app)}`,
      { path_prefix: prefix, roles: textsOf(fields.role) },
    );
    await client.query('commit');
    return written;
  });
  context.print(route, `${app}${prefix} is ${String(route['access'])}`);
}

export async function routeDelete(context: CommandContext, app: string, prefix: string): Promise<void> {
  const route = await withClient(context, client =>
    one(
      client,
      `delete from gatebell.app_routes r using gatebell.apps a where a.id = r.app_id and a.name = $1 and r.path_prefix = $2
       returning r.app_id, r.path_prefix`,
      [app, prefix],
      `app ${JSON.stringify(app)} has no route ${JSON.stringify(prefix)}`,
    ),
  );
  context.print(route, `the route ${app}${prefix} was deleted`);
}

export async function routeList(context: CommandContext, app: string | undefined): Promise<void> {
  await list(
    context,
    `select a.name as app, r.path_prefix, r.access, r.roles, r.consistency, r.preflight, r.headers
     from gatebell.app_routes r join gatebell.apps a on a.id = r.app_id
     where $1::text is null or a.name = $1 order by a.name, r.path_prefix`,
    { kind: 'app', name: app },
  );
}

export async function grantSet(
  context: CommandContext,
  user: string,
  app: string,
  { role, expires }: { readonly role?: string; readonly expires?: string },
): Promise<void> {
  const expiry = expiryExpression(expires, 4);
  const expiresAt = expires === undefined ? 'g.expires_at' : 'excluded.expires_at';
  const grant = await withClient(context, async client => {
    await requireNamed(client, 'user', user);
    return one(
      client,
      `insert into gatebell.grants as g (user_id, app_id, role, expires_at)
       select u.id, a.id, coalesce($3, 'user'), ${expiry.text} from gatebell.users u, gatebell.apps a where u.name = $1 and a.name = $2
       on conflict (user_id, app_id) do update set role = coalesce($3, g.role), expires_at = ${expiresAt}
       returning user_id, app_id, role, expires_at`,
      [user, app, role ?? null, ...expiry.values],
      `there is no app ${JSON.stringify(app)}`,
      { role },
    );
  });
  context.print(grant, `${user} may reach ${app} as ${String(grant['role'])}`);
}

export async function grantList(context: CommandContext): Promise<void> {
  await list(
    context,
    `select u.name as user, a.name as app, g.role, g.expires_at
     from gatebell.grants g join gatebell.users u on u.id = g.user_id join gatebell.apps a on a.id = g.app_id
     order by u.name, a.name`,
  );
}

export async function revoke(context: CommandContext, user: string, app: string, options: WaitOption): Promise<void> {
  await takeAway(
    context,
    options,
    client =>
      one(
        client,
        `delete from gatebell.grants g using gatebell.users u, gatebell.apps a
         where u.id = g.user_id and a.id = g.app_id and u.name = $1 and a.name = $2 returning g.user_id, g.app_id, g.role`,
        [user, app],
        `${JSON.stringify(user)} has no grant for ${JSON.stringify(app)}`,
      ),
    () => `${user} may not reach ${app} any more`,
  );
}

export async function tokenCreate(
  context: CommandContext,
  user: string,
  { kind = 'token', label, expires }: { readonly kind?: string; readonly label?: string; readonly expires?: string },
): Promise<void> {
  const token = createToken();
  const expiry = expiryExpression(expires, 5);
  const credential = await withClient(context, client =>
    one(
      client,
      `insert into gatebell.credentials (user_id, kind, token_hash, label, expires_at)
       select u.id, $2, decode($3, 'hex'), $4, ${expiry.text} from gatebell.users u where u.name = $1
       returning id, expires_at`,
      [user, kind, hashToken(token), label ?? null, ...expiry.values],
      `there is no user ${JSON.stringify(user)}`,
      { label },
    ),
  );
  const id = Number(credential['id']);
  context.print({ id, token }, [
    token,
    `(the ${kind} of ${user} has id ${id}; it is not stored and will not be shown again)`,
  ]);
}

export async function tokenRevoke(context: CommandContext, id: string, options: WaitOption): Promise<void> {
  await takeAway(
    context,
    options,
    client =>
      one(
        client,
        'update gatebell.credentials set revoked_at = now() where id::text = $1 and revoked_at is null returning id',
        [id],
        `there is no credential ${JSON.stringify(id)} that is not revoked already`,
      ),
    () => `credential ${id} was revoked`,
  );
}

/** Rows are of no use once their JWT has expired; leeway and the clocks of issuers are less than this. */
const REVOKED_JWTS_KEPT = '1 day';

export async function jwtRevoke(
  context: CommandContext,
  jti: string,
  { expires, ...options }: WaitOption & { readonly expires?: string },
): Promise<void> {
  const expiry = expiryExpression(expires, 2);
  const expiresAt = expires === undefined ? 'r.expires_at' : 'excluded.expires_at';
  await takeAway(
    context,
    options,
    async client => {
      const row = await one(
        client,
        `insert into gatebell.revoked_jwts as r (jti, expires_at) values ($1, ${expiry.text})
         on conflict (jti) do update set expires_at = ${expiresAt} returning jti, revoked_at, expires_at`,
        [jti, ...expiry.values],
        'nothing was revoked',
        { jti },
      );
      await client.query('delete from gatebell.revoked_jwts where expires_at < now() - $1::interval', [
        REVOKED_JWTS_KEPT,
      ]);
      return row;
    },
    () => `the JWT with jti ${JSON.stringify(jti)} was revoked`,
  );
}

export async function jwtRevokeAll(context: CommandContext, user: string, options: WaitOption): Promise<void> {
  await takeAway(
    context,
    options,
    client =>
      one(
        client,
        'update gatebell.users set jwt_not_before = now() where name = $1 returning id, name, jwt_not_before',
        [user],
        `there is no user ${JSON.stringify(user)}`,
      ),
    () => `all JWTs of ${user} that were issued until now were revoked`,
  );
}

export async function jwtList(context: CommandContext): Promise<void> {
  await list(context, 'select jti, revoked_at, expires_at from gatebell.revoked_jwts order by revoked_at, jti');
}

export async function tokenList(context: CommandContext, user: string | undefined): Promise<void> {
  await list(
    context,
    `select c.id, u.name as user, c.kind, c.label, c.created_at, c.expires_at, c.revoked_at
     from gatebell.credentials c join gatebell.users u on u.id = c.user_id
     where $1::text is null or u.name = $1 order by c.id`,
    { kind: 'user', name: user },
  );
}
