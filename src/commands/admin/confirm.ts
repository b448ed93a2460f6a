/** Asks before something is deleted that no command brings back. */
import { createInterface } from 'node:readline/promises';
import { CommandError, UsageError } from '../errors.js';
import type { CommandContext } from '../context.js';

/** The option of commands that delete. */
export const YES = ['--yes', 'do not ask'] as const;

/** Its value. */
export interface ConfirmOption {
  readonly yes?: boolean;
}

/**
 * Returns if `--yes` was given, or if a person at a terminal says yes.
 *
 * @param what is about to happen: "this deletes …"
 * @throws UsageError where nobody can be asked
 * @throws CommandError when the answer is not yes
 */
export async function confirm({ json }: CommandContext, { yes = false }: ConfirmOption, what: string): Promise<void> {
  if (yes) {
    return;
  }
  if (json || !process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(`${what}; give --yes if you mean it`);
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-D, or Ctrl-C, is no yes.
  const closed = new Promise<string>(resolve => terminal.once('close', () => resolve('')));
  try {
    const answer = await Promise.race([terminal.question(`${what}. Go on? [y/N] `), closed]);
    if (!/^y(?:es)?$/i.test(answer.trim())) {
      throw new CommandError('not_confirmed', 'nothing was changed');
    }
  } finally {
    terminal.close();
  }
}
