-- Fails, and changes nothing, while there are apps with a wildcard host: delete them first.
alter table gatebell.apps
  drop constraint apps_host_canonical,
  add constraint apps_host_canonical check (gatebell.is_canonical_host(host));
comment on column gatebell.apps.host is null;

select gatebell.watch('gatebell.app_routes', 'route', '{app_id}', '{path_prefix,access,roles,consistency,headers}');
alter table gatebell.app_routes drop column preflight;

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 3;
