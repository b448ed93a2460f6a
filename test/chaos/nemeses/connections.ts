/** Nemeses of the connections to Postgres: ended, refused, kept busy. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { everywhere, isEvent, repeatedly, type Nemesis } from '../nemesis.js';

const LISTENERS = `application_name like 'gatebell/%' and application_name not like '%/pool'`;
const REPLICAS = `application_name like 'gatebell/%'`;
const CLIENTS = `backend_type = 'client backend' and datname = current_database() and pid <> pg_backend_pid()`;

/** SQLSTATE `deadlock_detected`: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const DEADLOCK = '40P01';

const terminate = (which: string): string => `select pg_terminate_backend(pid) from pg_stat_activity where ${which}`;

export const killListener: Nemesis = {
  name: 'kill-listener',
  does: 'Terminates the backend of every listening connection, twice per second.',
  start: cluster => Promise.resolve(repeatedly(500, async () => void (await cluster.sql(terminate(LISTENERS))))),
  leaves: isEvent('connection_closed'),
};

export const killAllBackends: Nemesis = {
  name: 'kill-all-backends',
  does: "Terminates every backend of the database, the writers' too, twice per second.",
  start: cluster => Promise.resolve(repeatedly(500, async () => void (await cluster.sql(terminate(CLIENTS))))),
  leaves: isEvent('connection_closed'),
};

export const killStorm: Nemesis = {
  name: 'kill-storm',
  does: 'Terminates every backend of every replica, thirty times per second.',
  start: cluster => Promise.resolve(repeatedly(30, async () => void (await cluster.sql(terminate(REPLICAS))))),
  leaves: isEvent('connection_closed'),
};

export const cutPool: Nemesis = {
  name: 'cut-pool',
  does: 'Breaks the connections of every pool five times per second; those that listen stay.',
  start: cluster =>
    Promise.resolve(
      repeatedly(200, () =>
        everywhere(cluster, ({ pool }) => {
          pool.cut();
        }),
      ),
    ),
  leaves: isEvent('pool_connection_lost'),
};

export const exhaustConnections: Nemesis = {
  name: 'exhaust-connections',
  does: 'Takes every connection that Postgres has to give, and terminates the listening ones once per second.',
  async start(cluster) {
    const taken: pg.Client[] = [];
    const take = repeatedly(20, async () => {
      try {
        for (;;) {
          taken.push(await cluster.connect('replica'));
        }
      } catch {
        // None is left; soon one may be.
      }
    });
    const end = repeatedly(1_000, async () => void (await cluster.sql(terminate(LISTENERS))));
    return async () => {
      await Promise.all([take(), end()]);
      await Promise.all(taken.map(client => client.end().catch(() => undefined)));
    };
  },
  leaves: isEvent('connection_failed'),
};

export const slowQueries: Nemesis = {
  name: 'slow-queries',
  does:
    'Locks the tables for longer than a statement may take, again ' +
    'and again: every pool fills with loads that wait.',
  async start(cluster) {
    const client = await cluster.connect();
    const stop = repeatedly(300, async () => {
      try {
        // Each writer locks users after its own table, as this does, so no writer can deadlock with it. A replica reads
        // several tables in one snapshot, in any order: after a deadlock with one, the next round tries again.
        await client.query(
          'begin; lock table gatebell.grants, gatebell.credentials, gatebell.users in access exclusive mode',
        );
        await sleep(2_300);
      } catch (error) {
        if (!(error instanceof pg.DatabaseError && error.code === DEADLOCK)) {
          throw error;
        }
      }
      await client.query('rollback');
    });
    return async () => {
      await stop();
      await client.end();
    };
  },
  leaves: isEvent('load_failed'),
};
