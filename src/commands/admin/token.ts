/** `gatebell token`: credentials that Gatebell makes, tokens for programs and sessions for the cookie. */
import { Option, type Command } from 'commander';
import { createToken, hashToken } from '../../auth/token.js';
import { withClient, type CommandContext } from '../context.js';
import type { Definer } from '../define.js';
import { takeAway, type WaitOption } from './denial.js';
import { EXPIRES, readExpiry, type ExpiresOption } from './expiry.js';
import { list, rowOrFail, thereIsNo } from './rows.js';

async function create(
  context: CommandContext,
  user: string,
  { kind = 'token', label, expires }: ExpiresOption & { readonly kind?: string; readonly label?: string },
): Promise<void> {
  const token = createToken();
  const expiry = readExpiry(expires, 5);
  const credential = await withClient(context, client =>
    rowOrFail(
      client,
      `insert into gatebell.credentials (user_id, kind, token_hash, label, expires_at)
       select u.id, $2, decode($3, 'hex'), $4, ${expiry.text} from gatebell.users u where u.name = $1
       returning id, expires_at`,
      [user, kind, hashToken(token), label ?? null, ...expiry.values],
      thereIsNo('user', user),
      { label },
    ),
  );
  const id = Number(credential['id']);
  context.print({ id, token }, [
    token,
    `(the ${kind} of ${user} has id ${id}; it is not stored and will not be shown again)`,
  ]);
}

const revoke = (context: CommandContext, id: string, options: WaitOption): Promise<void> =>
  takeAway(
    context,
    options,
    client =>
      rowOrFail(
        client,
        'update gatebell.credentials set revoked_at = now() where id::text = $1 and revoked_at is null returning id',
        [id],
        `there is no credential ${JSON.stringify(id)} that is not revoked already`,
      ),
    `credential ${id} was revoked`,
  );

const listTokens = (context: CommandContext, user: string | undefined): Promise<void> =>
  list(
    context,
    `select c.id, u.name as user, c.kind, c.label, c.created_at, c.expires_at, c.revoked_at
     from gatebell.credentials c join gatebell.users u on u.id = c.user_id
     where $1::text is null or u.name = $1 order by c.id`,
    { kind: 'user', name: user },
  );

export function defineToken(program: Command, { define, defineDenial }: Definer): void {
  const token = program.command('token').description('credentials: tokens for programs, sessions for the cookie');
  define(token, 'create <user>', 'create one and print it, once', create)
    .addOption(new Option('--kind <kind>', 'what it is for').choices(['token', 'session']).default('token'))
    .option('--label <text>', 'what it is called in lists')
    .option(...EXPIRES);
  defineDenial(token, 'revoke <id>', 'revoke one', revoke);
  define(token, 'list [user]', 'list them, without their secrets', listTokens);
}
