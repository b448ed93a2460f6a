/** `gatebell migrate up|down|status` */
import { migrate, readMigrationStatus } from '../store/migrate.js';
import { withClient, type CommandContext } from './context.js';

/** Applies everything that is not applied yet, and moves the signals to the configured channel. */
export async function migrateUp(context: CommandContext): Promise<void> {
  await withClient(context, async client => {
    const applied = await migrate(client, 'up');
    const { channel } = context.config;
    const moved = await client.query('select gatebell.set_channel($1) where gatebell.channel() <> $1', [channel]);
    const lines = applied.map(name => `applied ${name}`);
    if (moved.rowCount === 1) {
      lines.push(`moved the signals to channel ${channel}`);
    }
    context.print({ applied, channel }, lines.length === 0 ? 'up to date' : lines);
  });
}

/** Takes the newest `count` migrations back. */
export async function migrateDown(context: CommandContext, count: number): Promise<void> {
  const reverted = await withClient(context, client => migrate(client, 'down', count));
  context.print(
    { reverted },
    reverted.length === 0 ? 'nothing to take back' : reverted.map(name => `took back ${name}`),
  );
}

/** Says which migrations are applied. */
export async function migrateStatus(context: CommandContext): Promise<void> {
  const status = await withClient(context, readMigrationStatus);
  context.print(status, [
    ...status.migrations.map(({ name, applied }) => `${applied ? 'applied' : 'pending'}  ${name}`),
    ...(status.version > status.newest
      ? [`the database is at migration ${status.version}, newer than this program`]
      : []),
  ]);
}
