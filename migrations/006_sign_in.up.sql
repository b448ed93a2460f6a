-- Sign-in: what a replica may do for a person who has come back from the OpenID Connect provider, and nothing else: begin a session of a
-- user who exists and is enabled, and end a session by its token. gatebell_daemon alone can do neither. Where replicas sign people in:
-- GRANT gatebell_sign_in TO the login role of the replicas.

create function gatebell.sign_in(
  user_name text, token_hash bytea, lifetime interval, label text,
  out credential_id bigint, out user_id bigint, out expires_at timestamptz
) returns setof record
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
  perform gatebell.require_caller('sign_in', 'gatebell_sign_in');
  if sign_in.lifetime is null or sign_in.lifetime <= interval '0' or sign_in.lifetime > interval '366 days' then
    raise exception 'a session lasts longer than nothing and at most 366 days, not %', sign_in.lifetime
      using errcode = 'invalid_parameter_value';
  end if;
  select u.id into sign_in.user_id from gatebell.users u where u.name = sign_in.user_name and u.enabled;
  if not found then
    return;
  end if;
  -- What ended long ago is taken away when somebody comes anew, so that it does not grow for ever.
  delete from gatebell.credentials c
  where c.id = any (array(
    select old.id from gatebell.credentials old
    where old.user_id = sign_in.user_id and old.kind = 'session' and least(old.expires_at, old.revoked_at) < now() - interval '30 days'
    limit 100));
  insert into gatebell.credentials as c (user_id, kind, token_hash, label, expires_at)
  values (sign_in.user_id, 'session', sign_in.token_hash, sign_in.label, now() + sign_in.lifetime)
  returning c.id, c.expires_at into sign_in.credential_id, sign_in.expires_at;
  return next;
end
$function$;

comment on function gatebell.sign_in(text, bytea, interval, text) is
  'Begins a session of the user of this name, if there is one who is enabled; else it returns no row. Whoever may call it can be anybody: see role gatebell_sign_in.';

create function gatebell.sign_out(token_hash bytea) returns bigint
  language sql volatile security definer
  set search_path = pg_catalog, pg_temp
as $function$
  select gatebell.require_caller('sign_out', 'gatebell_sign_in');
  update gatebell.credentials c set revoked_at = now()
  where c.token_hash = sign_out.token_hash and c.kind = 'session' and c.revoked_at is null
  returning c.id;
$function$;

comment on function gatebell.sign_out(bytea) is 'Ends the session with this token, and returns its id; null if there is none that has not ended.';

select gatebell.repair_privileges();

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 6;
