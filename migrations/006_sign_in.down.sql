-- Sessions that have begun go on. The role stays, since other databases of the server may use it: DROP ROLE
-- gatebell_sign_in removes it.
drop function gatebell.sign_out(text, bytea);
drop function gatebell.sign_in(text, text, text, text, bigint, bytea, interval, text, bytea[]);
drop function gatebell.bind_identity(text, text, text, text, timestamptz);
drop function gatebell.identify(text, text, text, timestamptz);
drop function gatebell.require_server(text);

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 5;
