/**
 * Commands to a program that is measured, over the channel that Node opens between parent and child. What a program has
 * seen is kept until it is asked for: to tell it at once would take processor time from those that have yet to see it.
 */

/** What is sent to a program. */
export interface Command {
  readonly name: string;
  readonly argument: unknown;
}

/** What comes back; `problem` is null if all went well. */
export interface Reply {
  readonly answer: unknown;
  readonly problem: string | null;
}

type Handlers = Readonly<Record<string, (argument: unknown) => unknown>>;

async function obeyOne(handlers: Handlers, { name, argument }: Command): Promise<Reply> {
  try {
    const handler = handlers[name];
    if (handler === undefined) {
      throw new Error(`there is no command ${name}`);
    }
    return { answer: (await handler(argument)) ?? null, problem: null };
  } catch (error) {
    return { answer: null, problem: String(error) };
  }
}

/** Obeys commands by name, if there is anybody to give them. */
export function obey(handlers: Handlers): void {
  process.on('message', (command: Command) => {
    void obeyOne(handlers, command).then(reply => process.send?.(reply));
  });
}

/** When what was heard of, by name, in milliseconds of the host's clock. */
export type Times = Readonly<Record<string, number>>;

/** Keeps the first time of each name until it is taken. */
export interface TimeRecord {
  note(name: string, atMs: number): void;
  /** All times since the last call. */
  take(): Times;
}

/** Creates an empty record. */
export function createTimeRecord(): TimeRecord {
  let times = new Map<string, number>();
  return {
    note(name, atMs) {
      if (!times.has(name)) {
        times.set(name, atMs);
      }
    },
    take() {
      const taken = Object.fromEntries(times);
      times = new Map();
      return taken;
    },
  };
}
