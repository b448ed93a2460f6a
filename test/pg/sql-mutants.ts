/**
 * Mistakes in the migrations, by the check that must see each. `find` stands exactly once in the file whose name begins
 * with `file`; `replace` is planted in its place.
 */
import type { CheckName } from './sql-battery.js';

export interface SqlMutant {
  readonly mistake: string;
  readonly file: '001' | '002' | '003' | '004' | '005' | '006';
  readonly find: string;
  readonly replace: string;
}

export const SQL_MUTANTS: Readonly<Record<CheckName, readonly SqlMutant[]>> = {
  statements: [
    {
      mistake: 'an update signals the new key alone',
      file: '001',
      find: "concat_ws(',', old_key, nullif(new_key, old_key))",
      replace: "concat_ws(',', new_key)",
    },
    { mistake: 'of several rows only one is seen', file: '001', find: '    several := found;\n', replace: '' },
    {
      mistake: 'a truncation is silent',
      file: '001',
      find: "  if tg_op = 'TRUNCATE' then\n    perform pg_notify(%1$L, %2$L);",
      replace: "  if tg_op = 'TRUNCATE' then",
    },
  ],
  limits: [
    {
      mistake: '301 keys are named',
      file: '001',
      find: 'keys_max constant integer := 300',
      replace: 'keys_max constant integer := 301',
    },
    {
      mistake: '299 keys are named',
      file: '001',
      find: 'keys_max constant integer := 300',
      replace: 'keys_max constant integer := 299',
    },
    {
      mistake: 'keys beyond those that were read are forgotten',
      file: '001',
      find: 'if seen > %14$s or cardinality',
      replace: 'if cardinality',
    },
    {
      mistake: 'a long key of one row is named',
      file: '001',
      find: 'if octet_length(part) <= 700 then',
      replace: 'if octet_length(part) <= 7000 then',
    },
    { mistake: 'a long key of several rows is named', file: '001', find: ' or widest > 700 then', replace: ' then' },
    {
      mistake: 'a payload is longer than Postgres allows',
      file: '001',
      find: 'if octet_length(part) <= 7000 then',
      replace: 'if octet_length(part) <= 70000 then',
    },
    {
      mistake: 'parts of a long signal are too long',
      file: '001',
      find: '(order by u.key)) / 7000 as bucket',
      replace: '(order by u.key)) / 70000 as bucket',
    },
  ],
  'no primary key': [
    {
      mistake: 'without a primary key only rows that are new are seen',
      file: '001',
      find: '        union all\n        (select %2$s as key, array[%4$s] as image from new_rows n except all',
      replace:
        '        union all\n        (select %2$s as key, array[%4$s] as image from new_rows n where false except all',
    },
    {
      mistake: 'the search_path is not pinned',
      file: '001',
      find: 'returns trigger language plpgsql set search_path = pg_catalog, pg_temp %s as %L',
      replace: 'returns trigger language plpgsql %s as %L',
    },
    {
      mistake: 'how values are printed is never pinned',
      file: '001',
      find: "  then\n    settings := '';",
      replace: "  then null; end if; if true then\n    settings := '';",
    },
  ],
  'the text of keys': [
    {
      mistake: 'a bytea key is not in hex',
      file: '001',
      find: "encode(%s.%I, ''hex'')",
      replace: "encode(%s.%I, ''base64'')",
    },
    {
      mistake: 'a key is not quoted as JSON',
      file: '001',
      find: "else format('to_json(%s.%I::text)::text', alias, name)",
      replace: "else format('''\"'' || %s.%I::text || ''\"''', alias, name)",
    },
    {
      mistake: 'parts of a key are in the order of the table',
      file: '001',
      find: "' || '','' || ' order by ordinal)",
      replace: "' || '','' || ' order by name)",
    },
    {
      mistake: 'a key behind a domain is not recognised',
      file: '001',
      find: "join pg_type t on t.oid = b.type and t.typtype = 'd'\n  )",
      replace: 'join pg_type t on t.oid = b.type and false\n  )',
    },
  ],
  'images of rows': [
    {
      mistake: 'an update of one row is compared by equality',
      file: '001',
      find: 'row(%6$s)::record operator(pg_catalog.*<>) row(%7$s)::record',
      replace: 'row(%6$s) is distinct from row(%7$s)',
    },
    {
      mistake: 'a failing trigger fails its writer',
      file: '001',
      find: 'exception when others then\n  perform pg_notify(%1$L, %2$L);',
      replace: 'exception when division_by_zero then\n  perform pg_notify(%1$L, %2$L);',
    },
  ],
  'partitions and replication': [
    {
      mistake: 'children are not watched',
      file: '001',
      find:
        'select i.inhrelid from pg_catalog.pg_inherits i join tree t on i.inhparent = t.relation\n' +
        '  )\n  select relation from tree',
      replace:
        'select i.inhrelid from pg_catalog.pg_inherits i join tree t on i.inhparent = t.relation and false\n' +
        '  )\n  select relation from tree',
    },
    {
      mistake: 'a truncation by replication is silent',
      file: '001',
      find: "execute format('alter table %s enable always trigger %I'",
      replace: "perform format('alter table %s enable always trigger %I'",
    },
    {
      mistake: 'replication is not seen',
      file: '001',
      find: "execute format('alter table %s enable replica trigger %I'",
      replace: "perform format('alter table %s enable replica trigger %I'",
    },
  ],
  'watch, unwatch and set_channel': [
    {
      mistake: 'watching says nothing',
      file: '001',
      find: '  perform pg_notify(gatebell.channel(), \'{"v":1,"s":"\' || topic || \'"}\');',
      replace: '',
    },
    {
      mistake: 'a column of names of other objects can be watched',
      file: '001',
      find: "'^_?(reg|aclitem)'",
      replace: "'^_?(regx)'",
    },
    {
      mistake: 'a key column can be named twice',
      file: '001',
      find: 'having count(*) > 1 limit 1',
      replace: 'having count(*) > 2 limit 1',
    },
    {
      mistake: 'a view can be watched',
      file: '001',
      find: "kind is null or kind not in ('r', 'p')",
      replace: 'kind is null',
    },
    {
      mistake: 'a table can be watched twice under one topic',
      file: '001',
      find: 'if relative is not null then',
      replace: 'if false then',
    },
    {
      mistake: 'the channel is not changed',
      file: '001',
      find:
        "'create or replace function gatebell.channel() returns text " +
        "language sql stable parallel safe return %L::text'",
      replace: "'select %L'",
    },
    {
      mistake: 'the triggers stay on the old channel',
      file: '001',
      find: 'perform gatebell.watch(watch.target, watch.topic, watch.key_columns, watch.watched_columns);',
      replace: 'null;',
    },
  ],
  'virtual columns': [
    {
      mistake: 'a virtual column can be watched',
      file: '001',
      find: "and a.attgenerated = 'v';",
      replace: "and a.attgenerated = 'x';",
    },
    {
      mistake: 'a virtual column is not a problem',
      file: '001',
      find: 'when columns.with_virtual then',
      replace: 'when false then',
    },
  ],
  'problems of a watch': [
    {
      mistake: 'a renamed table is not a problem',
      file: '001',
      find: 'when pg_catalog.parse_ident(w.target_name) <> array[',
      replace: "when '{}' = array[",
    },
    {
      mistake: 'another text of the function is not a problem',
      file: '001',
      find: 'pg_catalog.md5(p.prosrc || p.proconfig::text) is distinct from w.function_md5',
      replace: 'false',
    },
    {
      mistake: 'another channel is not a problem',
      file: '001',
      find: "|| ',') = 0\n      then 'the triggers signal",
      replace: "|| ',') < 0\n      then 'the triggers signal",
    },
    {
      mistake: 'a dropped column is not a problem',
      file: '001',
      find: 'columns.found <> pg_catalog.cardinality(w.source_columns)',
      replace: 'columns.found < 0',
    },
    {
      mistake: 'another type is not a problem',
      file: '001',
      find: 'and a.atttypid = s.type and a.attnum > 0',
      replace: 'and a.attnum > 0',
    },
    {
      mistake: 'a missing trigger is not a problem',
      file: '001',
      find: "when t.oid is null then 'missing'",
      replace: "when false then 'missing'",
    },
    {
      mistake: 'a disabled trigger is not a problem',
      file: '001',
      find: 'when t.tgenabled::text <> e.enabled then',
      replace: 'when false then',
    },
    {
      mistake: 'a trigger for another event is not a problem',
      file: '001',
      find: 'when t.tgtype <> e.type or',
      replace: 'when',
    },
    {
      mistake: 'a trigger with a condition is not a problem',
      file: '001',
      find: 'or t.tgqual is not null or',
      replace: 'or',
    },
    {
      mistake: 'a trigger of some columns is not a problem',
      file: '001',
      find: " or t.tgattr::text <> '' then",
      replace: ' then',
    },
    { mistake: "another function's trigger is not a problem", file: '001', find: ' and t.tgfoid = p.oid', replace: '' },
  ],
  fingerprints: [
    {
      mistake: 'the fingerprint lacks the function',
      file: '001',
      find: "concat_ws('/', p.oid, p.xmin, n.xmin,",
      replace: "concat_ws('/', n.xmin,",
    },
    {
      mistake: 'the fingerprint lacks changes of the function',
      file: '001',
      find: "concat_ws('/', p.oid, p.xmin, n.xmin,",
      replace: "concat_ws('/', p.oid, n.xmin,",
    },
    {
      mistake: 'the fingerprint lacks the schema',
      file: '001',
      find: "concat_ws('/', p.oid, p.xmin, n.xmin,",
      replace: "concat_ws('/', p.oid, p.xmin,",
    },
    {
      mistake: 'the fingerprint lacks the columns',
      file: '001',
      find: ' columns.fingerprint, types.fingerprint',
      replace: ' types.fingerprint',
    },
    {
      mistake: 'the fingerprint lacks the types',
      file: '001',
      find: ' types.fingerprint,\n    policies',
      replace: '\n    policies',
    },
    {
      mistake: 'the fingerprint lacks the relations',
      file: '001',
      find: ' policies.fingerprint, relations.fingerprint',
      replace: ' policies.fingerprint',
    },
    {
      mistake: 'the fingerprint lacks changes of the table',
      file: '001',
      find: "concat_ws(':', r.oid, r.xmin, r.parents,",
      replace: "concat_ws(':', r.oid, r.parents,",
    },
    {
      mistake: 'the fingerprint lacks inheritance',
      file: '001',
      find: "concat_ws(':', r.oid, r.xmin, r.parents,",
      replace: "concat_ws(':', r.oid, r.xmin,",
    },
    {
      mistake: 'the fingerprint lacks changes of the triggers',
      file: '001',
      find: "t.oid, t.xmin, t.tgenabled),\n      ',' order by r.oid",
      replace: "t.tgenabled),\n      ',' order by r.oid",
    },
    {
      mistake: 'the fingerprint lacks labels',
      file: '001',
      find: "e.oid || '.' || e.xmin::text",
      replace: "e.oid || '.'",
    },
    {
      mistake: 'the fingerprint lacks attributes of row types',
      file: '001',
      find: "a.attnum || '.' || a.xmin::text",
      replace: "'.'",
    },
  ],
  'row level security': [
    {
      mistake: 'a policy is not a problem',
      file: '001',
      find: 'when policies.deciding then',
      replace: 'when false then',
    },
    {
      mistake: 'the fingerprint lacks the policies',
      file: '001',
      find: ' policies.fingerprint, relations.fingerprint',
      replace: ' relations.fingerprint',
    },
    {
      mistake: 'the fingerprint lacks whether a policy is for this role',
      file: '001',
      find: "pg_catalog.bool_or(role = 0 or pg_catalog.pg_has_role(role, 'usage'))",
      replace: 'pg_catalog.bool_or(true)',
    },
    {
      mistake: 'the fingerprint lacks changes of a policy',
      file: '001',
      find: "concat_ws(':', y.oid, y.xmin,",
      replace: "concat_ws(':', y.oid,",
    },
  ],
  'open writers': [
    { mistake: 'writers are not waited for', file: '001', find: "'RowExclusiveLock', 'ShareRow", replace: "'ShareRow" },
    {
      mistake: 'writers of partitions are not waited for',
      file: '001',
      find: 'l.relation in (select gatebell.relation_tree(target))',
      replace: 'l.relation = target',
    },
    {
      mistake: 'a transaction that is ending is overlooked',
      file: '001',
      find: 'if exists (\n    select from pg_locks l',
      replace: 'if false and exists (\n    select from pg_locks l',
    },
    {
      mistake: 'a transaction that runs is taken for one that ends',
      file: '001',
      find: '\n      and l.transactionid::text::bigint <> all (running)',
      replace: '',
    },
  ],
  fences: [
    {
      mistake: 'there may be several keys of fences',
      file: '001',
      find: 'create unique index fence_key_one',
      replace: 'create index fence_key_one',
    },
    {
      mistake: 'another database is not seen',
      file: '001',
      find: 'd.datname = pg_catalog.current_database())::text',
      replace: 'd.datname = pg_catalog.current_database() and false)::text',
    },
    {
      mistake: 'a fence is sent although there is a newer one',
      file: '001',
      find: 'newest <= unless_after',
      replace: 'newest >= unless_after',
    },
    {
      mistake: 'a fence is not sent where none is newer',
      file: '001',
      find: 'newest <= unless_after',
      replace: 'newest < unless_after',
    },
    {
      mistake: 'the newest fence is read after the own one was taken',
      file: '001',
      find: "number := nextval('gatebell.fence_number');",
      replace: "number := nextval('gatebell.fence_number'); newest := number;",
    },
    {
      mistake: 'the bound lies behind who still runs',
      file: '001',
      find: 'bound := pg_snapshot_xmax(',
      replace: 'bound := pg_snapshot_xmin(',
    },
    {
      mistake: 'the bound is the own id',
      file: '001',
      find: 'bound := pg_snapshot_xmax(pg_current_snapshot())',
      replace: 'bound := pg_current_xact_id()',
    },
    { mistake: 'a fence carries another id', file: '001', find: "'f', id::text::bigint", replace: "'f', number" },
    {
      mistake: 'a fence may be lost in a crash',
      file: '001',
      find: "perform set_config('synchronous_commit', 'local', true)",
      replace: 'null',
    },
    {
      mistake: 'without a key fences are not refused',
      file: '001',
      find: 'if secret.key is null then',
      replace: 'if false then',
    },
    {
      mistake: 'a restart is not seen',
      file: '001',
      find: '(extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint::text',
      replace: "''",
    },
    {
      mistake: 'a key that is written again is not seen',
      file: '001',
      find: "k.tableoid::text || '.' || k.xmin::text",
      replace: 'k.tableoid::text',
    },
    {
      mistake: 'a schema that is created again is not seen',
      file: '001',
      find: "k.tableoid::text || '.' || k.xmin::text",
      replace: 'k.xmin::text',
    },
    {
      mistake: 'the inner pad of the signature is another',
      file: '001',
      find: 'get_byte(key, i) # 54',
      replace: 'get_byte(key, i) # 55',
    },
    {
      mistake: 'the outer pad of the signature is another',
      file: '001',
      find: 'get_byte(key, i) # 92',
      replace: 'get_byte(key, i) # 91',
    },
    {
      mistake: 'the key of fences is the same everywhere',
      file: '001',
      find: 'insert into gatebell.fence_key values (key, inner_key, outer_key)',
      replace:
        "insert into gatebell.fence_key select k, k, k from (select decode(repeat('00', 64), 'hex') as k) as same",
    },
    {
      mistake: 'a standby is not told',
      file: '001',
      find: 'pg_catalog.pg_is_in_recovery() as in_recovery',
      replace: 'null::boolean as in_recovery',
    },
    {
      mistake: 'the clock is that of the transaction',
      file: '001',
      find: 'extract(epoch from pg_catalog.clock_timestamp())',
      replace: 'extract(epoch from pg_catalog.now())',
    },
  ],
  facts: [
    {
      mistake: 'a host may have capitals',
      file: '002',
      find: "host ~ '^[a-z0-9_]([a-z0-9_-]",
      replace: "host ~* '^[a-z0-9_]([a-z0-9_-]",
    },
    {
      mistake: 'a path prefix may have dot segments',
      file: '002',
      find: "and prefix !~ '\\.(/|$)|",
      replace: "and prefix !~ '",
    },
    { mistake: 'a label may have blanks at its ends', file: '002', find: ' and label = btrim(label)', replace: '' },
    {
      mistake: 'a hash may have any length',
      file: '002',
      find: 'check (octet_length(token_hash) = 32',
      replace: 'check (octet_length(token_hash) > 0',
    },
    {
      mistake: 'a credential may be of any kind',
      file: '002',
      find: "kind in ('session', 'token')",
      replace: "kind <> ''",
    },
    {
      mistake: 'two users may have one name',
      file: '002',
      find: 'name text not null unique constraint users_name_form',
      replace: 'name text not null constraint users_name_form',
    },
    {
      mistake: 'roles of a route may be null',
      file: '002',
      find: 'app_routes_roles_form check (',
      replace: 'app_routes_roles_form check (true or ',
    },
    { mistake: 'a revocation is not signalled', file: '002', find: 'expires_at,revoked_at}', replace: 'expires_at}' },
    {
      mistake: 'the role of a grant is not signalled',
      file: '002',
      find: "'{role,expires_at}'",
      replace: "'{expires_at}'",
    },
    {
      mistake: 'a wildcard is no host',
      file: '004',
      find: "case when starts_with(host, '*.') then substr(host, 3) else host end",
      replace: 'host',
    },
    {
      mistake: 'preflight is not signalled',
      file: '004',
      find: 'consistency,preflight,headers}',
      replace: 'consistency,headers}',
    },
    {
      mistake: 'a jti may have any character',
      file: '005',
      find: "jti ~ '^[\\x20-\\x7e]{1,255}$'",
      replace: "jti <> ''",
    },
    { mistake: 'jwt_not_before is not signalled', file: '005', find: 'enabled,jwt_not_before}', replace: 'enabled}' },
    {
      mistake: 'a disabled user is not signalled',
      file: '005',
      find: 'groups,enabled,jwt_not_before}',
      replace: 'groups,jwt_not_before}',
    },
    {
      mistake: 'a name that was given up is not noted',
      file: '005',
      find: 'where n.name is distinct from o.name',
      replace: 'where n.name is null',
    },
    { mistake: 'the schema is said to be older', file: '006', find: '  return 6;', replace: '  return 5;' },
  ],
  'sign-in': [
    {
      mistake: 'anybody may sign in',
      file: '006',
      find: "perform gatebell.require_caller('sign_in', 'gatebell_sign_in');",
      replace: '',
    },
    {
      mistake: 'a sign-in is written on any server',
      file: '006',
      find: '  perform gatebell.require_server(sign_in.server);',
      replace: '',
    },
    {
      mistake: 'a sign-out is written on any server',
      file: '006',
      find: '  perform gatebell.require_server(sign_out.server);',
      replace: '',
    },
    {
      mistake: 'a session lasts for ever',
      file: '006',
      find: "or sign_in.lifetime > interval '366 days'",
      replace: '',
    },
    {
      mistake: 'a disabled user signs in',
      file: '006',
      find: 'where u.id = sign_in.user_id and u.enabled',
      replace: 'where u.id = sign_in.user_id',
    },
    {
      mistake: 'a name of another topic is taken over',
      file: '006',
      find: 'where i.user_id = named.id and i.issuer = identify.issuer',
      replace: 'where false',
    },
    {
      mistake: 'a token is signed out like a session',
      file: '006',
      find: "where c.token_hash = sign_out.token_hash and c.kind = 'session'",
      replace: 'where c.token_hash = sign_out.token_hash',
    },
  ],
};
