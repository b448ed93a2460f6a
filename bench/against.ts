/**
 * Two commits side by side: `npm run bench:against -- <commit>`. The other commit is checked out and built in a
 * temporary folder; both serve equal data from a Postgres each, and take turns under the same load, while each answers
 * one scrape of its metrics and one page per second, as in production.
 *
 * V8 compiles each life of a process a little differently: several lives tell more than many rounds of one.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { AUDIENCE, createSigningKey, goodClaims, issue, ISSUER, type SigningKey } from '../test/support/jwt-issuer.js';
import { CLI, fetchAnswer, forwardHeaders, startReplica, type Replica } from '../test/support/replica.js';
import { parse, runCommand, UsageError, wholeNumber } from '../test/support/usage.js';
import type { Findings } from './experiment.js';
import { thisCommit, thisMachine } from './results.js';
import { askForAll, putLoad, type Load, type Rotation } from './support/load.js';
import { endWithUs, processorMs } from './support/program.js';
import { createSeriesLog, type SeriesLog } from './support/series.js';
import { createWorld, type World } from './support/measured-world.js';
import { formatFindings } from './table.js';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const HELP = `usage: npm run bench:against -- <commit> [options]

  --lives n     processes of each commit, one after the other (default 3, at most 20)
  --rounds n    rounds of each life (default 9, at most 99)
  --users n     users of the scenario that draws them in random turn (default 5000, at most 100000)
  --json file   where the figures go

Exit code 0: done; 1: it failed; 2: wrong usage.
`;
/** Names the checkout that this file is in. */
const HERE = 'working tree';
const USERS_MAX = 100_000;
const APPS = 10;
const WARM_UPS = 5;
/** A user with one grant, as most are; the first has a grant for every app. */
const ORDINARY = 1;

const run = promisify(execFile);

/** One of the two: a built command and the database that it serves. */
interface Side {
  readonly name: string;
  readonly cli: string;
  readonly world: World;
  readonly key: SigningKey;
}

interface Scenario {
  readonly name: string;
  load(side: Side): Pick<Load, 'headers' | 'rotation'>;
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'cookie',
    load: ({ world: { hosts, tokens } }) => ({
      headers: forwardHeaders({ host: hosts[0]!, cookie: tokens[ORDINARY]! }),
    }),
  },
  {
    name: 'JWT',
    load: ({ world: { hosts }, key }) => ({
      headers: forwardHeaders({
        host: hosts[0]!,
        token: issue(key, { ...goodClaims(Date.now()), sub: `user-${String(ORDINARY + 1).padStart(6, '0')}` }),
      }),
    }),
  },
  {
    name: 'users in random turn',
    load: ({ world: { hosts, tokens } }) => {
      const rotation: Rotation = {
        header: 'Cookie',
        values: tokens.map(token => `gatebell=${token}`),
        order: 'random',
      };
      return { headers: forwardHeaders({ host: hosts[0]! }), rotation };
    },
  },
];

/** Builds the commit in the folder. @returns its command */
async function checkOut(commit: string, folder: string): Promise<string> {
  await run('git', ['worktree', 'add', '--detach', folder, commit], { cwd: ROOT });
  await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder });
  await run('npm', ['run', '--silent', 'build'], { cwd: folder });
  return path.join(folder, 'dist/cli.js');
}

async function createSide(name: string, cli: string, users: number): Promise<Side> {
  const world = await createWorld({
    users,
    apps: APPS,
    applyMigrations: (_, databaseUrl) =>
      run(process.execPath, [cli, 'migrate', 'up'], { env: { ...process.env, DATABASE_URL: databaseUrl } }),
  });
  return { name, cli, world, key: createSigningKey('ES256') };
}

/** Asks for the metrics and a page once per second, until it is stopped. */
function operate({ auth, ops }: Replica): () => void {
  const timer = setInterval(() => {
    // What fails here shows in the load as well.
    fetchAnswer(`${ops}/metrics`).catch(() => undefined);
    fetchAnswer(`${auth}/_gatebell/login`).catch(() => undefined);
  }, 1_000);
  return () => {
    clearInterval(timer);
  };
}

/** One life of each side, all scenarios. */
async function live(sides: readonly Side[], rounds: number, series: SeriesLog): Promise<void> {
  const replicas: { side: Side; replica: Replica; stopOperating: () => void }[] = [];
  try {
    for (const side of sides) {
      const replica = await startReplica(side.world.databaseUrl, {
        cli: side.cli,
        env: {
          NODE_ENV: 'production',
          GATEBELL_JWT_ISSUER: ISSUER,
          GATEBELL_JWT_AUDIENCE: AUDIENCE,
          GATEBELL_JWT_KEY: side.key.text,
        },
      });
      endWithUs(replica.child);
      replicas.push({ side, replica, stopOperating: operate(replica) });
    }
    for (const scenario of SCENARIOS) {
      const targets = replicas.map(({ side, replica }) => ({
        name: side.name,
        pid: replica.child.pid!,
        load: { url: `${replica.auth}/auth/forward`, connections: 32, seconds: 1, ...scenario.load(side) },
      }));
      for (const { load } of targets) {
        for (let times = 0; times < WARM_UPS; times++) {
          await putLoad(load);
        }
        if (load.rotation !== undefined) {
          await askForAll(load, load.rotation);
        }
      }
      for (let round = 0; round < rounds; round++) {
        for (const { name, pid, load } of round % 2 === 0 ? targets : targets.toReversed()) {
          const beforeMs = processorMs(pid)!;
          const { requests, requestsPerSecond, refused, failed } = await putLoad(load);
          if (requests === 0 || refused > 0 || failed > 0) {
            throw new Error(
              `${name}, ${scenario.name}: of ${requests} answers, ${refused} refused and ${failed} failed`,
            );
          }
          const add = (metric: string, unit: string, value: number): void => {
            series.add({ variant: name, scenario: scenario.name, metric, unit }, value);
          };
          add('requests per second', '1/s', requestsPerSecond);
          add('processor time per request', 'µs', ((processorMs(pid)! - beforeMs) * 1_000) / requests);
        }
      }
    }
  } finally {
    for (const { replica, stopOperating } of replicas) {
      stopOperating();
      await replica.stop();
    }
  }
}

async function compare(commit: string, lives: number, rounds: number, users: number): Promise<Findings> {
  const folder = await mkdtemp(path.join(tmpdir(), 'gatebell-against-'));
  const sides: Side[] = [];
  const series = createSeriesLog();
  try {
    console.log(`building ${commit} …`);
    const cli = await checkOut(commit, folder);
    sides.push(await createSide(HERE, CLI, users));
    // Apart: what fails here must not leave the first one behind.
    sides.push(await createSide(commit, cli, users));
    for (let life = 0; life < lives; life++) {
      console.log(`life ${life + 1} of ${lives}`);
      await live(life % 2 === 0 ? sides : sides.toReversed(), rounds, series);
    }
  } finally {
    for (const { world } of sides) {
      await world.close();
    }
    await run('git', ['worktree', 'remove', '--force', folder], { cwd: ROOT }).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  }
  // The ratio of a table is that of its first variant to the others.
  return {
    series: series.all.toSorted((a, b) => Number(b.variant === HERE) - Number(a.variant === HERE)),
    notes: [
      `${lives} lives of each commit, ${rounds} rounds of 1 s each, 32 connections; ` +
        `${users.toLocaleString('en')} users in random turn.`,
      'Meanwhile each answers one scrape of its metrics and one page per second.',
    ],
  };
}

await runCommand(HELP, async () => {
  const { values, positionals } = parse(() =>
    parseArgs({
      allowPositionals: true,
      options: {
        lives: { type: 'string', default: '3' },
        rounds: { type: 'string', default: '9' },
        users: { type: 'string', default: '5000' },
        json: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }),
  );
  const [commit, ...more] = positionals;
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (commit === undefined || more.length > 0) {
    throw new UsageError('name one commit to compare with');
  }
  const findings = await compare(
    commit,
    wholeNumber('lives', values.lives, 20),
    wholeNumber('rounds', values.rounds, 99),
    wholeNumber('users', values.users, USERS_MAX),
  );
  console.log(`\n${formatFindings(findings)}`);
  if (values.json !== undefined) {
    const result = { commit: thisCommit(), against: commit, machine: thisMachine(), findings };
    await writeFile(values.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  return 0;
});
