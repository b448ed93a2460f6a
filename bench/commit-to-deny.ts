/**
 * How long from COMMIT acknowledged to denied, on the last of N replicas: real replica processes, real Postgres, plain SQL.
 *
 *   npm run bench:commit-to-deny [replicas] [rounds]
 *
 * Each replica is asked over one kept-alive connection, a millisecond after each answer. A round waits until all of them allow from memory,
 * deletes the grant in SQL, and takes, for each replica, the time from the client's acknowledgement of the commit to the
 * first denial received. What is reported is the last replica of each round. Beside it, from the same rounds, how long
 * one answer takes on such a connection: a denial cannot be seen sooner than the next question is asked and answered.
 */
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createToken, hashToken } from '../src/auth/token.js';
import { createPostgresServer } from '../src/dev/postgres.js';
import { migrate } from '../src/store/migrate.js';
import { forwardHeaders, startReplica, type Replica } from '../test/support/replica.js';

/** Between one answer and the next question, on each connection. */
const PAUSE_MS = 1;

const [replicasText = '3', roundsText = '300'] = process.argv.slice(2);
const replicaCount = Number(replicasText);
const rounds = Number(roundsText);

/** Quantile of sorted numbers. */
const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
const summary = (numbers: readonly number[]): Record<'p50' | 'p99' | 'max', number> => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const round = (value: number): number => Math.round(value * 1000) / 1000;
  return { p50: round(quantile(sorted, 0.5)), p99: round(quantile(sorted, 0.99)), max: round(quantile(sorted, 1)) };
};

/** Asks one replica without pause and tells what it answers, and when. */
function askForever(
  replica: Replica,
  token: string,
): { stop: () => Promise<void>; next: (status: number) => Promise<number>; answersMs: number[] } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const answersMs: number[] = [];
  const waiting = new Map<number, (atMs: number) => void>();
  const stopped = new AbortController();
  const loop = (async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      const startedMs = performance.now();
      const request = httpRequest(`${replica.auth}/auth/forward`, { agent, headers: forwardHeaders({ token }) });
      request.end();
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      response.resume();
      await once(response, 'end');
      const atMs = performance.now();
      answersMs.push(atMs - startedMs);
      const status = response.statusCode ?? 0;
      waiting.get(status)?.(atMs);
      waiting.delete(status);
      // A moment between two questions, or the askers starve what is measured.
      await sleep(PAUSE_MS);
    }
    agent.destroy();
  })();
  return {
    answersMs,
    next: status =>
      new Promise(resolve => {
        waiting.set(status, resolve);
      }),
    stop: async () => {
      stopped.abort();
      await loop;
    },
  };
}

const server = await createPostgresServer();
const client = new pg.Client({ connectionString: server.url('postgres') });
const replicas: Replica[] = [];
try {
  await client.connect();
  await migrate(client, 'up');
  const token = createToken();
  await client.query(`
    insert into gatebell.users (name) values ('alice');
    insert into gatebell.apps (name, host) values ('photos', 'photos.test');
  `);
  await client.query(
    `insert into gatebell.credentials (user_id, kind, token_hash) select id, 'token', decode($1, 'hex') from gatebell.users`,
    [hashToken(token)],
  );
  for (let index = 0; index < replicaCount; index++) {
    replicas.push(await startReplica(server.url('postgres'), { name: `replica-${index + 1}` }));
  }
  const askers = replicas.map(replica => askForever(replica, token));
  const lastMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const allowed = askers.map(asker => asker.next(200));
    await client.query(
      'insert into gatebell.grants (user_id, app_id) select u.id, a.id from gatebell.users u, gatebell.apps a',
    );
    await Promise.all(allowed);
    const denied = askers.map(asker => asker.next(403));
    await client.query('delete from gatebell.grants');
    const acknowledgedMs = performance.now();
    const times = (await Promise.all(denied)).map(atMs => atMs - acknowledgedMs);
    lastMs.push(Math.max(...times));
  }
  const answersMs = askers.flatMap(asker => asker.answersMs);
  await Promise.all(askers.map(asker => asker.stop()));
  const result = {
    benchmark: 'commit-to-deny',
    replicas: replicaCount,
    rounds,
    cpus: cpus().length,
    node: process.version,
    lastReplicaMs: summary(lastMs),
    oneAnswerMs: summary(answersMs),
    answers: answersMs.length,
  };
  await mkdir('bench/results', { recursive: true });
  await writeFile('bench/results/commit-to-deny.json', JSON.stringify(result, null, 2) + '\n');
  console.table({
    'commit acknowledged to denied, last replica (ms)': result.lastReplicaMs,
    'one answer (ms)': result.oneAnswerMs,
  });
} finally {
  await Promise.all(replicas.map(replica => replica.stop()));
  await client.end();
  await server.remove();
}
