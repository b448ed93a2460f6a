/** `gatebell grant` and `gatebell revoke`: who may reach what. */
import type { Command } from 'commander';
import { withClient, type CommandContext } from '../context.js';
import type { Definer } from '../define.js';
import { takeAway, type WaitOption } from './denial.js';
import { EXPIRES, readExpiry, type ExpiresOption } from './expiry.js';
import { list, requireNamed, rowOrFail, thereIsNo } from './rows.js';

async function set(
  context: CommandContext,
  user: string,
  app: string,
  { role, expires }: ExpiresOption & { readonly role?: string },
): Promise<void> {
  const expiry = readExpiry(expires, 4);
  const expiresAt = expires === undefined ? 'g.expires_at' : 'excluded.expires_at';
  const grant = await withClient(context, async client => {
    await requireNamed(client, 'user', user);
    return rowOrFail(
      client,
      `insert into gatebell.grants as g (user_id, app_id, role, expires_at)
       select u.id, a.id, coalesce($3, 'user'), ${expiry.text}
       from gatebell.users u, gatebell.apps a where u.name = $1 and a.name = $2
       on conflict (user_id, app_id) do update set role = coalesce($3, g.role), expires_at = ${expiresAt}
       returning user_id, app_id, role, expires_at`,
      [user, app, role ?? null, ...expiry.values],
      thereIsNo('app', app),
      { role },
    );
  });
  context.print(grant, `${user} may reach ${app} as ${String(grant['role'])}`);
}

const listGrants = (context: CommandContext): Promise<void> =>
  list(
    context,
    `select u.name as user, a.name as app, g.role, g.expires_at
     from gatebell.grants g join gatebell.users u on u.id = g.user_id join gatebell.apps a on a.id = g.app_id
     order by u.name, a.name`,
  );

const revoke = (context: CommandContext, user: string, app: string, options: WaitOption): Promise<void> =>
  takeAway(
    context,
    options,
    client =>
      rowOrFail(
        client,
        `delete from gatebell.grants g using gatebell.users u, gatebell.apps a
         where u.id = g.user_id and a.id = g.app_id and u.name = $1 and a.name = $2
         returning g.user_id, g.app_id, g.role`,
        [user, app],
        `${JSON.stringify(user)} has no grant for ${JSON.stringify(app)}`,
      ),
    `${user} may not reach ${app} any more`,
  );

/** `grant alice photos` is short for `grant set alice photos`. */
export function expandShortGrant(words: readonly string[]): string[] {
  const [first, second] = words;
  return first === 'grant' &&
    second !== undefined &&
    !['set', 'list', 'help'].includes(second) &&
    !second.startsWith('-')
    ? ['grant', 'set', ...words.slice(1)]
    : [...words];
}

export function defineGrant(program: Command, { define, defineDenial }: Definer): void {
  const grant = program.command('grant').description('who may reach what').usage('<user> <app> [options] | list');
  define(grant, 'list', 'list all grants', listGrants);
  define(
    grant,
    'set <user> <app>',
    'let a user reach an app (the word set may be left out), or change the grant; what is not given stays',
    set,
  )
    .option('--role <role>', 'role at the app; of a new grant, user if it is not given')
    .option(...EXPIRES);
  defineDenial(program, 'revoke <user> <app>', 'take a grant away', revoke);
}
