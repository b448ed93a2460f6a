/**
 * A model of Postgres, as far as coherence rests on it: servers with rows, commits that are seen before they are
 * acknowledged, one queue of notifications in commit order, triggers that can be switched off, restarts, and standbys
 * that take over.
 *
 * A commit is one instant: visible, queued and acknowledged at once, which leaves the replicas the least time.
 */
import { signFence } from '../../src/coherence/proof/heard-fences.js';
import type { FenceReceipt, SendFence } from '../../src/coherence/proof/fence.js';
import type { ListeningBackend, ServerReceipt } from '../../src/coherence/proof/server.js';
import type { WatchState } from '../../src/coherence/proof/watches.js';
import type { Key } from '../../src/coherence/signal.js';
import type { Dice } from './dice.js';
import { ABSENT, factName, type History } from './history.js';
import type { Timeline } from './timeline.js';

/**
 * `credential` names a user: a fact that leads to others. `route` is the table of children: many rows make one fact.
 */
export const TOPICS = ['credential', 'user', 'grant', 'route'] as const;
/**
 * What only JWTs need: `identity` and `user_name` name a user, as a credential does; `revoked_jwt` is there if one is
 * revoked.
 */
export const TOPICS_OF_JWTS = ['identity', 'user_name', 'revoked_jwt'] as const;
export type Topic = (typeof TOPICS)[number] | (typeof TOPICS_OF_JWTS)[number];
const ALL_TOPICS: readonly Topic[] = [...TOPICS, ...TOPICS_OF_JWTS];

/** One row. Its fact is named by `key`, the row itself by `id`. */
export interface StoredRow {
  readonly topic: Topic;
  readonly id: string;
  readonly key: Key;
  /** No two commits write the same. */
  readonly version: number;
  /** The user of a credential, an identity or a name; empty for others. */
  readonly home: string;
  readonly expiresAtMs: number | null;
  readonly strong: boolean;
}

/** What one row, or all children of a parent, say. */
export interface Fact {
  readonly text: string;
  readonly home: string;
  readonly expiresAtMs: number | null;
  readonly strong: boolean;
}

/** A row as a transaction leaves it; null: deleted. */
export interface Write {
  readonly topic: Topic;
  readonly id: string;
  readonly row: StoredRow | null;
}

/** A backend that listens. */
export interface Backend {
  readonly processId: number;
  hear(payload: string): void;
  /** The server ends the connection. */
  end(): void;
}

export interface Server {
  readonly name: string;
  /** When its postmaster was started: a crash alone does not change it. */
  readonly started: number;
  rows: Map<string, StoredRow>;
  readonly backends: Set<Backend>;
  /** Id of the newest transaction, and of the newest that has completed. */
  ids: number;
  completed: number;
  /** Of transactions that have begun to write and will commit later than others that begin after them. */
  readonly openIds: number[];
  /** Number of the newest fence. */
  fences: number;
  /** Changes when the schema is restored or created again. */
  schema: number;
  /** Whether the schema is there. */
  hasSchema: boolean;
  /** Whether it can commit. */
  commits: boolean;
  up: boolean;
  inRecovery: boolean;
}

interface Commit {
  readonly before: readonly (readonly [name: string, row: StoredRow | undefined])[];
}

/** What a dump has kept. */
interface Dump {
  readonly rows: ReadonlyMap<string, StoredRow>;
  readonly fences: number;
}

/** How a primary is replaced. */
interface Replacement {
  readonly downMs: number;
  /** Commits that are undone, though they were acknowledged. */
  readonly lost: number;
  /** Whether its postmaster goes on: only its children are new. */
  readonly isCrash?: boolean;
}

const CHANNEL = 'gatebell';
const FENCE_KEY = '5a'.repeat(64);
/** Postgres' clock is its own. */
const SERVER_CLOCK_MS = 5_000_000;

export class Cluster {
  /** The one that writers write to; while there is none, nothing is written. */
  primary: Server | null;
  /** Whether what the triggers send cannot be understood. */
  garbles = false;
  readonly #timeline: Timeline;
  readonly #dice: Dice;
  readonly #history: History;
  readonly #trace: (line: () => string) => void;
  readonly #triggers = new Map<Topic, { enabled: boolean; watched: boolean; fingerprint: number }>(
    ALL_TOPICS.map(topic => [topic, { enabled: true, watched: true, fingerprint: 1 }]),
  );
  /** Transactions that have begun to write and have not ended, by name. */
  readonly #writers = new Map<string, Topic>();
  readonly #commits: Commit[] = [];
  #servers = 0;
  #schemas = 0;
  #versions = 0;

  constructor(timeline: Timeline, dice: Dice, history: History, trace: (line: () => string) => void) {
    this.#timeline = timeline;
    this.#dice = dice;
    this.#history = history;
    this.#trace = trace;
    this.primary = this.#boot(new Map(), null);
  }

  get clockMs(): number {
    return this.#timeline.nowMs + SERVER_CLOCK_MS;
  }

  nextVersion(): number {
    return ++this.#versions;
  }

  /** One transaction, and what the triggers tell of it. */
  commit(writes: readonly Write[], tells: 'keys' | 'whole topic' | 'untold'): void {
    const server = this.primary;
    if (server === null || !server.hasSchema) {
      return;
    }
    const id = (this.#dice.chance(0.5) ? server.openIds.shift() : undefined) ?? ++server.ids;
    server.completed = Math.max(server.completed, id);
    if (this.#dice.chance(0.3)) {
      server.openIds.push(++server.ids);
    }
    const touched = new Map<string, { readonly topic: Topic; readonly key: Key }>();
    const before: [string, StoredRow | undefined][] = [];
    for (const { topic, id, row } of writes) {
      const name = `${topic}/${id}`;
      const old = server.rows.get(name);
      before.push([name, old]);
      for (const one of [old, row]) {
        if (one !== undefined && one !== null) {
          touched.set(factName(topic, one.key), { topic, key: one.key });
        }
      }
      if (row === null) {
        server.rows.delete(name);
      } else {
        server.rows.set(name, row);
      }
    }
    this.#commits.push({ before });
    this.#noteTruth(server, [...touched.values()]);
    this.#trace(() => `${server.name} commits ${[...touched.keys()].join(' ')}`);
    for (const topic of ALL_TOPICS) {
      const keys = [...touched.values()].filter(fact => fact.topic === topic).map(fact => fact.key);
      const triggers = this.#triggers.get(topic)!;
      if (keys.length > 0 && triggers.enabled && triggers.watched && tells !== 'untold') {
        const payload = JSON.stringify(tells === 'whole topic' ? { v: 1, s: topic } : { v: 1, s: topic, k: keys });
        this.notify(server, this.garbles ? payload.slice(1) : payload);
      }
    }
  }

  notify(server: Server, payload: string): void {
    for (const backend of server.backends) {
      backend.hear(payload);
    }
  }

  /** The transaction of this id completes, which sends a fence of this number. */
  completeFence(server: Server, id: number, number: number, serverId: string): void {
    const signature = signFence(FENCE_KEY, { id, number, serverId });
    this.notify(server, JSON.stringify({ v: 1, f: id, n: number, i: serverId, m: signature }));
    server.completed = Math.max(server.completed, id);
  }

  /** Somebody sends what looks like a fence. */
  forgeFence(server: Server, id: number): void {
    this.notify(server, JSON.stringify({ v: 1, f: id, n: id, i: this.serverIdOf(server), m: 'forged' }));
  }

  serverIdOf({ started, schema }: Server): string {
    return `${started}/16384/${schema}`;
  }

  /** One statement's snapshot. */
  read(server: Server, topic: Topic, keys: readonly Key[]): { readonly key: Key; readonly fact: Fact }[] {
    return keys.flatMap(key => {
      const fact = this.#fact(server, topic, key);
      return fact === null ? [] : [{ key, fact }];
    });
  }

  /** Which server answers, and whether the listener is on it. */
  serverReceipt(server: Server, listener: ListeningBackend): ServerReceipt {
    const listens = [...server.backends].some(({ processId }) => processId === listener.processId);
    return {
      serverId: this.serverIdOf(server),
      inRecovery: server.inRecovery,
      listener: listens ? 'seen' : 'absent',
      isPooled: false,
    };
  }

  /**
   * What the statement that asks for a fence reads. If it sends one, it takes its number and its id now, after its
   * snapshot, and notifies when it commits.
   */
  receipt(
    server: Server,
    send: SendFence,
    listener: ListeningBackend,
  ): { readonly receipt: FenceReceipt; readonly id: number } {
    const newest = server.fences;
    const bound = server.completed + 1;
    const sent = send === 'always' || (send !== 'never' && newest <= send.unlessAfter);
    server.fences += Number(sent);
    server.ids += Number(sent);
    const receipt = {
      ...this.serverReceipt(server, listener),
      bound,
      newest,
      sent,
      key: FENCE_KEY,
      serverTimeMs: this.clockMs,
      channel: CHANNEL,
      queueUsage: 0,
      watches: ALL_TOPICS.flatMap(topic => this.#watch(topic)),
    };
    return { receipt, id: server.ids };
  }

  disableTriggers(topic: Topic): void {
    Object.assign(this.#triggers.get(topic)!, { enabled: false });
    this.#touch(topic, 'disabled');
  }

  unwatch(topic: Topic): void {
    Object.assign(this.#triggers.get(topic)!, { watched: false });
    this.#touch(topic, 'removed');
  }

  /** Enables, or watches again; only the latter says so on the channel. */
  repairTriggers(topic: Topic): void {
    const triggers = this.#triggers.get(topic)!;
    const told = !triggers.watched;
    Object.assign(triggers, { enabled: true, watched: true });
    this.#touch(topic, 'enabled');
    if (told && this.primary !== null) {
      this.notify(this.primary, JSON.stringify({ v: 1, s: topic }));
    }
  }

  /** Begins to write. Returns how it ends: whether it still can commit, for its server may be gone. */
  openWriter(topic: Topic): () => boolean {
    const server = this.primary;
    const name = `writer ${this.nextVersion()}`;
    this.#writers.set(name, topic);
    this.#trace(() => `${name} begins to write ${topic}`);
    return () => {
      this.#writers.delete(name);
      return server !== null && server === this.primary;
    };
  }

  /** A standby as of now, which falls behind from now on. */
  standby(): Server | null {
    return this.primary === null ? null : { ...this.#boot(new Map(this.primary.rows), this.primary), inRecovery: true };
  }

  /** All connections break; a little later it is back, as another process. */
  restart(downMs: number): void {
    this.#replacePrimary({ downMs, lost: 0 });
  }

  /** A standby takes over that has not got the last commits: they are undone, though they were acknowledged. */
  failOver(downMs: number, lost: number): void {
    this.#replacePrimary({ downMs, lost });
  }

  /**
   * A backend crashes, and all others with it: the last commits and ids, which were not written down yet, are given out
   * again.
   */
  crash(downMs: number, lost: number): void {
    this.#replacePrimary({ downMs, lost, isCrash: true });
  }

  /** What a dump would keep of now. */
  dump(): Dump | null {
    return this.primary === null ? null : { rows: new Map(this.primary.rows), fences: this.primary.fences };
  }

  /**
   * The schema is dropped, and after a while it is there again, as it was dumped or empty. Nothing tells of it: the
   * rows are there before the triggers are.
   */
  restore(dump: Dump | null, goneMs: number): void {
    const server = this.primary;
    if (server === null) {
      return;
    }
    this.#trace(() => `schema of ${server.name} is dropped`);
    // A program finds no table there: it is neither told what was nor what will be.
    server.hasSchema = false;
    this.#timeline.after(goneMs, () => {
      // As of now: another restoration may have ended meanwhile, and been written to.
      const before = [...server.rows.values()];
      server.rows = new Map(dump?.rows);
      server.fences = dump?.fences ?? 0;
      server.schema = ++this.#schemas;
      server.hasSchema = true;
      server.ids += 1;
      server.completed = server.ids;
      this.#commits.length = 0;
      for (const topic of TOPICS) {
        this.#touch(topic, 'created again');
      }
      this.#trace(() => `schema of ${server.name} is there again${dump === null ? ', empty' : ''}`);
      if (this.primary === server) {
        this.#noteTruth(server, [...before, ...server.rows.values()]);
      }
    });
  }

  /** Somebody sets the sequence. */
  setFenceNumber(number: number): void {
    if (this.primary !== null) {
      this.primary.fences = number;
      this.#trace(() => `the sequence is set to ${number}`);
    }
  }

  /**
   * A standby that has everything takes over at once; the old primary goes on answering reads, and its listeners are
   * sent away.
   */
  switchOver(): Server | null {
    const old = this.primary;
    if (old !== null) {
      this.primary = this.#boot(new Map(old.rows), old);
      this.#trace(() => `${this.primary?.name} takes over, and ${old.name} still answers`);
      for (const backend of old.backends) {
        backend.end();
      }
      old.backends.clear();
    }
    return old;
  }

  #replacePrimary({ downMs, lost, isCrash = false }: Replacement): void {
    const old = this.primary;
    if (old === null) {
      return;
    }
    this.primary = null;
    old.up = false;
    this.#trace(() => `${old.name} is gone`);
    for (const backend of old.backends) {
      backend.end();
    }
    this.#timeline.after(downMs, () => {
      const rows = new Map(old.rows);
      for (let undone = 0; undone < lost && this.#commits.length > 0; undone++) {
        for (const [name, row] of this.#commits.pop()!.before.toReversed()) {
          if (row === undefined) {
            rows.delete(name);
          } else {
            rows.set(name, row);
          }
        }
      }
      const server = this.#boot(rows, old, isCrash);
      this.primary = server;
      this.#trace(() => `${server.name} takes over without the last ${lost} commits`);
      const facts = new Map([...old.rows.values(), ...rows.values()].map(row => [factName(row.topic, row.key), row]));
      this.#noteTruth(server, [...facts.values()]);
    });
  }

  /** Numbers are logged ahead, 32 at a time; a standby may lack the last of them, and the last ids. */
  #boot(rows: Map<string, StoredRow>, before: Server | null, isCrash = false): Server {
    const number = ++this.#servers;
    const ids = Math.max(3, (before?.completed ?? 1_000) - this.#dice.integer(40));
    return {
      name: `server ${number}`,
      started: isCrash && before !== null ? before.started : number,
      rows,
      backends: new Set(),
      ids,
      completed: ids,
      openIds: [],
      fences: Math.max(0, (before?.fences ?? 0) + (number % 2 === 0 ? -10 : 32)),
      schema: before?.schema ?? 0,
      hasSchema: true,
      commits: true,
      up: true,
      inRecovery: false,
    };
  }

  #touch(topic: Topic, what: string): void {
    this.#triggers.get(topic)!.fingerprint += 1;
    this.#trace(() => `triggers of ${topic} ${what}`);
  }

  #watch(topic: Topic): WatchState[] {
    const { enabled, watched, fingerprint } = this.#triggers.get(topic)!;
    const writers = [...this.#writers].flatMap(([name, writes]) => (writes === topic ? [name] : []));
    return watched ? [{ topic, problem: enabled ? null : 'disabled', fingerprint: String(fingerprint), writers }] : [];
  }

  #fact(server: Server, topic: Topic, key: Key): Fact | null {
    const name = factName(topic, key);
    const rows = [...server.rows.values()].filter(row => factName(row.topic, row.key) === name);
    const [first] = rows;
    return first === undefined
      ? null
      : {
          text: rows
            .map(row => `${row.id}@${row.version}`)
            .sort()
            .join(' '),
          home: first.home,
          expiresAtMs: first.expiresAtMs,
          strong: rows.some(row => row.strong),
        };
  }

  #noteTruth(server: Server, facts: readonly { readonly topic: Topic; readonly key: Key }[]): void {
    for (const { topic, key } of facts) {
      this.#history.note(topic, key, this.#fact(server, topic, key)?.text ?? ABSENT, this.#timeline.nowMs);
    }
  }
}
