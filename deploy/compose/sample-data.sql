-- What there is to try: alice may use whoami, bob may not. Can be run again.
insert into gatebell.users (name, email, display_name, groups)
values ('alice', 'alice@example.test', 'Alice', '{staff}'), ('bob', 'bob@example.test', 'Bob', '{}')
on conflict (name) do nothing;

insert into gatebell.apps (name, host)
values ('whoami', 'whoami.localhost')
on conflict (name) do nothing;

-- A path that no route matches needs a grant.
insert into gatebell.app_routes (app_id, path_prefix, access)
select id, path_prefix, access
from gatebell.apps, (values ('/health', 'public'), ('/api', 'authenticated')) as r (path_prefix, access)
where name = 'whoami'
on conflict (app_id, path_prefix) do nothing;

insert into gatebell.grants (user_id, app_id, role)
select u.id, a.id, 'admin'
from gatebell.users u, gatebell.apps a
where u.name = 'alice' and a.name = 'whoami'
on conflict (user_id, app_id) do nothing;
