-- Takes the rights away again. The role stays, since other databases of the server may use it: DROP ROLE gatebell_daemon removes it.
do $$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'gatebell_daemon') then
    revoke all on all tables in schema gatebell from gatebell_daemon;
    revoke all on all functions in schema gatebell from gatebell_daemon;
    revoke all (id, name, email, display_name, groups, enabled) on gatebell.users from gatebell_daemon;
    revoke all (id, name, host, enabled, headers) on gatebell.apps from gatebell_daemon;
    revoke all (app_id, path_prefix, access, roles, consistency, headers) on gatebell.app_routes from gatebell_daemon;
    revoke all (user_id, app_id, role, expires_at) on gatebell.grants from gatebell_daemon;
    revoke all (token_hash, user_id, expires_at, revoked_at, last_seen_at) on gatebell.credentials from gatebell_daemon;
    revoke usage on schema gatebell from gatebell_daemon;
  end if;
end
$$;

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 2;
