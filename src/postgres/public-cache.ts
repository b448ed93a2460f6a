/**
 * A cache as programs use it: keys may be plain strings, and an answer is a promise. What it serves and when is the
 * coherence's business.
 */
import { UnavailableError } from '../coherence/errors.js';
import { textOfFunction, type FactQuery, type Row } from '../coherence/facts/source.js';
import type { CacheStats } from '../coherence/facts/cache.js';
import type { Key } from '../coherence/signal.js';
import type { PostgresCoherence } from './coherence.js';
import { readKey, type CacheKey, type CacheOptions } from './gatebell-options.js';

/** Facts of one topic. A value is shared by all who ask for it: do not change it. */
export interface Cache<V> {
  readonly topic: string;
  /** Facts in memory, negative entries not counted. */
  readonly size: number;
  /** Running totals since the cache was made. */
  readonly stats: Readonly<CacheStats>;
  /**
   * The fact, or null if there is no such row: from memory while it is proven to be true, else from Postgres. Normally
   * a change is seen milliseconds after its commit; never later than `leaseMs` after it.
   *
   * @throws UnavailableError (as a rejection) when it can be had from neither; TypeError if the key is not one
   */
  get(key: CacheKey): Promise<V | null>;
  /**
   * The same for many keys, in their order. What memory lacks is loaded together, 500 keys in one query. Each fact is
   * as true as one from `get`; they need not all be of the same moment. Up to 5,000 keys never seen before can wait at
   * once: ask for more in portions.
   *
   * @throws UnavailableError (as a rejection) when any can be had from neither; TypeError if a key is not one
   */
  getMany(keys: readonly CacheKey[]): Promise<(V | null)[]>;
  /**
   * The fact as every commit acknowledged before this call has left it, no matter who committed. Costs a round trip to
   * Postgres, shared by all who ask at the same time.
   *
   * @throws UnavailableError (as a rejection) when that cannot be known; TypeError if the key is not one
   */
  strong(key: CacheKey): Promise<V | null>;
}

/** A query that returns keys in their one form, and values that are there. */
function queryOf<V, R extends object>({ topic, load }: CacheOptions<V, R>, text: string): FactQuery<V> {
  // What the columns are is the caller's to say: the type of a row comes with its text.
  const typed = (row: Row): R => row as R;
  return {
    text,
    key: row => readKey(load.key(typed(row))),
    value(row) {
      const value = load.value(typed(row));
      if (value === undefined || value === null) {
        throw new TypeError(`load.value of ${topic} returned ${String(value)}, which would look like a missing row`);
      }
      return value;
    },
  };
}

/**
 * Creates a cache.
 *
 * @param isClosed whether the connections are closed, so that nothing can be loaded
 */
export function createPublicCache<V, R extends object>(
  coherence: Pick<PostgresCoherence, 'coherentCache' | 'reader' | 'caches' | 'database'>,
  options: CacheOptions<V, R>,
  isClosed: () => boolean,
): Cache<V> {
  const { entriesMax, negativeEntriesMax, maxAgeMs } = options;
  const { topic, load } = options;
  let text: string;
  if ('read' in load) {
    const { read } = load;
    text = textOfFunction(topic, coherence.caches.length);
    // What the columns are is the caller's to say, and nobody looks at them but `key` and `value`.
    coherence.database.addFunction(text, async (keys, client) => (await read(keys, client)) as readonly Row[]);
  } else {
    ({ text } = load);
  }
  const cache = coherence.coherentCache<V>({
    topic,
    load: queryOf(options, text),
    ...(entriesMax === undefined ? {} : { entriesMax }),
    ...(negativeEntriesMax === undefined ? {} : { negativeEntriesMax }),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
  });
  const reader = coherence.reader<{ fact: V }>({ fact: cache });

  const read = async (keys: readonly Key[], strong: boolean): Promise<(V | null)[]> => {
    if (isClosed()) {
      throw new UnavailableError('stopped', `the cache of ${topic} is closed`);
    }
    return reader.read(facts => {
      const found: (V | null)[] = [];
      const lacks: { topic: 'fact'; key: Key }[] = [];
      for (const key of keys) {
        const value = facts.get('fact', key);
        if (value === undefined) {
          lacks.push({ topic: 'fact', key });
        } else {
          found.push(value);
        }
      }
      return lacks.length > 0 ? { lacks } : { answer: found, strong };
    });
  };
  const readOne = async (key: CacheKey, strong: boolean): Promise<V | null> =>
    (await read([readKey(key)], strong))[0] ?? null;

  return {
    topic,
    get size() {
      return cache.size;
    },
    stats: cache.stats,
    get: key => readOne(key, false),
    getMany: async keys => read(keys.map(readKey), false),
    strong: key => readOne(key, true),
  };
}
