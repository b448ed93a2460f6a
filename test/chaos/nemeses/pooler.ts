/** Nemeses that put a pooler in between. */
import { startPgBouncer } from '../../support/pgbouncer.js';
import type { Cluster } from '../cluster.js';
import { everywhere, LEASE_MS, type Nemesis, type Stop } from '../nemesis.js';

/** Starts every replica anew behind PgBouncer in transaction mode. @param env given where it is */
async function startBehind(
  cluster: Cluster,
  ignoreOptions: boolean,
  env: (url: string) => NodeJS.ProcessEnv,
): Promise<Stop> {
  const pooler = await startPgBouncer(cluster.replicaUrl(), ignoreOptions);
  cluster.onStop(pooler.stop);
  await everywhere(cluster, async member => {
    await member.kill();
    await member.start(env(pooler.url));
  });
  return async () => {
    await everywhere(cluster, async member => {
      await member.kill();
      await member.start();
    });
    await pooler.stop();
  };
}

export const poolerBetween: Nemesis = {
  name: 'pgbouncer',
  // Until the first fence is overdue.
  leastSeconds: LEASE_MS / 1_000 + 2,
  needs: 'pgbouncer',
  does:
    'Starts the replicas behind PgBouncer in transaction mode, which swallows LISTEN: they must not trust their ' +
    'memory, and say why.',
  start: cluster => startBehind(cluster, true, url => ({ DATABASE_URL: url, GATEBELL_LISTEN_URL: '' })),
  leaves: line => line.event === 'connection_closed' && line.message.includes('GATEBELL_LISTEN_URL'),
  expect: cluster =>
    everywhere(cluster, async ({ name, process }) => {
      const { body } = await process.get('/status');
      const { fromMemory, problem } = JSON.parse(body) as { fromMemory: boolean; problem: string | null };
      if (fromMemory || problem?.includes('GATEBELL_LISTEN_URL') !== true) {
        throw new Error(`/status of ${name} does not say what is wrong: ${body}`);
      }
    }),
};

export const poolerForPool: Nemesis = {
  name: 'pgbouncer-for-pool',
  needs: 'pgbouncer',
  does:
    'Starts the replicas with their pools behind PgBouncer in transaction mode and the listening connections ' +
    'direct, as one should.',
  start: cluster => startBehind(cluster, false, url => ({ DATABASE_URL: url })),
  leaves: line => line.event === 'listener_state' && line['to'] === 'live',
};
