/**
 * The signal bus: synchronous, in process. Whoever emits a signal returns after every handler has run, so a cache has
 * forgotten before the next notification is looked at.
 *
 * Caches subscribe apart and go first. A handler that throws harms only itself: a cache's is flushed (P17), any other
 * is skipped; both are observed.
 */
import type { Observe } from './observation.js';
import type { Change, Signal } from './signal.js';

/** The caches' side of the bus. */
export interface CacheSubscriber {
  readonly topic: string;
  /** Forgets what the signal names. */
  apply(signal: Signal): void;
  /** Forgets everything; called when `apply` has thrown. Must not throw. */
  flush(): void;
}

/** Returns nothing: an async handler is a type error, because nobody would wait for it. */
export type ChangeHandler = (change: Change) => undefined | void;

export interface SignalBus {
  /**
   * Calls the handler whenever facts of the topic may have changed, after the caches forgot; a flush is a change of all
   * keys of every topic. Returns the function that unsubscribes it.
   */
  on(topic: string, handler: ChangeHandler): () => void;
  subscribeCache(cache: CacheSubscriber): void;
  emit(signal: Signal): void;
}

/** Creates a bus without subscribers. */
export function createBus(observe: Observe): SignalBus {
  const caches: CacheSubscriber[] = [];
  /** Each subscription is an object of its own: the same function may subscribe twice. */
  const subscriptions = new Set<{ readonly topic: string; readonly handler: ChangeHandler }>();

  return {
    on(topic, handler) {
      const subscription = { topic, handler };
      subscriptions.add(subscription);
      return () => {
        subscriptions.delete(subscription);
      };
    },
    subscribeCache(cache) {
      caches.push(cache);
    },
    emit(signal) {
      for (const cache of caches) {
        if (signal.type === 'change' && signal.topic !== cache.topic) {
          continue;
        }
        try {
          cache.apply(signal);
        } catch (error) {
          cache.flush();
          observe({ event: 'handler_failed', topic: cache.topic, handler: 'cache', error });
        }
      }
      // Those that subscribe meanwhile hear the next one.
      for (const { topic, handler } of [...subscriptions]) {
        if (signal.type === 'change' && signal.topic !== topic) {
          continue;
        }
        try {
          handler(signal.type === 'change' ? signal : { type: 'change', topic, keys: null });
        } catch (error) {
          observe({ event: 'handler_failed', topic, handler: 'subscriber', error });
        }
      }
    },
  };
}
