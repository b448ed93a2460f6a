/** `gatebell route`: rules by path. */
import { Option, type Command } from 'commander';
import type pg from 'pg';
import { withClient, type CommandContext } from '../context.js';
import { collect, type Definer } from '../define.js';
import { UsageError } from '../errors.js';
import { textsOf, type Several } from './given.js';
import { HEADER, NO_HEADER, readHeaderPairs } from './header-pairs.js';
import { list, requireNamed, rowOrFail, thereIsNo, type Row } from './rows.js';

/** Fields of a route. What is not given stays as it is; of a new route it is what the schema says. */
interface RouteFields {
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
      'a public route never looks at who asks, so it has no roles: ' +
        'leave --role out, clear them with --no-role, or choose another access',
    );
  }
}

async function set(context: CommandContext, app: string, prefix: string, fields: RouteFields): Promise<void> {
  const headers = readHeaderPairs(fields.header);
  const roles = textsOf(fields.role);
  const route = await withClient(context, async client => {
    await requireNamed(client, 'app', app);
    await client.query('begin');
    await checkRoute(client, app, prefix, fields);
    const written = await rowOrFail(
      client,
      `insert into gatebell.app_routes as r (app_id, path_prefix, access, roles, consistency, preflight, headers)
       select id, $2, coalesce($3, 'grant'), coalesce($4::text[], '{}'), coalesce($5, 'bounded'), coalesce($6, false),
         coalesce($7::jsonb, '{}')
       from gatebell.apps where name = $1
       on conflict (app_id, path_prefix) do update set access = coalesce($3, r.access),
         roles = coalesce($4::text[], r.roles), consistency = coalesce($5, r.consistency),
         preflight = coalesce($6, r.preflight), headers = coalesce($7::jsonb, r.headers)
       returning app_id, path_prefix, access, roles, consistency, preflight, headers`,
      [
        app,
        prefix,
        fields.access ?? null,
        roles ?? null,
        fields.consistency ?? null,
        fields.preflight ?? null,
        headers ?? null,
      ],
      thereIsNo('app', app),
      { path_prefix: prefix, roles },
    );
    await client.query('commit');
    return written;
  });
  context.print(route, `${app}${prefix} is ${String(route['access'])}`);
}

async function remove(context: CommandContext, app: string, prefix: string): Promise<void> {
  const route = await withClient(context, client =>
    rowOrFail(
      client,
      `delete from gatebell.app_routes r using gatebell.apps a
       where a.id = r.app_id and a.name = $1 and r.path_prefix = $2 returning r.app_id, r.path_prefix`,
      [app, prefix],
      `app ${JSON.stringify(app)} has no route ${JSON.stringify(prefix)}`,
    ),
  );
  context.print(route, `the route ${app}${prefix} was deleted`);
}

const listRoutes = (context: CommandContext, app: string | undefined): Promise<void> =>
  list(
    context,
    `select a.name as app, r.path_prefix, r.access, r.roles, r.consistency, r.preflight, r.headers
     from gatebell.app_routes r join gatebell.apps a on a.id = r.app_id
     where $1::text is null or a.name = $1 order by a.name, r.path_prefix`,
    { kind: 'app', name: app },
  );

export function defineRoute(program: Command, { define }: Definer): void {
  const route = program.command('route').description('rules by path; a path that no route matches needs a grant');
  define(route, 'set <app> <prefix>', 'add a route, or change one; what is not given stays', set)
    .addOption(
      new Option('--access <access>', 'who may pass; a new route needs it').choices([
        'public',
        'authenticated',
        'grant',
      ]),
    )
    .option('--role <role>', "the grant's role must be one of these; may be repeated", collect)
    .addOption(
      new Option('--consistency <consistency>', 'strong: sees every commit acknowledged before').choices([
        'bounded',
        'strong',
      ]),
    )
    .option('--preflight', 'let CORS preflights pass without a credential; the app answers them')
    .option('--no-preflight', 'do not let them pass')
    .option(...HEADER)
    .option('--no-role', 'clear all roles')
    .option(...NO_HEADER);
  define(route, 'delete <app> <prefix>', 'delete a route', remove);
  define(route, 'list [app]', 'list routes', listRoutes);
}
