/**
 * Connections that LISTEN and do nothing else, in a process of their own: what they hear must not take time from those
 * who write. They are all open from the start, and as many listen as they are told to.
 */
import pg from 'pg';
import { performCommands } from './commands.js';

/** How many are to listen, from now on, to these channels. */
export interface Listen {
  readonly count: number;
  readonly channels: readonly string[];
}

const clients: pg.Client[] = [];

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: process.env['DATABASE_URL'] });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

performCommands(async ({ count, channels }: Listen) => {
  while (clients.length < count) {
    clients.push(await connect());
  }
  const listen = channels.map(channel => `listen ${pg.escapeIdentifier(channel)}`).join('; ');
  await Promise.all(clients.map((client, index) => client.query(index < count ? listen : 'unlisten *')));
  return null;
});
