-- Sign-in: what a replica may do for a person who has come back from the OpenID Connect provider, and nothing else:
-- begin a session of a user who exists and is enabled, end a session by its token, and note which user a subject is
-- when it is seen first. gatebell_daemon alone can do none of these. Where replicas sign people in, or bind JWTs: GRANT
-- gatebell_sign_in TO the login role of the replicas.

-- What a replica writes goes to the server that it listens to. After a failover its pool may still lead to the old
-- primary, which takes a write that nobody will see. Every function that a replica writes with has the server as its
-- first argument, and begins with this.
create function gatebell.require_server(server text) returns void
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
as $function$
begin
  if (select s.server_id is distinct from require_server.server or s.in_recovery from gatebell.server s) then
    raise exception 'this is not the server that the change is meant for'
      using errcode = 'GB001',
        hint = 'The replica listens to another server: an old primary still runs, or two URLs name different servers.';
  end if;
end
$function$;

comment on function gatebell.require_server(text) is
  'Raises GB001 unless this server is the primary that gatebell.server names so.';

-- Which user a subject is: the one that it is bound to; else, and then it is bound, the one of this name, who must not
-- be bound to another subject of the issuer. said_at: when the issuer has said the name.
create function gatebell.identify(issuer text, subject text, user_name text, said_at timestamptz, out user_id bigint,
  out problem text)
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
  attempts integer := 0;
  named gatebell.users;
begin
  loop
    select i.user_id into identify.user_id from gatebell.identities i where i.issuer = identify.issuer
      and i.subject = identify.subject;
    if found then
      problem := case when identify.user_id is null then 'deleted_user' end;
      return;
    end if;
    -- Two subjects that claim one name at once: the second waits here, and then sees the first.
    select u.* into named from gatebell.users u where u.name = identify.user_name for no key update;
    if not found then
      problem := 'unknown_user';
    elsif exists (select from gatebell.identities i where i.user_id = named.id and i.issuer = identify.issuer) then
      problem := 'name_of_another_subject';
    elsif exists (select from gatebell.former_names f
      where f.name = named.name and (identify.said_at is null or identify.said_at < f.until)) then
      problem := 'former_name';
    else
      insert into gatebell.identities as i (issuer, subject, user_id)
        values (identify.issuer, identify.subject, named.id)
      on conflict (issuer, subject) do nothing;
      if found then
        identify.user_id := named.id;
        problem := null;
        return;
      end if;
    end if;
    -- Another transaction may have bound it in between.
    attempts := attempts + 1;
    exit when attempts > 1;
  end loop;
end
$function$;

comment on function gatebell.identify(text, text, text, timestamptz) is
  'The user whom a subject of an issuer is bound to; at first sight the one of this name, and binds it. problem says '
  'why there is none.';

create function gatebell.bind_identity(server text, issuer text, subject text, user_name text,
  said_at timestamptz) returns bigint
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $function$
begin
  perform gatebell.require_caller('bind_identity', 'gatebell_sign_in');
  perform gatebell.require_server(bind_identity.server);
  return (
    select i.user_id
    from gatebell.identify(bind_identity.issuer, bind_identity.subject, bind_identity.user_name,
      bind_identity.said_at) i);
end
$function$;

comment on function gatebell.bind_identity(text, text, text, text, timestamptz) is
  'The user whom the subject of a JWT means, which is bound at first sight; null if it means nobody.';

create function gatebell.sign_in(
  server text, issuer text, subject text, user_name text, app_id bigint, token_hash bytea, lifetime interval,
    label text, ends bytea[],
  out credential_id bigint, out user_id bigint, out expires_at timestamptz, out problem text
)
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
  perform gatebell.require_caller('sign_in', 'gatebell_sign_in');
  perform gatebell.require_server(sign_in.server);
  if sign_in.lifetime is null or sign_in.lifetime <= interval '0' or sign_in.lifetime > interval '366 days' then
    raise exception 'a session lasts longer than nothing and at most 366 days, not %', sign_in.lifetime
      using errcode = 'invalid_parameter_value';
  end if;
  select i.user_id, i.problem into sign_in.user_id, sign_in.problem
  from gatebell.identify(sign_in.issuer, sign_in.subject, sign_in.user_name, now()) i;
  if sign_in.problem is null and not exists (select from gatebell.users u where u.id = sign_in.user_id and u.enabled)
    then
    sign_in.problem := 'disabled_user';
  end if;
  if sign_in.problem is not null then
    sign_in.user_id := null;
    return;
  end if;
  -- The sessions that the browser had. Of the same user those stay that have just begun: several tabs sign in at once,
  -- and what one of them loads with its session must not fail because of the next.
  update gatebell.credentials c set revoked_at = now()
  where c.token_hash = any (sign_in.ends) and c.kind = 'session' and c.revoked_at is null
    and (c.user_id <> sign_in.user_id or c.created_at < now() - interval '1 minute');
  -- Sessions that ended long ago are deleted when their user signs in again, so that they do not grow for ever.
  delete from gatebell.credentials c
  where c.id = any (array(
    select old.id from gatebell.credentials old
    where old.user_id = sign_in.user_id and old.kind = 'session'
      and least(old.expires_at, old.revoked_at) < now() - interval '30 days'
    limit 100));
  insert into gatebell.credentials as c (user_id, kind, token_hash, app_id, label, expires_at)
  values (sign_in.user_id, 'session', sign_in.token_hash, sign_in.app_id, sign_in.label, now() + sign_in.lifetime)
  returning c.id, c.expires_at into sign_in.credential_id, sign_in.expires_at;
end
$function$;

comment on function gatebell.sign_in(text, text, text, text, bigint, bytea, interval, text, bytea[]) is
  'Begins a session of the user whom the subject of the issuer means, for one app or (null) all, and ends those with '
  'the given hashes; or says in problem why not. A role that may call it can sign in as anybody: see role '
  'gatebell_sign_in.';

create function gatebell.sign_out(server text, token_hash bytea) returns bigint
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
  ended bigint;
begin
  perform gatebell.require_caller('sign_out', 'gatebell_sign_in');
  perform gatebell.require_server(sign_out.server);
  update gatebell.credentials c set revoked_at = now()
  where c.token_hash = sign_out.token_hash and c.kind = 'session' and c.revoked_at is null
  returning c.id into ended;
  return ended;
end
$function$;

comment on function gatebell.sign_out(text, bytea) is
  'Ends the session with this token, and returns its id; null if there is none that has not ended.';

select gatebell.repair_privileges();

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 6;
