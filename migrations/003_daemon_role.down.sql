-- Takes the rights away again. The roles stay, since other databases of the server may use them: DROP ROLE
-- gatebell_daemon removes one.
do $$
declare
  role_name text;
begin
  for role_name in select distinct p.role from gatebell.privileges() p
    join pg_catalog.pg_roles r on r.rolname = p.role loop
    execute format('revoke all on all tables in schema gatebell from %I', role_name);
    execute format('revoke all on all sequences in schema gatebell from %I', role_name);
    execute format('revoke all on all functions in schema gatebell from %I', role_name);
    execute format('revoke all on schema gatebell from %I', role_name);
  end loop;
end
$$;

drop function gatebell.repair_privileges();
drop view gatebell.privilege_problems;
drop function gatebell.require_caller(text, text);
drop function gatebell.privileges();

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 2;
