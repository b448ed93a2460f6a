-- Removes the auth tables and all that is in them. Tables of yours that are watched stay watched.
select gatebell.unwatch(w.target, w.topic)
from gatebell.watches w
where w.target in (
  'gatebell.users'::regclass, 'gatebell.apps'::regclass, 'gatebell.app_routes'::regclass,
  'gatebell.grants'::regclass, 'gatebell.credentials'::regclass);

drop function gatebell.constraint_problems();
drop table gatebell.credentials, gatebell.grants, gatebell.app_routes, gatebell.apps, gatebell.users;
drop function gatebell.are_labels(text[]), gatebell.is_label(text), gatebell.is_one_line(text),
  gatebell.is_canonical_path_prefix(text), gatebell.is_canonical_host(text), gatebell.is_canonical_address(text);

create or replace function gatebell.schema_version() returns integer
  language sql immutable parallel safe
  return 1;
