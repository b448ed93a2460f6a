/** `gatebell migrate up|down|status`, and `gatebell repair`. */
import { readMigrationStatus, repair, runMigrations } from '../postgres/migrate.js';
import { confirm, type ConfirmOption } from './admin/confirm.js';
import { withDirectClient, type CommandContext } from './context.js';

/** Collects warnings, and prints them at once for people. */
function createWarnings({ json }: CommandContext): {
  readonly warnings: string[];
  readonly warn: (text: string) => void;
} {
  const warnings: string[] = [];
  return {
    warnings,
    warn(text) {
      warnings.push(text);
      if (!json) {
        process.stderr.write(`warning: ${text}\n`);
      }
    },
  };
}

/**
 * Applies everything that is not applied yet, repairs what is not as it should be, and moves the signals to the
 * configured channel.
 */
export async function migrateUp(context: CommandContext): Promise<void> {
  const { warnings, warn } = createWarnings(context);
  await withDirectClient(context, async client => {
    const { migrations: applied, repairs } = await runMigrations(client, 'up', { warn });
    const { channel } = context.config;
    const { rows } = await client.query<{ channel: string }>('select gatebell.channel() as channel');
    const isMoved = rows[0]?.channel !== channel;
    if (isMoved) {
      await client.query('select gatebell.set_channel($1)', [channel]);
    }
    const lines = [...applied.map(name => `applied ${name}`), ...repairs.map(line => `repaired: ${line}`)];
    if (isMoved) {
      lines.push(`moved the signals to channel ${channel}`);
    }
    context.print({ applied, repairs, channel, warnings }, lines.length === 0 ? 'up to date' : lines);
  });
}

/** Takes the newest `count` migrations back. */
export async function migrateDown(
  context: CommandContext,
  { count, ...options }: ConfirmOption & { readonly count: number },
): Promise<void> {
  const { warnings, warn } = createWarnings(context);
  const reverted = await withDirectClient(context, async client => {
    const { migrations } = await readMigrationStatus(client);
    const names = migrations.flatMap(({ name, applied }) => (applied ? [name] : [])).slice(-count);
    if (names.length > 0) {
      await confirm(context, options, `this takes back ${names.join(', ')}, and deletes all that is stored in them`);
    }
    return (await runMigrations(client, 'down', { count, warn })).migrations;
  });
  context.print(
    { reverted, warnings },
    reverted.length === 0 ? 'nothing to take back' : reverted.map(name => `took back ${name}`),
  );
}

/** Says which migrations are applied. */
export async function migrateStatus(context: CommandContext): Promise<void> {
  const status = await withDirectClient(context, readMigrationStatus);
  context.print(status, [
    ...status.migrations.map(({ name, applied }) => `${applied ? 'applied' : 'pending'}  ${name}`),
    ...(status.version > status.newest
      ? [`the database is at migration ${status.version}, newer than this program`]
      : []),
  ]);
}

/** Puts privileges, triggers and the fence key in place again, after a restore for example. */
export async function repairCommand(context: CommandContext): Promise<void> {
  const { warnings, warn } = createWarnings(context);
  const repairs = await withDirectClient(context, client => repair(client, { warn }));
  context.print(
    { repairs, warnings },
    repairs.length === 0 ? 'nothing to repair' : repairs.map(line => `repaired: ${line}`),
  );
}
