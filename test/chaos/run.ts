/** Real faults, from the command line: `npm run chaos -- --help`. */
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { runCommand } from '../support/usage.js';
import { HELP, readArguments } from './arguments.js';
import { runChaos, type Result } from './chaos.js';
import { LEASE_MS } from './nemesis.js';
import { formatSummary, formatTable } from './table.js';

function tell({ nemesis, commits, decisions, violations, problems }: Result): void {
  const verdict = problems.length === 0 ? 'ok    ' : 'FAILED';
  console.log(`${verdict} ${nemesis}: ${commits} commits, ${decisions} decisions, ${violations} violations`);
  for (const problem of problems) {
    console.log(`  ${problem.replaceAll('\n', '\n  ')}`);
  }
}

await runCommand(HELP, async signal => {
  const args = readArguments(process.argv.slice(2));
  if (args === 'help') {
    console.log(HELP);
    return 0;
  }
  const { json, postgres, ...options } = args;
  const results: Result[] = [];
  const startedMs = performance.now();
  for await (const result of runChaos({ ...options, signal })) {
    results.push(result);
    tell(result);
  }
  const seconds = Math.round((performance.now() - startedMs) / 1_000);
  const ok = results.every(({ problems }) => problems.length === 0);
  console.log(`\n${formatTable(results)}\n\n${formatSummary(results)}; ${seconds} s`);
  if (json !== undefined) {
    const { replicas } = options;
    const conditions = { date: new Date().toISOString(), postgres, replicas, leaseMs: LEASE_MS, cpus: cpus().length };
    await writeFile(json, JSON.stringify({ ...conditions, seconds, ok, results }, null, 2) + '\n');
  }
  return ok ? 0 : 1;
});
