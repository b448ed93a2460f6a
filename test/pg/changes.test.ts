/**
 * Every way to change a fact reaches every replica: two real replicas, the change in plain SQL, and the next answers.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startReplica, type Ask, type Replica } from '../support/replica.js';
import { addCredential, createWorld, type World } from '../support/gate-rows.js';

let database: TestDatabase;
let replicas: Replica[];
let world: World;

beforeAll(async () => {
  database = await createTestDatabase();
  replicas = await Promise.all([startReplica(database.url, { name: 'a' }), startReplica(database.url, { name: 'b' })]);
});

afterAll(async () => {
  await Promise.all(replicas.map(replica => replica.stop()));
  await database.drop();
});

beforeEach(async () => {
  // The foreign keys' plans may be of when the tables were small: then each of 100,000 deletions would read all grants.
  await database.sql('discard plans');
  await database.sql('delete from gatebell.users; delete from gatebell.apps');
  world = await createWorld(database);
});

/** All replicas come to answer so. */
const allAnswer = (reason: string, ask: Ask): Promise<unknown> =>
  Promise.all(replicas.map(replica => replica.askUntil(reason, ask)));

/** All replicas answer so now, from memory. */
async function warm(reason: string, ask: Ask): Promise<void> {
  await allAnswer(reason, ask);
  for (const replica of replicas) {
    expect((await replica.ask(ask)).reason).toBe(reason);
  }
}

const USER = `(select id from gatebell.users where name = 'alice')`;
const APP = `(select id from gatebell.apps where name = 'photos')`;
const GRANT = `user_id = ${USER} and app_id = ${APP}`;

/** A copy of the grants in a file of the server, for COPY. */
async function copyFile(): Promise<string> {
  const [row] = await database.sql(`select current_setting('data_directory') as directory`);
  return `${String(row?.['directory'])}/copy-${new URL(database.url).pathname.slice(1)}`;
}

interface Case {
  readonly title: string;
  readonly before: string;
  readonly after: string;
  readonly change: string | readonly string[] | (() => Promise<void>);
  readonly ask?: Ask;
}

const CASES: readonly Case[] = [
  {
    title: 'grant deleted',
    before: 'granted',
    after: 'no_grant',
    change: `delete from gatebell.grants where ${GRANT}`,
  },
  {
    title: 'grant inserted',
    before: 'no_grant',
    after: 'granted',
    ask: { token: 'bob' },
    change: `insert into gatebell.grants (user_id, app_id) select id, ${APP} from gatebell.users where name = 'bob'`,
  },
  {
    title: 'role changed',
    before: 'role_required',
    after: 'granted',
    ask: { uri: '/admin' },
    change: `update gatebell.grants set role = 'admin' where ${GRANT}`,
  },
  {
    title: 'grant that expires by time',
    before: 'granted',
    after: 'expired_grant',
    change: `update gatebell.grants set expires_at = now() + interval '300 milliseconds' where ${GRANT}`,
  },
  {
    title: 'user disabled',
    before: 'granted',
    after: 'disabled_user',
    change: `update gatebell.users set enabled = false where name = 'alice'`,
  },
  {
    title: 'user enabled',
    before: 'disabled_user',
    after: 'granted',
    ask: { token: 'carol' },
    change: `update gatebell.users set enabled = true where name = 'carol'`,
  },
  {
    title: 'user deleted, with credentials and grants by cascade',
    before: 'granted',
    after: 'bad_credential',
    change: `delete from gatebell.users where name = 'alice'`,
  },
  {
    title: 'credential revoked',
    before: 'granted',
    after: 'bad_credential',
    change: `update gatebell.credentials set revoked_at = now() where user_id = ${USER}`,
  },
  {
    title: 'credential deleted',
    before: 'granted',
    after: 'bad_credential',
    change: `delete from gatebell.credentials where user_id = ${USER}`,
  },
  {
    title: 'credential that expires by time',
    before: 'granted',
    after: 'expired_credential',
    change: `update gatebell.credentials set expires_at = now() + interval '300 milliseconds' where user_id = ${USER}`,
  },
  {
    title: 'app disabled',
    before: 'granted',
    after: 'disabled_app',
    change: `update gatebell.apps set enabled = false where name = 'photos'`,
  },
  {
    title: 'host changed: the old one',
    before: 'granted',
    after: 'unknown_app',
    change: `update gatebell.apps set host = 'pictures.test' where name = 'photos'`,
  },
  {
    title: 'host changed: the new one',
    before: 'unknown_app',
    after: 'granted',
    ask: { host: 'pictures.test' },
    change: `update gatebell.apps set host = 'pictures.test' where name = 'photos'`,
  },
  {
    title: 'route added',
    before: 'granted',
    after: 'public',
    ask: { uri: '/open/x' },
    change: `insert into gatebell.app_routes (app_id, path_prefix, access) values (${APP}, '/open', 'public')`,
  },
  {
    title: 'route changed',
    before: 'public',
    after: 'granted',
    ask: { uri: '/share/x' },
    change: `update gatebell.app_routes set access = 'grant' where path_prefix = '/share'`,
  },
  {
    title: 'route deleted',
    before: 'public',
    after: 'granted',
    ask: { uri: '/share/x' },
    change: `delete from gatebell.app_routes where path_prefix = '/share'`,
  },
  { title: 'TRUNCATE', before: 'granted', after: 'no_grant', change: 'truncate gatebell.grants' },
  {
    title: 'COPY',
    before: 'no_grant',
    after: 'granted',
    ask: { token: 'bob' },
    change: async () => {
      const file = await copyFile();
      await database.sql(
        `copy (select u.id, ${APP} from gatebell.users u where name = 'bob') to '${file}';
          copy gatebell.grants (user_id, app_id) from '${file}'`,
      );
    },
  },
  {
    title: 'MERGE',
    before: 'granted',
    after: 'no_grant',
    change: `merge into gatebell.grants g using (select ${USER} as id) s on g.user_id = s.id when matched then delete`,
  },
  {
    title: 'ON CONFLICT DO UPDATE',
    before: 'role_required',
    after: 'granted',
    ask: { uri: '/admin' },
    change: `insert into gatebell.grants (user_id, app_id, role) values (${USER}, ${APP}, 'admin')
      on conflict (user_id, app_id) do update set role = excluded.role`,
  },
  {
    title: '100,000 rows in one statement',
    before: 'no_grant',
    after: 'granted',
    ask: { token: 'bob' },
    change: `with many as (insert into gatebell.users (name) select 'user ' || i from generate_series(1, 100000) i
      returning id)
             insert into gatebell.grants (user_id, app_id)
             select id, ${APP} from many union all select id, ${APP} from gatebell.users where name = 'bob'`,
  },
  {
    title: 'a released savepoint',
    before: 'granted',
    after: 'no_grant',
    change: ['begin', 'savepoint s', `delete from gatebell.grants where ${GRANT}`, 'release s', 'commit'],
  },
  {
    title: 'session_replication_role = replica',
    before: 'granted',
    after: 'no_grant',
    change: [
      'set session_replication_role = replica',
      `delete from gatebell.grants where ${GRANT}`,
      'reset session_replication_role',
    ],
  },
];

/** Names in a case stand for tokens of this run. */
const withToken = (ask: Ask = {}): Ask => ({ ...ask, token: world[(ask.token ?? 'alice') as keyof World] });

describe('reaches every replica:', () => {
  test.each(CASES)('$title', async ({ before, after, change, ask }) => {
    await warm(before, withToken(ask));
    if (typeof change === 'function') {
      await change();
    } else {
      for (const statement of [change].flat()) {
        await database.sql(statement);
      }
    }
    await allAnswer(after, withToken(ask));
  });

  test('user renamed: the new name is sent', async () => {
    const ask = withToken();
    await warm('granted', ask);
    await database.sql(`update gatebell.users set name = 'alicia', display_name = 'Alicia' where name = 'alice'`);
    for (const replica of replicas) {
      for (;;) {
        const { headers } = await replica.ask(ask);
        if (headers['remote-user'] === 'alicia') {
          expect(headers['remote-name']).toBe('Alicia');
          break;
        }
      }
    }
  });

  test('a session in the cookie, as well as a token', async () => {
    const ask = { cookie: world.session };
    await warm('granted', ask);
    await database.sql(`update gatebell.credentials set revoked_at = now() where kind = 'session'`);
    await allAnswer('bad_credential', ask);
    await warm('granted', withToken());
  });

  test('a token that was unknown, once it is created', async () => {
    const token = await addCredential(database, 'alice');
    await database.sql(`create temp table kept as select * from gatebell.credentials`);
    await database.sql(`delete from gatebell.credentials`);
    await warm('bad_credential', { token });
    await database.sql(`insert into gatebell.credentials overriding system value select * from kept; drop table kept`);
    await allAnswer('granted', { token });
  });
});

describe('sends no signal:', () => {
  /** Signals of the topic that a replica got, and those of everything else, so far. */
  const signals = (topic: string): Promise<number[]> =>
    Promise.all(replicas.map(replica => replica.metric(`gatebell_signals_total{topic="${topic}"}`)));

  test.each([
    { title: 'a transaction that is rolled back', statements: ['begin', `delete from gatebell.grants`, 'rollback'] },
    {
      title: 'a savepoint that is rolled back',
      statements: ['begin', 'savepoint s', 'delete from gatebell.grants', 'rollback to s', 'commit'],
    },
    { title: 'an update of an unwatched column', statements: ['update gatebell.credentials set last_seen_at = now()'] },
    {
      title: 'an update that changes nothing',
      statements: ['update gatebell.users set name = name', 'update gatebell.grants set role = role'],
    },
    { title: 'a statement that finds no row', statements: [`delete from gatebell.grants where role = 'nobody'`] },
  ])('$title', async ({ statements }) => {
    await warm('granted', withToken());
    const topics = ['grant', 'credential', 'user'];
    const before = await Promise.all(topics.map(signals));
    for (const statement of statements) {
      await database.sql(statement);
    }
    // A later change of another topic is heard: whatever was sent before it has been heard, too.
    await warm('unknown_app', { host: 'later.test' });
    await database.sql(`insert into gatebell.apps (name, host) values ('later', 'later.test')`);
    await allAnswer('no_credential', { host: 'later.test' });
    expect(await Promise.all(topics.map(signals))).toEqual(before);
    await warm('granted', withToken());
  });
});
