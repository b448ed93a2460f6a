/**
 * Rows of the facts' tables, for all commands that change or list them. They are changed in plain SQL, like anyone else
 * would change them. No command tells a replica anything; the triggers do.
 */
import pg from 'pg';
import { formatTable, withClient, type CommandContext } from '../context.js';
import { CommandError, refusedValue, UsageError } from '../errors.js';

/** What a statement returns of a row. */
export type Row = Readonly<Record<string, unknown>>;

/** What has a name that commands are given. */
export type Kind = 'user' | 'app';

/** Where each kind is stored, and what commands show of it. */
const TABLES: Readonly<Record<Kind, { readonly table: string; readonly columns: string }>> = {
  user: { table: 'gatebell.users', columns: 'id, name, email, display_name, groups, enabled' },
  app: { table: 'gatebell.apps', columns: 'id, name, host, enabled, headers' },
};

/** Ids as JSON numbers, in lists as in answers. */
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === pg.types.builtins.INT8 ? Number : (pg.types.getTypeParser(oid, format) as (text: string) => unknown),
};

/** Says that there is no user, or no app, of this name. */
export const thereIsNo = (kind: Kind, name: string): string => `there is no ${kind} ${JSON.stringify(name)}`;

/**
 * Runs one statement and returns its row.
 *
 * @param given the values by column, so that an error can name the one that was refused
 * @throws CommandError that says what is missing if there is no row
 */
export async function rowOrFail(
  client: pg.Client,
  text: string,
  values: readonly unknown[],
  missing: string,
  given?: Row,
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

/** @throws CommandError unless there is a user, or an app, of this name */
export async function requireNamed(client: pg.Client, kind: Kind, name: string): Promise<void> {
  await rowOrFail(client, `select id from ${TABLES[kind].table} where name = $1`, [name], thereIsNo(kind, name));
}

/**
 * Adds a user or an app.
 *
 * @param given the values by column
 * @param shown the same, as an error shows them
 */
export function insertNamed(client: pg.Client, kind: Kind, given: Row, shown: Row): Promise<Row> {
  const { table, columns } = TABLES[kind];
  const names = Object.keys(given);
  return rowOrFail(
    client,
    `insert into ${table} (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')})
     returning ${columns}`,
    Object.values(given),
    `the ${kind} was not added`,
    shown,
  );
}

/**
 * Changes a user or an app.
 *
 * @param given the values by column; what is undefined stays as it is
 * @throws UsageError if nothing is given
 */
export async function updateNamed(client: pg.Client, kind: Kind, name: string, given: Row): Promise<Row> {
  const { table, columns } = TABLES[kind];
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  if (set.length === 0) {
    throw new UsageError('nothing to change: give at least one option');
  }
  return rowOrFail(
    client,
    `update ${table} set ${set.map(([column], index) => `${column} = $${index + 2}`).join(', ')}
     where name = $1 returning ${columns}`,
    [name, ...set.map(([, value]) => value)],
    thereIsNo(kind, name),
    given,
  );
}

/** Deletes a user or an app, with all that refers to it. */
export function deleteNamed(client: pg.Client, kind: Kind, name: string): Promise<Row> {
  return rowOrFail(
    client,
    `delete from ${TABLES[kind].table} where name = $1 returning id, name`,
    [name],
    thereIsNo(kind, name),
  );
}

/** Prints all users, or all apps. */
export function listNamed(context: CommandContext, kind: Kind): Promise<void> {
  const { table, columns } = TABLES[kind];
  return list(context, `select ${columns} from ${table} order by name`);
}

/**
 * Runs one statement that returns rows, and prints them.
 *
 * @param of the user or the app whose rows these are, `$1` of the statement; without a name: everybody's
 * @throws CommandError if there is nobody of that name
 */
export async function list(
  context: CommandContext,
  text: string,
  of?: { readonly kind: Kind; readonly name: string | undefined },
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
