/** The side of a program that does what it is told; the other is `worker.ts`. */
import { inspect } from 'node:util';

/** What came of a command. */
export type Reply<T> = { readonly result: T } | { readonly error: string };

/**
 * Performs commands until the channel is closed, then ends the process.
 * @param perform takes what the other side was typed to send
 */
export function performCommands(perform: (command: never) => Promise<unknown>): void {
  const reply = async (command: unknown): Promise<Reply<unknown>> => {
    try {
      return { result: await perform(command as never) };
    } catch (error) {
      return { error: inspect(error) };
    }
  };
  process.on('message', command => {
    void reply(command).then(answer => process.send?.(answer));
  });
  process.once('disconnect', () => process.exit(0));
}
