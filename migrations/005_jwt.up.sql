-- JWTs: whom they name, and which of them do not count any more. A JWT is not stored.

-- A provider promises only that a subject stays one person's; it may give a name to another person later. So a name
-- counts once, when a subject is seen for the first time, and the subject from then on.
create table gatebell.identities (
  issuer text not null constraint identities_issuer_form
    check (char_length(issuer) <= 512 and issuer ~ '^[\x21-\x7e]+$'),
  subject text not null constraint identities_subject_form
    check (subject <> '' and char_length(subject) <= 255 and gatebell.is_one_line(subject)
      and subject = btrim(subject)),
  -- Null: of a user who was deleted. The row stays, so that a name alone does not make the subject another user.
  user_id bigint references gatebell.users (id) on delete set null,
  created_at timestamptz not null default now(),
  primary key (issuer, subject)
);

create index identities_user_id on gatebell.identities (user_id);

comment on table gatebell.identities is
  'Which user a subject of an issuer is: of JWTs (iss, sub) and of sign-in. Without a row the name is asked, once.';
comment on column gatebell.identities.user_id is
  'Null: the user was deleted, and the subject is nobody until it is bound to a user again.';

-- Names that users have had. A JWT from before a name was free again does not mean the user who has it now.
create table gatebell.former_names (
  name text primary key,
  until timestamptz not null
);

comment on table gatebell.former_names is
  'Names that a user has had and has no more, and until when; written by triggers of gatebell.users.';

create function gatebell.note_former_names() returns trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $function$
begin
  -- A role that may execute it can make it a trigger of its own table.
  if tg_relid <> 'gatebell.users'::regclass then
    raise exception 'gatebell.note_former_names: not for table %', tg_relid::regclass
      using errcode = 'insufficient_privilege';
  end if;
  if tg_op = 'TRUNCATE' then
    insert into gatebell.former_names select u.name, clock_timestamp() from gatebell.users u
    on conflict (name) do update set until = excluded.until;
  elsif tg_op = 'DELETE' then
    insert into gatebell.former_names select o.name, clock_timestamp() from old_rows o
    on conflict (name) do update set until = excluded.until;
  else
    insert into gatebell.former_names
    select o.name, clock_timestamp() from old_rows o left join new_rows n on n.id = o.id
    where n.name is distinct from o.name
    on conflict (name) do update set until = excluded.until;
  end if;
  return null;
end
$function$;

create trigger former_names_update after update on gatebell.users
  referencing old table as old_rows new table as new_rows for each statement
    execute function gatebell.note_former_names();
create trigger former_names_delete after delete on gatebell.users
  referencing old table as old_rows for each statement execute function gatebell.note_former_names();
create trigger former_names_truncate before truncate on gatebell.users
  for each statement execute function gatebell.note_former_names();

create table gatebell.revoked_jwts (
  jti text primary key constraint revoked_jwts_jti_form check (jti ~ '^[\x20-\x7e]{1,255}$'),
  revoked_at timestamptz not null default now(),
  expires_at timestamptz
);

comment on table gatebell.revoked_jwts is 'A JWT whose jti is here is refused, for as long as the row is here.';
comment on column gatebell.revoked_jwts.expires_at is
  'When the JWT expires by itself; some time after that the row can be deleted.';

alter table gatebell.users add column jwt_not_before timestamptz;

comment on column gatebell.users.jwt_not_before is
  'JWTs of this user that were issued (iat) before are refused: set it to now() to sign the user out everywhere.';

select gatebell.watch('gatebell.users', 'user', '{id}', '{name,email,display_name,groups,enabled,jwt_not_before}');
select gatebell.watch('gatebell.users', 'user_name', '{name}', '{id}');
select gatebell.watch('gatebell.identities', 'identity', '{issuer,subject}', '{user_id}');
select gatebell.watch('gatebell.revoked_jwts', 'revoked_jwt', '{jti}');

select gatebell.repair_privileges();

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 5;
