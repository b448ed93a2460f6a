/** Nemeses of the signals themselves: triggers that are gone for a while, and notifications that nobody should send. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../cluster.js';
import { everywhere, isEvent, repeatedly, type Nemesis } from '../nemesis.js';

/** Until every replica names the topic on `/readyz` as one that it does not serve from memory. */
const names =
  (topic: string) =>
  (cluster: Cluster): Promise<void> =>
    everywhere(cluster, async ({ name, process }) => {
      const { body } = await process.get('/readyz');
      const { watchProblems } = JSON.parse(body) as { watchProblems: Record<string, string> };
      if (watchProblems[topic] === undefined) {
        throw new Error(`/readyz of ${name} does not name ${topic}: ${body}`);
      }
    });

/** From one statement to the other. */
const between = (name: string, does: string, topic: string, begin: string, end: string): Nemesis => ({
  name,
  does,
  async start(cluster) {
    await cluster.sql(begin);
    return async () => void (await cluster.sql(end));
  },
  leaves: isEvent('watch_changed'),
  expect: names(topic),
});

export const disableTriggers = between(
  'disable-triggers',
  'Disables all triggers of the grants while they are written, and enables them at the end.',
  'grant',
  'alter table gatebell.grants disable trigger all',
  `alter table gatebell.grants enable trigger all;
    alter table gatebell.grants enable always trigger gatebell_grant_truncate,
      enable replica trigger gatebell_grant_replica`,
);

export const dropTrigger = between(
  'drop-trigger',
  'Drops the trigger that signals updates of credentials, and watches the table again at the end.',
  'credential',
  'drop trigger gatebell_credential_update on gatebell.credentials',
  `select gatebell.watch('gatebell.credentials', 'credential', '{token_hash}', '{user_id,expires_at,revoked_at}')`,
);

export const unwatch = between(
  'unwatch',
  'Stops watching the users, and watches them again at the end.',
  'user',
  `select gatebell.unwatch('gatebell.users', 'user')`,
  `select gatebell.watch('gatebell.users', 'user', '{id}', '{name,email,display_name,groups,enabled}')`,
);

export const flickerTriggers: Nemesis = {
  name: 'trigger-flicker',
  does:
    'Disables the triggers of credentials for some 100 ms, again and again; each time they are in place again ' +
    'before anyone looks.',
  start: cluster =>
    Promise.resolve(
      repeatedly(500, async () => {
        await cluster.sql('alter table gatebell.credentials disable trigger gatebell_credential_update');
        await sleep(100);
        await cluster.sql('alter table gatebell.credentials enable trigger gatebell_credential_update');
      }),
    ),
};

const FORGERIES = [
  'garbage',
  '',
  '{',
  '{"v":2,"s":"grant"}',
  '{"v":1,"s":"grant","k":[["1"]]}',
  '{"v":1,"s":"nobody"}',
  '{"v":1,"f":"forged"}',
  `{"v":1,"f":${Number.MAX_SAFE_INTEGER},"i":"1/1","m":"${'0'.repeat(64)}"}`,
  '{"v":1,"b":"forged"}',
  '{"v":1,"a":"forged","r":"replica-1"}',
  `{"v":1,"s":"user","k":[["${'9'.repeat(7_900)}"]]}`,
];

export const forgeries: Nemesis = {
  name: 'forged-notifications',
  does: 'Sends malformed and forged notifications, a thousand per second.',
  async start(cluster) {
    const client = await cluster.connect('replica');
    const stop = repeatedly(10, async () => {
      await client.query(`select pg_notify('gatebell', payload) from unnest($1::text[]) as f (payload)`, [FORGERIES]);
    });
    return async () => {
      await stop();
      await client.end();
    };
  },
  leaves: isEvent('message_malformed'),
};

export const deafListener: Nemesis = {
  name: 'deaf-neighbour',
  does: 'Listens in an open transaction and never reads, so that the notification queue cannot be emptied.',
  async start(cluster) {
    const client = await cluster.connect();
    await client.query('listen gatebell');
    await client.query('begin; select 1');
    return async () => {
      await client.end();
    };
  },
};
