/** bentocache: memory first, Redis behind it, and its bus over Redis that tells other processes what to forget; one prepared query below all. */
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis';
import { answering, serve, setting, type Identity } from './peer.js';
import { askPrepared, createPool } from './postgres.js';

/** As many as Gatebell keeps of each kind by default. */
const ENTRIES_MAX = 100_000;

interface Finding {
  readonly identity: Identity | null;
}

const pool = createPool();
const connection = { host: '127.0.0.1', port: Number(setting('REDIS_PORT')) };
const bento = new BentoCache({
  default: 'sessions',
  stores: {
    sessions: bentostore()
      // What is kept is never changed, so it need not be parsed anew at each hit.
      .useL1Layer(memoryDriver({ maxItems: ENTRIES_MAX, serialize: false }))
      .useL2Layer(redisDriver({ connection }))
      .useBus(redisBusDriver({ connection })),
  },
});

serve(
  answering(async question => {
    const { identity } = await bento.getOrSet<Finding>({
      key: `${question.host} ${question.token}`,
      ttl: '1h',
      factory: async () => ({ identity: await askPrepared(pool, question) }),
    });
    return identity;
  }),
);
