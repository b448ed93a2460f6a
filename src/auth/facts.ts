/**
 * The facts that the gate decides by, and the one indexed query that loads each kind.
 *
 * A query takes arrays of text, one for each part of the key, and computes a key's text as the triggers do (P2).
 * Nothing in a row may fail the batch: `infinity` has a meaning, and a row that cannot be understood becomes a fact
 * with a `problem` (P6).
 */
import type { CacheOptions } from '../coherence/facts/cache.js';
import type { Coherence } from '../coherence/coherence.js';
import type { Row } from '../coherence/facts/source.js';
import type { Reader } from '../coherence/facts/reader.js';
import { compileHeaders, TemplateError, type HeaderTemplate } from './header-template.js';

/** `credential[hash]`: who presents it, and until when. */
export interface CredentialFact {
  readonly userId: string;
  /** The one app that it counts for; null: all apps. */
  readonly appId: string | null;
  readonly revoked: boolean;
  /** Milliseconds since 1970 by Postgres' clock; null: never. */
  readonly expiresAtMs: number | null;
}

/** `user[id]` */
export interface UserFact {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly enabled: boolean;
  /** JWTs issued before do not count; milliseconds since 1970 by Postgres' clock; null: all do. */
  readonly jwtNotBeforeMs: number | null;
}

/** `identity[issuer, subject]`: which user a subject of an issuer is. */
export interface IdentityFact {
  /** Null: a user who was deleted. */
  readonly userId: string | null;
}

/** `user_name[name]`: who has that name. */
export interface UserNameFact {
  readonly userId: string;
}

/** `revoked_jwt[jti]`: it is revoked; there is none of those that are not. */
export interface RevokedJwtFact {
  readonly jti: string;
}

/** `app[host]`; a host may be a wildcard, `*.example.com` */
export interface AppFact {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly enabled: boolean;
  readonly headers: readonly HeaderTemplate[];
  /** Why the row cannot be used; such an app is denied. */
  readonly problem: string | null;
}

/** One rule of an app. */
export interface Route {
  readonly pathPrefix: string;
  readonly access: 'public' | 'authenticated' | 'grant';
  readonly roles: readonly string[];
  readonly strong: boolean;
  /** Whether CORS preflights pass without a credential. */
  readonly preflight: boolean;
  readonly headers: readonly HeaderTemplate[];
}

/** `route[app_id]`: all rules of an app, longest prefix first. */
export interface RoutesFact {
  readonly routes: readonly Route[];
  /** Why a row cannot be used; such an app is denied. */
  readonly problem: string | null;
}

/** `grant[user, app]` */
export interface GrantFact {
  readonly role: string;
  /** Milliseconds since 1970 by Postgres' clock; null: never. */
  readonly expiresAtMs: number | null;
}

/** All kinds of facts by topic. */
export interface FactTypes {
  readonly credential: CredentialFact;
  readonly user: UserFact;
  readonly identity: IdentityFact;
  readonly user_name: UserNameFact;
  readonly revoked_jwt: RevokedJwtFact;
  readonly app: AppFact;
  readonly route: RoutesFact;
  readonly grant: GrantFact;
}

/** A fact that could not be understood. */
export interface BadRow {
  readonly topic: keyof FactTypes;
  readonly key: string;
  readonly problem: string;
}

/** Milliseconds since 1970: null for never (also `infinity`), 0 for `-infinity`. */
const epochMs = (column: string): string =>
  `case when ${column} = 'infinity' then null when ${column} = '-infinity' then 0
        else (extract(epoch from ${column}) * 1000)::double precision end`;

// The columns are exactly the ones that the queries below name; the driver returns text as string, float8 as number.
const text = (row: Row, column: string): string => (row[column] as string | null) ?? '';
const time = (row: Row, column: string): number | null => row[column] as number | null;
const texts = (row: Row, column: string): readonly string[] => row[column] as string[];

interface RouteRow {
  readonly path_prefix: string;
  readonly access: Route['access'];
  readonly roles: readonly string[];
  readonly consistency: string;
  readonly preflight: boolean;
  readonly headers: unknown;
}

/** As many as there may be credentials. */
const REVOKED_NEGATIVE_ENTRIES_MAX = 100_000;

/** Different texts that are kept to be shared. */
const SHARED_MAX = 1_000;

/**
 * Gives the same string for the same text, so that a hundred thousand facts keep one of each; for texts of which there
 * are few.
 */
function createSharing(): (text: string) => string {
  const shared = new Map<string, string>();
  return one => {
    const known = shared.get(one);
    if (known !== undefined) {
      return known;
    }
    if (shared.size >= SHARED_MAX) {
      shared.clear();
    }
    shared.set(one, one);
    return one;
  };
}

/** Compiles, or says why not. */
function attempt<T>(compile: () => T, otherwise: T): { readonly value: T; readonly problem: string | null } {
  try {
    return { value: compile(), problem: null };
  } catch (error) {
    if (error instanceof TemplateError) {
      return { value: otherwise, problem: error.message };
    }
    throw error;
  }
}

/** How each kind of fact is cached. `onBadRow` is told of rows that cannot be used. */
export function factCaches(onBadRow: (row: BadRow) => void): {
  readonly [S in keyof FactTypes]: CacheOptions<FactTypes[S]>;
} {
  const share = createSharing();
  return {
    credential: {
      topic: 'credential',
      load: {
        text: `select encode(c.token_hash, 'hex') as hash, c.user_id::text, c.app_id::text,
                 c.revoked_at is not null as revoked, ${epochMs('c.expires_at')} as expires_at_ms
               from gatebell.credentials c
               where c.token_hash = any (array(select decode(k, 'hex') from unnest($1::text[]) as k))`,
        keysAsPrinted: true,
        key: row => [text(row, 'hash')],
        value: row => ({
          userId: text(row, 'user_id'),
          appId: row['app_id'] === null ? null : share(text(row, 'app_id')),
          revoked: row['revoked'] === true,
          expiresAtMs: time(row, 'expires_at_ms'),
        }),
      },
    },
    user: {
      topic: 'user',
      load: {
        text: `select u.id::text, u.name, u.email, u.display_name, u.groups, u.enabled,
                 (extract(epoch from u.jwt_not_before) * 1000)::double precision as jwt_not_before_ms
               from gatebell.users u where u.id = any ($1::text[]::bigint[])`,
        keysAsPrinted: true,
        key: row => [text(row, 'id')],
        value: row => ({
          id: text(row, 'id'),
          name: text(row, 'name'),
          email: text(row, 'email'),
          displayName: text(row, 'display_name'),
          groups: texts(row, 'groups'),
          enabled: row['enabled'] === true,
          // `infinity` is a number too: no JWT counts, or all do.
          jwtNotBeforeMs: time(row, 'jwt_not_before_ms'),
        }),
      },
    },
    identity: {
      topic: 'identity',
      load: {
        text: `select i.issuer, i.subject, i.user_id::text
               from unnest($1::text[], $2::text[]) as k (issuer, subject)
               join gatebell.identities i on i.issuer = k.issuer and i.subject = k.subject`,
        keysAsPrinted: true,
        key: row => [text(row, 'issuer'), text(row, 'subject')],
        value: row => ({ userId: row['user_id'] === null ? null : text(row, 'user_id') }),
      },
    },
    user_name: {
      topic: 'user_name',
      load: {
        text: `select u.name, u.id::text from gatebell.users u where u.name = any ($1::text[])`,
        key: row => [text(row, 'name')],
        value: row => ({ userId: text(row, 'id') }),
      },
    },
    revoked_jwt: {
      topic: 'revoked_jwt',
      // Only tokens that were verified are asked for: an absence is that of a genuine one, and there is one for each.
      negativeEntriesMax: REVOKED_NEGATIVE_ENTRIES_MAX,
      load: {
        text: `select r.jti from gatebell.revoked_jwts r where r.jti = any ($1::text[])`,
        key: row => [text(row, 'jti')],
        value: row => ({ jti: text(row, 'jti') }),
      },
    },
    app: {
      topic: 'app',
      load: {
        text: `select a.id::text, a.name, a.host, a.enabled, a.headers
               from gatebell.apps a where a.host = any ($1::text[])`,
        key: row => [text(row, 'host')],
        value: row => {
          const host = text(row, 'host');
          const { value: headers, problem } = attempt(() => compileHeaders(row['headers']), []);
          if (problem !== null) {
            onBadRow({ topic: 'app', key: host, problem });
          }
          return {
            id: text(row, 'id'),
            name: text(row, 'name'),
            host,
            enabled: row['enabled'] === true,
            headers,
            problem,
          };
        },
      },
    },
    route: {
      topic: 'route',
      load: {
        text: `select r.app_id::text, json_agg(
                   json_build_object('path_prefix', r.path_prefix, 'access', r.access, 'roles', r.roles,
                     'consistency', r.consistency, 'preflight', r.preflight, 'headers', r.headers)
                   order by octet_length(r.path_prefix) desc, r.path_prefix) as routes
               from gatebell.app_routes r where r.app_id = any ($1::text[]::bigint[]) group by r.app_id`,
        keysAsPrinted: true,
        key: row => [text(row, 'app_id')],
        value: row => {
          const { value: routes, problem } = attempt(
            () =>
              (row['routes'] as readonly RouteRow[]).map(route => ({
                pathPrefix: route.path_prefix,
                access: route.access,
                roles: route.roles,
                strong: route.consistency === 'strong',
                preflight: route.preflight,
                headers: compileHeaders(route.headers),
              })),
            [],
          );
          if (problem !== null) {
            onBadRow({ topic: 'route', key: text(row, 'app_id'), problem });
          }
          return { routes, problem };
        },
      },
    },
    grant: {
      topic: 'grant',
      load: {
        text: `select g.user_id::text, g.app_id::text, g.role, ${epochMs('g.expires_at')} as expires_at_ms
               from unnest($1::text[]::bigint[], $2::text[]::bigint[]) as k (user_id, app_id)
               join gatebell.grants g on g.user_id = k.user_id and g.app_id = k.app_id`,
        keysAsPrinted: true,
        key: row => [text(row, 'user_id'), text(row, 'app_id')],
        value: row => ({ role: share(text(row, 'role')), expiresAtMs: time(row, 'expires_at_ms') }),
      },
    },
  };
}

/**
 * Makes a cache for each kind of fact, and a reader over all of them. `onBadRow` is told of rows that cannot be used.
 */
export function createFactReader(
  coherence: Pick<Coherence, 'coherentCache' | 'reader'>,
  onBadRow: (row: BadRow) => void,
): Reader<FactTypes> {
  const facts = factCaches(onBadRow);
  return coherence.reader({
    credential: coherence.coherentCache(facts.credential),
    user: coherence.coherentCache(facts.user),
    identity: coherence.coherentCache(facts.identity),
    user_name: coherence.coherentCache(facts.user_name),
    revoked_jwt: coherence.coherentCache(facts.revoked_jwt),
    app: coherence.coherentCache(facts.app),
    route: coherence.coherentCache(facts.route),
    grant: coherence.coherentCache(facts.grant),
  });
}
