-- Removes what is known of JWTs: if this migration is applied again, revoked JWTs count again, and names decide who a
-- subject is.
select gatebell.unwatch('gatebell.revoked_jwts', 'revoked_jwt');
select gatebell.unwatch('gatebell.identities', 'identity');
select gatebell.unwatch('gatebell.users', 'user_name');
select gatebell.watch('gatebell.users', 'user', '{id}', '{name,email,display_name,groups,enabled}');

drop trigger former_names_truncate on gatebell.users;
drop trigger former_names_delete on gatebell.users;
drop trigger former_names_update on gatebell.users;
drop function gatebell.note_former_names();
drop table gatebell.former_names;
drop table gatebell.identities;
drop table gatebell.revoked_jwts;
alter table gatebell.users drop column jwt_not_before;

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 4;
