/**
 * Channels of a program's own, on the listening connection that is there anyway. They share the connection and nothing
 * else: what arrives on them never reaches the coherence, and a handler that throws harms only itself.
 *
 * NOTIFY keeps nothing for those who do not listen. So a handler learns when listening begins, the first time and after
 * each connection that was lost: what was published before may have been missed.
 */
import type { Observe } from '../coherence/observation.js';

/**
 * `listening`: from now on messages arrive, and any before this may have been missed. `message`: somebody has
 * published.
 */
export type ChannelEvent = { readonly type: 'listening' } | { readonly type: 'message'; readonly payload: string };

/**
 * Called in the order in which Postgres delivers. Returns nothing: nobody waits for an async handler, so that is a type
 * error.
 */
export type ChannelHandler = (event: ChannelEvent) => undefined | void;

/**
 * A connection on which channels can be listened to. Both may be called at any time; what fails ends the connection.
 */
export interface ChannelConnection {
  listen(channel: string): Promise<void>;
  unlisten(channel: string): void;
}

/** The channels' side that the listening connection sees. */
export interface ChannelSink {
  /** A connection is ready: every channel is listened to on it. */
  attach(connection: ChannelConnection): void;
  /** It is gone. */
  detach(connection: ChannelConnection): void;
  deliver(channel: string, payload: string): void;
}

export interface Channels extends ChannelSink {
  /** Calls the handler with what happens on the channel. Returns what unsubscribes it. */
  on(channel: string, handler: ChannelHandler): () => void;
}

/** Each subscription is an object of its own: the same function may subscribe twice. */
interface Subscription {
  readonly handler: ChannelHandler;
}

/** Creates channels that nobody listens to yet. */
export function createChannels(observe: Observe): Channels {
  const subscriptions = new Map<string, Set<Subscription>>();
  let connection: ChannelConnection | null = null;
  /** Channels that this connection listens to, or is about to. */
  let listening = new Map<string, Promise<void>>();

  const call = (channel: string, { handler }: Subscription, event: ChannelEvent): void => {
    try {
      handler(event);
    } catch (error) {
      observe({ event: 'handler_failed', topic: channel, handler: 'subscriber', error });
    }
  };

  /** Calls the handler with `listening` when the current connection listens for it. */
  const listen = (channel: string, subscription: Subscription): void => {
    const on = connection;
    if (on === null) {
      return;
    }
    const begun = listening.get(channel) ?? on.listen(channel);
    listening.set(channel, begun);
    begun.then(
      () => {
        if (connection === on && subscriptions.get(channel)?.has(subscription) === true) {
          call(channel, subscription, { type: 'listening' });
        }
      },
      // The connection has ended, and the next one will listen.
      () => undefined,
    );
  };

  return {
    on(channel, handler) {
      const subscription = { handler };
      const subscribed = subscriptions.get(channel) ?? new Set();
      subscriptions.set(channel, subscribed.add(subscription));
      listen(channel, subscription);
      return () => {
        if (subscribed.delete(subscription) && subscribed.size === 0 && subscriptions.get(channel) === subscribed) {
          subscriptions.delete(channel);
          if (listening.delete(channel)) {
            connection?.unlisten(channel);
          }
        }
      };
    },
    attach(opened) {
      connection = opened;
      listening = new Map();
      for (const [channel, subscribed] of subscriptions) {
        for (const subscription of subscribed) {
          listen(channel, subscription);
        }
      }
    },
    detach(closed) {
      if (connection === closed) {
        connection = null;
        listening = new Map();
      }
    },
    deliver(channel, payload) {
      for (const subscription of [...(subscriptions.get(channel) ?? [])]) {
        call(channel, subscription, { type: 'message', payload });
      }
    },
  };
}
