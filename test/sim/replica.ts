/**
 * One replica: the real coherence library on a simulated machine, and the requests that it answers. Each answer goes to
 * the checker together with what the replica had been told when the request arrived.
 */
import type { PresentedCredential } from '../../src/auth/request/credential.js';
import type { Undecided } from '../../src/auth/decide.js';
import { createCoherence, type Coherence, type CoherentCache } from '../../src/coherence/coherence.js';
import { UnavailableError } from '../../src/coherence/errors.js';
import type { CoherenceObservation } from '../../src/coherence/observation.js';
import type { Kept } from '../../src/coherence/facts/pass.js';
import type { Reader } from '../../src/coherence/facts/reader.js';
import { keyText, parseMessage, type Key } from '../../src/coherence/signal.js';
import type { Cluster, Fact, Topic } from './cluster.js';
import type { Dice } from './dice.js';
import type { ViolationKind } from './checker.js';
import { ABSENT, factName, type Held, type History } from './history.js';
import type { Host, Seat } from './host.js';
import { Machine } from './machine.js';
import { ask, claimsOf, present, type Asked, type Asking, type SimulatedTypes, type Verdict } from './question.js';
import type { Timeline } from './timeline.js';
import { Wires, type QueuedAt } from './wires.js';

/** How it was answered. */
export interface Answered extends Verdict {
  readonly replica: string;
  readonly asked: Asked;
  /** The user to whom the subject of its JWT was bound for it; null if that was not needed. */
  readonly boundTo: string | null;
  readonly arrivedMs: number;
  readonly decidedMs: number;
  /** Rounds of loading that it took. */
  readonly rounds: number;
  /** Whether it was to be strong, at least for a while. */
  readonly wasStrong: boolean;
  /** Whether nothing was proven at any moment from its arrival to the answer. */
  readonly wasUnproven: boolean;
  /** Whether one listening connection was in place all the while. */
  readonly listened: boolean;
  /**
   * When the newest change was committed, for each fact, that this replica had heard of before the request arrived, or
   * had said that it had applied.
   */
  readonly floors: ReadonlyMap<string, number>;
  /** The same, as the number of changes of all facts by then. */
  readonly floorOrders: ReadonlyMap<string, number>;
}

/** Why it was not. */
export interface Refused {
  readonly replica: string;
  readonly asked: Asked;
  readonly asking: Asking;
  readonly error: UnavailableError;
  /** Whether all that it lacked had been answered with before. */
  readonly wasKnown: boolean;
}

export interface ReplicaWatcher {
  onAnswer(answer: Answered): void;
  onRefusal(refusal: Refused): void;
  /** Binds the subject of a JWT to the user who has this name now. Returns the user; null if there is none. */
  onBind(subject: string, name: string): string | null;
  onViolation(kind: ViolationKind, problem: string): void;
  /** A fact was loaded again though nothing had been heard of it since it was loaded before. */
  onReload(replica: string, topic: string, key: Key, loadedMs: number): void;
  trace(line: () => string): void;
}

export interface ReplicaTimes {
  readonly leaseMs: number;
  readonly fenceIntervalMs: number;
  readonly auditIntervalMs: number;
}

/** Fewer than the topics, so that they wait for each other. */
const LOADS_MAX = 2;
/** Small enough that bursts need several batches, and that floods overflow. */
export const BATCH_KEYS_MAX = 4;
export const WAITING_KEYS_MAX = 40;
export const ENTRIES_MAX = 12;
export const NEGATIVE_ENTRIES_MAX = 6;
/** A floor for all facts of a topic. */
const WHOLE = '*';

const wholeName = (topic: string): string => factName(topic, [WHOLE]);

function floorsOf(
  facts: readonly Held[],
  heard: ReadonlyMap<string, QueuedAt>,
  barrier: QueuedAt,
): Pick<Answered, 'floors' | 'floorOrders'> {
  const floors = new Map<string, number>();
  const floorOrders = new Map<string, number>();
  for (const { topic, name } of facts) {
    const ofKey = heard.get(name);
    const ofAll = heard.get(wholeName(topic));
    floors.set(name, Math.max(ofKey?.atMs ?? -Infinity, ofAll?.atMs ?? -Infinity, barrier.atMs));
    floorOrders.set(name, Math.max(ofKey?.order ?? -1, ofAll?.order ?? -1, barrier.order));
  }
  return { floors, floorOrders };
}

export class Replica {
  readonly name: string;
  readonly machine: Machine;
  readonly wires: Wires;
  readonly coherence: Coherence;
  readonly host: Host | null;
  readonly caches: { readonly [S in Topic]?: CoherentCache<Fact> };
  /** Observations by name, and connections given up by cause. */
  readonly seen = new Map<string, number>();
  /** Whether it was told to stop, or was killed. */
  isEnding = false;
  /** Whether `stop` has come to its end. */
  hasStopped = false;
  /** Whether handlers of the bus may throw. */
  handlersThrow = false;
  /** Strong requests so far. */
  strong = 0;
  /** Barriers answered so far. */
  acknowledged = 0;
  readonly #timeline: Timeline;
  readonly #dice: Dice;
  readonly #cluster: Cluster;
  readonly #watcher: ReplicaWatcher;
  readonly #isLeftBehind: boolean;
  readonly #reader: Reader<SimulatedTypes>;
  /** Facts that existed in an answer of this replica. */
  readonly #known = new Set<string>();
  /** When each key was loaded, while live, since it was heard to have changed, or all was flushed. */
  readonly #loads = new Map<string, number>();
  readonly #waiting = new Set<Asking>();
  /** Answers that may be given again, by what was asked. */
  readonly #kept = new Map<string, Kept<Verdict | Undecided>>();
  /** Questions so far: of every other one, what was kept is not looked at. */
  #questions = 0;
  /** Answers that were given again. */
  recalled = 0;
  readonly #seat: Seat | null;
  readonly #topics: readonly Topic[];
  #proofs = 0;
  /**
   * When what was heard of each fact was queued. Never changed, but replaced: answers that are under way keep theirs.
   */
  #floors: ReadonlyMap<string, QueuedAt> = new Map();
  /** The same as of before the newest connection. */
  #floorsBefore = this.#floors;
  /** Connections, by their number, on which a question was answered: it tells whether the pool sees the same server. */
  readonly #toldOn = new Set<number>();
  /** When barriers were queued. */
  readonly #barriers = new Map<string, QueuedAt>();
  /**
   * When the newest barrier that was answered was queued: nothing older decides any more, not even a request that
   * arrived before.
   */
  #answeredBarrier: QueuedAt = { atMs: -Infinity, order: -1 };

  constructor(
    name: string,
    timeline: Timeline,
    dice: Dice,
    surroundings: {
      readonly cluster: Cluster;
      readonly history: History;
      readonly times: ReplicaTimes;
      readonly maxAgeMs: number;
      /** Whether the pool may stay with an old primary: see `#counts`. */
      readonly isLeftBehind: boolean;
      /** Whose worker it is; null: it is a replica by itself. */
      readonly host: Host | null;
      /** What is cached. */
      readonly topics: readonly Topic[];
      readonly watcher: ReplicaWatcher;
    },
  ) {
    const { cluster, history, times, maxAgeMs, isLeftBehind, watcher, host, topics } = surroundings;
    this.name = name;
    this.host = host;
    this.#topics = topics;
    this.#timeline = timeline;
    this.#dice = dice;
    this.#cluster = cluster;
    this.#watcher = watcher;
    this.#isLeftBehind = isLeftBehind;
    this.machine = new Machine(timeline, dice, error => {
      watcher.onViolation('G6', `${name} crashed: ${String(error)}`);
    });
    const trace = (line: () => string): void => {
      watcher.trace(() => `${name} ${line()}`);
    };
    const tap = {
      trace,
      onViolation: (kind: ViolationKind, problem: string) => {
        watcher.onViolation(kind, `${name} ${problem}`);
      },
      onQueued: (): QueuedAt => ({ atMs: timeline.nowMs, order: history.order }),
      onHeard: (payload: string, queuedAt: QueuedAt) => {
        this.#noteHeard(payload, queuedAt);
      },
      onSent: (payload: string) => {
        this.#noteSent(payload);
      },
      onReceipt: (connection: number) => {
        this.#toldOn.add(connection);
      },
      onLoad: (topic: string, keys: readonly Key[]) => {
        this.#noteLoad(topic, keys);
      },
    };
    this.wires = new Wires(timeline, dice, this.machine, cluster, {
      tap,
      loadsMax: LOADS_MAX,
      host: host?.wires ?? null,
    });
    this.#seat =
      host?.seat({
        machine: this.machine,
        onHeard: tap.onHeard,
        onAcknowledged: barrierAt => {
          this.#noteAcknowledged(barrierAt);
        },
      }) ?? null;
    this.coherence = createCoherence({
      channel: 'gatebell',
      // Workers answer barriers under one name.
      replica: host?.name ?? name,
      ...times,
      loadsMax: LOADS_MAX,
      batchKeysMax: BATCH_KEYS_MAX,
      waitingKeysMax: WAITING_KEYS_MAX,
      clock: this.machine.clock,
      random: dice,
      observe: observation => {
        this.#observe(observation, trace);
      },
      openSubscription: this.#seat?.open ?? this.wires.open,
      askServer: this.wires.askServer,
      askFence: this.wires.askFence,
      renewPool: () => {
        this.wires.renewPool();
      },
      source: this.wires.source,
    });
    const cache = (topic: Topic): CoherentCache<Fact> =>
      this.coherence.coherentCache<Fact>({
        topic,
        entriesMax: ENTRIES_MAX,
        negativeEntriesMax: NEGATIVE_ENTRIES_MAX,
        maxAgeMs,
        load: { text: 'select', key: row => row['key'] as Key, value: row => row['fact'] as Fact },
      });
    this.caches = Object.fromEntries(topics.map(topic => [topic, cache(topic)]));
    // What is not cached is not asked for.
    this.#reader = this.coherence.reader<SimulatedTypes>(this.caches as Required<typeof this.caches>);
    if (dice.chance(0.5)) {
      this.#subscribeReaders();
    }
  }

  start(): void {
    this.machine.receive(() => {
      this.coherence.start();
    });
  }

  /** Stops as a program does that ends. */
  stop(): void {
    this.isEnding = true;
    this.machine.receive(() => {
      this.#seat?.leave();
      void this.coherence.stop().then(() => {
        this.hasStopped = true;
        this.#seat?.end();
      });
    });
  }

  /** Its process ends in the middle of whatever it does. */
  kill(): void {
    this.isEnding = true;
    this.machine.kill();
    this.#seat?.end();
  }

  /** Requests that wait for their answer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** A request arrives, when the process gets to reading it. */
  request(asked: Asked): void {
    this.machine.receive(() => {
      this.answer(asked);
    });
  }

  answer(asked: Asked): void {
    const arrivedMs = this.#timeline.nowMs;
    const heardOn = this.wires.opened;
    const [floors, floorsBefore] = [this.#floors, this.#floorsBefore];
    const asking: Asking = { passes: 0, isStrong: false, lacks: [], lacked: new Set(), sent: new Set() };
    const proofs = this.coherence.stalenessBoundMs === null ? this.#proofs : null;
    this.#waiting.add(asking);
    if (this.#waiting.size > WAITING_KEYS_MAX) {
      this.#checkQueues();
    }
    const listeningSince = this.#listeningSince();
    const settle = (verdict: Verdict): void => {
      this.#waiting.delete(asking);
      for (const { name, text } of verdict.facts) {
        // What was read for a strong answer alone is not remembered as seen.
        if (text !== ABSENT && !asking.isStrong) {
          this.#known.add(name);
        }
      }
      this.strong += Number(verdict.isStrong);
      const ofFacts = floorsOf(verdict.facts, this.#counts(heardOn) ? floors : floorsBefore, this.#answeredBarrier);
      this.#watcher.onAnswer({
        facts: verdict.facts,
        isStrong: verdict.isStrong,
        decision: verdict.decision,
        expiry: verdict.expiry,
        replica: this.name,
        asked,
        boundTo: userId,
        arrivedMs,
        decidedMs: this.#timeline.nowMs,
        // Asked of memory first, and once more before each round and after the last.
        rounds: Math.max(0, asking.passes - 2),
        wasStrong: asking.isStrong,
        wasUnproven: proofs === this.#proofs && this.coherence.stalenessBoundMs === null,
        floors: ofFacts.floors,
        floorOrders: ofFacts.floorOrders,
        listened: listeningSince !== null && listeningSince === this.#listeningSince(),
      });
    };
    let userId: string | null = null;
    /** What must be done first is done, then everything is asked from the start, as the gate's handler does. */
    const read = (presented: PresentedCredential): Verdict | Promise<Verdict> => {
      const outcome = this.#askOrRecall(asked, asking, presented);
      const goOn = (found: Verdict | Undecided): Verdict | Promise<Verdict> => {
        if ('facts' in found) {
          return found;
        }
        return this.#takeTime(() => {
          if ('bind' in found) {
            userId = this.#watcher.onBind(found.bind.subject, found.bind.name);
          }
        }).then(() => {
          asking.passes = 0;
          const verified = { ...claimsOf(asked.jwt!), userId };
          return read('bind' in found && userId === null ? { kind: 'bad' } : verified);
        });
      };
      return outcome instanceof Promise ? outcome.then(goOn) : goOn(outcome);
    };
    const fail = (error: unknown): void => {
      this.#waiting.delete(asking);
      if (error instanceof UnavailableError) {
        const wasKnown = this.#knowsAll(asking) && !(asking.isStrong && this.#isFullOfKnown());
        this.#watcher.onRefusal({ replica: this.name, asked, asking, error, wasKnown });
      } else {
        this.#watcher.onViolation('G6', `${this.name}: an answer failed with ${String(error)}`);
      }
    };
    try {
      const verdict = read(present(asked));
      if (verdict instanceof Promise) {
        verdict.then(settle, fail);
      } else {
        settle(verdict);
      }
    } catch (error) {
      fail(error);
    }
  }

  /** Asks, unless the same was answered before and the answer may be given again. */
  #askOrRecall(
    asked: Asked,
    asking: Asking,
    presented: PresentedCredential,
  ): Verdict | Undecided | Promise<Verdict | Undecided> {
    const believedMs = (): number =>
      // In memory there is the time, so there is no promise.
      this.#reader.read(facts => ({ answer: facts.serverTimeMs, strong: false })) as number;
    const text = JSON.stringify([asked, presented]);
    this.#questions += 1;
    const kept = this.#questions % 2 === 0 ? this.#kept.get(text)?.recall() : undefined;
    if (kept === undefined) {
      return this.#reader.read(ask(asked, asking, presented, believedMs), answer => this.#kept.set(text, answer));
    }
    this.recalled += 1;
    asking.passes += 1;
    return 'facts' in kept && kept.expiry !== null
      ? { ...kept, expiry: { ...kept.expiry, believedMs: believedMs() } }
      : kept;
  }

  /** Something that takes a while, and then does this. */
  #takeTime(act: () => void): Promise<void> {
    return new Promise(resolve => {
      this.machine.startTimer(this.#dice.between(0, this.#dice.chance(0.1) ? 50 : 1), () => {
        act();
        resolve();
      });
    });
  }

  /**
   * Whether what was heard on this connection is held against the replica. A connection that broke before the first
   * question was answered has not told whether the pool sees the same server; what is read then may be an old
   * primary's, which is known and said.
   */
  #counts(connection: number): boolean {
    return !this.#isLeftBehind || this.#toldOn.has(connection) || this.wires.listening?.number === connection;
  }

  /** Number of the listening connection, if its LISTEN has been acknowledged by the server that is now the primary. */
  #listeningSince(): number | null {
    const { state } = this.coherence;
    const isOnPrimary = this.wires.listening?.server === this.#cluster.primary;
    return isOnPrimary && state !== 'down' && state !== 'connecting' ? this.wires.opened : null;
  }

  #knowsAll({ lacked }: Asking): boolean {
    return [...lacked].every(name => this.#known.has(name));
  }

  /**
   * Whether strong questions may fill the queue of those that wait for a snapshot although all of their facts are
   * known.
   */
  #isFullOfKnown(): boolean {
    const filling = [...this.#waiting].filter(asking => asking.isStrong && this.#knowsAll(asking));
    return filling.length >= WAITING_KEYS_MAX;
  }

  #checkQueues(): void {
    const lacking = new Set<string>();
    for (const { lacks, sent } of this.#waiting) {
      for (const { key } of lacks.filter(({ topic }) => topic === 'credential')) {
        const text = keyText(key);
        if (!sent.has(text)) {
          lacking.add(text);
        }
      }
    }
    if (lacking.size > WAITING_KEYS_MAX) {
      this.#watcher.onViolation('G5', `${this.name} lets ${lacking.size} credentials wait to be loaded`);
    }
  }

  /** Hooks that ask as soon as they are told, in the middle of the turn in which the caches forget. */
  #subscribeReaders(): void {
    for (const topic of this.#topics) {
      this.coherence.on(topic, () => {
        const asked = { app: 'a1', credential: this.#dice.pick(['c1', 'c2']), strong: this.#dice.chance(0.1) };
        this.answer(this.#dice.chance(0.7) ? { ...asked, only: this.#dice.pick(this.#topics) } : asked);
        if (this.handlersThrow && this.#dice.chance(0.3)) {
          throw new Error('a handler that throws');
        }
      });
    }
  }

  #noteHeard(payload: string, queuedAt: QueuedAt): void {
    const message = parseMessage(payload);
    if (message.type === 'change') {
      const names = (message.keys ?? [[WHOLE]]).map(key => factName(message.topic, key));
      this.#raiseFloors(names, queuedAt);
      for (const name of names) {
        this.#loads.delete(name);
      }
    }
    if (message.type === 'barrier') {
      this.#barriers.set(message.id, queuedAt);
    }
    if (message.type === 'malformed' || (message.type === 'change' && message.keys === null)) {
      this.#loads.clear();
    }
  }

  /** An answer to a barrier says that nothing older than the barrier will be served any more. */
  #noteSent(payload: string): void {
    const message = parseMessage(payload);
    const barrierAt = message.type === 'acknowledgement' ? this.#barriers.get(message.id) : undefined;
    if (barrierAt !== undefined) {
      this.#noteAcknowledged(barrierAt);
    }
  }

  #noteAcknowledged(barrierAt: QueuedAt): void {
    this.acknowledged += 1;
    if (barrierAt.order > this.#answeredBarrier.order) {
      this.#answeredBarrier = barrierAt;
    }
  }

  #raiseFloors(names: readonly string[], queuedAt: QueuedAt): void {
    this.#floors = new Map([...this.#floors, ...names.map(name => [name, queuedAt] as const)]);
  }

  /**
   * What is loaded while live is remembered: once is enough until it changes, but for strong requests that find no
   * fence.
   */
  #noteLoad(topic: string, keys: readonly Key[]): void {
    if (keys.length > BATCH_KEYS_MAX) {
      this.#watcher.onViolation('G5', `${this.name} loads ${keys.length} facts at once`);
    }
    if (topic === 'credential') {
      for (const { sent } of this.#waiting) {
        for (const key of keys) {
          sent.add(keyText(key));
        }
      }
    }
    if (this.coherence.stalenessBoundMs !== null && ![...this.#waiting].some(({ isStrong }) => isStrong)) {
      for (const key of keys) {
        const name = factName(topic, key);
        const loadedMs = this.#loads.get(name);
        this.#loads.set(name, this.#timeline.nowMs);
        if (loadedMs !== undefined) {
          this.#watcher.onReload(this.name, topic, key, loadedMs);
        }
      }
    }
  }

  #observe(observation: CoherenceObservation, trace: (line: () => string) => void): void {
    const count = (name: string): void => {
      this.seen.set(name, (this.seen.get(name) ?? 0) + 1);
    };
    count(observation.event);
    if (observation.event === 'fence_proven') {
      this.#proofs += 1;
    }
    if (observation.event === 'flush' || observation.event === 'watch_changed') {
      this.#loads.clear();
    }
    if (observation.event === 'listener_state' && observation.to === 'connecting') {
      this.#floors = this.#counts(this.wires.opened) ? this.#floors : this.#floorsBefore;
      this.#floorsBefore = this.#floors;
    }
    if (observation.event === 'connection_closed') {
      count(observation.cause);
      // By the time a worker hears that the connection is lost, another may have had a new one opened.
      if (observation.cause === 'connection_lost' && this.wires.listening !== null && this.host === null) {
        this.#watcher.onViolation('rates', `${this.name} gave up a connection that was in order`);
      }
    }
    if (observation.event === 'audit_stale') {
      this.#watcher.onViolation('G2', `${this.name}: an audit found stale facts of ${observation.topic}`);
    }
    trace(() => JSON.stringify(observation, (_, value: unknown) => (value instanceof Error ? value.message : value)));
  }
}
