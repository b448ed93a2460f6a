/** `gatebell sql '…'`: any SQL on the same database, for machines without psql. */
import type { QueryArrayResult } from 'pg';
import { formatTable, withClient, type CommandContext } from './context.js';

/** Runs the statements and prints what they return. */
export async function sql(context: CommandContext, text: string): Promise<void> {
  const outcome = await withClient(context, client => client.query({ text, rowMode: 'array' }));
  // Several statements give several results, whatever the types say.
  const results = [outcome as QueryArrayResult | QueryArrayResult[]].flat();
  const described = results.map(({ command, rowCount, fields, rows }) => ({
    command,
    rowCount,
    rows: rows.map((row: unknown[]) => Object.fromEntries(fields.map(({ name }, column) => [name, row[column]]))),
  }));
  context.print(
    described,
    results.flatMap(({ command, rowCount, fields, rows }) => [
      ...(fields.length === 0
        ? []
        : formatTable(
            fields.map(({ name }) => name),
            rows as unknown[][],
          )),
      rowCount === null ? command : `${command} ${rowCount}`,
    ]),
  );
}
