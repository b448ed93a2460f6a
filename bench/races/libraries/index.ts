/** The libraries, in the order of the table's columns. */
import type { Library } from '../subject.js';
import { bentocache } from './bentocache.js';
import { cacheManager } from './cache-manager.js';
import { cacheable } from './cacheable.js';
import { dataloader } from './dataloader.js';
import { gatebellCache } from './gatebell.js';
import { lruCache } from './lru-cache.js';

export { gatebellCache };

export const LIBRARIES: readonly Library[] = [gatebellCache, bentocache, cacheable, cacheManager, lruCache, dataloader];
