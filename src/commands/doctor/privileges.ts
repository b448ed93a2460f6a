/** Whether everybody may do what `gatebell.privileges()` lists, and nothing else. */
import type { Database } from '../../postgres/pool.js';
import type { CommandContext } from '../context.js';
import { listed, type Check } from './check.js';

/** What the role of a replica must be able to do. */
const RIGHTS: readonly (readonly [what: string, expression: string])[] = [
  ['use schema gatebell', `has_schema_privilege('gatebell', 'usage')`],
  ['read gatebell.users', `has_column_privilege('gatebell.users', 'name', 'select')`],
  ['read gatebell.identities', `has_column_privilege('gatebell.identities', 'subject', 'select')`],
  ['read gatebell.revoked_jwts', `has_column_privilege('gatebell.revoked_jwts', 'jti', 'select')`],
  ['read gatebell.apps', `has_column_privilege('gatebell.apps', 'host', 'select')`],
  ['read gatebell.app_routes', `has_column_privilege('gatebell.app_routes', 'access', 'select')`],
  ['read gatebell.grants', `has_column_privilege('gatebell.grants', 'role', 'select')`],
  ['read gatebell.credentials', `has_column_privilege('gatebell.credentials', 'token_hash', 'select')`],
  ['read gatebell.watch_status', `has_table_privilege('gatebell.watch_status', 'select')`],
  ['call gatebell.constraint_problems()', `has_function_privilege('gatebell.constraint_problems()', 'execute')`],
  ['read gatebell.privilege_problems', `has_table_privilege('gatebell.privilege_problems', 'select')`],
  [
    'send fences',
    `has_function_privilege('gatebell.fence(bigint)', 'execute') and has_table_privilege('gatebell.fence_key', 'select')
       and has_sequence_privilege('gatebell.fence_number', 'usage')
       and has_sequence_privilege('gatebell.fence_number', 'select')`,
  ],
];

/** What it must be able to do besides, where people sign in. */
const MAY_SIGN_IN = `
  (select coalesce(bool_and(has_function_privilege(p.oid, 'execute')), false) from pg_proc p
   where p.pronamespace = 'gatebell'::regnamespace
     and p.proname in (
       select d.object from gatebell.privileges() d where d.role = 'gatebell_sign_in' and d.kind = 'function'))`;

/** Whether the role in use can do what a replica does. */
export async function checkOwnRights(database: Database): Promise<Check> {
  const [rights] = await database.query<Record<string, boolean>>(
    'doctor',
    `select ${RIGHTS.map(([, expression], index) => `${expression} as r${index}`).join(', ')}`,
  );
  const lacking = RIGHTS.filter((_, index) => rights?.[`r${index}`] !== true).map(([what]) => what);
  return {
    name: "role's rights",
    ok: lacking.length === 0,
    detail:
      lacking.length === 0
        ? 'all that a replica needs'
        : `cannot ${lacking.join(', ')}: GRANT gatebell_daemon TO this role. If it has that role, run ` +
          '"gatebell repair" as the owner',
  };
}

/** Whether the role in use can begin and end sessions, and does not if it need not. */
export async function checkSignInRights({ config }: CommandContext, database: Database): Promise<Check> {
  const name = 'rights to sign people in';
  const [row] = await database.query<{ may: boolean; needless: string | null }>(
    'doctor',
    `select ${MAY_SIGN_IN} as may,
       (select format('REVOKE gatebell_sign_in FROM %I', current_user)
        from pg_namespace n, pg_roles r
        where n.nspname = 'gatebell' and r.rolname = 'gatebell_sign_in' and pg_has_role(current_user, r.oid, 'member')
          and not pg_has_role(current_user, n.nspowner, 'usage')) as needless`,
  );
  if (config.oidcIssuer === null) {
    const needless = row?.needless ?? null;
    return {
      name,
      ok: needless === null,
      detail:
        needless === null
          ? 'nobody signs in here'
          : `this role can begin a session of anybody, and GATEBELL_OIDC_ISSUER is not set: ${needless}`,
    };
  }
  return row?.may === true
    ? { name, ok: true, detail: 'sessions can begin and end' }
    : {
        name,
        ok: false,
        detail: 'cannot begin and end sessions: GRANT gatebell_sign_in TO this role, or unset GATEBELL_OIDC_ISSUER',
      };
}

/**
 * Compares all rights on the schema with those that are declared.
 * @param allowedRoles roles of yours that have rights on purpose
 */
export async function checkPrivileges(database: Database, allowedRoles: readonly string[]): Promise<Check> {
  const rows = await database.query<{
    role: string | null;
    kind: string;
    problem: string;
    remedy: string | null;
    repairable: boolean;
  }>('doctor', 'select role, kind, problem, remedy, repairable from gatebell.privilege_problems order by problem');
  const isAllowed = ({ role, kind, repairable }: (typeof rows)[number]): boolean =>
    !repairable && kind !== 'role' && role !== null && allowedRoles.includes(role);
  const wrong = rows.filter(row => !isAllowed(row));
  const allowed = rows.length - wrong.length;
  const byRepair = wrong.some(({ repairable }) => repairable)
    ? ' What is marked * is done by "gatebell repair", run as the owner of the schema.'
    : '';
  const byFlag = wrong.some(({ repairable, kind }) => !repairable && kind !== 'role')
    ? ' If a role of yours has rights on purpose, say so: gatebell doctor --allow-role NAME.'
    : '';
  return {
    name: 'privileges',
    ok: wrong.length === 0,
    detail:
      wrong.length === 0
        ? `as declared${allowed === 0 ? '' : `, and ${allowed} of ${allowedRoles.join(', ')}`}`
        : listed(
            wrong.map(
              ({ problem, remedy, repairable }) =>
                `${repairable ? '* ' : ''}${problem}${remedy === null ? '' : `: ${remedy};`}`,
            ),
          ) +
          '.' +
          byRepair +
          byFlag,
  };
}
