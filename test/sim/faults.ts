/** What goes wrong, by kind. Each fault heals by itself; a profile is a choice of kinds. */
import type { Cluster, Subject } from './cluster.js';
import { SUBJECTS } from './cluster.js';
import type { Dice } from './dice.js';
import type { Replica } from './replica.js';
import type { Timeline } from './timeline.js';
import { FORGER_PROCESS } from './wires.js';

export interface FaultTargets {
  readonly timeline: Timeline;
  readonly dice: Dice;
  readonly cluster: Cluster;
  readonly replicas: readonly Replica[];
  /** Commits something to facts of this subject, now. */
  write(subject: Subject): void;
}

type Fault = (targets: FaultTargets, replica: Replica) => void;

const network: Readonly<Record<string, Fault>> = {
  slow: ({ timeline, dice }, { wires }) => {
    wires.weather.delayMaxMs = dice.pick([20, 100, 500, 1_500]);
    timeline.after(dice.between(100, 3_000), () => {
      wires.weather.delayMaxMs = 2;
    });
  },
  cut: (_, { wires }) => wires.listening?.cut(),
  halfOpen: (_, { wires }) => {
    if (wires.listening !== null) {
      wires.listening.isHalfOpen = true;
    }
  },
  stall: ({ timeline, dice }, { wires }) => {
    if (wires.listening !== null) {
      wires.listening.stalledUntilMs = timeline.nowMs + dice.between(50, dice.pick([500, 6_000]));
    }
  },
  /** Stalled, and lost when it would have gone on. */
  stallAndCut: ({ timeline, dice }, { wires }) => {
    const { listening } = wires;
    if (listening !== null) {
      const ms = dice.between(50, 5_000);
      listening.stalledUntilMs = timeline.nowMs + ms;
      timeline.after(ms, () => {
        listening.cut();
      });
    }
  },
  /** Stalled; then some of what was held back arrives, and nothing after it. */
  stallAndFade: ({ timeline, dice }, { wires }) => {
    const { listening } = wires;
    if (listening !== null) {
      const ms = dice.between(50, 2_500);
      listening.stalledUntilMs = timeline.nowMs + ms;
      listening.fadesAfter = 1 + dice.integer(6);
    }
  },
  poolDeaf: ({ timeline, dice }, { wires }) => {
    wires.weather.poolDeafUntilMs = timeline.nowMs + dice.between(100, 5_000);
  },
  poolFails: ({ timeline, dice }, { wires }) => {
    wires.weather.poolFailsUntilMs = timeline.nowMs + dice.between(100, 3_000);
  },
  partition: ({ timeline, dice }, { wires }) => {
    const untilMs = timeline.nowMs + dice.between(100, 6_000);
    wires.weather.poolDeafUntilMs = untilMs;
    wires.weather.listenRefusedUntilMs = untilMs;
    if (wires.listening !== null) {
      wires.listening.stalledUntilMs = untilMs;
      wires.listening.isHalfOpen ||= dice.chance(0.5);
    }
  },
  refuseListen: ({ timeline, dice }, { wires }) => {
    wires.weather.listenRefusedUntilMs = timeline.nowMs + dice.between(100, 4_000);
    wires.listening?.cut();
  },
  haunt: ({ timeline, dice }, { wires }) => {
    const { listening } = wires;
    listening?.cut();
    timeline.after(dice.between(1, 1_000), () => {
      listening?.haunt();
    });
  },
};

const servers: Readonly<Record<string, Fault>> = {
  restart: ({ cluster, dice, replicas }) => {
    forgetSilently(replicas, dice);
    cluster.restart(dice.between(5, 1_500));
  },
  failOver: ({ cluster, dice, replicas }) => {
    forgetSilently(replicas, dice);
    cluster.failOver(dice.between(5, 1_500), dice.integer(4));
  },
  /** A name that leads to a standby, as after a switch-over that the pool has not followed. */
  poolOnStandby: ({ timeline, dice, cluster }, { wires }) => {
    const server = cluster.standby();
    if (server !== null) {
      wires.weather.poolServer = {
        server,
        untilMs: timeline.nowMs + dice.between(10, 3_000),
        untilRenewed: dice.chance(0.5),
      };
      if (dice.chance(0.5)) {
        wires.listening?.cut();
      }
    }
  },
};

/** Some replicas do not notice that the server is gone. */
function forgetSilently(replicas: readonly Replica[], dice: Dice): void {
  for (const { wires } of replicas) {
    if (wires.listening !== null && dice.chance(0.4)) {
      wires.listening.isHalfOpen = true;
    }
  }
}

/**
 * Another server takes over, and the old one still answers those that are connected to it (P5). Listening connections move over;
 * pools stay, until they are made anew or the old one is gone.
 */
const leftBehind: Readonly<Record<string, Fault>> = {
  switchOver: ({ timeline, dice, cluster, replicas }) => {
    const old = cluster.switchOver();
    if (old !== null) {
      for (const { wires } of replicas) {
        if (dice.chance(0.7)) {
          wires.weather.poolServer = {
            server: old,
            untilMs: timeline.nowMs + dice.between(10, 6_000),
            untilRenewed: dice.chance(0.7),
          };
        }
      }
    }
  },
};

const pauses: Readonly<Record<string, Fault>> = {
  pause: ({ dice }, { machine }) => {
    machine.pause(dice.between(10, dice.pick([200, 4_000, 9_000])));
  },
};

const suspensions: Readonly<Record<string, Fault>> = {
  suspend: ({ dice }, { machine }) => {
    machine.suspend(dice.between(10, dice.pick([200, 4_000, 9_000])));
  },
  stepForward: ({ dice }, { machine }) => {
    machine.stepWall(dice.between(10, 10_000));
  },
};

/** Not together with suspensions: a step back of the wall clock could hide one, and nothing inside can see that. */
const steps: Readonly<Record<string, Fault>> = {
  stepForward: suspensions['stepForward']!,
  stepBack: ({ dice }, { machine }) => {
    machine.stepWall(-dice.between(10, dice.pick([500, 10_000])));
  },
};

const ddl: Readonly<Record<string, Fault>> = {
  disable: ({ timeline, dice, cluster, write }) => {
    const subject = dice.pick(SUBJECTS);
    cluster.disableTriggers(subject);
    timeline.after(dice.between(0, 500), () => {
      write(subject);
    });
    timeline.after(dice.between(1, dice.pick([100, 6_000])), () => {
      cluster.repairTriggers(subject);
    });
  },
  /** All at once, as a bulk import does it. */
  disableAll: ({ timeline, dice, cluster, write }) => {
    for (const subject of SUBJECTS) {
      cluster.disableTriggers(subject);
    }
    timeline.after(dice.between(0, 4_000), () => {
      for (const subject of SUBJECTS) {
        write(subject);
      }
    });
    timeline.after(dice.between(1, dice.pick([100, 8_000])), () => {
      for (const subject of SUBJECTS) {
        cluster.repairTriggers(subject);
      }
    });
  },
  flicker: ({ dice, cluster, write }) => {
    const subject = dice.pick(SUBJECTS);
    cluster.disableTriggers(subject);
    write(subject);
    cluster.repairTriggers(subject);
  },
  unwatch: ({ timeline, dice, cluster, write }) => {
    const subject = dice.pick(SUBJECTS);
    cluster.unwatch(subject);
    timeline.after(dice.between(0, 500), () => {
      write(subject);
    });
    timeline.after(dice.between(1, dice.pick([100, 4_000])), () => {
      cluster.repairTriggers(subject);
    });
  },
};

const hostile: Readonly<Record<string, Fault>> = {
  malformed: ({ cluster, dice }) => {
    shout(cluster, dice.pick(['', 'not json', '{"v":2}', '{"v":1,"s":"grant","k":[]}', '{"v":1,"f":7}', '[]']));
  },
  change: ({ cluster, dice }) => {
    const subject = dice.pick(SUBJECTS);
    shout(cluster, JSON.stringify(dice.chance(0.5) ? { v: 1, s: subject } : { v: 1, s: subject, k: [['u1']] }));
  },
  /** Changes that arrive as something that nobody understands. */
  garbled: ({ timeline, dice, cluster }) => {
    cluster.garbles = true;
    timeline.after(dice.between(50, 1_500), () => {
      cluster.garbles = false;
    });
  },
  foreignFence: ({ cluster }) => {
    shout(cluster, '{"v":1,"f":"nonce-1"}');
  },
  forgeFences: ({ timeline, dice }, { wires }) => {
    wires.weather.forgesFences = true;
    if (wires.listening !== null) {
      wires.listening.stalledUntilMs = timeline.nowMs + dice.between(0, 50);
    }
    timeline.after(dice.between(1_000, 5_000), () => {
      wires.weather.forgesFences = false;
    });
  },
  slowLoads: ({ timeline, dice }, { wires }) => {
    wires.weather.loadsSlowUntilMs = timeline.nowMs + dice.between(200, 3_000);
  },
  poison: (_, replica) => {
    replica.request({ app: 'a1', user: 'poison', strong: false });
  },
  poolFails: network['poolFails']!,
  throwingHandlers: (_, replica) => {
    replica.handlersThrow = true;
  },
};

function shout(cluster: Cluster, payload: string): void {
  if (cluster.primary !== null) {
    cluster.notify(cluster.primary, payload, FORGER_PROCESS);
  }
}

/** The kinds of a profile; several kinds for one make several profiles of it, one a seed. */
export const PROFILES = {
  calm: [{}],
  network: [network],
  servers: [{ ...servers, cut: network['cut']!, poolFails: network['poolFails']! }],
  leftBehind: [{ ...leftBehind, cut: network['cut']! }],
  clocks: [
    { ...pauses, ...suspensions },
    { ...pauses, ...steps },
  ],
  ddl: [ddl],
  hostile: [hostile],
  chaos: [
    { ...network, ...servers, ...pauses, ...suspensions, ...ddl, ...hostile },
    { ...network, ...servers, ...pauses, ...steps, ...ddl, ...hostile },
  ],
} satisfies Readonly<Record<string, readonly Readonly<Record<string, Fault>>[]>>;

export type Profile = keyof typeof PROFILES;

/** Lets things go wrong, now and then, until the hour. */
export function planFaults(
  profile: Profile,
  targets: FaultTargets,
  untilMs: number,
  trace: (line: () => string) => void,
): void {
  const { timeline, dice, replicas } = targets;
  const faults = Object.entries(dice.pick<Readonly<Record<string, Fault>>>(PROFILES[profile]));
  const meanMs = dice.pick([300, 1_000, 3_000]);
  for (
    let atMs = dice.between(0, 2 * meanMs);
    faults.length > 0 && atMs < untilMs;
    atMs += dice.between(0, 2 * meanMs)
  ) {
    timeline.at(atMs, () => {
      const [name, fault] = dice.pick(faults);
      const replica = dice.pick(replicas);
      trace(() => `*** ${name} (${replica.name})`);
      fault(targets, replica);
    });
  }
}
