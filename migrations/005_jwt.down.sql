-- Removes what is known of JWTs: revoked ones count again, should this migration be applied anew.
select gatebell.unwatch('gatebell.revoked_jwts', 'revoked_jwt');
select gatebell.unwatch('gatebell.users', 'user_name');
select gatebell.watch('gatebell.users', 'user', '{id}', '{name,email,display_name,groups,enabled}');

drop table gatebell.revoked_jwts;
alter table gatebell.users drop column jwt_not_before;

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 4;
