/** Changes of the gate's tables, and requests of clients, by chance. */
import { createToken } from '../../src/auth/token.js';
import { LISTENER_NAMES } from '../../src/postgres/replica-name.js';
import type { Dice } from '../sim/dice.js';
import type { Pairs } from '../support/auth-server.js';
import { PROXY_DIALECTS, type Target } from '../support/dialects.js';
import { createSigningKey, goodClaims, issue } from '../support/jwt-issuer.js';

export type Choose = Dice['pick'];
/** By the names of their users. */
export type Tokens = Readonly<Record<'alice' | 'bob' | 'carol', string>>;

export const KEYS = [createSigningKey('ES256', 'one'), createSigningKey('ES256', 'two')] as const;
/** Instead of SQL: other keys are published. */
export const ROTATE = 'rotate';

const USER = ['alice', 'bob', 'carol'] as const;
const APP = ['photos', 'any', 'all', 'exact'] as const;
const PREFIX = ['/', '/pub', '/pub/admin', '/me', '/api'] as const;
const WHEN = [
  'null',
  "'infinity'",
  "'-infinity'",
  "now() + '150 ms'",
  "now() - '1 s'::interval",
  "now() + '1 h'",
] as const;
const HEADERS = [
  '{}',
  '{"X-User": "{{user.name}}/{{grant.role}}"}',
  '{"Authorization": "Basic {{user.id}}"}',
  '{"Cookie": "x"}',
];

/** Gives most of what was taken away. */
const REPAIR = `
  insert into gatebell.grants (user_id, app_id, role)
    select u.id, a.id, case u.name when 'alice' then 'admin' else 'user' end from gatebell.users u, gatebell.apps a
    on conflict do nothing;
  update gatebell.users set enabled = true, jwt_not_before = null;
  update gatebell.credentials set expires_at = null, revoked_at = null, app_id = null;
  update gatebell.apps set enabled = true, headers = '{}' where not enabled or headers ? 'Cookie';
  delete from gatebell.app_routes where headers ? 'Cookie';
  insert into gatebell.app_routes (app_id, path_prefix, access)
    select id, path_prefix, access
    from gatebell.apps, (values ('/pub', 'public'), ('/me', 'authenticated')) as r (path_prefix, access)
    on conflict do nothing`;

/** A statement, or {@link ROTATE}. */
export function sqlChange(choose: Choose): string {
  const user = `(select id from gatebell.users where name = '${choose(USER)}')`;
  const app = `(select id from gatebell.apps where name = '${choose(APP)}')`;
  const route = `app_id = ${app} and path_prefix = '${choose(PREFIX)}'`;
  return choose([
    ...[1, 2].map(
      () => `insert into gatebell.grants (user_id, app_id, role, expires_at)
        select u, a, '${choose(['user', 'admin'])}', ${choose(WHEN)}
        from (select ${user} as u, ${app} as a) where a is not null
        on conflict (user_id, app_id) do update set role = excluded.role, expires_at = excluded.expires_at`,
    ),
    `delete from gatebell.grants where user_id = ${user} and app_id = ${app}`,
    `delete from gatebell.grants where user_id = ${user}`,
    'truncate gatebell.grants',
    `update gatebell.users set enabled = not enabled where id = ${user}`,
    `update gatebell.users set groups = '{${choose(['', 'a', 'a,b'])}}', display_name = '${choose(['', 'Zoë'])}'
      where id = ${user}`,
    `update gatebell.users set jwt_not_before = ${choose(WHEN)} where id = ${user}`,
    `update gatebell.credentials set revoked_at = ${choose(['null', 'now()'])} where user_id = ${user}`,
    `update gatebell.credentials set expires_at = ${choose(WHEN)} where user_id = ${user}`,
    `update gatebell.credentials set app_id = ${app} where user_id = ${user}`,
    `update gatebell.credentials set user_id = ${user}
      where user_id = (select id from gatebell.users where name = '${choose(USER)}')`,
    `update gatebell.apps set enabled = not enabled where id = ${app}`,
    `update gatebell.apps set headers = '${choose(HEADERS)}' where id = ${app}`,
    `insert into gatebell.apps (name, host) values ('exact', 'x.any.test') on conflict do nothing`,
    `delete from gatebell.apps where name = 'exact'`,
    ...[1, 2, 3].map(
      () => `insert into gatebell.app_routes (app_id, path_prefix, access, roles, consistency, preflight, headers)
        select a, '${choose(PREFIX)}', access,
          case access when 'public' then '{}' else ${choose(["'{}'", "'{}'", "'{admin}'"])} end::text[],
          '${choose(['bounded', 'bounded', 'bounded', 'strong'])}', ${choose(['true', 'true', 'false'])},
          '${choose(HEADERS)}'
        from (select ${app} as a, '${choose(['public', 'authenticated', 'grant'])}' as access) where a is not null
        on conflict (app_id, path_prefix) do update set access = excluded.access, roles = excluded.roles,
          consistency = excluded.consistency, preflight = excluded.preflight, headers = excluded.headers`,
    ),
    `delete from gatebell.app_routes where ${route}`,
    `delete from gatebell.app_routes where app_id = ${app}`,
    `insert into gatebell.revoked_jwts (jti) values ('${choose(['alice', 'bob'])}') on conflict do nothing`,
    'delete from gatebell.revoked_jwts',
    `update gatebell.identities set user_id = ${user}`,
    `select pg_notify(gatebell.channel(), 'not understood')`,
    ...[1, 2, 3, 4, 5].map(() => REPAIR),
    `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like '${LISTENER_NAMES}'`,
    ...[1, 2, 3, 4].map(() => ROTATE),
  ]);
}

const jwtOf = (name: string, key: (typeof KEYS)[number], more: object = {}): string =>
  issue(key, { ...goodClaims(Date.now()), sub: name, jti: name, ...more });

/** A request, and how it is sent. */
export interface Request {
  readonly target: Target;
  readonly dialect: (typeof PROXY_DIALECTS)[number];
  readonly client: Pairs;
  readonly connection: 'kept' | 'kept, HTTP/1.0' | 'close';
  /** Which server of a gate: one strips credentials, one does not. */
  readonly server: number;
}

/** Makes a request at each call. */
export function createRequests(choose: Choose, { alice, bob, carol }: Tokens): () => Request {
  const nowMs = Date.now();
  const jwts = [
    ...KEYS.flatMap(key => [jwtOf('alice', key), jwtOf('bob', key)]),
    jwtOf('alice', KEYS[0], { exp: Math.floor(nowMs / 1_000) + 3 }),
    jwtOf('alice', KEYS[0], { nbf: Math.floor(nowMs / 1_000) + 3 }),
    jwtOf('alice', KEYS[0], { exp: 10, iat: 1 }),
    `${jwtOf('alice', KEYS[0])}x`,
  ];
  const fresh = createToken();
  const cookies = [
    ...[alice, bob, carol].flatMap(token => [
      `gatebell=${token}`,
      `a=b; gatebell="${token}"; c=secret-of-${token.slice(3, 8)}`,
    ]),
    `gatebell=${alice}; gatebell=${bob}`,
    `gatebell=junk; gatebell=${bob}`,
    `gatebell=${alice}; gatebell=${alice}`,
    'gatebell=',
    'gatebell=""',
    'gatebell',
    'a=b',
    '',
    `gatebell=${fresh}`,
    `gatebell=${'x'.repeat(12_000)}`,
  ];
  const authorizations = [
    ...[alice, bob].flatMap(token => [`Bearer ${token}`, `bearer  ${token} `, `Basic ${token}`]),
    'Bearer foreign',
    'Basic YTpi',
    'Bearer ',
    '',
    `;${alice}`,
  ];
  const client = (): Pairs => {
    const cookie = ['Cookie', choose(cookies)] as const;
    const authorization = ['Authorization', choose(authorizations)] as const;
    const jwt = ['Authorization', `Bearer ${choose(jwts)}`] as const;
    const origin: Pairs = [
      ['Origin', 'https://other.test'],
      ['Access-Control-Request-Method', 'GET'],
    ];
    return choose<Pairs>([
      [],
      [cookie],
      [cookie],
      [cookie],
      [authorization],
      [jwt],
      [jwt],
      [jwt],
      [authorization, cookie],
      origin,
      origin,
      [...origin, cookie],
      [cookie, ['Destination', choose(['/pub/admin/x', '/me', 'https://photos.test/pub'])]],
      [cookie, ['X-HTTP-Method-Override', 'DELETE']],
      [cookie, ['Depth', 'infinity']],
      [cookie, ['Accept', 'text/html']],
      [cookie, cookie],
    ]);
  };
  return () => ({
    target: {
      method: choose(['GET', 'GET', 'GET', 'POST', 'OPTIONS', 'OPTIONS', 'DELETE', 'COPY', 'PROPFIND', 'HEAD']),
      proto: choose(['https', 'http']),
      host: choose([
        'photos.test',
        'PHOTOS.test',
        'photos.test.',
        'photos.test:8443',
        'x.any.test',
        'y.any.test',
        'z.test',
        'none',
      ]),
      uri: choose([
        '/',
        '/',
        '/x?y=1',
        '/pub',
        '/pub/1',
        '/pub/admin',
        '/PUB',
        '/me',
        '/me/../pub',
        '/%70ub',
        '/api/v1',
        '/pub/a.php/admin',
        '/pub%2fadmin',
      ]),
    },
    dialect: choose(PROXY_DIALECTS),
    client: client(),
    connection: choose(['kept', 'kept', 'kept, HTTP/1.0', 'close'] as const),
    server: choose([0, 1]),
  });
}
