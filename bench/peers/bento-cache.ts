/** The cache of the peer with bentocache. The writer opens it, too, to tell the others what to forget. */
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis';
import type { Question } from './peer.js';

/** As many as Gatebell keeps of each kind by default. */
const ENTRIES_MAX = 100_000;

/** What a question is cached under. */
export const bentoKey = ({ host, token }: Question): string => `${host} ${token}`;

/**
 * Memory first, the Redis behind it, and the bus over it.
 *
 * @param isShared whether other processes use the same Redis. If not, what is kept need not be parsed again at each
 *   hit; if so it must be: a process that finds in Redis what another one has stored fails otherwise (bentocache 1.6,
 *   https://github.com/Julien-R44/bentocache/issues/111).
 */
export function openBento(redisPort: number, isShared: boolean) {
  const connection = { host: '127.0.0.1', port: redisPort };
  return new BentoCache({
    default: 'sessions',
    stores: {
      sessions: bentostore()
        .useL1Layer(memoryDriver({ maxItems: ENTRIES_MAX, serialize: isShared }))
        .useL2Layer(redisDriver({ connection }))
        .useBus(redisBusDriver({ connection })),
    },
  });
}
