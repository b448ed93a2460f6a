-- gatebell_daemon: what a replica needs and nothing else. It can read the facts, listen, send fences and note when a
-- credential was last seen. Give it to the login role of your replicas: GRANT gatebell_daemon TO that_role.
-- Roles belong to the whole server: another database may have made it already, and the migration's role may not make roles.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'gatebell_daemon') then
    create role gatebell_daemon nologin;
  end if;
exception
  when insufficient_privilege then
    raise warning 'gatebell: role gatebell_daemon was not created (this role may not create roles); replicas need another role that can read schema gatebell';
  when duplicate_object or unique_violation then
    null;
end
$$;

do $$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'gatebell_daemon') then
    grant usage on schema gatebell to gatebell_daemon;
    -- Functions are everybody's unless ALTER DEFAULT PRIVILEGES says otherwise.
    grant execute on function gatebell.schema_version(), gatebell.channel(), gatebell.fence(bigint), gatebell.relation_tree(regclass)
      to gatebell_daemon;
    grant select on gatebell.origin, gatebell.watches, gatebell.watched to gatebell_daemon;
    grant select (id, name, email, display_name, groups, enabled) on gatebell.users to gatebell_daemon;
    grant select (id, name, host, enabled, headers) on gatebell.apps to gatebell_daemon;
    grant select (app_id, path_prefix, access, roles, consistency, headers) on gatebell.app_routes to gatebell_daemon;
    grant select (user_id, app_id, role, expires_at) on gatebell.grants to gatebell_daemon;
    grant select (token_hash, user_id, expires_at, revoked_at) on gatebell.credentials to gatebell_daemon;
    grant update (last_seen_at) on gatebell.credentials to gatebell_daemon;
  end if;
end
$$;

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 3;
