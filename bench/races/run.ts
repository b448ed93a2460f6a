/** The races, from the command line: `npm run races -- --help`. */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { createPostgresServer } from '../../src/dev/postgres.js';
import { migrate } from '../../src/postgres/migrate.js';
import { parse, runCommand, UsageError, wholeNumber } from '../../test/support/usage.js';
import { RESULTS_DIRECTORY } from '../results.js';
import { gatebellCache, LIBRARIES } from './libraries/index.js';
import { RACES } from './races.js';
import { createResults, writeRaceResults } from './results.js';
import { playRaces } from './suite.js';
import { formatRaces, lostBy, tellCell } from './table.js';

const ROUNDS = 200;
const ROUNDS_MAX = 100_000;

const HELP = `usage: npm run races -- [options]

  --rounds n    rounds of each race (default ${ROUNDS})
  --seed text   what the order within a round is drawn from (default 1)
  --json dir    where the results go (default ${RESULTS_DIRECTORY})

Exit code 0: gatebell/cache gave no stale answer; 1: it did, or the races failed; 2: wrong usage.
npm run races:report puts the results into docs/races.md.
`;

function readArguments(): { readonly rounds: number; readonly seed: string; readonly json: string } | 'help' {
  const { values } = parse(() =>
    parseArgs({
      options: {
        rounds: { type: 'string', default: String(ROUNDS) },
        seed: { type: 'string', default: '1' },
        json: { type: 'string', default: RESULTS_DIRECTORY },
        help: { type: 'boolean', default: false },
      },
    }),
  );
  if (values.help) {
    return 'help';
  }
  if (values.json === '') {
    throw new UsageError('--json must name a folder');
  }
  return { rounds: wholeNumber('rounds', values.rounds, ROUNDS_MAX), seed: values.seed, json: values.json };
}

await runCommand(HELP, async signal => {
  const args = readArguments();
  if (args === 'help') {
    console.log(HELP);
    return 0;
  }
  // What was started ends with this process.
  signal.addEventListener('abort', () => process.exit(1));
  const startedMs = performance.now();
  const server = await createPostgresServer({ settings: { fsync: 'off' } });
  try {
    const client = new pg.Client({ connectionString: server.url('postgres') });
    await client.connect();
    await migrate(client, 'up');
    await client.end();
    const suite = { libraries: LIBRARIES, races: RACES, rounds: args.rounds, seed: args.seed };
    const cells = await playRaces({
      ...suite,
      url: server.url('postgres'),
      onCell: (race, library, cell) => {
        console.error(`${race.name}, ${library.name}: ${tellCell(cell, library.keeps)}`);
      },
    });
    const results = createResults(suite, cells, Math.round((performance.now() - startedMs) / 1_000));
    await writeRaceResults(args.json, results);
    console.log(`\nStale answers after the invalidation was acknowledged:\n\n${formatRaces(results)}\n`);
    const lost = lostBy(results, gatebellCache.name);
    for (const title of lost) {
      console.error(`${gatebellCache.name} was stale, or failed: ${title}`);
    }
    return lost.length === 0 ? 0 : 1;
  } finally {
    await server.remove();
  }
});
