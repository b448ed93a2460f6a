/**
 * A replica of several workers: the real shared and remote subscriptions on machines of their own, with pipes in
 * between. The host has the one listening connection; what Postgres sends goes on to each worker in order, and late.
 */
import type { OpenSubscription } from '../../src/coherence/proof/connection.js';
import { parseMessage } from '../../src/coherence/signal.js';
import { createRemoteSubscription } from '../../src/replica/workers/remote-subscription.js';
import { createSharedSubscription, type SharedSubscription } from '../../src/replica/workers/shared-subscription.js';
import type { FromSubscription, ToSubscription } from '../../src/replica/workers/messages.js';
import type { ViolationKind } from './checker.js';
import type { Cluster } from './cluster.js';
import type { Dice } from './dice.js';
import type { History } from './history.js';
import { Machine } from './machine.js';
import type { Timeline } from './timeline.js';
import { Wires, type QueuedAt } from './wires.js';

/** A worker as its host sees it. */
export interface HostedWorker {
  readonly machine: Machine;
  /** The worker hears a message of Postgres. */
  onHeard(payload: string, queuedAt: QueuedAt): void;
  /** The host has said for all of its workers that they have applied what was committed before this barrier. */
  onAcknowledged(barrierAt: QueuedAt): void;
}

/** How a worker listens, and how it goes. */
export interface Seat {
  readonly open: OpenSubscription;
  /** From now on a subscription that it closes is no longer needed. */
  leave(): void;
  /** Its process has ended. */
  end(): void;
}

/** Messages that may wait for a worker. */
const BACKLOG_MAX = 40;

/** Carries messages in order, each a little late. */
class Pipe<T> {
  /** Messages on the way, and those that have arrived and were not read. */
  waiting = 0;
  #arrivesMs = 0;
  #unread: T[] = [];
  readonly #timeline: Timeline;
  readonly #dice: Dice;
  readonly #machine: Machine;
  readonly #read: (message: T) => void;

  constructor(timeline: Timeline, dice: Dice, machine: Machine, read: (message: T) => void) {
    this.#timeline = timeline;
    this.#dice = dice;
    this.#machine = machine;
    this.#read = read;
  }

  send(message: T): void {
    this.waiting += 1;
    const delayMs = this.#dice.between(0, this.#dice.chance(0.1) ? 20 : 0.2);
    this.#arrivesMs = Math.max(this.#arrivesMs, this.#timeline.nowMs + delayMs);
    this.#timeline.at(this.#arrivesMs, () => {
      this.#unread.push(message);
      if (this.#unread.length === 1) {
        this.#machine.receive(() => {
          const unread = this.#unread;
          this.#unread = [];
          this.waiting -= unread.length;
          unread.forEach(this.#read);
        });
      }
    });
  }
}

export class Host {
  readonly name: string;
  readonly machine: Machine;
  readonly wires: Wires;
  readonly #timeline: Timeline;
  readonly #dice: Dice;
  readonly #shared: SharedSubscription;
  readonly #workers = new Set<HostedWorker>();
  readonly #barriers = new Map<string, QueuedAt>();
  /** When what is being handed on was queued. */
  #queuedAt: QueuedAt = { atMs: -Infinity, order: -1 };

  constructor(
    name: string,
    timeline: Timeline,
    dice: Dice,
    surroundings: {
      readonly cluster: Cluster;
      readonly history: History;
      readonly trace: (line: () => string) => void;
      readonly onViolation: (kind: ViolationKind, problem: string) => void;
    },
  ) {
    const { cluster, history, trace, onViolation } = surroundings;
    this.name = name;
    this.#timeline = timeline;
    this.#dice = dice;
    this.machine = new Machine(timeline, dice, error => {
      onViolation('G6', `${name} crashed: ${String(error)}`);
    });
    const tap = {
      trace: (line: () => string) => {
        trace(() => `${name} ${line()}`);
      },
      onViolation: (kind: ViolationKind, problem: string) => {
        onViolation(kind, `${name} ${problem}`);
      },
      onQueued: (): QueuedAt => ({ atMs: timeline.nowMs, order: history.order }),
      onHeard: (payload: string, queuedAt: QueuedAt) => {
        this.#queuedAt = queuedAt;
        const message = parseMessage(payload);
        if (message.type === 'barrier') {
          this.#barriers.set(message.id, queuedAt);
        }
      },
      onSent: (payload: string) => {
        const message = parseMessage(payload);
        const barrierAt = message.type === 'acknowledgement' ? this.#barriers.get(message.id) : undefined;
        if (barrierAt !== undefined) {
          for (const worker of this.#workers) {
            worker.onAcknowledged(barrierAt);
          }
        }
      },
      onReceipt: () => undefined,
      onLoad: () => undefined,
    };
    this.wires = new Wires(timeline, dice, this.machine, cluster, { tap, loadsMax: 0 });
    this.#shared = createSharedSubscription(this.wires.open);
  }

  /** Workers whose processes run. */
  get workers(): number {
    return this.#workers.size;
  }

  /** A worker's process has started. */
  seat(worker: HostedWorker): Seat {
    this.#workers.add(worker);
    let queuedAt = this.#queuedAt;
    const toWorker = new Pipe<{ readonly message: ToSubscription; readonly queuedAt: QueuedAt }>(
      this.#timeline,
      this.#dice,
      worker.machine,
      told => {
        queuedAt = told.queuedAt;
        remote.receive(told.message);
      },
    );
    const member = this.#shared.join(message => {
      toWorker.send({ message, queuedAt: this.#queuedAt });
      return toWorker.waiting <= BACKLOG_MAX;
    });
    const toHost = new Pipe<FromSubscription | null>(this.#timeline, this.#dice, this.machine, message => {
      if (message === null) {
        member.leave();
      } else {
        member.receive(message);
      }
    });
    const remote = createRemoteSubscription(message => {
      toHost.send(message);
    });
    return {
      open: (channel, events, signal) =>
        remote.open(
          channel,
          {
            onMessage: payload => {
              worker.onHeard(payload, queuedAt);
              events.onMessage(payload);
            },
            onLost: error => {
              events.onLost(error);
            },
          },
          signal,
        ),
      leave: () => {
        remote.leave();
      },
      end: () => {
        this.#workers.delete(worker);
        toHost.send(null);
      },
    };
  }
}
