/**
 * The floor of hearing: a bare `pg` client that LISTENs to the channel of the triggers, and takes the time when a
 * notification has come. Only then does it look whose grant it names.
 */
import pg from 'pg';
import { parseMessage } from '../../src/coherence/signal.js';
import { hostNowMs } from '../support/host-clock.js';
import { createTimeRecord, obey } from './commands.js';
import { ready, setting } from './peer.js';

const client = new pg.Client({ connectionString: setting('DATABASE_URL') });
const heard = createTimeRecord();
client.on('error', () => undefined);
client.on('notification', ({ payload }) => {
  const atMs = hostNowMs();
  const message = parseMessage(payload ?? '');
  if (message.type === 'change' && message.keys?.length === 1) {
    heard.note(message.keys[0]![0]!, atMs);
  }
});
await client.connect();
obey({
  listen: async () => {
    await client.query('listen gatebell');
  },
  rest: async () => {
    await client.query('unlisten *');
  },
  collect: () => heard.take(),
});
ready(0);
