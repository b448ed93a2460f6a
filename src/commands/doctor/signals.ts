/** Whether signals are sure to come: the triggers, and the key of the fences. */
import { factCaches } from '../../auth/facts.js';
import { ownWatches } from '../../postgres/migrate.js';
import { watchRemedies } from '../../postgres/repair.js';
import type { Database } from '../../postgres/pool.js';
import type { Check } from './check.js';

/** Looks at the triggers, and names the statements that put them right. */
export async function checkTriggers(database: Database): Promise<Check> {
  const topics = Object.keys(factCaches(() => undefined));
  // Not with a fence: there is none where the key is missing.
  const watches = await database.query<{ topic: string; problem: string | null }>(
    'doctor',
    'select topic, problem from gatebell.watch_status order by topic, target::oid',
  );
  const lost = await database.query<{ target_name: string; topic: string }>(
    'doctor',
    'select target_name, topic from gatebell.lost_watches order by topic, target_name',
  );
  const problems = [
    ...topics.filter(topic => !watches.some(watch => watch.topic === topic)).map(topic => `${topic}: not watched`),
    ...lost
      .filter(({ topic }) => !topics.includes(topic))
      .map(({ target_name: table, topic }) => `${topic}: ${table} is not watched any more, its triggers are left over`),
    ...watches.filter(({ problem }) => problem !== null).map(({ topic, problem }) => `${topic}: ${problem}`),
  ];
  const name = 'triggers present, enabled and current';
  if (problems.length === 0) {
    return { name, ok: true, detail: watches.map(({ topic }) => topic).join(', ') };
  }
  const query = <R extends Record<string, unknown>>(text: string): Promise<R[]> => database.query<R>('doctor', text);
  const remedies = await watchRemedies(query, await ownWatches());
  return {
    name,
    ok: false,
    detail:
      `${problems.join('; ')}; this puts them back, run by the owner ("gatebell repair" does it, too): ` +
      remedies.join(' '),
  };
}

/** Looks for the key that fences are signed with, and says the identity that it gives to the schema. */
export async function checkFenceKey(database: Database): Promise<Check> {
  const [row] = await database.query<{ keys: number; server_id: string }>(
    'doctor',
    'select (select count(*)::integer from gatebell.fence_key) as keys, s.server_id from gatebell.server s',
  );
  return row?.keys === 1
    ? { name: 'fence key', ok: true, detail: `fences are signed; server and schema are ${row.server_id}` }
    : {
        name: 'fence key',
        ok: false,
        detail: 'it is missing, so no fence is believed: run "gatebell repair" as the owner',
      };
}
