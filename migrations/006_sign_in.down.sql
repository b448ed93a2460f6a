-- Sessions that have begun go on. The role stays, since other databases of the server may use it: DROP ROLE gatebell_sign_in removes it.
drop function gatebell.sign_out(bytea);
drop function gatebell.sign_in(text, bytea, interval, text);

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 5;
