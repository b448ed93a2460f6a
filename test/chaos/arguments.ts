/** The arguments of `npm run chaos`. */
import { parseArgs } from 'node:util';
import { existsSync } from 'node:fs';
import { POSTGRES_15 } from '../support/global-postgres-15.js';
import { findTool } from '../support/tool.js';
import { parse, UsageError, wholeNumber } from '../support/usage.js';
import type { ChaosOptions } from './chaos.js';
import { LEASE_MS, type Nemesis } from './nemesis.js';
import { NEMESES } from './nemeses/index.js';

export const HELP = `usage: npm run chaos -- [options]

  --quick            every nemesis for 4 seconds; all of it in less than five minutes
  --seconds N        how long each nemesis is in force, at least (default 20)
  --only name,name   these nemeses alone
  --replicas N       replicas, 1 to 9 (default 2)
  --workers N        processes of each replica, 1 to 9 (default 1)
  --postgres 15      on Debian's PostgreSQL 15 instead of the embedded 18
  --json file        writes the results there, too
  --sabotage         the replicas get a lease that is longer than promised: this must fail

Exit code 0: all is well; 1: a promise was broken, or a nemesis could not be run; 2: wrong usage.

nemeses:
${NEMESES.map(({ name, does }) => `  ${name.padEnd(30)} ${does}`).join('\n')}
`;

const QUICK_SECONDS = 4;
const DEFAULT_SECONDS = 20;

export type ChaosArguments =
  'help' | (Omit<ChaosOptions, 'signal'> & { readonly postgres: '15' | '18'; readonly json: string | undefined });

/** Nothing is left out in silence. @throws when a program is missing, with how to install it */
function findNeeded({ name, needs }: Nemesis): void {
  if (needs !== undefined) {
    try {
      findTool(needs);
    } catch (cause) {
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`nemesis ${name}: ${said} (or leave it out: --only names those to run)`, { cause });
    }
  }
}

/** @throws UsageError */
export function readArguments(args: readonly string[]): ChaosArguments {
  const { values } = parse(() =>
    parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string' },
        seconds: { type: 'string' },
        replicas: { type: 'string', default: '2' },
        workers: { type: 'string', default: '1' },
        postgres: { type: 'string', default: '18' },
        json: { type: 'string' },
        sabotage: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }),
  );
  const { quick, seconds, replicas, workers, postgres, json, sabotage, help } = values;
  if (help) {
    return 'help';
  }
  if (postgres !== '15' && postgres !== '18') {
    throw new UsageError(`--postgres is '${postgres}'; allowed: 15 or 18`);
  }
  const only = values.only?.split(',');
  const unknown = only?.filter(name => !NEMESES.some(nemesis => nemesis.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new UsageError(`there is no nemesis ${unknown.join(', ')}; --help lists them`);
  }
  const nemeses = NEMESES.filter(({ name }) => only === undefined || only.includes(name));
  const options = {
    nemeses,
    seconds: seconds === undefined ? (quick ? QUICK_SECONDS : DEFAULT_SECONDS) : wholeNumber('seconds', seconds, 3_600),
    replicas: wholeNumber('replicas', replicas, 9),
    binDirectory: postgres === '15' ? POSTGRES_15 : undefined,
    env: {
      GATEBELL_WORKERS: String(wholeNumber('workers', workers, 9)),
      ...(sabotage ? { GATEBELL_LEASE_MS: String(20 * LEASE_MS) } : {}),
    },
    postgres,
    json,
  } as const;
  if (postgres === '15' && !existsSync(POSTGRES_15)) {
    throw new Error('PostgreSQL 15 is not installed; on Debian: apt-get install postgresql-15');
  }
  nemeses.forEach(findNeeded);
  return options;
}
