/**
 * Rows that the gate cannot use, and so denies its app for. They are judged by the code of the gate itself: loaded by
 * its queries, understood by its parsers, and asked for as a request would.
 */
import { parseHost } from '../../auth/request/request.js';
import { selectRoute } from '../../auth/request/path.js';
import { errorText } from '../../ops/log-lines.js';
import { isPublicSuffix } from '../../sign-in/settings.js';
import { factCaches, type AppFact, type RoutesFact } from '../../auth/facts.js';
import type { Database } from '../../postgres/pool.js';
import { listed, type Check } from './check.js';

/** Rows in one query. */
const BATCH = 500;

interface AppRow {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly [column: string]: unknown;
}

/** Why no request can have this host, or too many can. */
function hostProblem(host: string): string | null {
  if (host.startsWith('*.') && isPublicSuffix(host.slice(2))) {
    return `everybody can have a name under ${host.slice(2)}, which is a public suffix`;
  }
  const isFound = host.startsWith('*.')
    ? parseHost(`x${host.slice(1)}`)?.wildcards.includes(host) === true
    : parseHost(host)?.host === host;
  return isFound ? null : 'no request has this host: it is not in the form that hosts are compared in';
}

/** What is wrong with rules that can be understood: a request for the prefix itself must fall under it. */
function* routeProblems({ routes }: RoutesFact): Generator<readonly [pathPrefix: string, problem: string]> {
  for (const route of routes) {
    const isPath = route.pathPrefix.startsWith('/');
    const chosen = isPath ? selectRoute(routes, route.pathPrefix) : null;
    if (chosen === undefined) {
      yield [
        route.pathPrefix,
        'a request for this path is refused with 400: it can be read in ' +
          'two ways, or another rule differs in case alone',
      ];
    } else if (chosen?.pathPrefix !== route.pathPrefix) {
      yield [route.pathPrefix, 'no request falls under this rule'];
    }
    if (!['public', 'authenticated', 'grant'].includes(route.access)) {
      yield [route.pathPrefix, `access ${JSON.stringify(route.access)} is not known`];
    }
  }
}

/** Loads as a replica does; a batch that fails is read again one by one, so that the row itself is named. */
async function load<T>(
  database: Database,
  cache: {
    readonly topic: string;
    readonly load: { readonly text: string; readonly value: (row: Record<string, unknown>) => T };
  },
  keys: readonly string[],
  keyOf: (row: Record<string, unknown>) => string,
  onBad: (key: string, problem: string) => void,
): Promise<Map<string, T>> {
  const facts = new Map<string, T>();
  const read = async (some: readonly string[]): Promise<void> => {
    try {
      const { rows } = await database.source.read(
        cache.topic,
        cache.load.text,
        some.map(key => [key]),
        'load',
      );
      for (const row of rows) {
        facts.set(keyOf(row), cache.load.value(row));
      }
    } catch (error) {
      if (some.length > 1) {
        for (const key of some) {
          await read([key]);
        }
      } else {
        onBad(some[0] ?? '', `cannot be read: ${errorText(error)}`);
      }
    }
  };
  await read(keys);
  return facts;
}

/** Everything that is wrong with a batch of apps and their routes. */
async function examineApps(database: Database, apps: readonly AppRow[]): Promise<string[]> {
  const problems: string[] = [];
  const nameOf = (app: AppRow | undefined): string => JSON.stringify(app?.name ?? '');
  const bad = (table: string, app: AppRow | undefined, key: string, problem: string): void => {
    problems.push(`${table} of app ${nameOf(app)} (${key}): ${problem}`);
  };
  const byHost = new Map(apps.map(app => [app.host, app]));
  const byId = new Map(apps.map(app => [app.id, app]));
  const caches = factCaches(({ topic, key, problem }) => {
    bad(
      topic === 'app' ? 'gatebell.apps' : 'gatebell.app_routes',
      topic === 'app' ? byHost.get(key) : byId.get(key),
      topic === 'app' ? `host ${key}` : `app_id ${key}`,
      problem,
    );
  });

  const facts = await load<AppFact>(
    database,
    caches.app,
    [...byHost.keys()],
    row => String(row['host']),
    (host, problem) => bad('gatebell.apps', byHost.get(host), `host ${host}`, problem),
  );
  for (const host of facts.keys()) {
    const problem = hostProblem(host);
    if (problem !== null) {
      bad('gatebell.apps', byHost.get(host), `host ${host}`, problem);
    }
  }
  const rules = await load<RoutesFact>(
    database,
    caches.route,
    [...byId.keys()],
    row => String(row['app_id']),
    (id, problem) => bad('gatebell.app_routes', byId.get(id), `app_id ${id}`, problem),
  );
  for (const [id, fact] of rules) {
    for (const [prefix, problem] of routeProblems(fact)) {
      bad('gatebell.app_routes', byId.get(id), `path_prefix ${prefix}`, problem);
    }
  }
  return problems;
}

/** Looks at every app and every route. */
export async function checkRows(database: Database): Promise<Check> {
  const problems: string[] = [];
  let count = 0;
  for (let after = '-9223372036854775808'; ;) {
    const apps = await database.query<AppRow>(
      'doctor',
      `select id::text, name, host from gatebell.apps where id > $1::bigint order by apps.id limit ${BATCH}`,
      [after],
    );
    const last = apps.at(-1);
    if (last === undefined) {
      break;
    }
    count += apps.length;
    problems.push(...(await examineApps(database, apps)));
    after = last.id;
  }
  return {
    name: 'rows can be used',
    ok: problems.length === 0,
    detail: problems.length === 0 ? `${count} apps with their routes` : listed(problems),
  };
}

/**
 * Compares the constraints of the schema with those that the migrations make: without them there may be rows that
 * nobody expects.
 */
export async function checkConstraints(database: Database): Promise<Check> {
  const problems = await database.query<{ problem: string; remedy: string | null }>(
    'doctor',
    'select problem, remedy from gatebell.constraint_problems() order by problem',
  );
  return {
    name: 'constraints',
    ok: problems.length === 0,
    detail:
      problems.length === 0
        ? 'as the migrations make them'
        : `${listed(problems.map(({ problem, remedy }) => (remedy === null ? problem : `${problem}: ${remedy};`)))}. ` +
          'Let the owner of the schema run what is named',
  };
}
