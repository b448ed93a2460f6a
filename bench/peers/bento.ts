/**
 * bentocache: memory first, Redis behind it, and its bus over Redis that tells other processes what to forget; one
 * prepared query below all. `PEER_SHARED` is `yes` if there are other processes.
 */
import { hostNowMs } from '../support/host-clock.js';
import { bentoKey, openBento } from './bento-cache.js';
import { createTimeRecord, obey } from './commands.js';
import { answering, serve, setting, type Identity } from './peer.js';
import { askPrepared, createPool } from './postgres.js';

interface Finding {
  readonly identity: Identity | null;
}

const pool = createPool();
const bento = openBento(Number(setting('REDIS_PORT')), process.env['PEER_SHARED'] === 'yes');
const forgotten = createTimeRecord();

// The message is applied to the memory right after this, in the same turn.
bento.on('bus:message:received', ({ message }) => {
  const atMs = hostNowMs();
  for (const key of message.type === 'delete' ? message.keys : []) {
    forgotten.note(key, atMs);
  }
});
obey({ collect: () => forgotten.take() });

serve(
  answering(async question => {
    const { identity } = await bento.getOrSet<Finding>({
      key: bentoKey(question),
      ttl: '1h',
      factory: async () => ({ identity: await askPrepared(pool, question) }),
    });
    return identity;
  }),
);
