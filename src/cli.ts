#!/usr/bin/env node
/**
 * The command `gatebell`: words in, exit codes out. What the commands do is in `commands/`, one file each. Those that
 * need a web server are loaded when somebody runs them, so that the others start fast.
 */
import { Command, CommanderError, Option } from 'commander';
import { defineApp } from './commands/admin/app.js';
import { YES } from './commands/admin/confirm.js';
import { defineGrant, expandShortGrant } from './commands/admin/grant.js';
import { defineJwt } from './commands/admin/jwt.js';
import { defineRoute } from './commands/admin/route.js';
import { defineToken } from './commands/admin/token.js';
import { defineUser } from './commands/admin/user.js';
import { barrier } from './commands/barrier.js';
import { ALL_FLAGS, BARRIER_FLAGS, collect, createDefiner, wholeNumber, type Definer } from './commands/define.js';
import type { DevOptions } from './commands/dev.js';
import { doctor } from './commands/doctor/doctor.js';
import { describeError, EXIT, UsageError } from './commands/errors.js';
import { migrateDown, migrateStatus, migrateUp, repairCommand } from './commands/migrate.js';
import { sql } from './commands/sql.js';
import { VERSION } from './ops/version.js';

/** What runs replicas, or looks at them. */
function defineReplica(program: Command, { define }: Definer): void {
  define(
    program,
    'serve',
    'run one replica until SIGTERM',
    async context => (await import('./commands/serve.js')).serve(context),
    ALL_FLAGS,
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
    BARRIER_FLAGS,
  );
  define(program, 'sql <statements>', 'run SQL on the same database', (context, statements: string) =>
    sql(context, statements),
  );
}

/** The schema. */
function defineMigrations(program: Command, { define }: Definer): void {
  const migrate = program.command('migrate').description('apply, take back or list the migrations');
  define(migrate, 'up', 'apply all that are pending, and repair', migrateUp);
  define(migrate, 'down', 'take the newest back, with all that is stored in it', migrateDown)
    .addOption(new Option('--count <n>', 'how many').default(1).argParser(wholeNumber(1, 1_000)))
    .option(...YES);
  define(migrate, 'status', 'list them', migrateStatus);
  define(
    program,
    'repair',
    'put privileges, triggers and the fence key in place again, after a restore',
    repairCommand,
  );
}

/** Makes the command. @param json whether errors are printed as JSON, by `main`, instead of as commander's text */
function createProgram(json: boolean, ended: (exitCode: number) => void): Command {
  const program = new Command('gatebell')
    .description('The forward-auth gate that forgets in milliseconds.')
    .version(VERSION)
    .exitOverride()
    .configureOutput(json ? { writeErr: () => undefined } : {})
    .showHelpAfterError('(--help says what is allowed)')
    .configureHelp({ showGlobalOptions: true });
  const definer = createDefiner(ended);
  // In the order of the help.
  for (const defineNoun of [
    defineReplica,
    defineMigrations,
    defineUser,
    defineApp,
    defineRoute,
    defineGrant,
    defineToken,
    defineJwt,
  ]) {
    defineNoun(program, definer);
  }
  return program;
}

async function main(words: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.done;
  const json = words.includes('--json');
  const program = createProgram(json, code => {
    exitCode = code;
  });
  try {
    await program.parseAsync(expandShortGrant(words), { from: 'user' });
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

// The reader of the output may leave early (`gatebell dev | head`); what must be cleaned up still is.
process.stdout.on('error', () => undefined);

process.exitCode = await main(process.argv.slice(2));
