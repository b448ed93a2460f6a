-- The apps of one person, each under its own name below one domain, as a self-hosting portal has them:
--   the first label of the host names the app; a host that names none gets 404
--   the longest path prefix chooses the rule: public, private (a paired device) or peer (another portal)
--   the app is told who asks in X-Ptl-Client-Type, X-Ptl-Client-Id and X-Ptl-Client-Name; 401 without the identity
--   that is needed
--
-- Behind Traefik: forwardAuth with address http://gatebell:4280/internal/auth and authResponseHeadersRegex ^X-Ptl-.*
-- Settings: portal.env. A device is paired by `gatebell token create owner --kind session --label phone`: the token
-- goes into the cookie. A peer is a user, granted role peer, with a token of its own.

insert into gatebell.users (name, display_name) values ('owner', 'Ada''s devices'), ('peer-bob', 'Bob''s portal');

-- Private is what no route matches: the owner's devices alone have a grant with role device. Every route says who asks,
-- or that it is nobody.
insert into gatebell.apps (name, host, headers)
select name, name || '.ada.example.org',
  '{"X-Ptl-Client-Type": "device", "X-Ptl-Client-Id": "{{user.id}}", "X-Ptl-Client-Name": "{{user.display_name}}"}'
from unnest(array['photos', 'notes']) as name;

insert into gatebell.app_routes (app_id, path_prefix, access, roles, headers)
select a.id, r.path_prefix, r.access, r.roles, r.headers
from gatebell.apps a, (values
  ('/', 'grant', array['device'], '{}'::jsonb),
  ('/pub', 'public', '{}', '{"X-Ptl-Client-Type": "anonymous", "X-Ptl-Client-Id": "", "X-Ptl-Client-Name": ""}'),
  ('/api/peers', 'grant', array['peer'], '{"X-Ptl-Client-Type": "peer"}')
) as r (path_prefix, access, roles, headers);

insert into gatebell.grants (user_id, app_id, role)
select u.id, a.id, case u.name when 'owner' then 'device' else 'peer' end from gatebell.users u, gatebell.apps a;
