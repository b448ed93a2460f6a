/**
 * A deterministic simulation of several replicas and one Postgres.
 *
 * Everything inside `src/coherence` is real. Simulated are time and the event loop (`machine.ts`), chance (`dice.ts`), the
 * wires (`wires.ts`) and Postgres (`cluster.ts`). One seed decides everything that happens: writes, requests, faults and every delay.
 * So a seed that fails is a bug report: `npx tsx test/sim/explore.ts --profile chaos --seed 7` tells its story.
 *
 * A life has three parts. In the first, writers write, people ask and things go wrong; each answer is judged when it is given, by
 * what was true (`checker.ts`). In the second, nothing more goes wrong and nothing is written. In the third, every
 * replica must be live, remember nothing that is not so, and answer everything from memory. Then it is stopped, and
 * nothing may be left behind.
 */
import { judge } from './checker.js';
import { Cluster, SUBJECTS, type StoredRow, type Subject, type Write } from './cluster.js';
import { createDice, type Dice } from './dice.js';
import { planFaults, type Profile } from './faults.js';
import { ABSENT, History } from './history.js';
import { Replica, type ReplicaTimes } from './replica.js';
import { Timeline } from './timeline.js';

export interface Verdict {
  readonly profile: Profile;
  readonly seed: number;
  /** What went against the promises; null if nothing did. */
  readonly violation: string | null;
  readonly trace: readonly string[];
  readonly answers: number;
  readonly strongAnswers: number;
  readonly refusals: number;
  readonly reads: number;
  readonly audits: number;
}

const BUSY_MS = 4_000;
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
/** Profiles in which no connection breaks. */
const UNBROKEN: readonly Profile[] = ['calm', 'clocks', 'ddl', 'hostile'];
const APPS = ['a1', 'a2'];
const USERS = ['u1', 'u2', 'u3'];
/** Twice the longest way of a message when nothing is wrong: to the replica, and of what it waits behind. */
const DELIVERY_MS = 4;
/** A turn takes no time, and a round trip at most this. */
const ROUND_TRIP_MS = 8;

class World {
  violation: string | null = null;
  readonly story: string[] = [];
  answers = 0;
  strongAnswers = 0;
  refusals = 0;
  readonly #timeline = new Timeline();
  readonly #history = new History();
  readonly #dice: Dice;
  readonly #cluster: Cluster;
  readonly #replicas: readonly Replica[];
  readonly #times: ReplicaTimes;
  readonly #profile: Profile;
  readonly #trace: (line: () => string) => void;

  constructor(profile: Profile, seed: number, tracing: boolean) {
    this.#profile = profile;
    this.#dice = createDice(`${profile}/${seed}`);
    this.#trace = line => {
      if (tracing) {
        this.story.push(`${this.#timeline.nowMs.toFixed(3).padStart(10)}  ${line()}`);
      }
    };
    this.#times = { ...this.#dice.pick(TIMES), auditIntervalMs: this.#dice.pick(AUDIT_INTERVALS_MS) };
    this.#cluster = new Cluster(this.#timeline, this.#dice, this.#history, this.#trace);
    this.#replicas = Array.from(
      { length: this.#dice.pick([1, 2, 2, 3]) },
      (_, index) =>
        new Replica(`replica ${index + 1}`, this.#timeline, this.#dice, {
          cluster: this.#cluster,
          times: this.#times,
          watcher: {
            trace: this.#trace,
            onViolation: problem => {
              this.#violate(problem);
            },
            onRefusal: (replica, error, isStrong) => {
              this.refusals += 1;
              this.#trace(() => `${replica} refuses: ${error.message}`);
              // A strong one may lack a moment at which its facts hold still.
              if ((error.reason === 'rounds_exhausted' && !isStrong) || profile === 'calm') {
                this.#violate(`rates: ${replica} refused: ${error.message}`);
              }
            },
            onAnswer: answer => {
              this.answers += 1;
              this.strongAnswers += Number(answer.isStrong);
              this.#trace(
                () =>
                  `${answer.replica} answers ${JSON.stringify(answer.asked)} of ${answer.arrivedMs.toFixed(3)}${answer.isStrong ? ', strong' : ''}: ${answer.facts.map(({ text }) => text).join(', ')}`,
              );
              const isCalm = profile === 'calm';
              const problem = judge(
                // Before it listens to the new primary, a replica cannot know that there is one.
                profile === 'leftBehind' ? { ...answer, isStrong: answer.isStrong && answer.listened } : answer,
                this.#history,
                atMs => atMs - this.#timeline.nowMs + this.#cluster.clockMs,
                {
                  staleMs: isCalm ? DELIVERY_MS : this.#times.leaseMs,
                  clockAheadMs: isCalm ? ROUND_TRIP_MS : null,
                },
              );
              if (problem !== null) {
                this.#violate(
                  `${answer.replica}, asked ${JSON.stringify(answer.asked)} at ${answer.arrivedMs.toFixed(3)}: ${problem}`,
                );
              }
            },
          },
        }),
    );
  }

  async live(): Promise<void> {
    const timeline = this.#timeline;
    const dice = this.#dice;
    for (const subject of SUBJECTS) {
      for (let row = 0; row < 4; row++) {
        this.#write(subject);
      }
    }
    for (const replica of this.#replicas) {
      timeline.at(dice.between(0, 50), () => {
        replica.machine.receive(() => {
          replica.coherence.start();
        });
      });
    }
    this.#planWrites(dice.pick([20, 60, 200]));
    this.#planRequests(dice.pick([20, 50, 120]));
    planFaults(
      this.#profile,
      { timeline, dice, cluster: this.#cluster, replicas: this.#replicas, write: subject => this.#write(subject) },
      BUSY_MS,
      this.#trace,
    );
    await this.#until(BUSY_MS);
    await this.#recover();
    await this.#checkRest();
    this.#checkRates();
    await this.#stop();
  }

  get reads(): number {
    return this.#replicas.reduce((sum, { wires }) => sum + wires.reads, 0);
  }

  get audits(): number {
    return this.#replicas.reduce((sum, { wires }) => sum + wires.audits, 0);
  }

  async #until(ms: number): Promise<void> {
    await this.#timeline.runUntil(ms, () => this.violation !== null);
  }

  async #recover(): Promise<void> {
    const endMs = this.#timeline.nowMs + RECOVERY_MS;
    const isWell = (): boolean =>
      this.#replicas.every(
        ({ coherence, machine, waiting }) => coherence.state === 'live' && !machine.isFrozen && waiting === 0,
      );
    for (let wellSinceMs = Infinity; this.#timeline.nowMs < Math.min(endMs, wellSinceMs + WELL_MS);) {
      await this.#until(this.#timeline.nowMs + 250);
      if (this.violation !== null) {
        return;
      }
      wellSinceMs =
        isWell() && (this.#profile === 'calm' || this.#timeline.nowMs > HEALED_MS)
          ? Math.min(wellSinceMs, this.#timeline.nowMs)
          : Infinity;
    }
  }

  #violate(problem: string): void {
    this.#trace(() => `!!! ${problem}`);
    this.violation ??= problem;
  }

  #planWrites(meanMs: number): void {
    const dice = this.#dice;
    for (let atMs = 0; atMs < BUSY_MS; atMs += dice.chance(0.4) ? dice.between(0, 4) : dice.between(0, 2 * meanMs)) {
      this.#timeline.at(atMs, () => {
        this.#write(dice.pick(SUBJECTS));
      });
    }
  }

  #planRequests(meanMs: number): void {
    const dice = this.#dice;
    for (let atMs = 0; atMs < BUSY_MS; atMs += dice.chance(0.5) ? dice.between(0, 1) : dice.between(0, 2 * meanMs)) {
      this.#timeline.at(atMs, () => {
        dice.pick(this.#replicas).request({
          app: dice.chance(0.95) ? dice.pick(APPS) : 'unknown',
          user: dice.chance(0.95) ? dice.pick(USERS) : 'unknown',
          strong: dice.chance(0.1),
        });
      });
    }
  }

  /** A transaction of one to three rows; some of other subjects, some that move a row to another key. */
  #write(subject: Subject): void {
    const dice = this.#dice;
    const writes = new Map<string, Write>();
    for (let rows = dice.pick([1, 1, 2, 3]); rows > 0; rows--) {
      const write = this.#change(rows === 1 ? subject : dice.pick(SUBJECTS));
      writes.set(`${write.subject}/${write.id}`, write);
    }
    this.#cluster.commit([...writes.values()], dice.chance(0.05));
  }

  #change(subject: Subject): Write {
    const dice = this.#dice;
    const app = dice.pick(APPS);
    const user = dice.pick(USERS);
    // A route's row has an id of its own, so it can move to another parent.
    const id = subject === 'user' ? user : subject === 'grant' ? `${user}/${app}` : dice.pick(['r1', 'r2', 'r3']);
    if (dice.chance(0.2)) {
      return { subject, id, row: null };
    }
    const row: StoredRow = {
      subject,
      id,
      key: subject === 'user' ? [user] : subject === 'grant' ? [user, app] : [app],
      version: this.#cluster.nextVersion(),
      home: dice.pick(APPS),
      expiresAtMs: subject === 'grant' && dice.chance(0.5) ? this.#cluster.clockMs + dice.between(0, 5_000) : null,
      strong: subject === 'route' && dice.chance(0.1),
    };
    return { subject, id, row };
  }

  /** Everything is well again: no memory may differ from the table, and memory alone must answer. */
  async #checkRest(): Promise<void> {
    const askAll = async (): Promise<void> => {
      for (const replica of this.#replicas) {
        for (const app of APPS) {
          for (const user of USERS) {
            replica.request({ app, user, strong: this.#dice.chance(0.2) });
          }
        }
      }
      await this.#until(this.#timeline.nowMs + 2_500);
    };
    const refusals = this.refusals;
    await askAll();
    const reads = this.reads;
    await askAll();
    if (this.reads !== reads) {
      this.#violate('rates: at rest, something was read again');
    }
    if (this.refusals !== refusals) {
      this.#violate('rates: at rest, something was refused');
    }
    for (const replica of this.#replicas) {
      const { coherence, wires, name } = replica;
      if (coherence.state !== 'live' || wires.listening === null) {
        this.#violate(`${name} is ${coherence.state} at rest: ${coherence.problem}`);
      }
      if (replica.waiting !== 0) {
        this.#violate(`${name}: ${replica.waiting} requests were never answered`);
      }
      for (const [subject, key] of this.#allFacts()) {
        const entry = replica.caches[subject].lookup(key, replica.machine.clock.now());
        const cached = entry === undefined ? null : (entry.value?.text ?? ABSENT);
        if (cached !== null && cached !== this.#history.now(subject, key)) {
          this.#violate(
            `G2: at rest, ${name} remembers ${subject}[${key.join(', ')}] as ${cached}, and it is ${this.#history.now(subject, key)}`,
          );
        }
      }
    }
  }

  #allFacts(): (readonly [Subject, readonly string[]])[] {
    return [
      ...USERS.map(user => ['user', [user]] as const),
      ...APPS.map(app => ['route', [app]] as const),
      ...USERS.flatMap(user => APPS.map(app => ['grant', [user, app]] as const)),
    ];
  }

  /** What the promises cost: no connection is given up where none breaks, and little is read where nothing goes wrong. */
  #checkRates(): void {
    for (const { name, wires, heard } of this.#replicas) {
      if (UNBROKEN.includes(this.#profile) && wires.opened !== 1) {
        this.#violate(`rates: ${name} opened ${wires.opened} connections`);
      }
      if (this.#profile === 'calm' && wires.keysRead > 2 * heard + 200) {
        this.#violate(`rates: ${name} read ${wires.keysRead} facts after hearing of ${heard}`);
      }
    }
  }

  async #stop(): Promise<void> {
    for (const { name, coherence, machine, wires } of this.#replicas) {
      if (this.violation !== null) {
        return;
      }
      let stopped = false;
      machine.receive(() => {
        void coherence.stop().then(() => {
          stopped = true;
        });
      });
      await this.#until(this.#timeline.nowMs + 10_000);
      if (!stopped || machine.timers > 0 || wires.listening !== null) {
        this.#violate(`${name} left something behind when it was stopped`);
      }
    }
  }
}

/** One life, from its seed. With `tracing`, its story too. */
export async function simulate(profile: Profile, seed: number, tracing = false): Promise<Verdict> {
  const world = new World(profile, seed, tracing);
  await world.live();
  const { violation, story: trace, answers, strongAnswers, refusals, reads, audits } = world;
  return { profile, seed, violation, trace, answers, strongAnswers, refusals, reads, audits };
}
