/**
 * What lies between one replica and Postgres: its listening connections and its pool, with everything that wires do. A
 * connection keeps the order of what it carries, however late; a connection that is half open carries nothing and says
 * nothing.
 */
import type { OpenSubscription, SubscriptionEvents } from '../../src/coherence/proof/connection.js';
import type { AskFence, FenceReceipt } from '../../src/coherence/proof/fence.js';
import type { AskServer, ServerReceipt } from '../../src/coherence/proof/server.js';
import type { FactSource, QueryResult, ReadPurpose } from '../../src/coherence/facts/source.js';
import type { Key } from '../../src/coherence/signal.js';
import type { ViolationKind } from './checker.js';
import type { Backend, Cluster, Server, Topic } from './cluster.js';
import type { Dice } from './dice.js';
import type { Machine } from './machine.js';
import type { Timeline } from './timeline.js';

/** What is wrong with the wires now; faults change it. */
export interface Weather {
  /** Longest way of a message, in milliseconds. */
  delayMaxMs: number;
  /** Until then a connection of the pool carries nothing. */
  poolDeafUntilMs: number;
  /** Until then all connections of the pool are in use. */
  poolBusyUntilMs: number;
  /** Until then the pool's statements fail. */
  poolFailsUntilMs: number;
  /** Until then a load takes long. */
  loadsSlowUntilMs: number;
  /** Until then nobody can LISTEN: the attempt is refused, or hangs. */
  listenRefusedUntilMs: number;
  /** Where the pool leads, if not to the primary, and until when. */
  poolServer: { readonly server: Server; readonly untilMs: number; readonly untilRenewed: boolean } | null;
  /** Whether somebody answers our fences before Postgres does. */
  forgesFences: boolean;
  /** Called when a fence is asked for. */
  onFence: (() => void) | null;
}

/** Bounds of the replica's own patience, as in `store/pool.ts`. */
const TIMEOUT_MS = 2_000;
/** Of connecting: those of one series, and of the next if one of them succeeded in between. */
const ATTEMPTS_A_SECOND_MAX = 10;
const LISTENER_PROCESS = 10_000;
const NO_SCHEMA = 'schema "gatebell" does not exist';

export class DataError extends Error {}

/** When a message was queued. */
export interface QueuedAt {
  readonly atMs: number;
  /** Changes of facts by then. */
  readonly order: number;
}

export interface WireTap {
  /** Called when a message is queued; what it returns is given back when the replica hears of it. */
  onQueued(): QueuedAt;
  /** Called before a change is handed to the replica. */
  onHeard(payload: string, queuedAt: QueuedAt): void;
  /** Called when the replica sends a message over its listening connection. */
  onSent(payload: string): void;
  /**
   * Called when a question for the server, or for a fence, is answered while the listening connection is the one on
   * which it was to come back.
   */
  onReceipt(connection: number): void;
  onLoad(topic: string, keys: readonly Key[]): void;
  onViolation(kind: ViolationKind, problem: string): void;
  trace(line: () => string): void;
}

export class Wires {
  readonly weather: Weather;
  /** Of loads; those of audits are counted apart. */
  reads = 0;
  audits = 0;
  keysRead = 0;
  /** Of those, how many came to listen. */
  connected = 0;
  /** Questions for fences, and the fences that were sent on the way though nobody was in a hurry. */
  fences = 0;
  fencesSent = 0;
  /** Connections that broke by themselves. */
  lost = 0;
  #opened = 0;
  #readsInFlight = 0;
  readonly #attemptsMs: number[] = [];
  readonly #timeline: Timeline;
  readonly #dice: Dice;
  readonly #machine: Machine;
  readonly #cluster: Cluster;
  readonly #tap: WireTap;
  readonly #loadsMax: number;
  readonly #host: Wires | null;
  #newest: ListeningConnection | null = null;

  /** @param surroundings `host`: whose listening connection it is, if not one of its own; they have the same weather */
  constructor(
    timeline: Timeline,
    dice: Dice,
    machine: Machine,
    cluster: Cluster,
    surroundings: { readonly tap: WireTap; readonly loadsMax: number; readonly host?: Wires | null },
  ) {
    this.#timeline = timeline;
    this.#dice = dice;
    this.#machine = machine;
    this.#cluster = cluster;
    this.#tap = surroundings.tap;
    this.#loadsMax = surroundings.loadsMax;
    this.#host = surroundings.host ?? null;
    this.weather = this.#host?.weather ?? {
      delayMaxMs: 2,
      poolDeafUntilMs: 0,
      poolBusyUntilMs: 0,
      poolFailsUntilMs: 0,
      loadsSlowUntilMs: 0,
      listenRefusedUntilMs: 0,
      poolServer: null,
      forgesFences: false,
      onFence: null,
    };
  }

  /** The listening connection that is in use, if there is one. */
  get listening(): ListeningConnection | null {
    return this.#host === null ? (this.#newest?.isOpen === true ? this.#newest : null) : this.#host.listening;
  }

  /** Listening connections so far. */
  get opened(): number {
    return this.#host === null ? this.#opened : this.#host.opened;
  }

  readonly open: OpenSubscription = (_channel, events, signal) => {
    if (this.#newest?.isOpen === true) {
      this.#tap.onViolation('G5', 'opened a second listening connection');
    }
    this.#opened += 1;
    this.#checkPace();
    const connection = new ListeningConnection({
      number: this.#opened,
      processId: LISTENER_PROCESS + this.#dice.integer(1e9),
      timeline: this.#timeline,
      machine: this.#machine,
      cluster: this.#cluster,
      tap: this.#tap,
      events,
      delayMs: () => this.#delayMs(),
      onLost: () => {
        this.lost += 1;
      },
    });
    this.#newest = connection;
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        connection.close();
        stopWaiting();
        signal.removeEventListener('abort', onAbort);
        reject(error);
      };
      const onAbort = (): void => {
        fail(new Error('given up'));
      };
      const stopWaiting = this.#machine.startTimer(TIMEOUT_MS, () => {
        fail(new Error('timeout'));
      });
      signal.addEventListener('abort', onAbort);
      this.#timeline.after(this.#delayMs() + this.#delayMs(), () => {
        const server = this.#cluster.primary;
        if (this.#timeline.nowMs < this.weather.listenRefusedUntilMs && this.#dice.chance(0.3)) {
          return;
        }
        if (server === null || this.#timeline.nowMs < this.weather.listenRefusedUntilMs) {
          this.#machine.receive(() => {
            fail(new Error('connection refused'));
          });
          return;
        }
        connection.listen(server, () => {
          stopWaiting();
          this.connected += 1;
          resolve({
            backend: { processId: connection.processId, mark: '' },
            send: payload => {
              connection.send(payload);
            },
            close: () => {
              signal.removeEventListener('abort', onAbort);
              connection.close();
            },
          });
        });
      });
    });
  };

  /** New connections lead to where the primary is now, unless their name still leads elsewhere. */
  renewPool(): void {
    if (this.weather.poolServer?.untilRenewed === true) {
      this.weather.poolServer = null;
    }
  }

  /** Attempts back off: a server that is down is not stormed. */
  #checkPace(): void {
    const { nowMs } = this.#timeline;
    this.#attemptsMs.push(nowMs);
    if (nowMs - (this.#attemptsMs.at(-ATTEMPTS_A_SECOND_MAX - 1) ?? -Infinity) < 1_000) {
      this.#tap.onViolation('rates', `tries to connect more than ${ATTEMPTS_A_SECOND_MAX} times per second`);
    }
  }

  readonly askServer: AskServer = listener => {
    const number = this.opened;
    const asked = this.#ask<ServerReceipt>('a look for the listener', (server, answer) => {
      answer(server.hasSchema ? this.#cluster.serverReceipt(server, listener) : new Error(NO_SCHEMA));
    });
    this.#tellWhenAnswered(asked, number);
    return asked;
  };

  readonly askFence: AskFence = (send, listener) => {
    this.fences += 1;
    this.weather.onFence?.();
    const number = this.opened;
    const asked = this.#ask<FenceReceipt>('fence', (server, answer) => {
      if (server.inRecovery && send !== 'never') {
        answer(new Error('cannot execute nextval() during recovery'));
        return;
      }
      if (!server.hasSchema) {
        answer(new Error(NO_SCHEMA));
        return;
      }
      if (this.weather.forgesFences && this.#dice.chance(0.5)) {
        this.#cluster.forgeFence(server, server.ids + this.#dice.integer(5));
      }
      const { receipt, id } = this.#cluster.receipt(server, send, listener);
      const commit = (): void => {
        // One that waits for a standby for ever does not answer.
        if (server.up && (server.commits || !receipt.sent)) {
          if (receipt.sent) {
            this.fencesSent += Number(send !== 'always');
            this.#cluster.completeFence(server, id, receipt.newest + 1, receipt.serverId);
          }
          answer(receipt);
        }
      };
      // The snapshot is older than the commit.
      if (this.#dice.chance(0.5)) {
        commit();
      } else {
        this.#timeline.after(this.#dice.between(0, 2), commit);
      }
    });
    this.#tellWhenAnswered(asked, number);
    return asked;
  };

  #tellWhenAnswered(asked: Promise<unknown>, connection: number): void {
    asked.then(
      () => {
        if (this.listening?.number === connection) {
          this.#tap.onReceipt(connection);
        }
      },
      () => undefined,
    );
  }

  readonly source: FactSource = {
    read: async (topic, _text, keys, purpose) => {
      const [reading] = await this.#readParts([{ topic, keys }], purpose);
      return reading!;
    },
    readTogether: parts => this.#readParts(parts, 'load'),
    isDataError: error => error instanceof DataError,
  };

  /** All in one snapshot, which is older than the answer. */
  async #readParts(
    parts: readonly { readonly topic: string; readonly keys: readonly Key[] }[],
    purpose: ReadPurpose,
  ): Promise<readonly QueryResult[]> {
    if (purpose === 'audit') {
      this.audits += 1;
    } else {
      this.reads += parts.length;
      for (const { topic, keys } of parts) {
        this.#tap.onLoad(topic, keys);
        this.keysRead += keys.length;
      }
    }
    this.#readsInFlight += 1;
    if (this.#readsInFlight > this.#loadsMax) {
      this.#tap.onViolation('G5', 'has too many loads in flight');
    }
    const slowMs = this.#timeline.nowMs < this.weather.loadsSlowUntilMs ? this.#dice.between(0, 1_500) : 0;
    const beforeMs = slowMs === 0 ? 0 : this.#dice.between(0, slowMs);
    const names = parts.flatMap(({ topic, keys }) => keys.map(key => `${topic}[${key.join(', ')}]`));
    const snapshot = (server: Server): readonly QueryResult[] | Error => {
      const readings: QueryResult[] = [];
      for (const { topic, keys } of parts) {
        const reading = this.#read(server, topic as Topic, keys);
        if (reading instanceof Error) {
          return reading;
        }
        readings.push(reading);
      }
      return readings;
    };
    try {
      return await this.#ask<readonly QueryResult[]>(`${purpose} of ${names.join(' ')}`, (server, answer) => {
        if (slowMs === 0) {
          answer(snapshot(server));
          return;
        }
        this.#timeline.after(beforeMs, () => {
          const readings = snapshot(server);
          this.#timeline.after(slowMs - beforeMs, () => {
            answer(readings);
          });
        });
      });
    } finally {
      this.#readsInFlight -= 1;
    }
  }

  #read(server: Server, topic: Topic, keys: readonly Key[]): QueryResult | Error {
    if (!server.hasSchema) {
      return new Error(NO_SCHEMA);
    }
    return keys.some(key => key.includes('poison'))
      ? new DataError('invalid input')
      : {
          serverId: this.#cluster.serverIdOf(server),
          inRecovery: server.inRecovery,
          serverTimeMs: this.#cluster.clockMs,
          rows: this.#cluster.read(server, topic, keys).map(({ key, fact }) => ({ key, fact })),
        };
  }

  /** One statement over the pool. What it does on the server it may do even if nobody waits for it any more. */
  #ask<T>(what: string, run: (server: Server, answer: (result: T | Error) => void) => void): Promise<T> {
    this.#tap.trace(() => `sends ${what}`);
    return new Promise((resolve, reject) => {
      let isWaiting = true;
      const settle = (result: T | Error): void => {
        stopWaiting();
        if (result instanceof Error) {
          reject(result);
        } else {
          resolve(result);
        }
      };
      const stopWaiting = this.#machine.startTimer(TIMEOUT_MS, () => {
        isWaiting = false;
        reject(new Error('query timeout'));
      });
      const answer = (result: T | Error): void => {
        if (this.#timeline.nowMs >= this.weather.poolDeafUntilMs) {
          this.#timeline.after(this.#delayMs(), () => {
            this.#machine.receive(() => {
              this.#tap.trace(
                () => `hears the answer to ${what}${result instanceof Error ? `: ${result.message}` : ''}`,
              );
              settle(result);
            });
          });
        }
      };
      const arrive = (): void => {
        const { nowMs } = this.#timeline;
        const { poolServer } = this.weather;
        const server = poolServer !== null && nowMs < poolServer.untilMs ? poolServer.server : this.#cluster.primary;
        if (nowMs < this.weather.poolDeafUntilMs && this.#dice.chance(0.5)) {
          return;
        }
        if (server === null || (nowMs < this.weather.poolFailsUntilMs && this.#dice.chance(0.7))) {
          answer(new Error('connection refused'));
          return;
        }
        run(server, result => {
          // A server that is gone in between does not answer; most often its connections break.
          if (server.up) {
            answer(result);
          } else if (this.#dice.chance(0.8)) {
            answer(new Error('connection reset'));
          }
        });
      };
      const send = (): void => {
        this.#timeline.after(this.#delayMs(), arrive);
      };
      if (this.#timeline.nowMs >= this.weather.poolBusyUntilMs) {
        send();
        return;
      }
      this.#timeline.at(this.weather.poolBusyUntilMs, () => {
        if (isWaiting) {
          send();
        }
      });
    });
  }

  #delayMs(): number {
    return this.#dice.between(0.05, this.weather.delayMaxMs);
  }
}

interface ConnectionParts {
  readonly number: number;
  readonly processId: number;
  readonly timeline: Timeline;
  readonly machine: Machine;
  readonly cluster: Cluster;
  readonly tap: WireTap;
  readonly events: SubscriptionEvents;
  readonly delayMs: () => number;
  readonly onLost: () => void;
}

/** One connection that listens, from the first packet to the last. */
export class ListeningConnection implements Backend {
  isOpen = true;
  /** Until then the backend, or the network, holds everything back. */
  stalledUntilMs = 0;
  /** So many messages arrive yet before it is half open. */
  fadesAfter = Infinity;
  /** The next echo of a fence is the last message that arrives. */
  fadesAfterFence = false;
  /** Nothing arrives any more, in either direction. */
  isHalfOpen = false;
  readonly #parts: ConnectionParts;
  /** Where LISTEN was sent to. */
  server: Server | null = null;
  #arrivesMs = 0;
  /** On the way, and arrived but not read; oldest first. */
  readonly #inTransit: (() => void)[] = [];
  #unread: (() => void)[] = [];

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
  }

  /** Which one of the replica's it is, counted from 1. */
  get number(): number {
    return this.#parts.number;
  }

  get processId(): number {
    return this.#parts.processId;
  }

  /** LISTEN commits on the server now; the acknowledgement is under way. */
  listen(server: Server, onAcknowledged: () => void): void {
    if (this.isOpen) {
      this.server = server;
      server.backends.add(this);
      this.#carry(onAcknowledged);
    }
  }

  hear(payload: string): void {
    const queuedAt = this.#parts.tap.onQueued();
    this.#carry(() => {
      this.#parts.tap.trace(() => `hears ${payload}`);
      this.#parts.tap.onHeard(payload, queuedAt);
      this.#parts.events.onMessage(payload);
      this.isHalfOpen ||= this.fadesAfterFence && payload.includes('"f"');
    });
  }

  end(): void {
    this.#carry(() => {
      this.#lose();
    });
  }

  /** A message of its own: it goes out through the cluster's queue, if it gets there. */
  send(payload: string): void {
    this.#parts.tap.onSent(payload);
    this.#parts.timeline.after(this.#parts.delayMs(), () => {
      const server = this.server;
      if (this.isOpen && !this.isHalfOpen && server?.up === true && this.#parts.timeline.nowMs >= this.stalledUntilMs) {
        this.#parts.cluster.notify(server, payload);
      }
    });
  }

  /** Breaks at once, and says so. */
  cut(): void {
    this.server?.backends.delete(this);
    this.#parts.machine.receive(() => {
      this.#lose();
    });
  }

  close(): void {
    this.isOpen = false;
    this.server?.backends.delete(this);
    this.#unread = [];
  }

  /** A badly behaved client goes on talking after it was closed. */
  haunt(): void {
    this.#parts.machine.receive(() => {
      if (!this.isOpen) {
        this.#parts.events.onMessage('{"v":2}');
        this.#parts.events.onLost(new Error('an error of a connection that was given up'));
      }
    });
  }

  #lose(): void {
    if (this.isOpen) {
      this.#parts.tap.trace(() => 'sees its listening connection break');
      this.#parts.onLost();
      this.close();
      this.#parts.events.onLost(new Error('connection reset'));
    }
  }

  #carry(read: () => void): void {
    this.#inTransit.push(read);
    this.#arrivesMs = Math.max(this.#arrivesMs, this.#parts.timeline.nowMs + this.#parts.delayMs());
    this.#parts.timeline.at(this.#arrivesMs, () => {
      this.#arrive();
    });
  }

  #arrive(): void {
    if (!this.isOpen || this.isHalfOpen) {
      return;
    }
    if (this.#parts.timeline.nowMs < this.stalledUntilMs) {
      this.#parts.timeline.at(this.stalledUntilMs, () => {
        this.#arrive();
      });
      return;
    }
    // Whichever was to arrive now: a connection keeps the order.
    this.#unread.push(this.#inTransit.shift()!);
    this.fadesAfter -= 1;
    this.isHalfOpen = this.fadesAfter <= 0;
    if (this.#unread.length === 1) {
      // All that has come since is one chunk: it is read without a pause for breath.
      this.#parts.machine.receive(() => {
        const chunk = this.#unread;
        this.#unread = [];
        for (const next of chunk) {
          if (this.isOpen && !this.isHalfOpen) {
            next();
          }
        }
      });
    }
  }
}
