/**
 * A deterministic simulation of several replicas and one Postgres.
 *
 * Everything inside `src/coherence`, and the gate's decision, is real. Simulated are time and the event loop
 * (`machine.ts`), chance (`dice.ts`), the wires (`wires.ts`) and Postgres (`cluster.ts`). One seed decides everything
 * that happens: writes, requests, faults (`plan.ts`) and every delay. So a seed that fails is a bug report:
 * `npm run sim -- --profile chaos --seed 7` tells its story.
 *
 * A life has three parts. In the first, writers write, people ask and things go wrong; each answer is judged when it is
 * given, by what was true (`checker.ts`). In the second, nothing more goes wrong and nothing is written. In the third,
 * every replica must be live, remember nothing that is not so, answer a barrier, and answer everything from memory.
 * Then it is stopped, and nothing may be left behind.
 */
import { judge, judgeAdmission, judgeHeard, type ViolationKind } from './checker.js';
import { Cluster, TOPICS, TOPICS_OF_JWTS, type StoredRow, type Topic, type Write } from './cluster.js';
import { createDice, type Dice } from './dice.js';
import type { Fault } from './faults.js';
import { ABSENT, factName, History } from './history.js';
import { Host } from './host.js';
import { BUSY_MS, planLife, type Planned } from './plan.js';
import { PROFILES, type Profile, type ProfileName } from './profiles.js';
import { ISSUER, nameOf, type Asked } from './question.js';
import {
  NEGATIVE_ENTRIES_MAX,
  ENTRIES_MAX,
  Replica,
  type Answered,
  type Refused,
  type ReplicaTimes,
} from './replica.js';
import { Timeline } from './timeline.js';

/** A promise that was not kept. */
export interface Violation {
  readonly kind: ViolationKind;
  readonly problem: string;
  readonly atMs: number;
}

/** How a life went. */
export interface Outcome {
  readonly profile: ProfileName;
  readonly seed: number;
  /** The first; null if there is none. */
  readonly violation: Violation | null;
  /** What was planned, but for what was left out. */
  readonly plan: readonly Planned[];
  /** How much was. */
  readonly leftOut: number;
  readonly story: readonly string[];
  readonly answers: number;
  readonly strongAnswers: number;
  readonly refusals: number;
  readonly reads: number;
  /** Answers that were given again. */
  readonly recalled: number;
  readonly audits: number;
  readonly faults: number;
}

/** How a life is to be lived. */
export interface LifeOptions {
  /** Whether to tell its story. */
  readonly tracing?: boolean;
  /** Of what is planned, only this takes place. Default all. */
  readonly only?: ReadonlySet<string> | null;
}

/** Longest time until all is well again: the rest of a pause, a fence that is overdue, a reconnect that backed off. */
const RECOVERY_MS = 30_000;
/** All must have been well for as long as this. */
const WELL_MS = 4_000;
/** By then every fault has healed by itself. */
const HEALED_MS = BUSY_MS + 9_000;
const TIMES: readonly Omit<ReplicaTimes, 'auditIntervalMs'>[] = [
  { leaseMs: 3_000, fenceIntervalMs: 1_000 },
  { leaseMs: 1_000, fenceIntervalMs: 300 },
  { leaseMs: 600, fenceIntervalMs: 200 },
];
/** What is wrong must be found without audits, too. */
const AUDIT_INTERVALS_MS = [0, 200, 700, 2_000];
/** Workers of a replica that has some, and most replicas then. */
const WORKERS = 2;
const HOSTS_MAX = 2;
const APPS = ['a1', 'a2'];
const CREDENTIALS = ['c1', 'c2', 'c3'];
const USERS = ['u1', 'u2'];
/** Of the users, in the same order. */
const NAMES = USERS.map(nameOf);
const JWTS = ['j1', 'j2'];
const JWT_SUBJECTS = ['s1', 's2'];
/** Facts that name a user. */
const NAMING: ReadonlySet<Topic> = new Set(['credential', 'identity']);
/** Twice the longest way of a message when nothing is wrong: to the replica, and of what it waits behind. */
const DELIVERY_MS = 4;
/** A turn takes no time, and a round trip at most this. */
const ROUND_TRIP_MS = 8;
/** By then all replicas listen, where nothing goes wrong. */
const STARTED_MS = 100;
/** Share of an interval that a replica waits for a fence of somebody else. */
const WAIT_SHARE_MAX = 0.75;
/**
 * Rounds of loading for an answer that no fence helps: what the credential leads to can only be asked for when that is
 * known.
 */
const ROUNDS_UNPROVEN_MAX = 2;
/** Most rounds for an answer that is not strong: what was loaded may change before the rest is there. */
const ROUNDS_MAX = 7;

const jwtOf = (dice: Dice): NonNullable<Asked['jwt']> => ({
  subject: dice.pick(JWT_SUBJECTS),
  name: dice.pick(NAMES),
  jti: dice.pick(JWTS),
});

class World {
  violation: Violation | null = null;
  readonly story: string[] = [];
  readonly plan: readonly Planned[];
  readonly leftOut: number;
  answers = 0;
  strongAnswers = 0;
  refusals = 0;
  faults = 0;
  readonly #timeline = new Timeline();
  readonly #history = new History();
  readonly #seed: string;
  readonly #cluster: Cluster;
  /** Those that run, each in its place. */
  readonly #replicas: Replica[];
  /** Those that were told to stop before the end. */
  readonly #stopped: Replica[] = [];
  #started = 0;
  readonly #times: ReplicaTimes;
  readonly #profile: Profile;
  readonly #faultsByName: readonly (readonly [string, Fault])[];
  readonly #trace: (line: () => string) => void;
  readonly #topics: readonly Topic[];

  constructor(name: ProfileName, seed: number, { tracing = false, only = null }: LifeOptions) {
    this.#profile = PROFILES[name];
    this.#seed = `${name}/${seed}`;
    this.#topics = this.#profile.jwtShare > 0 ? [...TOPICS, ...TOPICS_OF_JWTS] : TOPICS;
    const dice = createDice(this.#seed);
    this.#trace = line => {
      if (tracing) {
        this.story.push(`${this.#timeline.nowMs.toFixed(3).padStart(10)}  ${line()}`);
      }
    };
    const auditIntervalMs = dice.pick(AUDIT_INTERVALS_MS);
    // An audit would find what slips.
    this.#times = { ...dice.pick(TIMES), auditIntervalMs: this.#profile.slips ? 0 : auditIntervalMs };
    this.#faultsByName = Object.entries(dice.pick(this.#profile.faults));
    this.#cluster = new Cluster(this.#timeline, this.#diceOf('cluster'), this.#history, this.#trace);
    const names = Array.from({ length: dice.pick([1, 2, 2, 3]) }, (_, index) => `replica ${index + 1}`);
    this.#replicas = this.#profile.hasWorkers
      ? names.slice(0, HOSTS_MAX).flatMap(name => this.#createWorkers(name))
      : names.map(name => this.#createReplica(name));
    const plan = planLife(this.#profile, dice);
    this.plan = plan.filter(({ id }) => only === null || only.has(id));
    this.leftOut = plan.length - this.plan.length;
  }

  get recalled(): number {
    return this.#replicas.reduce((sum, { recalled }) => sum + recalled, 0);
  }

  get audits(): number {
    return this.#replicas.reduce((sum, { wires }) => sum + wires.audits, 0);
  }

  get reads(): number {
    return this.#replicas.reduce((sum, { wires }) => sum + wires.reads, 0);
  }

  live(): void {
    for (const planned of this.plan) {
      const dice = this.#diceOf(planned.id);
      this.#timeline.at(planned.atMs, () => {
        this.#takePlace(planned, dice);
      });
    }
    for (const replica of this.#replicas) {
      const dice = this.#diceOf(`${replica.name} starts`);
      const startMs = dice.between(0, 50);
      if (this.#profile.startsBehind) {
        this.#timeline.at(Math.max(0, startMs - 5), () => {
          this.#leaveBehind(replica, dice.between(1_000, 7_000));
        });
      }
      this.#timeline.at(startMs, () => {
        replica.start();
      });
    }
    const parts = [
      () => this.#until(BUSY_MS),
      () => this.#recover(),
      () => this.#checkRest(),
      () => this.#checkRates(),
      () => this.#stop(),
    ];
    for (const part of parts) {
      if (this.violation === null) {
        part();
      }
    }
  }

  /** Another server takes over; the old one, to which the pool leads for a while, answers and cannot commit. */
  #leaveBehind({ wires }: Replica, ms: number): void {
    const server = this.#cluster.switchOver();
    if (server !== null) {
      server.commits = false;
      wires.weather.poolServer = { server, untilMs: this.#timeline.nowMs + ms, untilRenewed: false };
    }
  }

  /** What is left out must not change what else happens: so each has chance of its own. */
  #diceOf(name: string): Dice {
    return createDice(`${this.#seed}/${name}`);
  }

  #createWorkers(name: string): Replica[] {
    const host = new Host(`host of ${name}`, this.#timeline, this.#diceOf(`host of ${name}`), {
      cluster: this.#cluster,
      history: this.#history,
      trace: this.#trace,
      onViolation: (kind, problem) => {
        this.#violate(kind, problem);
      },
    });
    return Array.from({ length: WORKERS }, (_, index) => this.#createReplica(`${name}, worker ${index + 1}`, host));
  }

  /** Another process in the place of this one, after a while. */
  #replace(replaced: Replica, afterMs: number): void {
    this.#timeline.after(afterMs, () => {
      this.#started += 1;
      const [first = ''] = replaced.name.split(' again');
      const replica = this.#createReplica(`${first} again (${this.#started})`, replaced.host);
      this.#replicas[this.#replicas.indexOf(replaced)] = replica;
      replica.start();
    });
  }

  #createReplica(name: string, host: Host | null = null): Replica {
    return new Replica(name, this.#timeline, this.#diceOf(name), {
      cluster: this.#cluster,
      history: this.#history,
      host,
      topics: this.#topics,
      times: this.#times,
      maxAgeMs: this.#profile.maxAgeMs,
      isLeftBehind: this.#profile.isLeftBehind,
      watcher: {
        trace: this.#trace,
        onViolation: (kind, problem) => {
          this.#violate(kind, problem);
        },
        onReload: (replica, topic, key, loadedMs) => {
          const name = factName(topic, key);
          const absence = { topic, key, name, text: ABSENT };
          // Room for negative entries is small, so they may go and come again.
          if (this.#profile.isFrugal && !this.#history.wasHeld(absence, loadedMs, this.#timeline.nowMs)) {
            this.#violate('rates', `${replica} loaded ${name} again, of which it had heard nothing`);
          }
        },
        onBind: (subject, wanted) => this.#bind(subject, wanted),
        onRefusal: refused => {
          this.#judgeRefusal(refused);
        },
        onAnswer: answer => {
          this.#judgeAnswer(answer);
        },
      },
    });
  }

  #takePlace({ kind, id }: Planned, dice: Dice): void {
    switch (kind) {
      case 'write':
        this.#write(dice.pick(this.#topics), dice, false);
        return;
      case 'request':
        this.#request(dice);
        return;
      case 'barrier':
        this.#barrier(id);
        return;
      case 'fault':
        this.#goWrong(dice);
        return;
    }
  }

  #barrier(id: string): void {
    if (this.#cluster.primary !== null && !this.#profile.slips) {
      this.#cluster.notify(this.#cluster.primary, JSON.stringify({ v: 1, b: id }));
    }
  }

  #request(dice: Dice): void {
    const { strongShare, onlyShare, unknownShare, jwtShare } = this.#profile;
    const asked: Asked = {
      app: dice.chance(unknownShare) ? 'unknown' : dice.pick(APPS),
      credential: dice.chance(unknownShare) ? 'unknown' : dice.pick(CREDENTIALS),
      strong: dice.chance(strongShare),
    };
    if (jwtShare > 0 && dice.chance(jwtShare)) {
      dice.pick(this.#replicas).request({ ...asked, jwt: jwtOf(dice) });
      return;
    }
    dice.pick(this.#replicas).request(dice.chance(onlyShare) ? { ...asked, only: dice.pick(TOPICS) } : asked);
  }

  #goWrong(dice: Dice): void {
    if (this.#faultsByName.length === 0) {
      return;
    }
    const [name, fault] = dice.pick(this.#faultsByName);
    const replica = dice.pick(this.#replicas);
    this.faults += 1;
    this.#trace(() => `*** ${name} (${replica.name})`);
    fault(
      {
        timeline: this.#timeline,
        dice,
        cluster: this.#cluster,
        replicas: this.#replicas,
        write: (topic, untold = false) => {
          this.#write(topic, dice, untold);
        },
        kill: killed => {
          if (!killed.isEnding) {
            killed.kill();
            this.#replace(killed, dice.between(1, 1_000));
          }
        },
        stop: stopped => {
          if (!stopped.isEnding) {
            stopped.stop();
            this.#stopped.push(stopped);
            this.#replace(stopped, dice.between(1, 1_000));
          }
        },
      },
      replica,
    );
  }

  #judgeAnswer(answer: Answered): void {
    this.answers += 1;
    this.strongAnswers += Number(answer.isStrong);
    const { replica, asked, arrivedMs, decidedMs, facts, isStrong, rounds, floors, expiry } = answer;
    const asking = (): string => `${replica}, asked ${JSON.stringify(asked)} at ${arrivedMs.toFixed(3)}`;
    this.#trace(
      () =>
        `${replica} answers ${JSON.stringify(asked)} of ${arrivedMs.toFixed(3)}${isStrong ? ', strong' : ''}: ` +
        `${answer.decision?.reason ?? ''} ${facts.map(({ text }) => text).join(', ')}`,
    );
    const { isCalm, isLeftBehind, slips, maxAgeMs, isOnTime, hidesSleep } = this.#profile;
    const clockMs = (atMs: number): number => atMs - this.#timeline.nowMs + this.#cluster.clockMs;
    // Before it listens to a new primary, a replica cannot know that there is one; of what nothing tells, a strong
    // answer cannot know.
    const mayKnow = answer.listened || !isLeftBehind;
    const leaseMs = mayKnow ? this.#times.leaseMs : Infinity;
    const problem =
      judge(
        {
          arrivedMs,
          decidedMs,
          facts,
          floors,
          expiry,
          isStrong: isStrong && mayKnow && !slips,
        },
        this.#history,
        clockMs,
        {
          staleMs: isCalm ? DELIVERY_MS : leaseMs + (slips ? maxAgeMs : 0),
          leaseMs: hidesSleep ? Infinity : leaseMs + (slips ? maxAgeMs : 0),
          clockAheadMs: isCalm ? ROUND_TRIP_MS : null,
        },
      ) ??
      judgeHeard(answer, this.#history) ??
      judgeAdmission(answer, clockMs);
    if (problem !== null) {
      // It begins with its kind.
      const [kind, ...rest] = problem.split(': ') as [ViolationKind, ...string[]];
      this.#violate(kind, `${asking()}: ${rest.join(': ')}`);
    }
    // What was read more than a lease ago is read again, and may lead to other facts.
    const againMax = ROUNDS_UNPROVEN_MAX * Math.floor((decidedMs - arrivedMs) / this.#times.leaseMs);
    const roundsMax = (answer.wasUnproven && isOnTime ? ROUNDS_UNPROVEN_MAX : ROUNDS_MAX) + againMax;
    if (!answer.wasStrong && rounds > roundsMax) {
      this.#violate('rates', `${asking()}: it took ${rounds} rounds of loading`);
    }
  }

  #judgeRefusal({ replica, asked, asking, error, wasKnown }: Refused): void {
    this.refusals += 1;
    this.#trace(() => `${replica} refuses ${JSON.stringify(asked)}: ${error.message}`);
    const said = `${replica}, asked ${JSON.stringify(asked)}, refused: ${error.message}`;
    const { isAvailable, isPoolWell } = this.#profile;
    // A strong one may lack a moment at which its facts hold still.
    if ((error.reason === 'rounds_exhausted' && !asking.isStrong) || isAvailable) {
      this.#violate('rates', said);
    }
    if (isPoolWell && asked.credential !== 'poison') {
      this.#violate('G6', said);
    }
    if (error.reason === 'queue_full' && wasKnown) {
      this.#violate('G5', said);
    }
  }

  #until(ms: number): void {
    this.#timeline.runUntil(ms, () => this.violation !== null);
  }

  #recover(): void {
    const endMs = this.#timeline.nowMs + RECOVERY_MS;
    const isWell = (): boolean =>
      this.#replicas.every(
        ({ coherence, machine, waiting }) => coherence.state === 'live' && !machine.isFrozen && waiting === 0,
      );
    for (let wellSinceMs = Infinity; this.#timeline.nowMs < Math.min(endMs, wellSinceMs + WELL_MS);) {
      this.#until(this.#timeline.nowMs + 250);
      if (this.violation !== null) {
        return;
      }
      wellSinceMs =
        isWell() && (this.#profile.isCalm || this.#timeline.nowMs > HEALED_MS)
          ? Math.min(wellSinceMs, this.#timeline.nowMs)
          : Infinity;
    }
  }

  #violate(kind: ViolationKind, problem: string): void {
    this.#trace(() => `!!! ${kind}: ${problem}`);
    this.violation ??= { kind, problem, atMs: this.#timeline.nowMs };
  }

  /** A transaction of one to three rows; some of other topics, some that move a row to another key. */
  #write(topic: Topic, dice: Dice, untold: boolean): void {
    const { rows: rowsMax, wholeShare } = this.#profile;
    const writes = new Map<string, Write>();
    for (let rows = dice.pick(rowsMax); rows > 0; rows--) {
      const write = this.#change(rows === 1 ? topic : dice.pick(this.#topics), dice);
      writes.set(`${write.topic}/${write.id}`, write);
    }
    this.#cluster.commit([...writes.values()], untold ? 'untold' : dice.chance(wholeShare) ? 'whole topic' : 'keys');
  }

  #bind(subject: string, wanted: string): string | null {
    const { primary } = this.#cluster;
    const bound = primary?.rows.get(`identity/${subject}`);
    const home = bound?.home ?? primary?.rows.get(`user_name/${wanted}`)?.home ?? null;
    if (bound === undefined && home !== null) {
      const row = { id: subject, key: [ISSUER, subject], version: this.#cluster.nextVersion(), home };
      const write = { ...row, topic: 'identity' as const, expiresAtMs: null, strong: false };
      this.#cluster.commit([{ topic: 'identity', id: subject, row: write }], 'keys');
    }
    return home;
  }

  #change(topic: Topic, dice: Dice): Write {
    const app = dice.pick(APPS);
    const user = dice.pick(USERS);
    const credential = dice.pick(CREDENTIALS);
    const jti = topic === 'revoked_jwt' ? dice.pick(JWTS) : '';
    const issued = topic === 'identity' ? dice.pick(JWT_SUBJECTS) : '';
    const [id, key] = {
      credential: [credential, [credential]],
      user: [user, [user]],
      grant: [`${user}/${app}`, [user, app]],
      // A route's row has an id of its own, so it can move to another parent.
      route: [dice.pick(['r1', 'r2', 'r3']), [app]],
      identity: [issued, [ISSUER, issued]],
      user_name: [nameOf(user), [nameOf(user)]],
      revoked_jwt: [jti, [jti]],
    }[topic] as [string, string[]];
    // A JWT that is revoked stays so; here it does not, or nobody would be let in by one any more.
    if (dice.chance(topic === 'revoked_jwt' ? 0.7 : 0.2)) {
      return { topic, id, row: null };
    }
    const row: StoredRow = {
      topic,
      id,
      key,
      version: this.#cluster.nextVersion(),
      // A name may go to another user.
      home: topic === 'user_name' ? dice.pick(USERS) : NAMING.has(topic) ? user : '',
      expiresAtMs: topic === 'grant' && dice.chance(0.5) ? this.#cluster.clockMs + dice.between(0, 5_000) : null,
      strong: topic === 'route' && dice.chance(0.1),
    };
    return { topic, id, row };
  }

  /** Everything is well again: no memory may differ from the table, and memory alone must answer. */
  #checkRest(): void {
    const askAll = (): void => {
      const dice = this.#diceOf('rest');
      for (const replica of this.#replicas) {
        for (const app of APPS) {
          for (const credential of CREDENTIALS) {
            replica.request({ app, credential, strong: dice.chance(0.2) });
          }
          if (this.#profile.jwtShare > 0) {
            replica.request({ app, credential: '', strong: false, jwt: jwtOf(dice) });
          }
        }
      }
      this.#until(this.#timeline.nowMs + 2_500);
    };
    const { refusals } = this;
    const acknowledged = this.#replicas.map(replica => replica.acknowledged);
    this.#barrier('at rest');
    askAll();
    for (const [index, replica] of this.#replicas.entries()) {
      if (replica.acknowledged === acknowledged[index] && !this.#profile.slips) {
        this.#violate('rest', `${replica.name} does not answer a barrier at rest`);
      }
    }
    // What was used before, but is not wanted any more, makes way the second time.
    askAll();
    const { reads } = this;
    askAll();
    if (this.reads !== reads && !this.#profile.slips) {
      this.#violate('rates', 'at rest, something was read again');
    }
    if (this.refusals !== refusals) {
      this.#violate('rates', 'at rest, something was refused');
    }
    for (const replica of this.#replicas) {
      this.#checkReplicaAtRest(replica);
    }
  }

  #checkReplicaAtRest({ name, coherence, wires, waiting, caches, machine }: Replica): void {
    if (coherence.state !== 'live' || wires.listening === null) {
      this.#violate('rest', `${name} is ${coherence.state} at rest: ${coherence.problem}`);
    }
    if (waiting !== 0) {
      this.#violate('rest', `${name}: ${waiting} requests were never answered`);
    }
    const { fenceIntervalMs } = this.#times;
    if ((coherence.stalenessBoundMs ?? 0) > fenceIntervalMs * (1 + WAIT_SHARE_MAX) + ROUND_TRIP_MS) {
      this.#violate('rates', `${name} can only vouch for ${coherence.stalenessBoundMs} ms ago, at rest`);
    }
    for (const { topic, size, negativeEntries } of Object.values(caches)) {
      if (size > ENTRIES_MAX || negativeEntries > NEGATIVE_ENTRIES_MAX) {
        this.#violate('G5', `${name} remembers ${size} facts of ${topic} and ${negativeEntries} negativeEntries`);
      }
    }
    for (const [topic, key] of this.#allFacts()) {
      const entry = caches[topic]?.lookup(key, machine.clock.now());
      const cached = entry === undefined ? null : (entry.value?.text ?? ABSENT);
      if (cached !== null && cached !== this.#history.now(topic, key)) {
        this.#violate(
          'rest',
          `${name} remembers ${topic}[${key.join(', ')}] as ${cached}, and it is ${this.#history.now(topic, key)}`,
        );
      }
    }
  }

  #allFacts(): (readonly [Topic, readonly string[]])[] {
    return [
      ...CREDENTIALS.map(credential => ['credential', [credential]] as const),
      ...USERS.map(user => ['user', [user]] as const),
      ...APPS.map(app => ['route', [app]] as const),
      ...USERS.flatMap(user => APPS.map(app => ['grant', [user, app]] as const)),
      ...NAMES.map(name => ['user_name', [name]] as const),
      ...JWT_SUBJECTS.map(subject => ['identity', [ISSUER, subject]] as const),
      ...JWTS.map(jti => ['revoked_jwt', [jti]] as const),
    ];
  }

  /** What the promises cost: no connection is given up where none breaks, and fences come at their interval. */
  #checkRates(): void {
    const barriers = this.plan.filter(({ kind, atMs }) => kind === 'barrier' && atMs > STARTED_MS).length;
    for (const { name, wires, strong, acknowledged } of this.#replicas) {
      if (this.#profile.isCalm && acknowledged < barriers) {
        this.#violate('rates', `${name} answered ${acknowledged} of ${barriers} barriers`);
      }
      // A pause may outlast the patience of an attempt.
      if (this.#profile.isUnbroken && wires.connected !== 1) {
        this.#violate('rates', `${name} listened on ${wires.connected} connections`);
      }
      // One question an interval, and one that fails.
      const questionsMax = 10 + (2 * this.#timeline.nowMs) / this.#times.fenceIntervalMs + 2 * strong + barriers;
      if (this.#profile.isCalm && wires.fences > questionsMax) {
        this.#violate('rates', `${name} asked for ${wires.fences} fences`);
      }
    }
    // However many replicas.
    const sent = this.#replicas.reduce((sum, { wires }) => sum + wires.fencesSent, 0);
    if (this.#profile.isCalm && sent > 10 + (2 * this.#timeline.nowMs) / this.#times.fenceIntervalMs) {
      this.#violate('rates', `${sent} fences were sent`);
    }
  }

  #stop(): void {
    for (const replica of this.#replicas) {
      if (this.violation !== null) {
        return;
      }
      const { host } = replica;
      const before = host?.wires.connected ?? 0;
      replica.stop();
      this.#until(this.#timeline.nowMs + 10_000);
      this.#checkStopped(replica);
      if (host !== null && (host.workers === 0) !== (host.wires.listening === null)) {
        this.#violate('rest', `${host.name} has ${host.workers} workers when ${replica.name} has stopped`);
      }
      if (host !== null && (host.wires.connected !== before || host.machine.timers > 0)) {
        this.#violate('rest', `${replica.name} has not left the shared connection as it was`);
      }
    }
    for (const replica of this.#stopped) {
      this.#checkStopped(replica);
    }
  }

  #checkStopped({ name, host, hasStopped, machine, wires, waiting }: Replica): void {
    // Its connection is that of the others, if it is a worker.
    if (!hasStopped || machine.timers > 0 || (host === null && wires.listening !== null)) {
      this.#violate('rest', `${name} left something behind when it was stopped`);
    }
    if (waiting > 0) {
      this.#violate('rest', `${name} was stopped, and ${waiting} requests were never answered`);
    }
  }
}

/** Lives one life, from its seed. Must be called from outside of promises: see `simulated-promises.ts`. */
export function simulate(profile: ProfileName, seed: number, options: LifeOptions = {}): Outcome {
  const world = new World(profile, seed, options);
  world.live();
  const { violation, plan, leftOut, story, answers, strongAnswers, refusals, recalled, reads, audits, faults } = world;
  return {
    profile,
    seed,
    violation,
    plan,
    leftOut,
    story,
    answers,
    strongAnswers,
    refusals,
    recalled,
    reads,
    audits,
    faults,
  };
}
