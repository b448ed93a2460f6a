/** How a command is defined: its words, its flags, what it does; and the forms that values of options have. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { CONFIG_FLAGS, type SettingKey } from '../config/config.js';
import { createContext, type CommandContext } from './context.js';
import { EXIT, UsageError } from './errors.js';

/** Flags that every command takes; the rest are for `serve`. */
const COMMON: readonly SettingKey[] = ['databaseUrl', 'listenUrl', 'channel'];

/** Flags of commands that wait for replicas. */
export const BARRIER_FLAGS: readonly SettingKey[] = [...COMMON, 'leaseMs'];

/** Flags of `serve`. */
export const ALL_FLAGS: readonly SettingKey[] = CONFIG_FLAGS.map(({ key }) => key);

/** What a command does with its context, the arguments of its words and its own options. Returns the exit code or 0. */
type Action<A extends unknown[]> = (context: CommandContext, ...args: A) => Promise<number | void>;

/** Defines the commands of one program. */
export interface Definer {
  /** Makes a subcommand. @param configKeys the settings that it takes as flags */
  readonly define: <A extends unknown[]>(
    parent: Command,
    words: string,
    help: string,
    action: Action<A>,
    configKeys?: readonly SettingKey[],
  ) => Command;

  /** Makes a subcommand that takes rights away: with `--wait` it returns when every replica denies. */
  readonly defineDenial: <A extends unknown[]>(
    parent: Command,
    words: string,
    help: string,
    action: Action<A>,
  ) => Command;
}

/** Values of an option that may be repeated. A `--no-…` before them is not there any more. */
export const collect = (value: string, previous: readonly string[] | false | undefined): string[] => [
  ...(previous === false || previous === undefined ? [] : previous),
  value,
];

/** Reads an option that is a whole number. */
export const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^[0-9]{1,6}$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(`allowed: a whole number from ${min} to ${max}.`);
    }
    return value;
  };

/** An empty value is a variable of a script that was not set, and no wish to store nothing. */
function refuseEmpty(options: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(options)) {
    if ([value].flat().some(text => typeof text === 'string' && text.trim() === '')) {
      const flag = key.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
      throw new UsageError(`--${flag} must not be empty; where something stored can be cleared, --no-${flag} does it`);
    }
  }
}

function addConfigFlags(command: Command, keys: readonly SettingKey[]): Command {
  for (const { key, flag, help } of CONFIG_FLAGS) {
    if (keys.includes(key)) {
      const option = new Option(`--${flag} <value>`, help);
      option.attributeName = () => key;
      command.addOption(option);
    }
  }
  return command;
}

/** @param ended receives the exit code of the command that ran */
export function createDefiner(ended: (exitCode: number) => void): Definer {
  const define: Definer['define'] = <A extends unknown[]>(
    parent: Command,
    words: string,
    help: string,
    action: Action<A>,
    configKeys = COMMON,
  ) =>
    addConfigFlags(parent.command(words).description(help), configKeys)
      .option('--json', 'print JSON')
      .action(async (...given: unknown[]) => {
        // What commander promises: the arguments of the words, then options, then the command.
        const options = given.at(-2) as Record<string, unknown>;
        const isConfig = (key: string): boolean => key === 'json' || configKeys.some(known => known === key);
        const flags = Object.fromEntries(Object.entries(options).filter(([key]) => isConfig(key)));
        const own = Object.fromEntries(Object.entries(options).filter(([key]) => !isConfig(key)));
        refuseEmpty(own);
        const context = createContext(flags, process.env);
        ended((await action(context, ...([...given.slice(0, -2), own] as A))) ?? EXIT.done);
      });
  return {
    define,
    defineDenial: (parent, words, help, action) =>
      define(parent, words, help, action, BARRIER_FLAGS).option(
        '--wait',
        'return when every replica denies, and say so',
      ),
  };
}
