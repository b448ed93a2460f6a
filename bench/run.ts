/**
 * All measurements, from the command line: `npm run bench -- --help`. Experiments run one after the other; one that
 * fails does not keep the others from running, and its bars count as not measured.
 */
import { runCommand } from '../test/support/usage.js';
import { HELP, readArguments } from './arguments.js';
import type { Experiment, Findings } from './experiment.js';
import { thisCommit, thisMachine, writeResult } from './results.js';
import { formatFindings, formatVerdicts, judge, type Verdict } from './table.js';

/** Runs one experiment and keeps its result; null if it failed. */
async function perform(experiment: Experiment, quick: boolean, directory: string): Promise<Findings | null> {
  console.log(`\n== ${experiment.name}: ${experiment.title}`);
  const commit = thisCommit();
  const date = new Date().toISOString();
  const startedMs = performance.now();
  try {
    const findings = await experiment.run({
      quick,
      log: line => {
        console.log(`   ${line}`);
      },
    });
    const seconds = Math.round((performance.now() - startedMs) / 1_000);
    await writeResult(directory, {
      experiment: experiment.name,
      date,
      commit,
      quick,
      seconds,
      machine: thisMachine(),
      findings,
    });
    console.log(`\n${formatFindings(findings)}\n   ${seconds} s`);
    return findings;
  } catch (error) {
    console.error(`${experiment.name} failed:`, error);
    return null;
  }
}

await runCommand(HELP, async signal => {
  const args = readArguments(process.argv.slice(2));
  if (args === 'help') {
    console.log(HELP);
    return 0;
  }
  // What was started ends with this process.
  signal.addEventListener('abort', () => process.exit(1));
  const verdicts: Verdict[] = [];
  let failed = false;
  for (const experiment of args.experiments) {
    const findings = await perform(experiment, args.quick, args.json);
    failed ||= findings === null;
    verdicts.push(...judge(experiment, findings));
  }
  if (args.bars) {
    console.log(`\n${formatVerdicts(verdicts)}`);
  }
  return failed || (args.bars && verdicts.some(({ met }) => !met)) ? 1 : 0;
});
