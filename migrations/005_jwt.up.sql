-- JWTs: whom they name, and which of them do not count any more. A JWT is not stored; what is here can only take away.

create table gatebell.revoked_jwts (
  jti text primary key constraint revoked_jwts_jti_form check (jti ~ '^[\x20-\x7e]{1,255}$'),
  revoked_at timestamptz not null default now(),
  expires_at timestamptz
);

comment on table gatebell.revoked_jwts is 'A JWT whose jti is here is refused, for as long as the row is here.';
comment on column gatebell.revoked_jwts.expires_at is 'When the JWT expires by itself; some time after that the row is of no use.';

alter table gatebell.users add column jwt_not_before timestamptz;

comment on column gatebell.users.jwt_not_before is 'JWTs of this user that were issued (iat) before are refused: set it to now() to sign the user out everywhere.';

select gatebell.watch('gatebell.users', 'user', '{id}', '{name,email,display_name,groups,enabled,jwt_not_before}');
select gatebell.watch('gatebell.users', 'user_name', '{name}', '{id}');
select gatebell.watch('gatebell.revoked_jwts', 'revoked_jwt', '{jti}');

select gatebell.repair_privileges();

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 5;
