-- Signals: a statement that changes a watched row notifies every replica, in commit order, after the commit.
--
-- gatebell.watch(table, topic, key columns, watched columns) attaches the triggers, gatebell.unwatch(table, topic)
-- removes them, the view gatebell.watch_status lists them and says what is wrong with them. Payloads carry keys, never
-- secrets:
--   {"v":1,"s":"grant","k":[["7","12"],["7","13"]]}   these keys of the topic changed
--   {"v":1,"s":"grant"}                               any key of the topic may have changed
--   {"v":1,"f":812,"n":42,"i":"<server and schema>","m":"<signature>"}   a fence, see gatebell.fence()

create schema gatebell;

comment on schema gatebell is
  'Gatebell: facts that a forward-auth gate answers from, and the signals that keep its caches true.';

create function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 1;

comment on function gatebell.schema_version() is
  'Number of the newest migration applied. A program refuses a database that is newer than itself.';

-- The channel is a function, not a setting of the session: a writer cannot change it, and the triggers, the fences and
-- the replicas all read the same one. gatebell.set_channel() replaces it. (Not immutable: that would live on in plans
-- made before.)
create function gatebell.channel() returns text
  language sql stable parallel safe
  return 'gatebell';

comment on function gatebell.channel() is
  'The channel that signals and fences are sent on; change it with gatebell.set_channel(name).';

-- Anybody can NOTIFY: fences are signed, by HMAC-SHA256 (RFC 2104) with a key of 64 bytes. It is kept as it is, and
-- combined with the two pads of the algorithm.
create table gatebell.fence_key (
  key bytea not null,
  inner_key bytea not null,
  outer_key bytea not null
);
create unique index fence_key_one on gatebell.fence_key ((true));

-- Where and when a statement was answered: a load that was read elsewhere than where the replica listens must be
-- discarded (P5, P23).
--
-- The server is named by when it was started and by the oid of the database: they change at a restart, at a failover,
-- and when the database is restored under the same name. The schema is named by its fence key: the table's oid and the
-- row's transaction change when the schema is dropped, created again, or restored in place in any way, and when the
-- key is written again.
create view gatebell.server as
select
  (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint::text
    || '/' || (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())::text
    || '/' || coalesce((select k.tableoid::text || '.' || k.xmin::text from gatebell.fence_key k), 'none') as server_id,
  pg_catalog.pg_is_in_recovery() as in_recovery,
  (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::double precision as server_time_ms;

comment on view gatebell.server is
  'One row: which server and which schema answers, whether it is a standby, and its clock (milliseconds since 1970).';

-- A fence takes a number here when it is sent, so that others see that one is on its way and need not send their own.
-- Nothing is proven by these numbers: when they go back or jump ahead, one fence too many or too few is sent.
create sequence gatebell.fence_number maxvalue 9007199254740991 cycle;

-- A dump of the schema alone has no key: then a new one is made.
create function gatebell.make_fence_key() returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $function$
declare
  key bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
  inner_key bytea := key;
  outer_key bytea := key;
begin
  for i in 0..63 loop
    inner_key := set_byte(inner_key, i, get_byte(key, i) # 54);
    outer_key := set_byte(outer_key, i, get_byte(key, i) # 92);
  end loop;
  insert into gatebell.fence_key values (key, inner_key, outer_key);
end
$function$;

select gatebell.make_fence_key();

comment on table gatebell.fence_key is
  'The key that fences are signed with. Who can read it can make replicas believe that they have heard everything.';

-- A fence is a message that carries its transaction's id. The caller gets a bound: the first id past all that had
-- completed. NOTIFY takes a lock before it queues, and its transaction holds that until it has completed; so the queue
-- is in the order of completion. A fence with the bound or a greater id had not completed by then, so a replica that
-- hears it has heard all that had. The bound is read first: its snapshot is older than the id that this transaction
-- takes to send a fence.
--
-- It runs with the rights of its caller, who must be able to read the key and to use the sequence. Functions are
-- everybody's in a dump without privileges; tables and sequences are nobody's.
create function gatebell.fence(
  unless_after bigint, out bound bigint, out newest bigint, out sent boolean, out key bytea)
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
as $function$
declare
  secret gatebell.fence_key;
  id xid8;
  number bigint;
  server_id text;
begin
  bound := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
  select case when n.is_called then n.last_value else 0 end into newest from gatebell.fence_number n;
  select * into secret from gatebell.fence_key;
  if secret.key is null then
    raise exception 'gatebell.fence: the key that fences are signed with is missing'
      using errcode = 'object_not_in_prerequisite_state', hint = 'gatebell repair makes a new one.';
  end if;
  key := secret.key;
  sent := unless_after is null or newest <= unless_after;
  if sent then
    -- Else a crash could give the id of a fence that was heard to another transaction.
    if current_setting('synchronous_commit') = 'off' then
      perform set_config('synchronous_commit', 'local', true);
    end if;
    select s.server_id into server_id from gatebell.server s;
    id := pg_current_xact_id();
    number := nextval('gatebell.fence_number');
    perform pg_notify(gatebell.channel(), json_build_object(
      'v', 1,
      'f', id::text::bigint,
      'n', number,
      'i', server_id,
      'm', encode(sha256(
        secret.outer_key
          || sha256(secret.inner_key || convert_to(concat_ws('/', id, number, server_id), 'UTF8'))), 'hex')
    )::text);
  end if;
end
$function$;

revoke execute on function gatebell.fence(bigint) from public;

comment on function gatebell.fence(bigint) is
  'Says the bound and the number of the newest fence, and then sends one, unless there is one with a greater number '
  'than given; null: in any case; -1: never. A replica that hears a fence of the bound or more has heard every signal '
  'of every transaction that was acknowledged before it asked.';

create table gatebell.watches (
  id bigint generated always as identity primary key,
  target regclass not null,
  -- Its name with its schema when it was watched: loads find it by that.
  target_name text not null,
  topic text not null
    constraint watches_topic_form check (topic ~ '^[a-z][a-z0-9_]{0,39}$'),
  key_columns text[] not null,
  watched_columns text[] not null,
  -- What the trigger function was generated from: columns with their types, primary key included.
  source_columns text[] not null,
  source_types regtype[] not null,
  -- Digest of the function's text and of the settings pinned on it.
  function_md5 text,
  unique (target, topic)
);

comment on table gatebell.watches is 'The watched tables; written by gatebell.watch() and gatebell.unwatch() only.';

-- A dump of the schema alone has the triggers and their functions, but no row of gatebell.watches. What was watched
-- stands in the comments of the functions, too.
create view gatebell.lost_watches as
select
  p.oid as function_id,
  pg_catalog.substr(p.proname, 8)::bigint as id,
  c.arguments ->> 'target' as target_name,
  c.arguments ->> 'topic' as topic,
  array(select pg_catalog.jsonb_array_elements_text(c.arguments -> 'key_columns')) as key_columns,
  array(select pg_catalog.jsonb_array_elements_text(c.arguments -> 'watched_columns')) as watched_columns
from pg_catalog.pg_proc p
cross join lateral (
  select case when d.comment like '{%}' then d.comment::jsonb end as arguments
  from (select pg_catalog.obj_description(p.oid, 'pg_proc') as comment) as d
) as c
where p.pronamespace = 'gatebell'::pg_catalog.regnamespace and p.proname ~ '^signal_[0-9]{1,18}$'
  and p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
  and not exists (select from gatebell.watches w where 'signal_' || w.id = p.proname);

comment on view gatebell.lost_watches is
  'Trigger functions of gatebell.watch() that gatebell.watches knows nothing of. Watching these tables again repairs '
  'it.';

-- The columns of a key with the types that they have in the end, behind all domains.
create function gatebell.key_types(target regclass, key_columns text[])
  returns table (ordinal bigint, name text, type regtype)
  language sql stable
  set search_path = pg_catalog, pg_temp
begin atomic
  with recursive base (ordinal, name, type) as (
    select k.ordinal, k.name, a.atttypid
    from unnest(key_columns) with ordinality as k (name, ordinal)
    join pg_attribute a on a.attrelid = target and a.attname = k.name and a.attnum > 0 and not a.attisdropped
    union all
    select b.ordinal, b.name, t.typbasetype
    from base b join pg_type t on t.oid = b.type and t.typtype = 'd'
  )
  select b.ordinal, b.name, b.type::regtype
  from base b
  where not exists (select from pg_type t where t.oid = b.type and t.typtype = 'd');
end;

-- The text of one key: a JSON array of strings, null if a part is null (no fact has a null key). The same text whatever
-- the writer's settings: bytea in hex, times as seconds since 1970, the rest as Postgres prints it under the settings
-- pinned on the trigger.
create function gatebell.key_expression(target regclass, key_columns text[], alias text) returns text
  language sql stable
  set search_path = pg_catalog, pg_temp
  return (
    select '''['' || ' || string_agg(
      case
        when type = 'bytea'::regtype then format('''"'' || encode(%s.%I, ''hex'') || ''"''', alias, name)
        when type in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
          then format('''"'' || extract(epoch from %s.%I)::text || ''"''', alias, name)
        when type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype, 'uuid'::regtype,
          'bool'::regtype)
          then format('''"'' || %s.%I::text || ''"''', alias, name)
        else format('to_json(%s.%I::text)::text', alias, name)
      end, ' || '','' || ' order by ordinal) || ' || '']'''
    from gatebell.key_types(target, key_columns)
  );

-- The body of a watched table's trigger function: static SQL (through EXECUTE the same logic halves the write rate).
--
-- An update signals the old and the new key of the rows whose key or watched columns changed. Rows are compared by
-- image (*<>): it needs no operator of the type, so no type can make a user's write fail, and it sees what equality
-- hides (citext 'A' and 'a', numeric 1.0 and 1.00). Without a primary key, the two multisets of printed rows are
-- compared (P3). A key is made of columns of the changed row alone; nothing else is read (P1). At most 600 keys are
-- read, twice as many as are named: an update has two of each row, an insert may repeat one.
--
-- The function never fails its user's write: what goes wrong in it becomes a signal for the whole topic and a warning.
create function gatebell.trigger_source(target regclass, topic text, key_columns text[], watched_columns text[])
  returns text
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
as $function$
declare
  keys_max constant integer := 300;
  same_row text;
  row_names text[];
  facts text[];
  columns text[];
  changed text;
  first_changed text;
begin
  -- Only operators of pg_catalog can be named here; the primary keys of other types (ltree) are joined by their text.
  select string_agg(format(case when c.opcnamespace = 'pg_catalog'::regnamespace then 'o.%1$I = n.%1$I'
      else 'o.%1$I::text collate "C" = n.%1$I::text collate "C"' end, a.attname), ' and ' order by k.ordinal),
    coalesce(array_agg(a.attname::text order by k.ordinal), '{}') into same_row, row_names
  from pg_index i
  cross join unnest(i.indkey::int2[], i.indclass::oid[]) with ordinality as k (attnum, opclass, ordinal)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
  join pg_opclass c on c.oid = k.opclass
  where i.indrelid = target and i.indisprimary and i.indisvalid;

  select array_agg(name order by first) into facts
  from (
    select name, min(ordinal) as first
    from unnest(key_columns || watched_columns) with ordinality as c (name, ordinal)
    group by name
  ) c;
  -- Of the one row that most statements write. Another primary key is another row.
  columns := facts || array(select r from unnest(row_names) r where r <> all (facts));

  if same_row is not null then
    changed := format(
      $sql$
      select e.key
      from (
        select %1$s as old_key, %2$s as new_key
        from old_rows o full join new_rows n on %3$s
        where row(%4$s)::record operator(pg_catalog.*<>) row(%5$s)::record
      ) as c cross join lateral (values (c.old_key), (c.new_key)) as e (key)
      limit %6$s$sql$,
      gatebell.key_expression(target, key_columns, 'o'),
      gatebell.key_expression(target, key_columns, 'n'),
      same_row,
      (select string_agg(format('o.%I', f), ', ') from unnest(facts) f),
      (select string_agg(format('n.%I', f), ', ') from unnest(facts) f),
      2 * keys_max + 1);
    -- Old and new rows come in one order: if the first of them have all changed there is no need to join the rest.
    first_changed := format(
      $sql$
      select 2 * count(*)
      from (select %1$s from old_rows o limit %2$s) o join (select %3$s from new_rows n limit %2$s) n on %4$s
      where row(%1$s)::record operator(pg_catalog.*<>) row(%3$s)::record$sql$,
      (select string_agg(format('o.%I', f), ', ') from unnest(columns) f),
      keys_max + 1,
      (select string_agg(format('n.%I', f), ', ') from unnest(columns) f),
      same_row);
  else
    first_changed := '0';
    changed := format(
      $sql$
      select e.key
      from (
        (select %1$s as key, array[%3$s] as image from old_rows o except all select %2$s, array[%4$s] from new_rows n)
        union all
        (select %2$s as key, array[%4$s] as image from new_rows n except all select %1$s, array[%3$s] from old_rows o)
        limit %5$s
      ) as e$sql$,
      gatebell.key_expression(target, key_columns, 'o'),
      gatebell.key_expression(target, key_columns, 'n'),
      (select string_agg(format('o.%I::text collate "C"', f), ', ') from unnest(facts) f),
      (select string_agg(format('n.%I::text collate "C"', f), ', ') from unnest(facts) f),
      2 * keys_max + 1);
  end if;

  return format(
    $body$
declare
  old_key text;
  new_key text;
  written boolean := true;
  several boolean := false;
  seen bigint;
  keys text[];
  widest integer;
  part text;
begin
  if tg_op = 'TRUNCATE' then
    perform pg_notify(%1$L, %2$L);
    return null;
  end if;

  -- Most statements write one row: it is looked at without the joins that many need. An update writes no more new rows
  -- than old ones, but one row less where a trigger of a partition refuses the row that was moved there.
  if tg_level = 'STATEMENT' then
    if tg_op = 'INSERT' then
      select %16$s into new from new_rows n;
      written := found;
      perform from new_rows offset 1;
    else
      select %15$s into old from old_rows o;
      written := found;
      if tg_op = 'UPDATE' then
        select %16$s into new from new_rows n;
      end if;
      perform from old_rows offset 1;
    end if;
    several := found;
  end if;

  if not several then
    if tg_op = 'UPDATE' then
      written := written and row(%6$s)::record operator(pg_catalog.*<>) row(%7$s)::record;
    end if;
    if not written then
      return null;
    end if;
    if tg_op <> 'INSERT' then
      old_key := %4$s;
    end if;
    if tg_op <> 'DELETE' then
      new_key := %5$s;
    end if;
    part := concat_ws(',', old_key, nullif(new_key, old_key));
    if octet_length(part) <= 700 then
      if part <> '' then
        perform pg_notify(%1$L, %3$L || part || ']}');
      end if;
      return null;
    end if;
    seen := 1;
    keys := array_remove(array[old_key, nullif(new_key, old_key)], null);
    widest := greatest(octet_length(old_key), octet_length(new_key));
  elsif tg_op = 'INSERT' then
    select count(*), array_agg(distinct e.key) filter (where e.key is not null), max(octet_length(e.key))
    into seen, keys, widest
    from (select %9$s as key from new_rows n limit %11$s) as e;
  elsif tg_op = 'DELETE' then
    select count(*), array_agg(distinct e.key) filter (where e.key is not null), max(octet_length(e.key))
    into seen, keys, widest
    from (select %8$s as key from old_rows o limit %11$s) as e;
  else
    seen := (%17$s);
    if seen <= %14$s then
      select count(*), array_agg(distinct e.key) filter (where e.key is not null), max(octet_length(e.key))
      into seen, keys, widest
      from (%10$s) as e;
    end if;
  end if;

  -- A payload must stay below 8000 bytes: parts of about 7000, keys of at most 700, else the whole topic.
  -- First, because null keys count as read: beyond the limit there may be others.
  if seen > %14$s or cardinality(keys) > %12$s or widest > 700 then
    perform pg_notify(%1$L, %2$L);
    return null;
  end if;
  if keys is null then
    return null;
  end if;
  part := array_to_string(keys, ',');
  if octet_length(part) <= 7000 then
    perform pg_notify(%1$L, %3$L || part || ']}');
    return null;
  end if;
  for part in
    select string_agg(p.key, ',' order by p.key)
    from (
      select u.key, (sum(octet_length(u.key) + 1) over (order by u.key)) / 7000 as bucket
      from unnest(keys) as u (key)
    ) as p
    group by p.bucket
  loop
    perform pg_notify(%1$L, %3$L || part || ']}');
  end loop;
  return null;
exception when others then
  perform pg_notify(%1$L, %2$L);
  raise warning
    'gatebell: the trigger of %% could not name the changed keys of topic %%, so all of them were signalled: %%',
    tg_relid::regclass, %13$L, sqlerrm;
  return null;
end
$body$,
    gatebell.channel(),
    '{"v":1,"s":"' || topic || '"}',
    '{"v":1,"s":"' || topic || '","k":[',
    gatebell.key_expression(target, key_columns, 'old'),
    gatebell.key_expression(target, key_columns, 'new'),
    (select string_agg(format('old.%I', f), ', ') from unnest(columns) f),
    (select string_agg(format('new.%I', f), ', ') from unnest(columns) f),
    gatebell.key_expression(target, key_columns, 'o'),
    gatebell.key_expression(target, key_columns, 'n'),
    changed,
    2 * keys_max + 1,
    keys_max,
    topic,
    2 * keys_max,
    (select string_agg(format('o.%I', f), ', ') from unnest(columns) f),
    (select string_agg(format('n.%I', f), ', ') from unnest(columns) f),
    first_changed);
end
$function$;

-- A table and all its partitions (or children): a statement fires the triggers of the table that it names.
create function gatebell.relation_tree(target regclass) returns setof oid
  language sql stable
begin atomic
  with recursive tree (relation) as (
    select target::oid
    union
    select i.inhrelid from pg_catalog.pg_inherits i join tree t on i.inhparent = t.relation
  )
  select relation from tree;
end;

-- Which rows of the catalogs say how values of these types are printed: those of the types, and of all that they are
-- made of.
create function gatebell.types_fingerprint(types regtype[]) returns text
  language sql stable
begin atomic
  with recursive used (type) as (
    select s.type::oid from pg_catalog.unnest(types) as s (type) where s.type::oid >= 16384
    union
    select part.type
    from used u
    join pg_catalog.pg_type t on t.oid = u.type
    cross join lateral (
      values (t.typbasetype), (t.typelem)
      union all select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0
        and not a.attisdropped
      union all select r.rngsubtype from pg_catalog.pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
    ) as part (type)
    where part.type >= 16384
  )
  select pg_catalog.string_agg(pg_catalog.concat_ws(':', t.oid, t.xmin,
    (select pg_catalog.string_agg(e.oid || '.' || e.xmin::text, ';' order by e.oid) from pg_catalog.pg_enum e
      where e.enumtypid = t.oid),
    (select pg_catalog.string_agg(a.attnum || '.' || a.xmin::text, ';' order by a.attnum) from pg_catalog.pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0),
    (select pg_catalog.concat_ws('.', k.oid, k.xmin, f.xmin) from pg_catalog.pg_cast k
      left join pg_catalog.pg_proc f on f.oid = k.castfunc
      where k.castsource = t.oid and k.casttarget = 'text'::pg_catalog.regtype)), ',' order by t.oid)
  from used u join pg_catalog.pg_type t on t.oid = u.type;
end;

-- What a table is called, with its schema, whatever the search_path, and whether or not the session quotes all names.
create function gatebell.qualified_name(relation oid) returns text
  language sql stable
  set quote_all_identifiers = off
begin atomic
  select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.oid = relation;
end;

create function gatebell.unwatch(target regclass, topic text) returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $function$
declare
  watch gatebell.watches;
  found_trigger record;
begin
  delete from gatebell.watches w where w.target = unwatch.target and w.topic = unwatch.topic returning w.* into watch;
  if watch.id is null then
    raise exception 'gatebell.unwatch: table % is not watched for topic %', target, quote_literal(topic)
      using errcode = 'undefined_object',
        hint = 'select target, topic from gatebell.watch_status lists what is watched.';
  end if;
  for found_trigger in
    select t.tgname, t.tgrelid::regclass as relation
    from pg_trigger t join pg_proc p on p.oid = t.tgfoid
    where p.pronamespace = 'gatebell'::regnamespace and p.proname = 'signal_' || watch.id
      and not t.tgisinternal and t.tgparentid = 0
  loop
    execute format('drop trigger %I on %s', found_trigger.tgname, found_trigger.relation);
  end loop;
  execute format('drop function if exists gatebell.%I()', 'signal_' || watch.id);
end
$function$;

comment on function gatebell.unwatch(regclass, text) is
  'Removes the triggers that gatebell.watch() attached for this table and topic.';

create function gatebell.watch(target regclass, topic text, key_columns text[], watched_columns text[] default '{}')
  returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
  -- What it writes into trigger functions and their settings is compared later, by digest.
  set quote_all_identifiers = off
as $function$
declare
  kind "char";
  missing text;
  virtual text;
  renaming text;
  repeated text;
  relative regclass;
  watch_id bigint;
  source text;
  settings text := 'set datestyle = ''ISO, YMD'' set timezone = ''UTC'' set intervalstyle = ''postgres'' '
    'set bytea_output = ''hex'' set extra_float_digits = 1';
  relation record;
begin
  if target is null or topic is null or key_columns is null or watched_columns is null then
    raise exception 'gatebell.watch: the table, the topic, the key columns and the watched columns must not be null'
      using errcode = 'null_value_not_allowed',
        hint = 'Leave the watched columns out, or give ''{}'', to watch the key columns only.';
  end if;
  if topic !~ '^[a-z][a-z0-9_]{0,39}$' then
    raise exception 'gatebell.watch: topic % is not allowed', quote_literal(topic)
      using errcode = 'invalid_parameter_value',
        hint = 'A topic is 1 to 40 characters, a-z, 0-9 and _, and begins with a letter.';
  end if;
  select c.relkind into kind from pg_class c where c.oid = target;
  if kind is null or kind not in ('r', 'p') then
    raise exception 'gatebell.watch: % is not a table', target
      using errcode = 'wrong_object_type',
        hint = 'Only tables and partitioned tables can be watched; watch the tables below a view.';
  end if;
  if exists (select from gatebell.relation_tree(target) as r join pg_class c on c.oid = r where c.relkind = 'f') then
    raise exception 'gatebell.watch: a foreign table is part of %', target
      using errcode = 'wrong_object_type',
        hint = 'Postgres refuses writes to it below a table with such triggers; watch the table where it lives.';
  end if;
  if cardinality(key_columns) = 0 then
    raise exception 'gatebell.watch: no key column was given for %', target
      using errcode = 'invalid_parameter_value',
        hint = 'Name at least one column of the table; its value is the key of a fact.';
  end if;
  select string_agg(coalesce(quote_literal(c.name), 'null'), ', ') into missing
  from unnest(key_columns || watched_columns) as c (name)
  where not exists (
    select from pg_attribute a where a.attrelid = target and a.attname = c.name and a.attnum > 0
      and not a.attisdropped);
  if missing is not null then
    raise exception 'gatebell.watch: table % has no column %', target, missing
      using errcode = 'undefined_column', hint = 'Name columns of the table itself.';
  end if;
  -- Postgres shows no value of such a column to a trigger.
  select string_agg(quote_literal(a.attname), ', ') into virtual
  from pg_attribute a
  where a.attrelid = target and a.attname = any (key_columns || watched_columns) and a.attgenerated = 'v';
  if virtual is not null then
    raise exception 'gatebell.watch: column % of % is generated and virtual', virtual, target
      using errcode = 'feature_not_supported', hint = 'Watch the columns that it is computed from, or make it STORED.';
  end if;
  select string_agg(quote_literal(s.name), ', ') into renaming
  from gatebell.key_types(target, key_columns || watched_columns) s
  join pg_type t on t.oid = s.type
  where t.typnamespace = 'pg_catalog'::regnamespace and t.typname ~ '^_?(reg|aclitem)';
  if renaming is not null then
    raise exception 'gatebell.watch: column % of % holds names of other objects', renaming, target
      using errcode = 'feature_not_supported',
        hint = 'Its text changes when such an object is renamed, and no trigger tells. Keep an oid or the text.';
  end if;
  select c.name into repeated from unnest(key_columns) as c (name) group by c.name having count(*) > 1 limit 1;
  if repeated is not null then
    raise exception 'gatebell.watch: key column % is named twice', quote_literal(repeated)
      using errcode = 'duplicate_column', hint = 'Name each part of the key once.';
  end if;

  -- Also the one that this table stands in for: dropped and created again, or swapped by name.
  perform gatebell.unwatch(w.target, w.topic)
  from gatebell.watches w
  where w.topic = watch.topic and (w.target = watch.target or w.target_name = gatebell.qualified_name(watch.target));
  select w.target into relative
  from gatebell.watches w
  where w.topic = watch.topic
    and exists (select gatebell.relation_tree(w.target) intersect select gatebell.relation_tree(watch.target));
  if relative is not null then
    raise exception 'gatebell.watch: % is already watched for topic % together with %',
        target, quote_literal(topic), relative
      using errcode = 'duplicate_object',
        hint = 'A table is watched with its partitions and children; unwatch that one first.';
  end if;

  -- What gatebell.watches has lost keeps its functions: theirs are not given out again, and those of this watch are
  -- replaced.
  perform setval(pg_get_serial_sequence('gatebell.watches', 'id'),
    greatest(max(l.id), nextval(pg_get_serial_sequence('gatebell.watches', 'id'))))
  from gatebell.lost_watches l having count(*) > 0;
  for relation in
    select l.id from gatebell.lost_watches l
    where l.topic = watch.topic and l.target_name = gatebell.qualified_name(watch.target)
  loop
    execute format('drop function gatebell.%I() cascade', 'signal_' || relation.id);
  end loop;

  source := gatebell.trigger_source(target, topic, key_columns, watched_columns);
  insert into gatebell.watches (target, target_name, topic, key_columns, watched_columns, source_columns, source_types)
  select watch.target, gatebell.qualified_name(watch.target), watch.topic, watch.key_columns, watch.watched_columns,
    array_agg(a.attname::text order by a.attnum), array_agg(a.atttypid::regtype order by a.attnum)
  from pg_attribute a
  where a.attrelid = watch.target and a.attnum > 0 and not a.attisdropped
    and (a.attname = any (watch.key_columns || watch.watched_columns)
      or exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary and a.attnum = any (i.indkey)))
  returning id into watch_id;

  -- Each setting costs every statement of a writer: those that change how values are printed are pinned only where that
  -- is compared (without a primary key), or where a key has a type that may read them.
  if exists (select from pg_index i where i.indrelid = target and i.indisprimary and i.indisvalid)
    and not exists (
      select from gatebell.key_types(target, key_columns) k join pg_type t on t.oid = k.type
      where t.typtype <> 'e'
        and k.type not in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype, 'numeric'::regtype,
          'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype, 'uuid'::regtype, 'bool'::regtype,
          'bytea'::regtype,
        'timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype))
  then
    settings := '';
  end if;
  execute format(
    'create function gatebell.%I() returns trigger language plpgsql set search_path = pg_catalog, pg_temp %s as %L',
    'signal_' || watch_id, settings, source);
  execute format('revoke all on function gatebell.%I() from public', 'signal_' || watch_id);
  execute format('comment on function gatebell.%I() is %L', 'signal_' || watch_id, json_build_object(
    'target', gatebell.qualified_name(target), 'topic', topic,
    'key_columns', key_columns, 'watched_columns', watched_columns));
  update gatebell.watches w set function_md5 = md5(p.prosrc || p.proconfig::text)
  from pg_proc p
  where w.id = watch_id and p.pronamespace = 'gatebell'::regnamespace and p.proname = 'signal_' || watch_id;

  for relation in
    select c.oid, c.oid::regclass as name, c.relkind
    from gatebell.relation_tree(target) as r join pg_class c on c.oid = r
    where c.relkind in ('r', 'p')
  loop
    execute format(
      'create trigger %1$I after insert on %2$s referencing new table as new_rows
         for each statement execute function gatebell.%3$I()',
         'gatebell_' || topic || '_insert', relation.name, 'signal_' || watch_id);
    execute format(
      'create trigger %1$I after update on %2$s referencing old table as old_rows new table as new_rows
         for each statement execute function gatebell.%3$I()',
         'gatebell_' || topic || '_update', relation.name, 'signal_' || watch_id);
    execute format(
      'create trigger %1$I after delete on %2$s referencing old table as old_rows
         for each statement execute function gatebell.%3$I()',
         'gatebell_' || topic || '_delete', relation.name, 'signal_' || watch_id);
    execute format(
      'create trigger %1$I after truncate on %2$s
         for each statement execute function gatebell.%3$I()',
         'gatebell_' || topic || '_truncate', relation.name, 'signal_' || watch_id);
    execute format('alter table %s enable always trigger %I', relation.name, 'gatebell_' || topic || '_truncate');
    -- Logical replication's apply, and session_replication_role = replica, fire row triggers only, of leaf tables.
    if relation.relkind = 'r' then
      execute format(
        'create trigger %1$I after insert or update or delete on %2$s
           for each row execute function gatebell.%3$I()',
           'gatebell_' || topic || '_replica', relation.name, 'signal_' || watch_id);
      execute format('alter table %s enable replica trigger %I', relation.name, 'gatebell_' || topic || '_replica');
    end if;
  end loop;

  -- Whatever was cached before the triggers were there may be wrong.
  perform pg_notify(gatebell.channel(), '{"v":1,"s":"' || topic || '"}');
end
$function$;

comment on function gatebell.watch(regclass, text, text[], text[]) is
  'Signals the topic whenever a row''s key columns or watched columns change, by whatever means. Calling it again '
  'replaces the triggers: do so after a partition was added or a column renamed.';

-- Read with every fence, so its cost counts: one pass over the relations of each table. Each LIMIT 1 makes a look-up by
-- an index, however many tables and functions the database has. What is seldom there (types of one's own, row level
-- security) is read where it is there.
create view gatebell.watch_status as
select
  w.target,
  w.topic,
  w.key_columns,
  w.watched_columns,
  case
    when c.oid is null then 'the table was dropped'
    -- The names themselves: how they are quoted is a setting of the session.
    when pg_catalog.parse_ident(w.target_name) <> array[n.nspname::text, c.relname::text]
      then 'the table was renamed or moved, it was ' || w.target_name
    when c.relkind not in ('r', 'p') then 'it is not a table any more'
    when p.oid is null then 'the trigger function is missing'
    when pg_catalog.md5(p.prosrc || p.proconfig::text) is distinct from w.function_md5
      then 'the trigger function is not current'
    when pg_catalog.strpos(p.prosrc, 'pg_notify(' || pg_catalog.quote_literal(gatebell.channel()) || ',') = 0
      then 'the triggers signal on another channel'
    when columns.found <> pg_catalog.cardinality(w.source_columns)
      then 'a watched column was dropped or renamed, or has another type'
    when columns.with_virtual then 'a watched column is generated and virtual: triggers do not see its value'
    when policies.deciding then 'row level security applies to this role, and what its policies read is not signalled'
    when relations.with_foreign then 'a foreign table was added to it'
    else relations.problem
  end as problem,
  -- Changes whenever something was touched that may change facts without a signal: a trigger, its function, the table,
  -- its schema, a partition, a watched column, the labels or attributes of its type, a policy; even when all is as
  -- before in the end, and again within a second. For each change of a row of a catalog leaves the number of its
  -- transaction in xmin.
  pg_catalog.md5(pg_catalog.concat_ws('/', p.oid, p.xmin, n.xmin, columns.fingerprint, types.fingerprint,
    policies.fingerprint, relations.fingerprint)) as fingerprint
from gatebell.watches w
left join lateral (
  select c.oid, c.relname, c.relnamespace, c.relkind, c.relrowsecurity from pg_catalog.pg_class c
  where c.oid = w.target limit 1
) as c on true
left join lateral (
  select n.nspname, n.xmin from pg_catalog.pg_namespace n where n.oid = c.relnamespace limit 1
) as n on true
left join lateral (
  select p.oid, p.xmin, p.prosrc, p.proconfig
  from pg_catalog.pg_proc p
  where p.proname = ('signal_' || w.id::text)::pg_catalog.name and p.pronamespace = 'gatebell'::pg_catalog.regnamespace
    and p.proargtypes = ''::pg_catalog.oidvector
  limit 1
) as p on true
cross join lateral (
  select pg_catalog.count(*) as found, pg_catalog.bool_or(a.attgenerated = 'v') as with_virtual,
    pg_catalog.string_agg(a.attname || ':' || a.xmin::text, ',' order by a.attnum) as fingerprint
  from rows from (pg_catalog.unnest(w.source_columns), pg_catalog.unnest(w.source_types)) as s (name, type)
  join pg_catalog.pg_attribute a
    on a.attrelid = w.target and a.attname = s.name::pg_catalog.name and a.atttypid = s.type and a.attnum > 0
      and not a.attisdropped
) as columns
-- A label of an enum that is renamed, or an attribute that a row type gains, changes the text of values that no
-- statement has written. Types below 16384 are Postgres' own.
cross join lateral (
  select case when exists (select from pg_catalog.unnest(w.source_types) as s (type) where s.type::oid >= 16384)
    then gatebell.types_fingerprint(w.source_types) end as fingerprint
) as types
-- Policies show and hide rows. One that is not constant reads what nobody watches: other columns, other tables,
-- settings of the session.
cross join lateral (
  select
    c.relrowsecurity and (
      select pg_catalog.row_security_active(c.oid)
        and pg_catalog.bool_or(pg_catalog.pg_get_expr(y.polqual, y.polrelid) <> 'true')
      from pg_catalog.pg_policy y where y.polrelid = c.oid and y.polcmd in ('r', '*')
    ) as deciding,
    case when c.relrowsecurity then (
      select pg_catalog.concat_ws(',', pg_catalog.row_security_active(c.oid),
        pg_catalog.string_agg(pg_catalog.concat_ws(':', y.oid, y.xmin, (
          select pg_catalog.bool_or(role = 0 or pg_catalog.pg_has_role(role, 'usage'))
          from pg_catalog.unnest(y.polroles) as role
        )), ',' order by y.oid))
      from pg_catalog.pg_policy y where y.polrelid = c.oid
    ) end as fingerprint
) as policies
cross join lateral (
  select
    pg_catalog.bool_or(r.relkind = 'f') as with_foreign,
    pg_catalog.min('trigger ' || e.name || ' on ' || r.oid::pg_catalog.regclass::text || ' is ' || case
      when t.oid is null then 'missing'
      when t.tgenabled::text <> e.enabled then 'not enabled as it must be'
      when t.tgtype <> e.type or t.tgqual is not null or t.tgattr::text <> '' then 'not current'
    end) as problem,
    pg_catalog.string_agg(pg_catalog.concat_ws(':', r.oid, r.xmin, r.parents, t.oid, t.xmin, t.tgenabled),
      ',' order by r.oid, t.oid) as fingerprint
  from gatebell.relation_tree(w.target) as tree (relation)
  cross join lateral (
    select c.oid, c.relkind, c.xmin,
      -- Also says that DETACH ... CONCURRENTLY has begun: from then on its rows are not seen through the parent,
      -- finished or not.
      (select pg_catalog.string_agg(i.xmin::text, ';' order by i.inhparent) from pg_catalog.pg_inherits i
        where i.inhrelid = c.oid) as parents
    from pg_catalog.pg_class c where c.oid = tree.relation limit 1
  ) as r
  -- tgtype: the row's 1, insert 4, delete 8, update 16, truncate 32; all of them AFTER.
  left join lateral (
    select ('gatebell_' || w.topic || '_' || v.event)::pg_catalog.name as name, v.enabled, v.type
    from (values ('insert', 'O', 4), ('update', 'O', 16), ('delete', 'O', 8), ('truncate', 'A', 32),
      ('replica', 'R', 29)) as v (event, enabled, type)
    where v.event <> 'replica' or r.relkind = 'r'
  ) as e on r.relkind in ('r', 'p')
  left join pg_catalog.pg_trigger t on t.tgrelid = r.oid and t.tgname = e.name and t.tgfoid = p.oid
) as relations;

comment on view gatebell.watch_status is
  'What is watched; problem is null where signals are sure to come, else it says what is wrong.';

-- A fingerprint tells that the triggers are as they should be, and when they were touched. It does not tell what a
-- transaction did that had begun to write before: CREATE OR REPLACE FUNCTION waits for nobody, so one that wrote while
-- another function was there may commit later, and nothing signals it. So a replica trusts a table whose fingerprint is
-- new to it once the transactions have ended that this function names, and loads everything after that. Those that come
-- later do not matter: a backend that locks a table first learns what was changed in the catalogs. A lock that it has
-- already teaches it nothing, and that one is listed here. So are prepared transactions; they keep their name.
--
-- The backend that changed a catalog tells the others only after its commit can be seen, and before it gives its locks
-- up, that of its own transaction number included. While any transaction is in between, nobody knows yet what writers
-- see: null, ask again.
--
-- A vacuum that shortens a table has a number that is in no snapshot, for seconds where readers keep it from its lock.
-- It changes no catalog that writers go by, so it is left out. A transaction that is in between began before the
-- snapshot, so it is not vacuuming.
--
-- seen: the snapshot in which the fingerprint was read.
create function gatebell.open_writers(target regclass, seen pg_snapshot) returns text[]
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
as $function$
declare
  next constant bigint := pg_snapshot_xmax(seen)::text::bigint & 4294967295;
  running constant bigint[] := array(select x::text::bigint & 4294967295 from pg_snapshot_xip(seen) as x);
begin
  -- Numbers of transactions go round at 2^32. Numbers of subtransactions are in no snapshot, but a session that holds
  -- one holds that of the whole transaction.
  if exists (
    select from pg_locks l
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
      and not exists (select from pg_stat_progress_vacuum v where v.pid = l.pid)
    group by l.virtualtransaction
    having bool_and(((next - l.transactionid::text::bigint) & 4294967295) between 1 and 2147483647
      and l.transactionid::text::bigint <> all (running)))
  then
    return null;
  end if;
  -- A statement of its own: it looks after the first has.
  return array(
    select distinct l.virtualtransaction
    from pg_locks l
    join pg_database d on d.oid = l.database
    where d.datname = current_database() and l.locktype = 'relation' and l.granted
      and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      and l.relation in (select gatebell.relation_tree(target)));
end
$function$;

comment on function gatebell.open_writers(regclass, pg_snapshot) is
  'The open transactions that may have written to the table, or a partition of it, by their virtualtransaction in '
  'pg_locks; null: not known at this moment.';

create function gatebell.set_channel(name text) returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $function$
declare
  watch gatebell.watches;
begin
  if name is null or octet_length(name) not between 1 and 63 then
    raise exception 'gatebell.set_channel: channel % is not allowed', coalesce(quote_literal(name), 'null')
      using errcode = 'invalid_parameter_value', hint = 'A channel is 1 to 63 bytes.';
  end if;
  execute format(
    'create or replace function gatebell.channel() returns text language sql stable parallel safe return %L::text',
    name);
  for watch in select w.* from gatebell.watches w join pg_class c on c.oid = w.target loop
    perform gatebell.watch(watch.target, watch.topic, watch.key_columns, watch.watched_columns);
  end loop;
end
$function$;

comment on function gatebell.set_channel(text) is
  'Sets the channel and moves every watched table to it. Restart the replicas with the same GATEBELL_CHANNEL.';
