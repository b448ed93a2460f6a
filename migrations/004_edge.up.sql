-- Wildcard hosts, and CORS preflights that pass without a credential.

-- *.preview.example.com holds every host below preview.example.com that is no app's own; of several wildcards the
-- longest wins.
alter table gatebell.apps
  drop constraint apps_host_canonical,
  add constraint apps_host_canonical
    check (octet_length(host) <= 253 and host not like '*.[%'
      and gatebell.is_canonical_host(case when starts_with(host, '*.') then substr(host, 3) else host end));

alter table gatebell.app_routes add column preflight boolean not null default false;
comment on column gatebell.app_routes.preflight is
  'Whether CORS preflights pass without a credential: OPTIONS with Origin and Access-Control-Request-Method, without '
  'credentials, body and method override.';
comment on column gatebell.apps.host is
  'Lower case, without port or trailing dot, or an IPv6 address in brackets; *.example.com stands for every host below '
  'it that is no app''s own.';

select gatebell.watch('gatebell.app_routes', 'route', '{app_id}',
  '{path_prefix,access,roles,consistency,preflight,headers}');

select gatebell.repair_privileges();

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 4;
