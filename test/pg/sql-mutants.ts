/** Mistakes in the migrations. Each is a text that stands there exactly once, and what is planted in its place. */
export interface SqlMutant {
  readonly mistake: string;
  /** Beginning of the file's name. */
  readonly file: '001' | '002' | '003' | '004' | '005' | '006';
  readonly find: string;
  readonly replace: string;
}

const signals = (mistake: string, find: string, replace: string): SqlMutant => ({
  mistake,
  file: '001',
  find,
  replace,
});
const auth = (mistake: string, find: string, replace: string): SqlMutant => ({ mistake, file: '002', find, replace });
const signIn = (mistake: string, find: string, replace: string): SqlMutant => ({ mistake, file: '006', find, replace });

/** One part of the fingerprint is left out. */
const unprinted = (part: string, find: string, replace: string): SqlMutant =>
  signals(`the fingerprint lacks ${part}`, find, replace);

export const SQL_MUTANTS: readonly SqlMutant[] = [
  // What is signalled.
  signals(
    'an update signals the new key alone',
    "concat_ws(',', old_key, nullif(new_key, old_key))",
    "concat_ws(',', new_key)",
  ),
  signals(
    'an update of one row is compared by equality',
    'row(%6$s)::record operator(pg_catalog.*<>) row(%7$s)::record',
    'row(%6$s) is distinct from row(%7$s)',
  ),
  signals('of several rows only one is seen', '    several := found;\n', ''),
  signals(
    'a truncation is silent',
    "  if tg_op = 'TRUNCATE' then\n    perform pg_notify(%1$L, %2$L);",
    "  if tg_op = 'TRUNCATE' then",
  ),
  signals('301 keys are named', 'keys_max constant integer := 300', 'keys_max constant integer := 301'),
  signals('299 keys are named', 'keys_max constant integer := 300', 'keys_max constant integer := 299'),
  signals('keys beyond those that were read are forgotten', 'if seen > %14$s or cardinality', 'if cardinality'),
  signals('a long key of one row is named', 'if octet_length(part) <= 700 then', 'if octet_length(part) <= 7000 then'),
  signals('a long key of several rows is named', ' or widest > 700 then', ' then'),
  signals(
    'a payload is longer than Postgres allows',
    'if octet_length(part) <= 7000 then',
    'if octet_length(part) <= 70000 then',
  ),
  signals(
    'parts of a long signal are too long',
    '(order by u.key)) / 7000 as bucket',
    '(order by u.key)) / 70000 as bucket',
  ),
  signals(
    'without a primary key only rows that are new are seen',
    '        union all\n        (select %2$s as key, array[%4$s] as image from new_rows n except all',
    '        union all\n        (select %2$s as key, array[%4$s] as image from new_rows n where false except all',
  ),
  signals('a bytea key is not in hex', "encode(%s.%I, ''hex'')", "encode(%s.%I, ''base64'')"),
  signals(
    'a key is not quoted as JSON',
    "else format('to_json(%s.%I::text)::text', alias, name)",
    "else format('''\"'' || %s.%I::text || ''\"''', alias, name)",
  ),
  signals(
    'parts of a key are in the order of the table',
    "' || '','' || ' order by ordinal)",
    "' || '','' || ' order by name)",
  ),
  signals(
    'a key behind a domain is not recognised',
    "join pg_type t on t.oid = b.type and t.typtype = 'd'\n  )",
    'join pg_type t on t.oid = b.type and false\n  )',
  ),
  signals(
    'a failing trigger fails its writer',
    'exception when others then\n  perform pg_notify(%1$L, %2$L);',
    'exception when division_by_zero then\n  perform pg_notify(%1$L, %2$L);',
  ),
  signals(
    'the search_path is not pinned',
    'returns trigger language plpgsql set search_path = pg_catalog, pg_temp %s as %L',
    'returns trigger language plpgsql %s as %L',
  ),
  signals(
    'how values are printed is never pinned',
    "  then\n    settings := '';",
    "  then null; end if; if true then\n    settings := '';",
  ),
  signals(
    'children are not watched',
    'select i.inhrelid from pg_catalog.pg_inherits i join tree t on i.inhparent = t.relation\n  )\n  select relation from tree',
    'select i.inhrelid from pg_catalog.pg_inherits i join tree t on i.inhparent = t.relation and false\n  )\n  select relation from tree',
  ),
  signals(
    'a truncation by replication is silent',
    "execute format('alter table %s enable always trigger %I'",
    "perform format('alter table %s enable always trigger %I'",
  ),
  signals(
    'replication is not seen',
    "execute format('alter table %s enable replica trigger %I'",
    "perform format('alter table %s enable replica trigger %I'",
  ),
  signals('watching says nothing', `  perform pg_notify(gatebell.channel(), '{"v":1,"s":"' || subject || '"}');`, ''),
  // What cannot be watched.
  signals('a virtual column can be watched', "and a.attgenerated = 'v';", "and a.attgenerated = 'x';"),
  signals('a column of names of other objects can be watched', "'^_?(reg|aclitem)'", "'^_?(regx)'"),
  signals('a key column can be named twice', 'having count(*) > 1 limit 1', 'having count(*) > 2 limit 1'),
  signals('a view can be watched', "kind is null or kind not in ('r', 'p')", 'kind is null'),
  signals('a table can be watched twice under one subject', 'if relative is not null then', 'if false then'),
  // What is wrong with a watch.
  signals(
    'a renamed table is not a problem',
    '|| pg_catalog.quote_ident(c.relname) <> w.target_name',
    "|| pg_catalog.quote_ident(c.relname) = ''",
  ),
  signals(
    'another text of the function is not a problem',
    'pg_catalog.md5(p.prosrc || p.proconfig::text) is distinct from w.function_md5',
    'false',
  ),
  signals(
    'another channel is not a problem',
    "|| ',') = 0 then 'the triggers signal",
    "|| ',') < 0 then 'the triggers signal",
  ),
  signals(
    'a dropped column is not a problem',
    'columns.found <> pg_catalog.cardinality(w.source_columns)',
    'columns.found < 0',
  ),
  signals('another type is not a problem', 'and a.atttypid = s.type and a.attnum > 0', 'and a.attnum > 0'),
  signals('a virtual column is not a problem', 'when columns.with_virtual then', 'when false then'),
  signals('a policy is not a problem', 'when policies.deciding then', 'when false then'),
  signals('a missing trigger is not a problem', "when t.oid is null then 'missing'", "when false then 'missing'"),
  signals('a disabled trigger is not a problem', 'when t.tgenabled::text <> e.enabled then', 'when false then'),
  signals('a trigger for another event is not a problem', 'when t.tgtype <> e.type or', 'when'),
  signals('a trigger with a condition is not a problem', 'or t.tgqual is not null or', 'or'),
  signals('a trigger of some columns is not a problem', " or t.tgattr::text <> '' then", ' then'),
  signals("another function's trigger is not a problem", ' and t.tgfoid = p.oid', ''),
  // When it was touched.
  unprinted('the function', "concat_ws('/', p.oid, p.xmin, n.xmin,", "concat_ws('/', n.xmin,"),
  unprinted('changes of the function', "concat_ws('/', p.oid, p.xmin, n.xmin,", "concat_ws('/', p.oid, n.xmin,"),
  unprinted('the schema', "concat_ws('/', p.oid, p.xmin, n.xmin,", "concat_ws('/', p.oid, p.xmin,"),
  unprinted('the columns', ' columns.fingerprint, types.fingerprint', ' types.fingerprint'),
  unprinted('the types', ' types.fingerprint, policies', ' policies'),
  unprinted('the policies', ' policies.fingerprint,\n    relations.fingerprint', '\n    relations.fingerprint'),
  unprinted('the relations', ' policies.fingerprint,\n    relations.fingerprint', ' policies.fingerprint'),
  unprinted('changes of the table', "concat_ws(':', r.oid, r.xmin, r.parents,", "concat_ws(':', r.oid, r.parents,"),
  unprinted('inheritance', "concat_ws(':', r.oid, r.xmin, r.parents,", "concat_ws(':', r.oid, r.xmin,"),
  unprinted(
    'changes of the triggers',
    "t.oid, t.xmin, t.tgenabled), ',' order by r.oid",
    "t.tgenabled), ',' order by r.oid",
  ),
  unprinted('labels', "e.oid || '.' || e.xmin::text", "e.oid || '.'"),
  unprinted('attributes of row types', "a.attnum || '.' || a.xmin::text", "'.'"),
  unprinted(
    'whether a policy is for this role',
    "pg_catalog.bool_or(role = 0 or pg_catalog.pg_has_role(role, 'usage'))",
    'pg_catalog.bool_or(true)',
  ),
  unprinted('changes of a policy', "concat_ws(':', y.oid, y.xmin,", "concat_ws(':', y.oid,"),
  // Who may still write.
  signals('writers are not waited for', "'RowExclusiveLock', 'ShareRow", "'ShareRow"),
  signals(
    'writers of partitions are not waited for',
    'l.relation in (select gatebell.relation_tree(target))',
    'l.relation = target',
  ),
  signals(
    'a transaction that is ending is overlooked',
    'if exists (\n    select from pg_locks l',
    'if false and exists (\n    select from pg_locks l',
  ),
  signals(
    'a transaction that runs is taken for one that ends',
    '\n      and l.transactionid::text::bigint <> all (running)',
    '',
  ),
  // Fences.
  signals('a fence is sent although there is a newer one', 'newest <= unless_after', 'newest >= unless_after'),
  signals('a fence is not sent where none is newer', 'newest <= unless_after', 'newest < unless_after'),
  signals(
    'the newest fence is read after the own one was taken',
    "number := nextval('gatebell.fence_number');",
    "number := nextval('gatebell.fence_number'); newest := number;",
  ),
  signals('the bound lies behind who still runs', 'bound := pg_snapshot_xmax(', 'bound := pg_snapshot_xmin('),
  signals(
    'the bound is the own id',
    'bound := pg_snapshot_xmax(pg_current_snapshot())',
    'bound := pg_current_xact_id()',
  ),
  signals('a fence carries another id', "'f', id::text::bigint", "'f', number"),
  signals('a fence may be lost in a crash', "perform set_config('synchronous_commit', 'local', true)", 'null'),
  signals('without a key fences are not refused', 'if secret.key is null then', 'if false then'),
  signals(
    'a restart is not seen',
    '(extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint::text',
    "''",
  ),
  signals(
    'another database is not seen',
    'd.datname = pg_catalog.current_database())::text',
    'd.datname = pg_catalog.current_database() and false)::text',
  ),
  signals('a key that is written again is not seen', "k.tableoid::text || '.' || k.xmin::text", 'k.tableoid::text'),
  signals('a schema that is made anew is not seen', "k.tableoid::text || '.' || k.xmin::text", 'k.xmin::text'),
  signals('the inner pad of the signature is another', 'get_byte(key, i) # 54', 'get_byte(key, i) # 55'),
  signals('the outer pad of the signature is another', 'get_byte(key, i) # 92', 'get_byte(key, i) # 91'),
  signals(
    'the key of fences is the same everywhere',
    'insert into gatebell.fence_key values (key, inner_key, outer_key)',
    "insert into gatebell.fence_key select k, k, k from (select decode(repeat('00', 64), 'hex') as k) as same",
  ),
  signals('there may be several keys of fences', 'create unique index fence_key_one', 'create index fence_key_one'),
  signals('a standby is not told', 'pg_catalog.pg_is_in_recovery() as in_recovery', 'null::boolean as in_recovery'),
  signals(
    'the clock is that of the transaction',
    'extract(epoch from pg_catalog.clock_timestamp())',
    'extract(epoch from pg_catalog.now())',
  ),
  signals(
    'the channel is not changed',
    "'create or replace function gatebell.channel() returns text language sql stable parallel safe return %L::text', name",
    "'select %L', name",
  ),
  signals(
    'the triggers stay on the old channel',
    'perform gatebell.watch(watch.target, watch.subject, watch.key_columns, watch.watched_columns);',
    'null;',
  ),
  // Facts.
  auth('a host may have capitals', "host ~ '^[a-z0-9_]([a-z0-9_-]", "host ~* '^[a-z0-9_]([a-z0-9_-]"),
  auth('a path prefix may have dot segments', " and prefix !~ '/\\.{1,2}(/|$)'", ''),
  auth('a label may have blanks at its ends', ' and label = btrim(label)', ''),
  auth('a hash may have any length', 'octet_length(token_hash) = 32', 'octet_length(token_hash) > 0'),
  auth('a credential may be of any kind', "kind in ('session', 'token')", "kind <> ''"),
  auth(
    'two users may have one name',
    'name text not null unique constraint users_name_form',
    'name text not null constraint users_name_form',
  ),
  auth('roles of a route may be null', 'app_routes_roles_form check (', 'app_routes_roles_form check (true or '),
  auth('a revocation is not signalled', 'expires_at,revoked_at}', 'expires_at}'),
  auth('the role of a grant is not signalled', "'{role,expires_at}'", "'{expires_at}'"),
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
  // Sign-in.
  signIn('anybody may sign in', "perform gatebell.require_caller('sign_in', 'gatebell_sign_in');", ''),
  signIn('a sign-in is written on any server', '  perform gatebell.require_server(sign_in.server);', ''),
  signIn('a sign-out is written on any server', '  perform gatebell.require_server(sign_out.server);', ''),
  signIn('a session lasts for ever', "or sign_in.lifetime > interval '366 days'", ''),
  signIn('a disabled user signs in', 'where u.id = sign_in.user_id and u.enabled', 'where u.id = sign_in.user_id'),
  signIn(
    'a name of another subject is taken over',
    'where i.user_id = named.id and i.issuer = identify.issuer',
    'where false',
  ),
  signIn(
    'a token is signed out like a session',
    "where c.token_hash = sign_out.token_hash and c.kind = 'session'",
    'where c.token_hash = sign_out.token_hash',
  ),
];
