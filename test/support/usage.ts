/** What the commands of the tests share: wrong usage is an error of its own, and ends with exit code 2. */

export class UsageError extends Error {}

/** Runs what parses arguments; its refusals are wrong usage. */
export function parse<T>(parseArguments: () => T): T {
  try {
    return parseArguments();
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** @throws UsageError */
export function wholeNumber(name: string, text: string, most: number): number {
  if (!/^[1-9][0-9]{0,5}$/.test(text) || Number(text) > most) {
    throw new UsageError(`--${name} is '${text}'; allowed: a whole number from 1 to ${most}`);
  }
  return Number(text);
}

/** Runs a command to its exit code: 0 or 1 is what it returns, 1 a failure, 2 wrong usage. Ctrl-C aborts the signal. */
export async function runCommand(help: string, command: (signal: AbortSignal) => Promise<0 | 1>): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      console.error(`${signal}: cleaning up`);
      stop.abort(new Error(`stopped by ${signal}`));
    });
  }
  try {
    process.exitCode = await command(stop.signal);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`${error.message}\n\n${help}`);
      process.exitCode = 2;
    } else {
      console.error(stop.signal.aborted ? String(stop.signal.reason) : error);
      process.exitCode = 1;
    }
  }
}
