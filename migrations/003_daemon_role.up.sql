-- Who may do what with schema gatebell. gatebell.privileges() declares it, gatebell.privilege_problems compares the
-- database with it, and gatebell.repair_privileges() makes the database agree. Every later migration ends with that.
--
-- gatebell_daemon is what a replica needs and nothing else: it reads the facts, listens and sends fences, and writes
-- nothing. gatebell_sign_in may begin and end sessions, and bind subjects to users, besides. Give them to the login
-- role of your replicas: GRANT gatebell_daemon TO that_role. Roles belong to the whole server: another database may
-- have made them already, and the migration's role may not make roles.

-- A function of this name means all functions of this name. A row without columns is a right on the whole table or
-- view. Objects of later migrations are listed, too; until they exist nothing is granted on them.
create function gatebell.privileges()
  returns table (role text, kind text, object text, column_name text, privilege text)
  language sql immutable
  set search_path = pg_catalog, pg_temp
begin atomic
  select d.role, d.kind, d.object, c.name, p.name
  from (values
    -- CHECK constraints run them as the role that writes the row.
    ('public', 'function', 'are_labels', null::text[], '{EXECUTE}'::text[]),
    ('public', 'function', 'is_canonical_address', null, '{EXECUTE}'),
    ('public', 'function', 'is_canonical_host', null, '{EXECUTE}'),
    ('public', 'function', 'is_canonical_path_prefix', null, '{EXECUTE}'),
    ('public', 'function', 'is_label', null, '{EXECUTE}'),
    ('public', 'function', 'is_one_line', null, '{EXECUTE}'),
    ('public', 'function', 'schema_version', null, '{EXECUTE}'),
    ('public', 'function', 'channel', null, '{EXECUTE}'),

    ('gatebell_daemon', 'schema', 'gatebell', null, '{USAGE}'),
    ('gatebell_daemon', 'function', 'schema_version', null, '{EXECUTE}'),
    ('gatebell_daemon', 'function', 'channel', null, '{EXECUTE}'),
    ('gatebell_daemon', 'function', 'relation_tree', null, '{EXECUTE}'),
    ('gatebell_daemon', 'function', 'types_fingerprint', null, '{EXECUTE}'),
    ('gatebell_daemon', 'function', 'open_writers', null, '{EXECUTE}'),
    ('gatebell_daemon', 'function', 'fence', null, '{EXECUTE}'),
    ('gatebell_daemon', 'table', 'fence_key', null, '{SELECT}'),
    ('gatebell_daemon', 'sequence', 'fence_number', null, '{SELECT,USAGE}'),
    ('gatebell_daemon', 'table', 'server', null, '{SELECT}'),
    ('gatebell_daemon', 'table', 'watches', null, '{SELECT}'),
    ('gatebell_daemon', 'table', 'watch_status', null, '{SELECT}'),
    -- What doctor reads.
    ('gatebell_daemon', 'table', 'lost_watches', null, '{SELECT}'),
    ('gatebell_daemon', 'table', 'privilege_problems', null, '{SELECT}'),
    ('gatebell_daemon', 'function', 'privileges', null, '{EXECUTE}'),
    ('gatebell_daemon', 'function', 'constraint_problems', null, '{EXECUTE}'),
    -- The facts. No right to update, not even of one column: it would allow to lock rows, and a writer waits for those.
    ('gatebell_daemon', 'table', 'users', '{id,name,email,display_name,groups,enabled,jwt_not_before}', '{SELECT}'),
    ('gatebell_daemon', 'table', 'apps', '{id,name,host,enabled,headers}', '{SELECT}'),
    ('gatebell_daemon', 'table', 'app_routes', '{app_id,path_prefix,access,roles,consistency,preflight,headers}',
      '{SELECT}'),
    ('gatebell_daemon', 'table', 'grants', '{user_id,app_id,role,expires_at}', '{SELECT}'),
    ('gatebell_daemon', 'table', 'credentials', '{token_hash,user_id,app_id,expires_at,revoked_at}', '{SELECT}'),
    ('gatebell_daemon', 'table', 'identities', '{issuer,subject,user_id}', '{SELECT}'),
    ('gatebell_daemon', 'table', 'revoked_jwts', '{jti}', '{SELECT}'),

    ('gatebell_sign_in', 'schema', 'gatebell', null, '{USAGE}'),
    ('gatebell_sign_in', 'function', 'bind_identity', null, '{EXECUTE}'),
    ('gatebell_sign_in', 'function', 'sign_in', null, '{EXECUTE}'),
    ('gatebell_sign_in', 'function', 'sign_out', null, '{EXECUTE}')
  ) as d (role, kind, object, columns, privileges)
  left join lateral unnest(d.columns) as c (name) on true
  cross join lateral unnest(d.privileges) as p (name);
end;

comment on function gatebell.privileges() is
  'Who may do what with schema gatebell, besides its owner. Nobody has any other right on it.';

-- A function with its owner's rights calls this first. It refuses unless the user of the session, or the role that it
-- was set to, is in the role given or owns the schema. While PUBLIC may execute the function it refuses everybody: who
-- calls it cannot be told for certain then (a superuser's VACUUM calls the functions of other people's indexes), and
-- Postgres itself refuses strangers otherwise.
create function gatebell.require_caller(function_name text, role_name text) returns void
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
as $function$
declare
  caller name := case when current_setting('role') = 'none' then session_user else current_setting('role')::name end;
  allowed regrole := to_regrole(role_name);
  owner oid := (select n.nspowner from pg_namespace n where n.nspname = 'gatebell');
begin
  if exists (
    select from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where p.pronamespace = 'gatebell'::regnamespace and p.proname = function_name and a.grantee = 0
  ) then
    raise exception 'gatebell.%: refused to everybody, because PUBLIC has the right to execute it', function_name
      using errcode = 'insufficient_privilege',
        hint = 'A restore without privileges leaves it so. Run "gatebell repair" as the owner of schema gatebell.';
  end if;
  if not pg_has_role(caller, owner, 'usage') and (allowed is null or not pg_has_role(caller, allowed, 'usage')) then
    raise exception 'gatebell.%: refused to role %, which does not have the rights of role %',
        function_name, caller, role_name
      using errcode = 'insufficient_privilege';
  end if;
end
$function$;

-- One row for each right that somebody has too many or too few, with the statement that puts it right. What is marked
-- "repairable" is done by gatebell.repair_privileges(). Other rights of other roles are for people to judge: a program
-- of yours may write grants.
create view gatebell.privilege_problems as
with space as (
  select n.oid, n.nspowner as owner, n.nspacl as acl from pg_catalog.pg_namespace n where n.nspname = 'gatebell'
), objects as (
  select 'schema' as kind, 'gatebell' as name, null::text as column_name, s.owner,
    coalesce(s.acl, pg_catalog.acldefault('n', s.owner)) as acl, 'schema gatebell' as described, false as secret
  from space s
  union all
  select case c.relkind when 'S' then 'sequence' else 'table' end, c.relname, null, c.relowner,
    coalesce(c.relacl, pg_catalog.acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner)),
    pg_catalog.format('%s gatebell.%I', case c.relkind when 'S' then 'sequence' else 'table' end, c.relname),
    c.relname in ('fence_key', 'fence_number')
  from space s join pg_catalog.pg_class c on c.relnamespace = s.oid and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select 'table', c.relname, a.attname, c.relowner, a.attacl, pg_catalog.format('table gatebell.%I', c.relname),
    c.relname = 'fence_key'
  from space s
  join pg_catalog.pg_class c on c.relnamespace = s.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  union all
  select 'function', p.proname, null, p.proowner, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)),
    pg_catalog.format('routine gatebell.%I(%s)', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
    p.prosecdef
  from space s join pg_catalog.pg_proc p on p.pronamespace = s.oid
), declared as (
  select d.*, case d.role when 'public' then 0 else r.oid end as grantee
  from gatebell.privileges() d left join pg_catalog.pg_roles r on r.rolname = d.role
), given as (
  select o.*, a.grantee, a.privilege_type as privilege, a.is_grantable, a.grantor,
    case a.grantee when 0 then 'public'
      else pg_catalog.quote_ident(coalesce(r.rolname, a.grantee::text)) end as grantee_name,
    coalesce(r.rolname, 'public') as role
  from objects o cross join lateral pg_catalog.aclexplode(o.acl) a left join pg_catalog.pg_roles r on r.oid = a.grantee
  where a.grantee <> o.owner
), own_roles as (
  select r.* from (select distinct d.role from declared d where d.role <> 'public') d
  join pg_catalog.pg_roles r on r.rolname = d.role
)
-- A role that is not there.
select distinct d.role, 'role' as kind, d.role as object, null::text as column_name, null::text as privilege,
  'role ' || d.role || ' does not exist' as problem, pg_catalog.format('create role %I nologin', d.role) as remedy,
    true as repairable
from declared d where d.grantee is null
union all
-- A declared object that is not there.
select distinct null, d.kind, d.object, d.column_name, null,
  pg_catalog.concat_ws('.', d.kind || ' gatebell.' || d.object, d.column_name) || ' does not exist', null, false
from declared d
where not exists (
    select from objects o
    where o.kind = d.kind and o.name = d.object and o.column_name is not distinct from d.column_name)
union all
-- A right too few.
select d.role, d.kind, d.object, d.column_name, d.privilege,
  pg_catalog.format('%s lacks %s on %s', d.role, d.privilege, o.described)
    || coalesce(' (' || d.column_name || ')', ''),
  pg_catalog.format('grant %s%s on %s to %s',
    d.privilege, ' (' || pg_catalog.quote_ident(d.column_name) || ')', o.described,
    case d.role when 'public' then 'public' else pg_catalog.quote_ident(d.role) end),
  true
from declared d
join objects o on o.kind = d.kind and o.name = d.object and o.column_name is not distinct from d.column_name
where d.grantee is not null and d.grantee <> o.owner
  and not exists (
    select from pg_catalog.aclexplode(o.acl) a where a.grantee = d.grantee and a.privilege_type = d.privilege)
union all
-- A right too many.
select g.role, g.kind, g.name, g.column_name, g.privilege,
  pg_catalog.format('%s has %s%s on %s',
    g.grantee_name, g.privilege, case when g.is_grantable then ' with grant option' end, g.described)
    || coalesce(' (' || g.column_name || ')', ''),
  pg_catalog.format('revoke %s%s%s on %s from %s cascade',
    case when d.role is not null then 'grant option for ' end,
    g.privilege, ' (' || pg_catalog.quote_ident(g.column_name) || ')', g.described, g.grantee_name),
  g.secret or g.grantee = 0 or exists (select from own_roles r where r.oid = g.grantee)
from given g
left join declared d on d.kind = g.kind and d.object = g.name and d.column_name is not distinct from g.column_name
  and d.grantee = g.grantee and d.privilege = g.privilege
where d.role is null or g.is_grantable
union all
-- An object with another owner: its owner has all rights on it, and a function with its owner's rights has them.
select pg_catalog.pg_get_userbyid(o.owner), o.kind, o.name, null, 'OWNER',
  pg_catalog.format('%s is owned by %s, schema gatebell by %s',
    o.described, pg_catalog.pg_get_userbyid(o.owner), pg_catalog.pg_get_userbyid(s.owner)),
  pg_catalog.format('alter %s owner to %I', o.described, pg_catalog.pg_get_userbyid(s.owner)), true
from objects o cross join space s
where o.owner <> s.owner and o.column_name is null
union all
-- What is created later would be somebody's.
select case a.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(a.grantee) end, 'default', 'gatebell', null,
  a.privilege_type,
  pg_catalog.format('%s gets %s on all %s that %s creates in schema gatebell',
    case a.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(a.grantee) end, a.privilege_type, t.plural,
    pg_catalog.pg_get_userbyid(d.defaclrole)),
  pg_catalog.format('alter default privileges for role %I in schema gatebell revoke %s on %s from %s',
    pg_catalog.pg_get_userbyid(d.defaclrole), a.privilege_type, t.plural,
    case a.grantee when 0 then 'public' else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end),
  a.grantee = 0 or exists (select from own_roles r where r.oid = a.grantee)
from pg_catalog.pg_default_acl d
join space s on s.oid = d.defaclnamespace
join (values ('r', 'tables'), ('S', 'sequences'), ('f', 'functions'), ('T', 'types')) as t (type, plural)
  on t.type = d.defaclobjtype::text
cross join lateral pg_catalog.aclexplode(d.defaclacl) a
where a.grantee <> d.defaclrole
union all
-- A role that can do what the other roles of the server can, or the server itself.
select r.rolname, 'role', r.rolname, null, 'MEMBER',
  pg_catalog.format('role %s is a member of %s', r.rolname, m.roleid::pg_catalog.regrole),
  pg_catalog.format('revoke %s from %I', m.roleid::pg_catalog.regrole, r.rolname), false
from own_roles r join pg_catalog.pg_auth_members m on m.member = r.oid
union all
select r.rolname, 'role', r.rolname, null, 'ATTRIBUTE',
  pg_catalog.format('role %s is more than a role: superuser, createrole, createdb, replication or bypassrls',
    r.rolname),
  pg_catalog.format('alter role %I nosuperuser nocreaterole nocreatedb noreplication nobypassrls', r.rolname), false
from own_roles r where r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls
union all
-- Who signs people in and is no replica.
select l.rolname, 'role', l.rolname, null, 'MEMBER',
  pg_catalog.format('role %s has the rights of %s, and not those of gatebell_daemon: it is no replica',
    l.rolname, r.rolname),
  pg_catalog.format('revoke %I from %I', r.rolname, l.rolname), false
from own_roles r
join own_roles daemon on daemon.rolname = 'gatebell_daemon' and r.rolname <> daemon.rolname
cross join space s
join pg_catalog.pg_roles l on l.rolcanlogin and not l.rolsuper
where pg_catalog.pg_has_role(l.oid, r.oid, 'member') and not pg_catalog.pg_has_role(l.oid, daemon.oid, 'member')
  and not pg_catalog.pg_has_role(l.oid, s.owner, 'member')
  and pg_catalog.has_database_privilege(l.oid, pg_catalog.current_database(), 'connect')
union all
-- A replica that can do more than a replica.
select l.rolname, 'role', l.rolname, null, 'MEMBER',
  pg_catalog.format('role %s is a replica''s and has the rights of %s, too', l.rolname, other.rolname),
  pg_catalog.format('revoke %I from %I', other.rolname, l.rolname), false
from own_roles r
cross join space s
join pg_catalog.pg_roles l on l.rolcanlogin and not l.rolsuper and l.oid <> s.owner
join pg_catalog.pg_roles other
  on other.oid <> l.oid
    and (other.oid = s.owner or other.rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_maintain'))
where r.rolname = 'gatebell_daemon' and pg_catalog.pg_has_role(l.oid, r.oid, 'usage')
  and pg_catalog.pg_has_role(l.oid, other.oid, 'member');

comment on view gatebell.privilege_problems is
  'Where the database differs from gatebell.privileges(), with the statement that puts it right; no row if it does '
  'not.';

-- Idempotent: it changes nothing where nothing is wrong. It raises a warning for what its caller may not do.
create function gatebell.repair_privileges() returns setof text
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $function$
declare
  remedies text[];
  done text[] := '{}';
  statement text;
begin
  -- First the roles, then their rights, and again what a CASCADE may have taken from somebody.
  for round in 1..3 loop
    select array_agg(distinct p.remedy) into remedies from gatebell.privilege_problems p
      where p.repairable and (p.kind = 'role') = (round = 1);
    foreach statement in array coalesce(remedies, '{}') loop
      begin
        execute statement;
        done := done || statement;
      exception
        when insufficient_privilege or feature_not_supported then
          if round = 1 or round = 3 then
            raise warning
              'gatebell: role % may not do this: "%". Let a role that may do it run it, then run "gatebell repair"',
              current_user, statement;
          end if;
        when duplicate_object or unique_violation then
          -- Another database has just made the role.
          null;
      end;
    end loop;
  end loop;
  -- REVOKE takes away what its caller has given, and is silent of the rest.
  select array_agg(p.remedy) into remedies from gatebell.privilege_problems p where p.repairable;
  for statement in select distinct d from unnest(done) d order by d loop
    if statement = any (remedies) then
      raise warning 'gatebell: this has not helped, since another role has given the right: "%"', statement;
    else
      return next statement;
    end if;
  end loop;
end
$function$;

comment on function gatebell.repair_privileges() is
  'Makes the database agree with gatebell.privileges(), as far as its caller may, and returns the statements that did '
  'it.';

select gatebell.repair_privileges();

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 3;
