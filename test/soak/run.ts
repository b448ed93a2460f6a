/**
 * The soak, from the command line:
 *
 *   npm run soak [-- --minutes 20] [--replicas N] [--json file]
 *
 * Exit code 0: nothing grows; 1: something does, or the soak could not be run; 2: wrong usage.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { parse, runCommand, wholeNumber } from '../support/usage.js';
import { MEASURES, runSoak, type Finding } from './soak.js';

const USAGE = 'usage: npm run soak -- [--minutes N (default 20)] [--replicas N (default 2)] [--json file]';

function readArguments(): { readonly minutes: number; readonly replicas: number; readonly json: string | undefined } {
  const { values } = parse(() =>
    parseArgs({
      options: {
        minutes: { type: 'string', default: '20' },
        replicas: { type: 'string', default: '2' },
        json: { type: 'string' },
      },
    }),
  );
  return {
    minutes: wholeNumber('minutes', values.minutes, 1_440),
    replicas: wholeNumber('replicas', values.replicas, 9),
    json: values.json,
  };
}

function formatFindings(findings: readonly Finding[]): string {
  const number = (value: number): string => value.toFixed(Math.abs(value) < 100 ? 3 : 0);
  const rows = [
    ['replica', 'measure', 'first', 'last', 'slope per second', '± standard error', 'limit', ''],
    ...findings.map(({ replica, measure, first, last, slope, standardError, limit, ok }) => [
      replica,
      MEASURES[measure].describes,
      String(first),
      String(last),
      number(slope),
      number(standardError),
      limit === null ? 'none' : String(limit),
      ok ? 'ok' : 'GROWS',
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  return rows
    .map(row =>
      row
        .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join('  '),
    )
    .join('\n');
}

await runCommand(USAGE, async signal => {
  const { minutes, replicas, json } = readArguments();
  const { findings, ...sums } = await runSoak({
    seconds: minutes * 60,
    replicas,
    signal,
    onSample: text => {
      console.log(text);
    },
  });
  const ok = findings.every(finding => finding.ok);
  console.log(
    `\n${formatFindings(findings)}\n\n${sums.requests} requests, ${sums.changes} changes, ${sums.reconnects} ` +
      `reconnects, ${sums.samples} samples after the warm-up, ${sums.seconds.toFixed(0)} s`,
  );
  if (json !== undefined) {
    await writeFile(json, JSON.stringify({ date: new Date().toISOString(), ok, ...sums, findings }, null, 2) + '\n');
  }
  return ok ? 0 : 1;
});
