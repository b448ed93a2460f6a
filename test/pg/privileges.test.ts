/**
 * Who may do what with schema gatebell: what is declared is what is there, and whatever differs is found, and repaired.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createPostgresServer } from '../../src/dev/postgres.js';
import { migrate, ownWatches, repair, runMigrations } from '../../src/postgres/migrate.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

/** A role of this file alone. Roles belong to the whole server. */
const STRANGER = `stranger_${randomBytes(6).toString('hex')}`;

interface Problem {
  readonly role: string;
  readonly problem: string;
  readonly remedy: string | null;
  readonly repairable: boolean;
}

interface Granted {
  readonly object: string;
  readonly privilege: string;
}

let database: TestDatabase;

const problems = async (): Promise<Problem[]> =>
  (await database.sql(
    'select role, problem, remedy, repairable from gatebell.privilege_problems order by problem',
  )) as Problem[];

const repaired = async (): Promise<unknown[]> =>
  (await database.sql('select gatebell.repair_privileges() as statement')).map(row => row['statement'] as unknown);

async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

beforeAll(async () => {
  database = await createTestDatabase();
  await database.sql(`create role ${STRANGER} nologin`);
});

afterAll(async () => {
  await database.sql(`drop owned by ${STRANGER}; drop role ${STRANGER}`);
  await database.drop();
});

// What a test does to roles must not be seen by others: it is never committed.
beforeEach(() => database.sql('begin'));
afterEach(() => database.sql('rollback'));

test('what the migrations leave is what is declared; a repair then changes nothing, not even a row', async () => {
  expect(await problems()).toEqual([]);
  const versions = `select p.oid, p.xmin from pg_proc p where p.pronamespace = 'gatebell'::regnamespace
    union all select c.oid, c.xmin from pg_class c where c.relnamespace = 'gatebell'::regnamespace order by 1`;
  const before = await database.sql(versions);
  expect(await repaired()).toEqual([]);
  expect(await repair(await database.connect())).toEqual([]);
  expect(await database.sql(versions)).toEqual(before);
});

test('the own watches that a repair knows are those of the migrations', async () => {
  const watches = await database.sql(
    `select target::text, topic, key_columns::text as "keyColumns", watched_columns::text as "watchedColumns"
      from gatebell.watches`,
  );
  expect(new Set(await ownWatches())).toEqual(new Set(watches));
});

// Asked of Postgres' own functions, which know nothing of the declaration.
test('a role with only USAGE of the schema can call what CHECK constraints call, and nothing else', async () => {
  await database.sql(`grant usage on schema gatebell to ${STRANGER}`);
  const able = await database.sql(
    `select p.proname::text as name from pg_proc p
     where p.pronamespace = 'gatebell'::regnamespace and has_function_privilege($1, p.oid, 'execute')
     union all
     select c.relname from pg_class c
     where c.relnamespace = 'gatebell'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'f')
       and (has_table_privilege($1, c.oid, 'select, insert, update, delete, truncate, references, trigger')
         or has_any_column_privilege($1, c.oid, 'select, insert, update, references'))
     union all
     select c.relname from pg_class c
     where c.relnamespace = 'gatebell'::regnamespace and case c.relkind when 'S'
       then has_sequence_privilege($1, c.oid, 'usage, select, update') end
     union all
     select 'create' where has_schema_privilege($1, 'gatebell', 'create')
     order by 1`,
    [STRANGER],
  );
  expect(able.map(row => row['name'] as unknown)).toEqual([
    'are_labels',
    'channel',
    'is_canonical_address',
    'is_canonical_host',
    'is_canonical_path_prefix',
    'is_label',
    'is_one_line',
    'schema_version',
  ]);
});

test('a role that may write the tables can: CHECK constraints and triggers need no further right', async () => {
  await database.sql(`
    grant usage on schema gatebell to ${STRANGER};
    grant select, insert, update, delete on gatebell.users, gatebell.apps, gatebell.app_routes, gatebell.grants,
      gatebell.credentials,
      gatebell.revoked_jwts to ${STRANGER};
    set local role ${STRANGER};
    insert into gatebell.users (id, name, groups) values (70, 'ada', '{staff}');
    insert into gatebell.apps (id, name, host) values (70, 'wiki', '*.wiki.test');
    insert into gatebell.app_routes (app_id, path_prefix, access) values (70, '/x', 'grant');
    insert into gatebell.grants (user_id, app_id) values (70, 70);
    insert into gatebell.credentials (user_id, kind, token_hash) values (70, 'token', sha256('x'));
    insert into gatebell.revoked_jwts (jti) values ('x');
    update gatebell.users set name = 'eva';
    update gatebell.grants set role = 'admin';
    delete from gatebell.users`);
  await database.sql('reset role');
});

describe('every right', () => {
  /** All rights that there are on all objects of the schema, columns included. */
  async function everyRight(): Promise<Granted[]> {
    return (await database.sql(`
      select 'schema gatebell' as object, p as privilege from unnest('{USAGE,CREATE}'::text[]) p
      union all
      select 'routine ' || p.oid::regprocedure, 'EXECUTE' from pg_proc p where p.pronamespace = 'gatebell'::regnamespace
      union all
      select 'table ' || c.oid::regclass, p
      from pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
      where c.relnamespace = 'gatebell'::regnamespace and c.relkind in ('r', 'v')
      union all
      select 'table ' || c.oid::regclass, format('%s (%I)', p, a.attname)
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped,
        unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) p
      where c.relnamespace = 'gatebell'::regnamespace and c.relkind = 'r'
      union all
      select 'sequence ' || c.oid::regclass, p from pg_class c, unnest('{USAGE,SELECT,UPDATE}'::text[]) p
      where c.relnamespace = 'gatebell'::regnamespace and c.relkind = 'S'`)) as Granted[];
  }

  test.each(['public', 'gatebell_daemon', 'gatebell_sign_in'])(
    'of %s too many or too few is found, and repaired',
    async role => {
      let declared = 0;
      let undeclared = 0;
      for (const { object, privilege } of await everyRight()) {
        await database.sql('savepoint one');
        await database.sql(`grant ${privilege} on ${object} to ${role}`);
        const isDeclared = (await problems()).length === 0;
        if (isDeclared) {
          declared += 1;
          await database.sql(`revoke ${privilege} on ${object} from ${role}`);
        } else {
          undeclared += 1;
        }
        const found = await problems();
        expect(found, `${role} ${privilege} ${object}`).not.toEqual([]);
        expect(found.every(({ role: whose, repairable }) => whose === role && repairable)).toBe(true);
        // To take away a right on a table takes those on its columns, too: they are given again.
        expect(await repaired()).toEqual(expect.arrayContaining(found.map(({ remedy }) => remedy)));
        expect(await problems()).toEqual([]);
        await database.sql('rollback to savepoint one');
      }
      expect(declared).toBeGreaterThan(1);
      expect(undeclared).toBeGreaterThan(200);
    },
  );

  test('of another role is found; its remedy takes it away; only what is secret is taken away by itself', async () => {
    const byItself: string[] = [];
    for (const { object, privilege } of await everyRight()) {
      await database.sql('savepoint one');
      await database.sql(`grant ${privilege} on ${object} to ${STRANGER}`);
      const found = await problems();
      expect(
        found.map(({ role }) => role),
        `${privilege} ${object}`,
      ).toEqual([STRANGER]);
      if ((await repaired()).length > 0) {
        byItself.push(object);
      } else {
        await database.sql(found[0]?.remedy ?? '');
      }
      expect(await problems()).toEqual([]);
      await database.sql('rollback to savepoint one');
    }
    expect([...new Set(byItself)].toSorted()).toEqual([
      'routine gatebell.bind_identity(text,text,text,text,timestamp with time zone)',
      'routine gatebell.note_former_names()',
      'routine gatebell.sign_in(text,text,text,text,bigint,bytea,interval,text,bytea[])',
      'routine gatebell.sign_out(text,bytea)',
      'sequence gatebell.fence_number',
      'table gatebell.fence_key',
    ]);
  });
});

test.each([
  [
    'a right to hand on what is declared',
    'grant select on gatebell.watch_status to gatebell_daemon with grant option',
    /^gatebell_daemon has SELECT with grant option on table gatebell.watch_status$/,
  ],
  [
    'a right that somebody has handed on',
    `grant usage on schema gatebell to ${STRANGER};
     grant select on gatebell.users to ${STRANGER} with grant option;
     set local role ${STRANGER}; grant select on gatebell.users to public; reset role`,
    /^public has SELECT on table gatebell.users$/,
  ],
  [
    'a function with another owner',
    `grant create on schema gatebell to ${STRANGER}; alter function gatebell.sign_in owner to ${STRANGER};
      revoke create on schema gatebell from ${STRANGER}`,
    /^routine gatebell.sign_in\(.*\) is owned by stranger_.*, schema gatebell by postgres$/,
  ],
  [
    'a table with another owner',
    `grant create on schema gatebell to ${STRANGER}; alter table gatebell.grants owner to ${STRANGER};
      revoke create on schema gatebell from ${STRANGER}`,
    /^table gatebell.grants is owned by stranger_/,
  ],
  [
    'rights on what is created later',
    'alter default privileges in schema gatebell grant select on tables to public',
    /^public gets SELECT on all tables that postgres creates in schema gatebell$/,
  ],
  [
    'rights of another role on what is created later',
    `alter default privileges in schema gatebell grant execute on functions to ${STRANGER}`,
    /^stranger_.* gets EXECUTE on all functions/,
  ],
  [
    'a replica that is a member of a role with more',
    'grant pg_write_all_data to gatebell_daemon',
    /^role gatebell_daemon is a member of pg_write_all_data$/,
  ],
  [
    'a role for replicas that signs people in: then every replica does',
    'grant gatebell_sign_in to gatebell_daemon',
    /^role gatebell_daemon is a member of gatebell_sign_in$/,
  ],
  ['a superuser', 'alter role gatebell_daemon superuser', /^role gatebell_daemon is more than a role: superuser/],
  ['a role that makes roles', 'alter role gatebell_sign_in createrole', /^role gatebell_sign_in is more than a role/],
  [
    'a login role that signs people in and is no replica',
    `alter role ${STRANGER} login; grant gatebell_sign_in to ${STRANGER}`,
    /^role stranger_.* has the rights of gatebell_sign_in, and not those of gatebell_daemon/,
  ],
  [
    'the same through a third role',
    `alter role ${STRANGER} login; create role between_${STRANGER}; grant gatebell_sign_in to between_${STRANGER};
     grant between_${STRANGER} to ${STRANGER}`,
    /^role stranger_.* has the rights of gatebell_sign_in, and not those of gatebell_daemon/,
  ],
  [
    'a replica that may read everything',
    `alter role ${STRANGER} login; grant gatebell_daemon, pg_read_all_data to ${STRANGER}`,
    /^role stranger_.* is a replica's and has the rights of pg_read_all_data, too$/,
  ],
  [
    'a replica with the rights of the owner',
    `create role owner_${STRANGER}; alter schema gatebell owner to owner_${STRANGER};
     alter role ${STRANGER} login; grant gatebell_daemon, owner_${STRANGER} to ${STRANGER}`,
    /^role stranger_.* is a replica's and has the rights of owner_stranger_.*, too$/,
  ],
])('finds %s', async (_, statement, says) => {
  await database.sql(statement);
  const found = await problems();
  expect(found.filter(({ problem }) => says.test(problem))).toHaveLength(1);
});

test('a replica that also signs people in is as it should be', async () => {
  await database.sql(`alter role ${STRANGER} login; grant gatebell_daemon, gatebell_sign_in to ${STRANGER}`);
  expect(await problems()).toEqual([]);
});

describe('a function with its owner’s rights', () => {
  /** As the server names itself: the roles here may not read it. */
  let here = '';
  let signIn = '';
  const REFUSED = { code: '42501' };

  beforeEach(async () => {
    await database.sql(`
      insert into gatebell.users (name) values ('ada');
      grant usage on schema gatebell to ${STRANGER};
      alter role ${STRANGER} login password 'x'`);
    const [server] = await database.sql('select quote_literal(server_id) as here from gatebell.server');
    here = String(server!['here']);
    signIn = `select * from gatebell.sign_in(${here}, 'i', 's', 'ada', null, sha256('x'), '1 hour', null, '{}')`;
  });

  const as = async (role: string, statement: string): Promise<pg.QueryResultRow[]> => {
    await database.sql(`savepoint call; set local session authorization ${role}`);
    try {
      return await database.sql(statement);
    } catch (error) {
      await database.sql('rollback to savepoint call');
      throw error;
    } finally {
      await database.sql('reset session authorization; reset role');
    }
  };

  test('there is none that does not ask who calls it', async () => {
    const definers = await database.sql(
      `select p.proname::text as name, p.prosrc as source from pg_proc p
       where p.pronamespace = 'gatebell'::regnamespace and p.prosecdef and p.prorettype <> 'trigger'::regtype
       order by 1`,
    );
    expect(definers.map(({ name }) => name as unknown)).toEqual(['bind_identity', 'sign_in', 'sign_out']);
    for (const { name, source } of definers) {
      expect(source).toContain(`gatebell.require_caller('${String(name)}', 'gatebell_sign_in')`);
    }
  });

  // A role that may execute a trigger function can make it a trigger of its own table, and say what the rows are.
  test('if it is a trigger’s, serves its own tables alone', async () => {
    const functions = await database.sql(
      `select p.oid::regproc::text as name from pg_proc p
       where p.pronamespace = 'gatebell'::regnamespace and p.prosecdef and p.prorettype = 'trigger'::regtype`,
    );
    expect(functions.length).toBeGreaterThan(0);
    for (const { name } of functions) {
      await database.sql(`
        grant execute on function ${String(name)} to ${STRANGER};
        create schema authorization ${STRANGER};
        set local role ${STRANGER};
        create table ${STRANGER}.bait (id bigint, name text);
        create trigger bait after delete on ${STRANGER}.bait referencing old table as old_rows
          for each statement execute function ${String(name)}();
        insert into ${STRANGER}.bait values (1, 'ada');
        savepoint call`);
      await expect(database.sql(`delete from ${STRANGER}.bait`)).rejects.toMatchObject(REFUSED);
      await database.sql(`rollback to savepoint call; reset role; drop schema ${STRANGER} cascade`);
    }
  });

  test('refuses a role to which its execution was granted, and who is in neither role', async () => {
    await database.sql(`grant execute on all functions in schema gatebell to ${STRANGER}`);
    await expect(as(STRANGER, signIn)).rejects.toMatchObject({
      ...REFUSED,
      message: `gatebell.sign_in: refused to role ${STRANGER}, which does not have the rights of role gatebell_sign_in`,
    });
    await expect(as(STRANGER, `select gatebell.sign_out(${here}, sha256('x'))`)).rejects.toMatchObject(REFUSED);
    for (const unlessAfter of ['null', '-1', '9999']) {
      await expect(as(STRANGER, `select gatebell.fence(${unlessAfter})`)).rejects.toMatchObject(REFUSED);
    }
  });

  test('refuses everybody while PUBLIC may execute it', async () => {
    await database.sql('grant execute on all functions in schema gatebell to public');
    for (const role of [STRANGER, 'postgres', 'gatebell_sign_in']) {
      await expect(as(role, signIn), role).rejects.toMatchObject({
        ...REFUSED,
        message: 'gatebell.sign_in: refused to everybody, because PUBLIC has the right to execute it',
        hint: expect.stringContaining('gatebell repair') as unknown,
      });
    }
    await repaired();
    expect(await as('gatebell_sign_in', signIn)).toHaveLength(1);
  });

  test('goes by the role that the session was set to, which may be less or more than its user', async () => {
    await database.sql(`
      grant execute on function gatebell.sign_in to ${STRANGER};
      create role setter_${STRANGER} noinherit; grant gatebell_sign_in, ${STRANGER} to setter_${STRANGER}`);
    await expect(as(`setter_${STRANGER}`, signIn)).rejects.toMatchObject(REFUSED);
    await as(`setter_${STRANGER}`, `set local role gatebell_sign_in; ${signIn}`);
    expect(await database.sql('select from gatebell.credentials')).toHaveLength(1);
    // A superuser who has put its rights away has them no more.
    await database.sql(`savepoint call; set local role ${STRANGER}`);
    await expect(database.sql(signIn)).rejects.toMatchObject(REFUSED);
    await database.sql('rollback to savepoint call');
  });

  test('serves the owner of the schema, and members of the role', async () => {
    expect(await as('postgres', signIn)).toHaveLength(1);
    await database.sql(`grant gatebell_sign_in to ${STRANGER}`);
    const other = signIn.replace(`'x'`, `'y'`);
    expect(await as(STRANGER, other)).toHaveLength(1);
  });

  // Postgres runs an index's function as the owner of the table, in the session of the role that rebuilds it.
  test('is not reached through an index of a stranger that a superuser rebuilds', async () => {
    await database.sql('grant execute on all functions in schema gatebell to public');
    await database.sql(`
      create schema authorization ${STRANGER};
      set local role ${STRANGER};
      create function ${STRANGER}.trap(x integer) returns integer language plpgsql immutable as $$
        begin return x; end $$;
      create table ${STRANGER}.bait as select 1 as x;
      create index on ${STRANGER}.bait (${STRANGER}.trap(x));
      create or replace function ${STRANGER}.trap(x integer) returns integer language plpgsql immutable as $$
        begin perform gatebell.sign_in(${here}, 'i', 's', 'ada', null, sha256('trap'), '1 hour', null, '{}');
        return x; end $$;
      reset role`);
    await database.sql('savepoint call');
    await expect(database.sql(`reindex table ${STRANGER}.bait`)).rejects.toMatchObject(REFUSED);
    await database.sql('rollback to savepoint call');
    await repaired();
    await expect(database.sql(`reindex table ${STRANGER}.bait`)).rejects.toMatchObject(REFUSED);
  });
});

describe('a role that may not make roles', () => {
  test('is warned; once the roles exist, the next run grants their rights; no migration is taken back', async () => {
    const server = await createPostgresServer({ settings: { fsync: 'off' } });
    try {
      const admin = await connectTo(server.url('postgres'));
      await admin.query(`create role owner login password 'x'`);
      await admin.query('create database theirs owner owner');
      const url = new URL(server.url('theirs'));
      url.username = 'owner';
      url.password = 'x';
      const owner = await connectTo(url.href);
      const warnings: string[] = [];
      const run = (): Promise<unknown> => runMigrations(owner, 'up', { warn: text => warnings.push(text) });

      await run();
      for (const role of ['gatebell_daemon', 'gatebell_sign_in']) {
        expect(warnings).toContainEqual(
          expect.stringMatching(
            `role owner may not do this: "create role ${role} nologin".*then run "gatebell repair"`,
          ),
        );
      }

      await admin.query('create role gatebell_daemon; create role gatebell_sign_in');
      warnings.length = 0;
      expect(await run()).toMatchObject({
        migrations: [],
        repairs: expect.arrayContaining(['grant USAGE on schema gatebell to gatebell_daemon']) as unknown,
      });
      expect(warnings).toEqual([]);
      expect((await owner.query('select from gatebell.privilege_problems')).rowCount).toBe(0);
      expect(await run()).toEqual({ migrations: [], repairs: [] });
      await owner.end();

      // A replica that is told to migrate, and finds nothing to do, needs no more rights.
      await admin.query(`create role replica login password 'x' in role gatebell_daemon`);
      url.username = 'replica';
      const replica = await connectTo(url.href);
      expect(await migrate(replica, 'up')).toEqual([]);
      await replica.end();
      await admin.end();
    } finally {
      await server.remove();
    }
  });
});
