/**
 * `pg-listen`, wrapped as disposable: one subscriber for one connection, never used again after anything happened to it
 * (P30).
 *
 * Left to itself it reconnects in the background after a failed first connect, can come back connected but deaf, leaves
 * a ghost backend when closed while reconnecting, and hangs on half-open sockets. So it gets no reconnects
 * (`retryLimit: 1`), no paranoid check, no parsing or quoting of its own; we make the socket, watch it, and destroy it.
 *
 * It does not say which backend serves it. A message that it sends to itself does: the notification names its sender.
 * The backend also has a random mark in its `application_name`, by which others can tell it from a later one with the
 * same process id.
 */
import { Socket } from 'node:net';
import pg, { type ClientConfig } from 'pg';
import pgListen from 'pg-listen';
import { delay, systemClock, systemRandom } from '../time/clock.js';
import type { OpenSubscription } from '../coherence/proof/connection.js';
import { MARK_LENGTH } from '../coherence/proof/server.js';
import type { ChannelConnection, ChannelSink } from './channels.js';

// Under NodeNext the CommonJS default export is one level down.
const createSubscriber = pgListen.default;

/** Protocol violation: what a pooler answers to start-up options (PgBouncer does). */
const STARTUP_REFUSED = '08P01';

/** Says what to do about an error whose own words do not. */
function explain(error: unknown): unknown {
  return error instanceof pg.DatabaseError && error.code === STARTUP_REFUSED
    ? new Error(
        `${error.message}: this looks like a connection pooler, through which notifications do not come: set ` +
          'GATEBELL_LISTEN_URL to a direct connection',
        { cause: error },
      )
    : error;
}

/** Of the message to itself, in milliseconds. */
const ECHO_TIMEOUT_MS = 2_000;

/**
 * Makes the opener for a connection.
 *
 * @param connection gets a socket of its own each time; its time-outs bound connect and LISTEN
 * @param channels other channels to listen to on the same connection, once it is known to deliver
 */
export function createSubscriptionOpener(
  connection: ClientConfig,
  channels: ChannelSink | null = null,
): OpenSubscription {
  return async (channel, events, signal) => {
    const socket = new Socket();
    const mark = `#${systemRandom.nonce().slice(0, MARK_LENGTH - 1)}`;
    const subscriber = createSubscriber(
      { ...connection, application_name: `${connection.application_name ?? ''}${mark}`, stream: () => socket },
      { retryLimit: 1, retryInterval: 0, paranoidChecking: false, parse: text => text, serialize: String },
    );
    let closed = false;
    let fail: (error: unknown) => void = () => undefined;
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    failed.catch(() => undefined);
    // Not the mark, which everybody can see.
    const greeting = JSON.stringify({ v: 1, g: systemRandom.nonce() });
    let identify: (processId: number) => void = () => undefined;
    const identified = new Promise<number>(resolve => {
      identify = resolve;
    });

    const close = (): void => {
      if (!closed) {
        closed = true;
        channels?.detach(others);
        signal.removeEventListener('abort', onAbort);
        subscriber.close().catch(() => undefined);
        socket.destroySoon();
      }
    };
    const lose = (error: unknown): void => {
      if (!closed) {
        close();
        fail(error);
        events.onLost(error);
      }
    };
    const others: ChannelConnection = {
      async listen(name) {
        try {
          await subscriber.listenTo(name);
        } catch (error) {
          lose(error);
          throw error;
        }
      },
      unlisten(name) {
        Promise.resolve(subscriber.unlisten(name)).catch(lose);
      },
    };
    const onAbort = (): void => {
      close();
      fail(new Error('given up'));
    };

    socket.on('error', lose);
    for (const end of ['end', 'close'] as const) {
      socket.on(end, () => {
        lose(new Error('the listening connection was closed'));
      });
    }
    subscriber.events.on('error', cause => {
      // Its own message speaks of a reconnect, which was never wanted.
      lose(new Error('the listening connection was lost', { cause }));
    });
    subscriber.events.on('reconnect', () => {
      lose(new Error('the listening connection was lost'));
    });
    subscriber.events.on('notification', ({ channel: from, processId, payload }) => {
      const text = typeof payload === 'string' ? payload : '';
      if (closed) {
        return;
      }
      if (from !== channel) {
        channels?.deliver(from, text);
        return;
      }
      if (text === greeting) {
        identify(processId);
      }
      events.onMessage(text);
    });
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) {
      onAbort();
    }

    const send = async (payload: string): Promise<void> => {
      await subscriber.notify(channel, payload);
    };
    const listen = async (): Promise<number> => {
      await subscriber.connect();
      await subscriber.listenTo(channel);
      const waiting = delay(systemClock, ECHO_TIMEOUT_MS);
      const missing = waiting.over.then(() => {
        throw new Error(
          'what the listening connection sends to itself does not arrive: it goes through a transaction-mode ' +
            'pooler, which cannot deliver notifications (set GATEBELL_LISTEN_URL to a direct connection), or the ' +
            'server is very slow',
        );
      });
      missing.catch(() => undefined);
      try {
        const [, processId] = await Promise.all([send(greeting), Promise.race([identified, missing])]);
        return processId;
      } finally {
        waiting.wake();
      }
    };

    try {
      const listening = listen();
      listening.catch(() => undefined);
      const processId = await Promise.race([listening, failed]);
      channels?.attach(others);
      return {
        backend: { processId, mark },
        send(payload) {
          if (!closed) {
            send(payload).catch(lose);
          }
        },
        close,
      };
    } catch (error) {
      close();
      throw explain(error);
    }
  };
}
