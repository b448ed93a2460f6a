/** A replica of Gatebell to measure: the built program, and what its metrics say of its queries. */
import { startReplica, type Replica } from '../../test/support/replica.js';
import { endWithUs } from './program.js';

/** Starts a replica and waits until it answers from memory. */
export async function startGatebell(databaseUrl: string, env: NodeJS.ProcessEnv = {}): Promise<Replica> {
  const replica = await startReplica(databaseUrl, { env: { NODE_ENV: 'production', ...env }, name: 'bench' });
  endWithUs(replica.child);
  return replica;
}

/**
 * What a scrape says of loads: queries that read facts for requests, and how many of them asked for more than 500
 * facts.
 */
export interface Loads {
  readonly queries: number;
  readonly largerThan500: number;
}

const LOAD_QUERIES = /^gatebell_db_queries_total\{query="load_/;

function sum(metrics: string, series: RegExp): number {
  return metrics
    .split('\n')
    .filter(line => series.test(line))
    .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Reads the counters. */
export async function readLoads(replica: Replica): Promise<Loads> {
  const { body } = await replica.get('/metrics');
  return {
    queries: sum(body, LOAD_QUERIES),
    largerThan500:
      sum(body, /^gatebell_load_batch_size_count/) - sum(body, /^gatebell_load_batch_size_bucket\{le="500"/),
  };
}

/** Whether nothing is in the replica's memory. */
export async function hasForgotten(replica: Replica): Promise<boolean> {
  const { body } = await replica.get('/metrics');
  return sum(body, /^gatebell_cache_entries/) === 0;
}
