/**
 * One replica: the real coherence library on a simulated machine, and the requests that it answers. Each answer goes to the
 * checker together with what the replica had been told when the request arrived.
 */
import { createCoherence, type Coherence, type CoherentCache } from '../../src/coherence/coherence.js';
import { UnavailableError } from '../../src/coherence/errors.js';
import type { CoherenceObservation } from '../../src/coherence/observation.js';
import type { FactRef, Question, Reader } from '../../src/coherence/reader.js';
import { parseMessage, type Key } from '../../src/coherence/signal.js';
import { SUBJECTS, type Cluster, type Fact, type Subject } from './cluster.js';
import type { Dice } from './dice.js';
import { ABSENT, factName, type Held } from './history.js';
import { Machine } from './machine.js';
import type { Timeline } from './timeline.js';
import { Wires } from './wires.js';

type Types = { readonly [S in Subject]: Fact };

/** What somebody asks of a replica. */
export interface Asked {
  readonly app: string;
  readonly user: string;
  readonly strong: boolean;
  /** One fact alone, instead of a decision. */
  readonly only?: Subject;
}

/** How it was answered. */
export interface Answered {
  readonly replica: string;
  readonly asked: Asked;
  readonly arrivedMs: number;
  readonly decidedMs: number;
  readonly isStrong: boolean;
  /** Whether one listening connection was in place all the while. */
  readonly listened: boolean;
  readonly facts: readonly Held[];
  /** Expiry of the grant, and Postgres' clock as the replica knew it; null if there is none. */
  readonly expiry: { readonly expiresAtMs: number; readonly believedMs: number } | null;
  /** When the newest change that this replica had heard of before the request arrived was committed, for each fact. */
  readonly floors: ReadonlyMap<string, number>;
}

export interface ReplicaWatcher {
  onAnswer(answer: Answered): void;
  onRefusal(replica: string, error: UnavailableError, isStrong: boolean): void;
  onViolation(problem: string): void;
  trace(line: () => string): void;
}

export interface ReplicaTimes {
  readonly leaseMs: number;
  readonly fenceIntervalMs: number;
  readonly auditIntervalMs: number;
}

interface Verdict {
  readonly facts: readonly Held[];
  readonly isStrong: boolean;
  readonly expiry: Answered['expiry'];
}

/** Fewer than the subjects, so that they wait for each other. */
const LOADS_MAX = 2;
/** A floor for all facts of a subject. */
const WHOLE = '*';

/** Like the gate's own question: some facts at once, and one whose key another fact tells. */
function ask({ app, user, strong, only }: Asked, asking: { isStrong: boolean }): Question<Verdict, Types> {
  return facts => {
    const used: Held[] = [];
    const lacks: FactRef<Types>[] = [];
    const get = (subject: Subject, key: Key): Fact | null | undefined => {
      const fact = facts.get(subject, key);
      if (fact === undefined) {
        lacks.push({ subject, key });
      } else {
        used.push({ subject, key, text: fact?.text ?? ABSENT });
      }
      return fact;
    };
    asking.isStrong ||= strong;
    if (only !== undefined) {
      get(only, only === 'user' ? [user] : only === 'route' ? [app] : [user, app]);
      return lacks.length > 0 ? { lacks } : { answer: { facts: used, isStrong: strong, expiry: null }, strong };
    }
    const route = get('route', [app]);
    const who = get('user', [user]);
    if (who === undefined) {
      return { lacks };
    }
    const grant = get('grant', [user, who?.home ?? app]);
    if (route === undefined || grant === undefined) {
      return { lacks };
    }
    const expiresAtMs = grant?.expiresAtMs ?? null;
    const isStrong = strong || route?.strong === true;
    asking.isStrong ||= isStrong;
    const expiry = expiresAtMs === null ? null : { expiresAtMs, believedMs: facts.serverTimeMs };
    return { answer: { facts: used, isStrong, expiry }, strong: isStrong };
  };
}

export class Replica {
  readonly name: string;
  readonly machine: Machine;
  readonly wires: Wires;
  readonly coherence: Coherence;
  readonly caches: { readonly [S in Subject]: CoherentCache<Fact> };
  /** Requests that wait for their answer. */
  waiting = 0;
  /** Observations by name, and connections given up by cause. */
  readonly seen = new Map<string, number>();
  /** Keys that changes have named so far, a whole subject counting as all of its keys. */
  heard = 0;
  readonly #timeline: Timeline;
  readonly #dice: Dice;
  readonly #watcher: ReplicaWatcher;
  readonly #reader: Reader<Types>;
  readonly #floors = new Map<string, number>();
  /** Whether handlers of the bus may throw. */
  handlersThrow = false;

  constructor(
    name: string,
    timeline: Timeline,
    dice: Dice,
    surroundings: { readonly cluster: Cluster; readonly times: ReplicaTimes; readonly watcher: ReplicaWatcher },
  ) {
    const { cluster, times, watcher } = surroundings;
    this.name = name;
    this.#timeline = timeline;
    this.#dice = dice;
    this.#watcher = watcher;
    this.machine = new Machine(timeline, dice);
    const trace = (line: () => string): void => {
      watcher.trace(() => `${name} ${line()}`);
    };
    const tap = {
      trace,
      onViolation: (problem: string) => {
        watcher.onViolation(`${name}: ${problem}`);
      },
      onHeard: (payload: string, queuedMs: number) => {
        this.#noteHeard(payload, queuedMs);
      },
    };
    this.wires = new Wires(timeline, dice, this.machine, cluster, { tap, loadsMax: LOADS_MAX });
    this.coherence = createCoherence({
      channel: 'gatebell',
      replica: name,
      ...times,
      loadsMax: LOADS_MAX,
      // Small enough that bursts need several.
      batchKeysMax: 4,
      clock: this.machine.clock,
      random: dice,
      observe: observation => {
        this.#observe(observation, trace);
      },
      openSubscription: this.wires.open,
      sendFence: this.wires.sendFence,
      renewPool: () => {
        this.wires.renewPool();
      },
      source: this.wires.source,
    });
    const cache = (subject: Subject): CoherentCache<Fact> =>
      this.coherence.coherentCache<Fact>({
        subject,
        entriesMax: 100,
        absencesMax: 20,
        load: { text: 'select', key: row => row['key'] as Key, value: row => row['fact'] as Fact },
      });
    this.caches = { user: cache('user'), grant: cache('grant'), route: cache('route') };
    this.#reader = this.coherence.reader<Types>(this.caches);
    if (dice.chance(0.5)) {
      this.#subscribeReaders();
    }
  }

  /** A request arrives, when the process gets to reading it. */
  request(asked: Asked): void {
    this.machine.receive(() => {
      this.answer(asked);
    });
  }

  answer(asked: Asked): void {
    const arrivedMs = this.#timeline.nowMs;
    const floors = new Map(this.#floors);
    const asking = { isStrong: false };
    const listeningSince = this.#listeningSince();
    this.waiting += 1;
    const settle = (verdict: Verdict): void => {
      this.waiting -= 1;
      this.#watcher.onAnswer({
        replica: this.name,
        asked,
        arrivedMs,
        decidedMs: this.#timeline.nowMs,
        ...verdict,
        listened: listeningSince !== null && listeningSince === this.#listeningSince(),
        floors: new Map(
          verdict.facts.map(({ subject, key }) => {
            const name = factName(subject, key);
            return [name, Math.max(floors.get(name) ?? -Infinity, floors.get(factName(subject, [WHOLE])) ?? -Infinity)];
          }),
        ),
      });
    };
    const fail = (error: unknown): void => {
      this.waiting -= 1;
      if (error instanceof UnavailableError) {
        this.#watcher.onRefusal(this.name, error, asking.isStrong);
      } else {
        this.#watcher.onViolation(`${this.name}: an answer failed with ${String(error)}`);
      }
    };
    try {
      const verdict = this.#reader.read(ask(asked, asking));
      if (verdict instanceof Promise) {
        verdict.then(settle, fail);
      } else {
        settle(verdict);
      }
    } catch (error) {
      fail(error);
    }
  }

  /** Number of the listening connection whose LISTEN has been acknowledged, if there is one. */
  #listeningSince(): number | null {
    const { state } = this.coherence;
    return state === 'down' || state === 'connecting' ? null : this.wires.opened;
  }

  /** Hooks that ask as soon as they are told, in the middle of the turn in which the caches forget. */
  #subscribeReaders(): void {
    for (const subject of SUBJECTS) {
      this.coherence.on(subject, () => {
        const asked = { app: 'a1', user: this.#dice.pick(['u1', 'u2']), strong: this.#dice.chance(0.1) };
        this.answer(this.#dice.chance(0.7) ? { ...asked, only: this.#dice.pick(SUBJECTS) } : asked);
        if (this.handlersThrow && this.#dice.chance(0.3)) {
          throw new Error('a handler that throws');
        }
      });
    }
  }

  #noteHeard(payload: string, queuedMs: number): void {
    const message = parseMessage(payload);
    if (message.type === 'change') {
      this.heard += message.keys?.length ?? 10;
      for (const key of message.keys ?? [[WHOLE]]) {
        const name = factName(message.subject, key);
        this.#floors.set(name, Math.max(this.#floors.get(name) ?? -Infinity, queuedMs));
      }
    }
  }

  #observe(observation: CoherenceObservation, trace: (line: () => string) => void): void {
    const count = (name: string): void => {
      this.seen.set(name, (this.seen.get(name) ?? 0) + 1);
    };
    count(observation.event);
    if (observation.event === 'connection_closed') {
      count(observation.cause);
      if (observation.cause === 'connection_lost' && this.wires.listening !== null) {
        this.#watcher.onViolation(`${this.name}: gave up a connection that was in order`);
      }
    }
    if (observation.event === 'audit_stale') {
      this.#watcher.onViolation(`G2: ${this.name}: an audit found stale facts of ${observation.subject}`);
    }
    trace(() => JSON.stringify(observation, (_, value: unknown) => (value instanceof Error ? value.message : value)));
  }
}
