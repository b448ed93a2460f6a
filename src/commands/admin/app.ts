/** `gatebell app`: what is behind the proxy. */
import type { Command } from 'commander';
import { withClient, type CommandContext } from '../context.js';
import type { Definer } from '../define.js';
import { YES } from './confirm.js';
import { deleteForGood, disable, type WaitOption } from './denial.js';
import type { Several } from './given.js';
import { HEADER, NO_HEADER, readHeaderPairs } from './header-pairs.js';
import { canonicalHost } from './host.js';
import { insertNamed, listNamed, updateNamed } from './rows.js';

/** Fields of an app that can be given. */
interface AppFields {
  readonly name?: string;
  readonly host?: string;
  readonly header?: Several;
  readonly enabled?: boolean;
}

async function add(
  context: CommandContext,
  name: string,
  fields: AppFields & { readonly host: string },
): Promise<void> {
  const host = canonicalHost(fields.host);
  const given = { name, host, headers: readHeaderPairs(fields.header) ?? '{}' };
  const app = await withClient(context, client => insertNamed(client, 'app', given, { name, host: fields.host }));
  context.print(app, `app ${name} was added at ${host} (id ${String(app['id'])})`);
}

async function set(context: CommandContext, name: string, fields: AppFields): Promise<void> {
  const given = {
    name: fields.name,
    host: fields.host === undefined ? undefined : canonicalHost(fields.host),
    headers: readHeaderPairs(fields.header),
    enabled: fields.enabled,
  };
  const app = await withClient(context, client => updateNamed(client, 'app', name, given));
  context.print(app, `app ${String(app['name'])} was changed`);
}

export function defineApp(program: Command, { define, defineDenial }: Definer): void {
  const app = program.command('app').description('what is behind the proxy');
  define(app, 'add <name>', 'add an app', add)
    .requiredOption('--host <host>', 'host name')
    .option(...HEADER);
  define(app, 'set <name>', 'change an app; what is not given stays', set)
    .option('--name <name>', 'rename')
    .option('--host <host>', 'host name')
    .option(...HEADER)
    .option(...NO_HEADER);
  define(app, 'enable <name>', 'open a disabled app again', (context, name: string) =>
    set(context, name, { enabled: true }),
  );
  defineDenial(app, 'disable <name>', 'deny everyone', (context, name: string, options: WaitOption) =>
    disable(context, 'app', name, options),
  );
  defineDenial(
    app,
    'delete <name>',
    'delete an app with all routes and grants',
    (context, name: string, options: WaitOption) => deleteForGood(context, 'app', name, options),
  ).option(...YES);
  define(app, 'list', 'list all apps', context => listNamed(context, 'app'));
}
