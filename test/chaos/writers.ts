/**
 * The writers: one for grants, one for users, one for credentials, each on a connection of its own, so that every fact
 * has one writer and its changes one order. For each commit they note when it was sent, when it was acknowledged, and
 * what it made true.
 *
 * When the acknowledgement is lost, what happened is read on a new connection: by then the old one's backend has ended
 * its transaction one way or the other. Until it is known, the commit may have happened at any moment since it was
 * sent.
 *
 * They write to Postgres directly, past the proxies, as its superuser: what is cut, delayed or refused is what the
 * replicas see.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { ABSENT, type History } from '../sim/history.js';
import { emailOf, PEOPLE, readPeople, TOPICS, type Person, type Topic } from './people.js';

/** What a commit makes true. */
type Changes = readonly { readonly person: string; readonly topic: Topic; readonly text: string }[];

interface Step {
  readonly changes: Changes;
  readonly statement: string;
  readonly values: readonly unknown[];
}

interface Plan {
  readonly next: (person: Person) => Step;
  /** Less often, something that concerns everybody. */
  readonly sweep: () => Step;
}

export interface Writers {
  /** Commits that were acknowledged, or found afterwards. */
  readonly commits: number;
  /** Commits whose acknowledgement was lost. */
  readonly unacknowledged: number;
  resume(): void;
  /** Resolves when every commit that was sent is known to have happened or not. */
  pause(): Promise<void>;
  /**
   * Takes the table as the truth, after a failover that may have lost commits: from `sinceMs` on. Only while paused.
   * Returns how many facts it changed.
   */
  reread(sinceMs: number): Promise<number>;
  stop(): Promise<void>;
}

/** The table is not what the history says. */
class HistoryError extends Error {}

/** Seldom: a change of everybody covers what was missed. */
const SWEEP_SHARE = 0.001;
const ROLLBACK_SHARE = 0.05;
const RECONNECT_MS = 50;
const WHERE_USER = `user_id = (select id from gatebell.users where name = $1)`;

const chance = (share: number): boolean => Math.random() < share;

const nextDueMs = ({ changesMs: [least, most] }: Person): number =>
  performance.now() + least + Math.random() * (most - least);

function createPlans(history: History): readonly Plan[] {
  let version = 0;
  const fresh = (): string => `v${(version += 1)}`;
  const everybody = (topic: Topic, text: string): Changes => PEOPLE.map(({ name }) => ({ person: name, topic, text }));

  const grants: Plan = {
    next({ name }) {
      if (history.now('grant', [name]) !== ABSENT && chance(0.4)) {
        return {
          changes: [{ person: name, topic: 'grant', text: ABSENT }],
          statement: `delete from gatebell.grants where ${WHERE_USER}`,
          values: [name],
        };
      }
      const text = fresh();
      return {
        changes: [{ person: name, topic: 'grant', text }],
        statement: `insert into gatebell.grants (user_id, app_id, role) select u.id, a.id, $2
          from gatebell.users u, gatebell.apps a where u.name = $1
                    on conflict (user_id, app_id) do update set role = excluded.role`,
        values: [name, text],
      };
    },
    sweep: () => ({
      changes: everybody('grant', ABSENT),
      statement: 'truncate gatebell.grants',
      values: [],
    }),
  };

  const users: Plan = {
    next({ name }) {
      const [text, enabled] = [fresh(), !chance(0.25)];
      return {
        changes: [
          { person: name, topic: 'email', text },
          { person: name, topic: 'enabled', text: String(enabled) },
        ],
        statement: 'update gatebell.users set email = $2, enabled = $3 where name = $1',
        values: [name, emailOf(text), enabled],
      };
    },
    sweep() {
      const text = fresh();
      return {
        changes: everybody('email', text),
        statement: 'update gatebell.users set email = $1',
        values: [emailOf(text)],
      };
    },
  };

  const credentials: Plan = {
    next({ name }) {
      const text = history.now('credential', [name]) === 'good' ? 'revoked' : 'good';
      return {
        changes: [{ person: name, topic: 'credential', text }],
        statement: `update gatebell.credentials set revoked_at = case when $2 then now() end where ${WHERE_USER}`,
        values: [name, text === 'revoked'],
      };
    },
    sweep: () => ({
      changes: everybody('credential', 'good'),
      statement: 'update gatebell.credentials set revoked_at = null',
      values: [],
    }),
  };
  return [grants, users, credentials];
}

/** Creates writers that are paused. @param url where the primary is, at this moment */
export function createWriters(history: History, url: () => string): Writers {
  let running: AbortController | null = null;
  let loops: Promise<unknown> = Promise.resolve();
  let commits = 0;
  let unacknowledged = 0;
  const clients = new Set<pg.Client>();
  const ended = new AbortController();

  /** Tries until the primary lets us in, or everything ends. */
  const connect = async (): Promise<pg.Client> => {
    for (;;) {
      ended.signal.throwIfAborted();
      const client = new pg.Client({ connectionString: url(), connectionTimeoutMillis: 2_000 });
      client.on('error', () => undefined);
      try {
        await client.connect();
        clients.add(client);
        return client;
      } catch {
        client.end().catch(() => undefined);
        await sleep(RECONNECT_MS);
      }
    }
  };

  const note = (changes: Changes, sentMs: number, acknowledgedMs: number): void => {
    commits += 1;
    for (const { person, topic, text } of changes) {
      history.noteBetween(topic, [person], text, sentMs, acknowledgedMs);
    }
  };

  /** Finds out whether a commit happened whose acknowledgement was lost. */
  const resolve = async ({ changes }: Step, sentMs: number): Promise<pg.Client> => {
    unacknowledged += 1;
    for (;;) {
      const client = await connect();
      try {
        const people = await readPeople(client);
        const isSo = changes.map(({ person, topic, text }) => people.get(person)?.[topic] === text);
        const wasSo = changes.map(({ person, topic }) => people.get(person)?.[topic] === history.now(topic, [person]));
        if (isSo.every(Boolean)) {
          note(changes, sentMs, performance.now());
        } else if (!wasSo.every(Boolean)) {
          throw new HistoryError(`neither before nor after: ${JSON.stringify({ changes, people: [...people] })}`);
        }
        return client;
      } catch (error) {
        clients.delete(client);
        client.end().catch(() => undefined);
        if (ended.signal.aborted || error instanceof HistoryError) {
          throw error;
        }
      }
    }
  };

  /** Sends one step; now and then, one that is taken back first: what it wrote must never be seen. */
  const commit = async (client: pg.Client, plan: Plan, person: Person): Promise<pg.Client> => {
    if (chance(ROLLBACK_SHARE)) {
      const { statement, values } = plan.next(person);
      try {
        await client.query('begin');
        await client.query(statement, [...values]);
        await client.query('rollback');
      } catch {
        // The connection is lost, and with it the transaction; the next statement finds out.
      }
    }
    const step = chance(SWEEP_SHARE) ? plan.sweep() : plan.next(person);
    const sentMs = performance.now();
    try {
      await client.query(step.statement, [...step.values]);
    } catch (error) {
      if (error instanceof pg.DatabaseError && error.severity === 'ERROR') {
        throw error;
      }
      clients.delete(client);
      client.end().catch(() => undefined);
      return resolve(step, sentMs);
    }
    note(step.changes, sentMs, performance.now());
    return client;
  };

  const write = async (plan: Plan, stop: AbortSignal): Promise<void> => {
    const dueMs = new Map<Person, number>();
    for (const person of PEOPLE) {
      dueMs.set(person, performance.now() + Math.random() * person.changesMs[1]);
    }
    let client = await connect();
    while (!stop.aborted) {
      const [person, due] = [...dueMs].reduce((first, other) => (other[1] < first[1] ? other : first));
      await sleep(Math.max(0, due - performance.now()), undefined, { signal: stop }).catch(() => undefined);
      if (!stop.aborted) {
        client = await commit(client, plan, person);
        dueMs.set(person, nextDueMs(person));
      }
    }
    clients.delete(client);
    await client.end().catch(() => undefined);
  };

  const plans = createPlans(history);
  const pause = async (): Promise<void> => {
    running?.abort();
    running = null;
    await loops;
  };

  return {
    get commits() {
      return commits;
    },
    get unacknowledged() {
      return unacknowledged;
    },
    resume() {
      if (running === null) {
        const stop = new AbortController();
        running = stop;
        loops = Promise.all(plans.map(plan => write(plan, stop.signal)));
        loops.catch(() => undefined);
      }
    },
    pause,
    async reread(sinceMs) {
      const client = await connect();
      const people = await readPeople(client);
      const nowMs = performance.now();
      let changed = 0;
      for (const { name } of PEOPLE) {
        for (const topic of TOPICS) {
          const text = people.get(name)![topic];
          changed += Number(text !== history.now(topic, [name]));
          history.noteBetween(topic, [name], text, sinceMs, nowMs);
        }
      }
      clients.delete(client);
      await client.end();
      return changed;
    },
    async stop() {
      ended.abort();
      running?.abort();
      for (const client of clients) {
        client.end().catch(() => undefined);
      }
      await loops.catch(() => undefined);
    },
  };
}
