/** `gatebell user bind|unbind|identities`: which user a subject of an issuer is. */
import type { Config } from '../../config/config.js';
import { UsageError } from '../errors.js';
import { withClient, type CommandContext } from '../context.js';
import { list, one, takeAway, type WaitOption } from './facts.js';

/** Names one identity; the issuer may be left out where the configuration knows one alone. */
export interface IdentityOptions {
  readonly issuer?: string;
  readonly subject: string;
}

/** @throws UsageError if none is given, and the configuration names none or two */
function issuerOf({ issuer }: IdentityOptions, { jwt, oidcIssuer }: Config): string {
  const known = new Set([jwt?.issuer, oidcIssuer].filter(name => name !== undefined && name !== null));
  const [only] = issuer === undefined ? known : [issuer];
  if (only === undefined || (issuer === undefined && known.size > 1)) {
    throw new UsageError(
      'give --issuer, as the claim iss has it (or set one of GATEBELL_JWT_ISSUER and GATEBELL_OIDC_ISSUER)',
    );
  }
  return only;
}

export async function userBind(context: CommandContext, name: string, options: IdentityOptions): Promise<void> {
  const issuer = issuerOf(options, context.config);
  const identity = await withClient(context, client =>
    one(
      client,
      `insert into gatebell.identities (issuer, subject, user_id) select $2, $3, u.id from gatebell.users u where u.name = $1
       on conflict (issuer, subject) do update set user_id = excluded.user_id returning issuer, subject, user_id`,
      [name, issuer, options.subject],
      `there is no user ${JSON.stringify(name)}`,
      { issuer, subject: options.subject },
    ),
  );
  context.print(identity, `subject ${JSON.stringify(options.subject)} is ${name} now`);
}

export async function userUnbind(context: CommandContext, options: IdentityOptions & WaitOption): Promise<void> {
  const issuer = issuerOf(options, context.config);
  await takeAway(
    context,
    options,
    client =>
      one(
        client,
        // The row stays: without it the name would decide once more.
        'update gatebell.identities set user_id = null where issuer = $1 and subject = $2 returning issuer, subject',
        [issuer, options.subject],
        `subject ${JSON.stringify(options.subject)} of ${issuer} was never bound`,
      ),
    () => `subject ${JSON.stringify(options.subject)} is nobody until it is bound anew`,
  );
}

export async function userIdentities(context: CommandContext, name: string | undefined): Promise<void> {
  await list(
    context,
    `select i.issuer, i.subject, coalesce(u.name, '(deleted)') as "user", i.created_at
     from gatebell.identities i left join gatebell.users u on u.id = i.user_id
     where $1::text is null or u.name = $1 order by i.issuer, u.name, i.subject`,
    { kind: 'user', name },
  );
}
