-- Sessions that have begun go on. The role stays, since other databases of the server may use it: DROP ROLE gatebell_sign_in removes it.
do $$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'gatebell_sign_in') then
    revoke usage on schema gatebell from gatebell_sign_in;
  end if;
end
$$;

drop function gatebell.sign_out(bytea);
drop function gatebell.sign_in(text, bytea, interval, text);

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 5;
