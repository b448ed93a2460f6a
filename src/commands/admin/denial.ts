/** Changes that take rights away: with `--wait` the command returns when every replica denies. */
import type pg from 'pg';
import { errorText } from '../../ops/log-lines.js';
import { describeBarrier, openCommandBarrier } from '../barrier.js';
import { withClient, type CommandContext } from '../context.js';
import { CommandError } from '../errors.js';
import { confirm, type ConfirmOption } from './confirm.js';
import { deleteNamed, updateNamed, type Kind, type Row } from './rows.js';

/** Whether a command returns only when every replica has applied what it did. */
export interface WaitOption {
  readonly wait?: boolean;
}

/** Makes a change that takes rights away, and prints what was done; with `wait`, when every replica denies. */
export async function takeAway(
  context: CommandContext,
  { wait = false }: WaitOption,
  change: (client: pg.Client) => Promise<Row>,
  done: string,
): Promise<void> {
  // Opened before: the time that is printed is the time since the commit.
  const barrier = wait ? await openCommandBarrier(context) : null;
  try {
    const row = await withClient(context, change);
    if (barrier === null) {
      context.print(row, done);
      return;
    }
    const passed = await barrier.pass().catch((error: unknown) => {
      throw new CommandError(
        'barrier_failed',
        `${done}, but whether every replica knows is not known: ${errorText(error)}`,
      );
    });
    context.print({ ...row, barrier: passed }, [done, ...describeBarrier(passed, 'denied')]);
  } finally {
    await barrier?.close();
  }
}

/** Disables a user or an app. */
export function disable(context: CommandContext, kind: Kind, name: string, options: WaitOption): Promise<void> {
  return takeAway(
    context,
    options,
    client => updateNamed(client, kind, name, { enabled: false }),
    `${kind} ${name} was changed`,
  );
}

/** What goes with each kind when it is deleted. */
const DEPENDENTS: Readonly<Record<Kind, string>> = {
  user: 'all grants and credentials',
  app: 'all routes and grants',
};

/** Deletes a user or an app, once that is confirmed. */
export async function deleteForGood(
  context: CommandContext,
  kind: Kind,
  name: string,
  options: WaitOption & ConfirmOption,
): Promise<void> {
  await confirm(context, options, `this deletes ${kind} ${JSON.stringify(name)} with ${DEPENDENTS[kind]}`);
  await takeAway(
    context,
    options,
    client => deleteNamed(client, kind, name),
    `${kind} ${name} was deleted, with ${DEPENDENTS[kind]}`,
  );
}
