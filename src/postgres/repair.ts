/**
 * What a restore, or somebody's hand, may have taken from the schema, and how it is put in place again: the privileges,
 * the key of the fences, the rows of `gatebell.watches`, the triggers. Nothing is changed where nothing is wrong.
 */
import type pg from 'pg';

/** A call of `gatebell.watch()`: its arguments as text. */
export interface WatchCall {
  readonly target: string;
  readonly topic: string;
  /** An array literal of Postgres, `{user_id,app_id}`. */
  readonly keyColumns: string;
  readonly watchedColumns: string;
}

const WATCH = /^select gatebell\.watch\('([^']*)',\s+'([^']*)',\s+'([^']*)'(?:,\s+'([^']*)')?\);$/gm;

/**
 * The calls of `gatebell.watch()` in the texts of the migrations, oldest first; the last of each table and topic
 * counts.
 */
export function parseWatches(migrations: readonly string[]): WatchCall[] {
  const calls = new Map<string, WatchCall>();
  for (const text of migrations) {
    for (const [, target = '', topic = '', keyColumns = '', watchedColumns = '{}'] of text.matchAll(WATCH)) {
      calls.set(`${target} ${topic}`, { target, topic, keyColumns, watchedColumns });
    }
  }
  return [...calls.values()];
}

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** The statement that watches a table. */
export const watchStatement = ({ target, topic, keyColumns, watchedColumns }: WatchCall): string =>
  `select gatebell.watch(${[target, topic, keyColumns, watchedColumns].map(quote).join(', ')});`;

/** Tables whose signals are lost or wrong, with what they were watched for. */
const BROKEN = `
  select l.target_name as target, l.topic, l.key_columns::text as "keyColumns",
    l.watched_columns::text as "watchedColumns"
  from gatebell.lost_watches l where to_regclass(l.target_name) is not null
  union
  select format('%I.%I', n.nspname, c.relname), w.topic, w.key_columns::text, w.watched_columns::text
  from gatebell.watch_status w join pg_class c on c.oid = w.target join pg_namespace n on n.oid = c.relnamespace
  where w.problem is not null
  order by 1, 2`;

/**
 * The calls of `gatebell.watch()` that are needed: of tables whose watch is broken, and of own tables that are not
 * watched.
 */
export async function missingWatches(
  query: <R extends pg.QueryResultRow>(text: string) => Promise<R[]>,
  own: readonly WatchCall[],
): Promise<WatchCall[]> {
  const broken = await query<{ target: string; topic: string; keyColumns: string; watchedColumns: string }>(BROKEN);
  const watched = await query<{ topic: string }>('select topic from gatebell.watch_status');
  const isKnown = (topic: string): boolean => [...broken, ...watched].some(one => one.topic === topic);
  return [...broken, ...own.filter(({ topic }) => !isKnown(topic))];
}

/** Repairs everything, in the transaction of its caller. @returns what was done, a line each */
export async function repairSchema(client: pg.ClientBase, own: readonly WatchCall[]): Promise<string[]> {
  const query = async <R extends pg.QueryResultRow>(text: string): Promise<R[]> => (await client.query<R>(text)).rows;
  const done: string[] = [];
  const [problems] = await query<{ some: boolean }>(
    'select exists (select from gatebell.privilege_problems where repairable) as some',
  );
  if (problems?.some === true) {
    const repaired = await query<{ statement: string }>(
      'select statement from gatebell.repair_privileges() as r (statement)',
    );
    done.push(...repaired.map(({ statement }) => statement));
  }
  const [key] = await query<{ missing: boolean }>('select not exists (select from gatebell.fence_key) as missing');
  if (key?.missing === true) {
    await client.query('select gatebell.make_fence_key()');
    done.push('made a new key for fences');
  }
  for (const call of await missingWatches(query, own)) {
    done.push(...(await watchAgain(client, call)));
  }
  return done;
}

/** Watches a table; warns when it cannot, since others may need it less. */
async function watchAgain(client: pg.ClientBase, call: WatchCall): Promise<string[]> {
  const statement = watchStatement(call);
  await client.query('savepoint watch_again');
  try {
    await client.query(statement);
    await client.query('release savepoint watch_again');
    return [statement];
  } catch (error) {
    await client.query('rollback to savepoint watch_again');
    const text = error instanceof Error ? error.message : String(error);
    // As a warning of Postgres, so that it is reported like all others.
    await client.query(
      `do $do$ begin raise warning '%', ${quote(`gatebell: not repaired: ${statement} failed: ${text}`)}; end $do$`,
    );
    return [];
  }
}

/** Watched tables that no statement can watch again as they were. */
const UNREPAIRABLE = `
  select format('select gatebell.unwatch(%L, %L);', w.target::oid::text, w.topic) as unwatch, w.topic,
    c.oid is null as dropped,
    array(select k from unnest(w.key_columns || w.watched_columns) k where not exists (
      select from pg_attribute a where a.attrelid = w.target and a.attname = k and a.attnum > 0
        and not a.attisdropped)) as missing,
    coalesce(quote_ident(n.nspname) || '.' || quote_ident(c.relname), '') as target,
    w.key_columns::text as "keyColumns",
    array(select k from unnest(w.watched_columns) k where exists (
      select from pg_attribute a where a.attrelid = w.target and a.attname = k and a.attnum > 0
        and not a.attisdropped))::text
      as "watchedColumns",
    not exists (select from unnest(w.key_columns) k where not exists (
      select from pg_attribute a where a.attrelid = w.target and a.attname = k and a.attnum > 0
        and not a.attisdropped)) as "hasKey"
  from gatebell.watch_status w left join pg_class c on c.oid = w.target
    left join pg_namespace n on n.oid = c.relnamespace
  where w.problem is not null`;

interface UnrepairableRow extends WatchCall {
  readonly unwatch: string;
  readonly dropped: boolean;
  readonly missing: readonly string[];
  readonly hasKey: boolean;
  readonly [column: string]: unknown;
}

/**
 * Statements that put the watched tables right, each as it can be run; where people must decide, a comment says what.
 */
export async function watchRemedies(
  query: <R extends pg.QueryResultRow>(text: string) => Promise<R[]>,
  own: readonly WatchCall[],
): Promise<string[]> {
  const odd = (await query<UnrepairableRow>(UNREPAIRABLE)).filter(row => row.dropped || row.missing.length > 0);
  const isOdd = ({ target, topic }: WatchCall): boolean =>
    odd.some(row => row.target === target && row.topic === topic);
  const calls = (await missingWatches(query, own)).filter(call => !isOdd(call));
  return [
    ...calls.map(watchStatement),
    ...odd.map(row => {
      if (row.dropped || !row.hasKey) {
        return row.unwatch;
      }
      const gone = row.missing.join(', ');
      const advice = `without ${gone}, which is gone: if it was renamed, add its new name to the last argument`;
      return `${watchStatement(row)} /* ${advice} */`;
    }),
  ];
}
