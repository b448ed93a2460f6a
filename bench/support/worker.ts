/**
 * Programs that do what they are told, one command at a time, over the channel that Node gives to a child; their side
 * is `commands.ts`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { Reply } from './commands.js';
import { endWithUs, programFile } from './program.js';

/** A running program. */
export interface Worker<Command> {
  /** Waits for what comes of the command. One at a time. @throws what it failed with, in words */
  ask<T>(command: Command): Promise<T>;
  stop(): Promise<void>;
}

/** Starts a built program. */
export function startWorker<Command extends object>(
  name: string,
  env: Readonly<Record<string, string>>,
  execArgv: readonly string[] = [],
): Worker<Command> {
  const child = fork(programFile(name), {
    execArgv: [...execArgv],
    env: { ...process.env, NODE_ENV: 'production', ...env },
  });
  endWithUs(child);
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  return {
    async ask<T>(command: Command): Promise<T> {
      const answered = once(child, 'message');
      child.send(command);
      const reply = await Promise.race([
        answered.then(([message]) => message as Reply<T>),
        exited.then((code): Reply<T> => ({ error: `exit code ${code}` })),
      ]);
      if ('error' in reply) {
        throw new Error(`${name}: ${reply.error}`);
      }
      return reply.result;
    },
    async stop() {
      if (child.connected) {
        child.disconnect();
      }
      await exited;
    },
  };
}
