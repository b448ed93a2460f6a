/** The arguments of `npm run bench`. */
import { parseArgs } from 'node:util';
import { parse, UsageError } from '../test/support/usage.js';
import type { Experiment } from './experiment.js';
import { EXPERIMENTS } from './experiments/index.js';
import { RESULTS_DIRECTORY } from './results.js';

export const HELP = `usage: npm run bench -- [options]

  --quick            fewer rounds and smaller sizes; all of it in about four minutes
  --only name,name   these experiments alone
  --bars             prints every bar with its target and what was measured;
                     exit code 1 if one is missed or was not measured
  --json dir         where the results go (default ${RESULTS_DIRECTORY})

Exit code 0: done; 1: an experiment failed, or a bar is not met; 2: wrong usage.
npm run bench:report makes docs/performance.md and docs/performance/ of the results.

experiments:
${EXPERIMENTS.map(({ name, title }) => `  ${name.padEnd(18)} ${title}`).join('\n')}
`;

export interface BenchArguments {
  readonly experiments: readonly Experiment[];
  readonly quick: boolean;
  readonly bars: boolean;
  /** Folder of the results. */
  readonly json: string;
}

/** @throws UsageError */
export function readArguments(args: readonly string[]): BenchArguments | 'help' {
  const { values } = parse(() =>
    parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string' },
        bars: { type: 'boolean', default: false },
        json: { type: 'string', default: RESULTS_DIRECTORY },
        help: { type: 'boolean', default: false },
      },
    }),
  );
  const { quick, bars, json, help } = values;
  if (help) {
    return 'help';
  }
  const only = values.only?.split(',');
  const unknown = only?.filter(name => !EXPERIMENTS.some(experiment => experiment.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new UsageError(`there is no experiment '${unknown.join("', '")}'; --help lists them`);
  }
  if (json === '') {
    throw new UsageError('--json must name a folder');
  }
  return { experiments: EXPERIMENTS.filter(({ name }) => only?.includes(name) ?? true), quick, bars, json };
}
