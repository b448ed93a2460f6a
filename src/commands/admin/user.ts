/** `gatebell user`: who may sign in, and which user a subject of an issuer is. */
import type { Command } from 'commander';
import type { Config } from '../../config/config.js';
import { withClient, type CommandContext } from '../context.js';
import { collect, type Definer } from '../define.js';
import { UsageError } from '../errors.js';
import { YES } from './confirm.js';
import { deleteForGood, disable, takeAway, type WaitOption } from './denial.js';
import { textOf, textsOf, type Several } from './given.js';
import { insertNamed, list, listNamed, rowOrFail, thereIsNo, updateNamed, type Row } from './rows.js';

/** Fields of a user that can be given. */
interface UserFields {
  readonly name?: string;
  readonly email?: string | false;
  readonly displayName?: string | false;
  readonly group?: Several;
  readonly enabled?: boolean;
}

/** Names one identity; the issuer may be left out where the configuration has exactly one. */
interface IdentityOptions {
  readonly issuer?: string;
  readonly subject: string;
}

const columnsOf = ({ email, displayName, group }: UserFields): Row => ({
  email: textOf(email),
  display_name: textOf(displayName),
  groups: textsOf(group),
});

async function add(context: CommandContext, name: string, fields: UserFields): Promise<void> {
  const given = columnsOf(fields);
  const user = await withClient(context, client =>
    insertNamed(client, 'user', { name, ...given, groups: given['groups'] ?? [] }, { name, ...given }),
  );
  context.print(user, `user ${name} was added (id ${String(user['id'])})`);
}

async function set(context: CommandContext, name: string, fields: UserFields): Promise<void> {
  const given = { name: fields.name, ...columnsOf(fields), enabled: fields.enabled };
  const user = await withClient(context, client => updateNamed(client, 'user', name, given));
  context.print(user, `user ${String(user['name'])} was changed`);
}

/** @throws UsageError if no issuer is given, and the configuration has none, or two */
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

async function bind(context: CommandContext, name: string, options: IdentityOptions): Promise<void> {
  const issuer = issuerOf(options, context.config);
  const identity = await withClient(context, client =>
    rowOrFail(
      client,
      `insert into gatebell.identities (issuer, subject, user_id)
       select $2, $3, u.id from gatebell.users u where u.name = $1
       on conflict (issuer, subject) do update set user_id = excluded.user_id returning issuer, subject, user_id`,
      [name, issuer, options.subject],
      thereIsNo('user', name),
      { issuer, subject: options.subject },
    ),
  );
  context.print(identity, `subject ${JSON.stringify(options.subject)} is ${name} now`);
}

async function unbind(context: CommandContext, options: IdentityOptions & WaitOption): Promise<void> {
  const issuer = issuerOf(options, context.config);
  const subject = JSON.stringify(options.subject);
  await takeAway(
    context,
    options,
    client =>
      rowOrFail(
        client,
        // The row stays: without it the name would decide once more.
        'update gatebell.identities set user_id = null where issuer = $1 and subject = $2 returning issuer, subject',
        [issuer, options.subject],
        `subject ${subject} of ${issuer} was never bound`,
      ),
    `subject ${subject} is nobody until it is bound again`,
  );
}

const listIdentities = (context: CommandContext, name: string | undefined): Promise<void> =>
  list(
    context,
    `select i.issuer, i.subject, coalesce(u.name, '(deleted)') as "user", i.created_at
     from gatebell.identities i left join gatebell.users u on u.id = i.user_id
     where $1::text is null or u.name = $1 order by i.issuer, u.name, i.subject`,
    { kind: 'user', name },
  );

export function defineUser(program: Command, { define, defineDenial }: Definer): void {
  const user = program.command('user').description('who may sign in');
  const withFields = (command: Command): Command =>
    command
      .option('--email <address>', 'sent as Remote-Email')
      .option('--display-name <name>', 'sent as Remote-Name')
      .option('--group <name>', 'sent in Remote-Groups; may be repeated', collect);
  withFields(define(user, 'add <name>', 'add a user', add));
  withFields(define(user, 'set <name>', 'change a user; what is not given stays', set))
    .option('--name <name>', 'rename')
    .option('--no-email', 'clear the address')
    .option('--no-display-name', 'clear the name that is sent')
    .option('--no-group', 'clear all groups');
  define(user, 'enable <name>', 'let a disabled user in again', (context, name: string) =>
    set(context, name, { enabled: true }),
  );
  defineDenial(user, 'disable <name>', 'deny a user everywhere', (context, name: string, options: WaitOption) =>
    disable(context, 'user', name, options),
  );
  defineDenial(
    user,
    'delete <name>',
    'delete a user with all grants and credentials',
    (context, name: string, options: WaitOption) => deleteForGood(context, 'user', name, options),
  ).option(...YES);
  define(user, 'list', 'list all users', context => listNamed(context, 'user'));
  const withIdentity = (command: Command): Command =>
    command
      .requiredOption('--subject <sub>', 'as the claim sub of JWTs and ID tokens has it')
      .option('--issuer <iss>', 'as the claim iss has it; default: the issuer that is configured');
  withIdentity(define(user, 'bind <name>', 'say which user a subject of an issuer is', bind));
  withIdentity(defineDenial(user, 'unbind', 'make a subject of an issuer nobody', unbind));
  define(user, 'identities [name]', 'list which subjects are which users', listIdentities);
}
