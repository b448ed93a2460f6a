#!/usr/bin/env node
/**
 * The command `gatebell`: words in, exit codes out. What the commands do is in `commands/`, one file each; those that need a
 * web server are loaded when they are asked for, so that the others start fast.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { barrier } from './commands/barrier.js';
import { createContext, type CommandContext } from './commands/context.js';
import type { DevOptions } from './commands/dev.js';
import { doctor } from './commands/doctor/doctor.js';
import * as facts from './commands/admin/facts.js';
import * as identities from './commands/admin/identities.js';
import { migrateDown, migrateStatus, migrateUp, repairCommand } from './commands/migrate.js';
import { sql } from './commands/sql.js';
import { CONFIG_FLAGS, type ConfigFlag } from './config/config.js';
import { describeError, EXIT, UsageError } from './commands/errors.js';
import { VERSION } from './ops/version.js';

/** Flags that every command takes; the rest are for `serve`. */
const COMMON: readonly ConfigFlag['key'][] = ['databaseUrl', 'listenUrl', 'channel'];
/** Flags of commands that wait for replicas. */
const BARRIER: readonly ConfigFlag['key'][] = [...COMMON, 'leaseMs'];
const ALL = CONFIG_FLAGS.map(({ key }) => key);

/** Values of an option that may be repeated. What `--no-…` has cleared before is not there any more. */
const collect = (value: string, previous: readonly string[] | false | undefined): string[] => [
  ...(previous === false || previous === undefined ? [] : previous),
  value,
];

/** An empty value is a variable of a script that was not set, and no wish to store nothing. */
function refuseEmpty(options: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(options)) {
    if ([value].flat().some(text => typeof text === 'string' && text.trim() === '')) {
      const flag = key.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
      throw new UsageError(`--${flag} must not be empty; where something stored can be cleared, --no-${flag} does it`);
    }
  }
}

const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^[0-9]{1,6}$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(`allowed: a whole number from ${min} to ${max}.`);
    }
    return value;
  };

/** Runs an action with its context; the last two arguments are commander's: options, command. */
type Action<A extends unknown[]> = (context: CommandContext, ...args: A) => Promise<number | void>;

function addConfigFlags(command: Command, keys: readonly ConfigFlag['key'][]): Command {
  for (const { key, flag, help } of CONFIG_FLAGS) {
    if (keys.includes(key)) {
      const option = new Option(`--${flag} <value>`, help);
      option.attributeName = () => key;
      command.addOption(option);
    }
  }
  return command;
}

/** @param json whether errors are printed as JSON, by `main`, instead of as commander's text */
function createProgram(json: boolean, run: (exitCode: number) => void): Command {
  const program = new Command('gatebell')
    .description('The forward-auth gate that forgets in milliseconds.')
    .version(VERSION)
    .exitOverride()
    .configureOutput(json ? { writeErr: () => undefined } : {})
    .showHelpAfterError('(--help says what is allowed)')
    .configureHelp({ showGlobalOptions: true });

  /** Makes a subcommand whose action gets a context, its arguments and its own options. */
  const define = <A extends unknown[]>(
    parent: Command,
    words: string,
    help: string,
    action: Action<A>,
    configKeys: readonly ConfigFlag['key'][] = COMMON,
  ): Command =>
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
        run((await action(context, ...([...given.slice(0, -2), own] as A))) ?? EXIT.done);
      });

  /** A command that takes rights away: it can wait until every replica denies. */
  const defineDenial = <A extends unknown[]>(
    parent: Command,
    words: string,
    help: string,
    action: Action<A>,
  ): Command =>
    define(parent, words, help, action, BARRIER).option('--wait', 'return when every replica denies, and say so');

  define(
    program,
    'serve',
    'run one replica until SIGTERM',
    async context => (await import('./commands/serve.js')).serve(context),
    ALL,
  );
  define(
    program,
    'dev',
    'see it work: an embedded Postgres, sample data and several replicas',
    async (_, options: DevOptions) => (await import('./commands/dev.js')).dev(options),
    [],
  )
    .addOption(new Option('--replicas <n>', 'how many replicas').default(2).argParser(wholeNumber(1, 20)))
    .addOption(
      new Option('--port <port>', 'auth port of the first replica; each takes two; 0: any free ones')
        .default(4280)
        .argParser(wholeNumber(0, 65_000)),
    );
  define(program, 'doctor', 'check everything that a replica rests on', doctor).option(
    '--allow-role <role>',
    'a role of yours that has rights on the tables on purpose; may be repeated',
    collect,
  );
  define(
    program,
    'barrier',
    'return when every replica has applied everything that was committed before',
    barrier,
    BARRIER,
  );
  define(program, 'sql <statements>', 'run SQL on the same database', (context, statements: string) =>
    sql(context, statements),
  );

  const yes = ['--yes', 'do not ask'] as const;
  const migrate = program.command('migrate').description('apply, take back or list the migrations');
  define(migrate, 'up', 'apply all that are pending, and repair', migrateUp);
  define(migrate, 'down', 'take the newest back, with all that is stored in it', migrateDown)
    .addOption(new Option('--count <n>', 'how many').default(1).argParser(wholeNumber(1, 1_000)))
    .option(...yes);
  define(migrate, 'status', 'list them', migrateStatus);
  define(
    program,
    'repair',
    'put privileges, triggers and the fence key in place again, after a restore',
    repairCommand,
  );

  const user = program.command('user').description('who may sign in');
  const userFields = (command: Command): Command =>
    command
      .option('--email <address>', 'sent as Remote-Email')
      .option('--display-name <name>', 'sent as Remote-Name')
      .option('--group <name>', 'sent in Remote-Groups; may be repeated', collect);
  userFields(define(user, 'add <name>', 'add a user', facts.userAdd));
  userFields(define(user, 'set <name>', 'change a user; what is not given stays', facts.userSet))
    .option('--name <name>', 'rename')
    .option('--no-email', 'clear the address')
    .option('--no-display-name', 'clear the name that is sent')
    .option('--no-group', 'clear all groups');
  define(user, 'enable <name>', 'let a disabled user in again', (context, name: string) =>
    facts.userSet(context, name, { enabled: true }),
  );
  defineDenial(user, 'disable <name>', 'deny a user everywhere', facts.userDisable);
  defineDenial(user, 'delete <name>', 'delete a user with all grants and credentials', facts.userDelete).option(...yes);
  define(user, 'list', 'list all users', facts.userList);
  const identity = (command: Command): Command =>
    command
      .requiredOption('--subject <sub>', 'as the claim sub of JWTs and ID tokens has it')
      .option('--issuer <iss>', 'as the claim iss has it; default: the issuer that is configured');
  identity(define(user, 'bind <name>', 'say which user a subject of an issuer is', identities.userBind));
  identity(defineDenial(user, 'unbind', 'make a subject of an issuer nobody', identities.userUnbind));
  define(user, 'identities [name]', 'list which subjects are which users', (context, name: string | undefined) =>
    identities.userIdentities(context, name),
  );

  const app = program.command('app').description('what is behind the proxy');
  const header = [
    '--header <pair>',
    "header template, 'Name: {{user.name}}', sent with every 200; may be repeated",
    collect,
  ] as const;
  define(app, 'add <name>', 'add an app', facts.appAdd)
    .requiredOption('--host <host>', 'host name')
    .option(...header);
  define(app, 'set <name>', 'change an app; what is not given stays', facts.appSet)
    .option('--name <name>', 'rename')
    .option('--host <host>', 'host name')
    .option(...header)
    .option('--no-header', 'clear all header templates');
  define(app, 'enable <name>', 'open a disabled app again', (context, name: string) =>
    facts.appSet(context, name, { enabled: true }),
  );
  defineDenial(app, 'disable <name>', 'deny everyone', facts.appDisable);
  defineDenial(app, 'delete <name>', 'delete an app with all routes and grants', facts.appDelete).option(...yes);
  define(app, 'list', 'list all apps', facts.appList);

  const route = program.command('route').description('rules by path; a path that no route matches needs a grant');
  define(route, 'set <app> <prefix>', 'add a route, or change one; what is not given stays', facts.routeSet)
    .addOption(
      new Option('--access <access>', 'who may pass; a new route needs it').choices([
        'public',
        'authenticated',
        'grant',
      ]),
    )
    .option('--role <role>', "the grant's role must be one of these; may be repeated", collect)
    .addOption(
      new Option('--consistency <consistency>', 'strong: sees every commit acknowledged before').choices([
        'bounded',
        'strong',
      ]),
    )
    .option('--preflight', 'let CORS preflights pass without a credential; the app answers them')
    .option('--no-preflight', 'do not let them pass')
    .option(...header)
    .option('--no-role', 'clear all roles')
    .option('--no-header', 'clear all header templates');
  define(route, 'delete <app> <prefix>', 'delete a route', facts.routeDelete);
  define(route, 'list [app]', 'list routes', (context, name: string | undefined) => facts.routeList(context, name));

  const grant = program.command('grant').description('who may reach what').usage('<user> <app> [options] | list');
  define(grant, 'list', 'list all grants', facts.grantList);
  define(
    grant,
    'set <user> <app>',
    'let a user reach an app (the word set may be left out), or change the grant; what is not given stays',
    facts.grantSet,
  )
    .option('--role <role>', 'role at the app; of a new grant, user if it is not given')
    .option('--expires <when>', '90s, 15m, 12h, 30d, 2w, a time, or never');
  defineDenial(program, 'revoke <user> <app>', 'take a grant away', facts.revoke);

  const token = program.command('token').description('credentials: tokens for programs, sessions for the cookie');
  define(token, 'create <user>', 'create one and print it, once', facts.tokenCreate)
    .addOption(new Option('--kind <kind>', 'what it is for').choices(['token', 'session']).default('token'))
    .option('--label <text>', 'what it is called in lists')
    .option('--expires <when>', '90s, 15m, 12h, 30d, 2w, a time, or never');
  defineDenial(token, 'revoke <id>', 'revoke one', facts.tokenRevoke);
  define(token, 'list [user]', 'list them, without their secrets', (context, name: string | undefined) =>
    facts.tokenList(context, name),
  );

  const jwt = program.command('jwt').description('JWTs of your issuer that do not count any more');
  defineDenial(jwt, 'revoke <jti>', 'revoke the one with this id', facts.jwtRevoke).option(
    '--expires <when>',
    'when it expires by itself, not earlier than its exp: its id is kept until then; 90s, 15m, 12h, 30d, 2w, or a time',
  );
  defineDenial(
    jwt,
    'revoke-all <user>',
    'revoke all that were issued until now: sign a user out everywhere',
    facts.jwtRevokeAll,
  );
  define(jwt, 'list', 'list the ids that are revoked', facts.jwtList);

  return program;
}

/** `grant alice photos` is short for `grant set alice photos`. */
function expandShortForms(words: readonly string[]): string[] {
  const [first, second] = words;
  return first === 'grant' &&
    second !== undefined &&
    !['set', 'list', 'help'].includes(second) &&
    !second.startsWith('-')
    ? ['grant', 'set', ...words.slice(1)]
    : [...words];
}

async function main(words: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.done;
  const json = words.includes('--json');
  const program = createProgram(json, code => {
    exitCode = code;
  });
  try {
    await program.parseAsync(expandShortForms(words), { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && (error.exitCode === 0 || !json)) {
      // Help and version end here too, with exit code 0; commander has printed what there is to say.
      return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    }
    const {
      code,
      message,
      hint,
      exitCode: failure,
    } = describeError(error instanceof CommanderError ? new UsageError(error.message) : error);
    process.stderr.write(
      json
        ? JSON.stringify({ error: { code, message, ...(hint === undefined ? {} : { hint }) } }) + '\n'
        : `gatebell: ${message}\n${hint === undefined ? '' : `${hint}\n`}`,
    );
    return failure;
  }
}

// Whoever reads our output may leave early (`gatebell dev | head`); that is no reason to drop what must be cleaned up.
process.stdout.on('error', () => undefined);

process.exitCode = await main(process.argv.slice(2));
