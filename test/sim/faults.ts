/** What goes wrong, by kind. Each fault heals by itself; a profile is a choice of kinds (`profiles.ts`). */
import { TOPICS, type Cluster, type Topic } from './cluster.js';
import type { Dice } from './dice.js';
import type { Replica } from './replica.js';
import type { Timeline } from './timeline.js';

export interface FaultTargets {
  readonly timeline: Timeline;
  readonly dice: Dice;
  readonly cluster: Cluster;
  readonly replicas: readonly Replica[];
  /** Commits something to facts of this topic, now; `untold`: past the triggers. */
  write(topic: Topic, untold?: boolean): void;
  /** Ends the replica's process; another one takes its place after a while. */
  kill(replica: Replica): void;
  /** Stops the replica; another one takes its place after a while. */
  stop(replica: Replica): void;
}

export type Fault = (targets: FaultTargets, replica: Replica) => void;
/** Faults by name. */
export type Faults = Readonly<Record<string, Fault>>;

export const network = {
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
  slowALittle: ({ timeline, dice }, { wires }) => {
    wires.weather.delayMaxMs = dice.between(10, 60);
    timeline.after(2_000, () => {
      wires.weather.delayMaxMs = 2;
    });
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
  /** Others hold all connections of the pool: statements wait for one. */
  poolBusy: ({ timeline, dice }, { wires }) => {
    wires.weather.poolBusyUntilMs = timeline.nowMs + dice.between(100, 3_000);
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
  /** Cut, and for a while nobody can listen; meanwhile what is read takes long, and changes. */
  cutWhileLoading: ({ timeline, dice, write }, replica) => {
    const { wires } = replica;
    const downMs = dice.between(20, 700);
    wires.weather.loadsSlowUntilMs = timeline.nowMs + downMs;
    wires.weather.listenRefusedUntilMs = timeline.nowMs + downMs;
    wires.listening?.cut();
    for (let asked = 0; asked < 6; asked++) {
      timeline.after(dice.between(0, downMs), () => {
        replica.request({ app: dice.pick(['a1', 'a2']), credential: dice.pick(['c1', 'c2']), strong: false });
      });
    }
    for (const topic of TOPICS) {
      timeline.after(dice.between(0, downMs), () => {
        write(topic);
      });
    }
  },
  /** Nothing is heard, and what is read takes long. */
  stallWhileLoading: ({ timeline, dice }, { wires }) => {
    const ms = dice.between(300, 2_500);
    wires.weather.loadsSlowUntilMs = timeline.nowMs + ms;
    if (wires.listening !== null) {
      wires.listening.stalledUntilMs = timeline.nowMs + ms;
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
} satisfies Faults;

export const servers = {
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
} satisfies Faults;

/** Some replicas do not notice that the server is gone. */
function forgetSilently(replicas: readonly Replica[], dice: Dice): void {
  for (const { wires } of replicas) {
    if (wires.listening !== null && dice.chance(0.4)) {
      wires.listening.isHalfOpen = true;
    }
  }
}

/**
 * Another server takes over, and the old one still answers those that are connected to it (P5). Listening connections
 * move over; pools stay, until they are created again or the old one is gone.
 */
export const leftBehind = {
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
} satisfies Faults;

/** Backups and what is made of them: the schema goes back in time, and so does whatever is numbered in it. */
export const restores = {
  /** From a dump of a while ago, into the same database; often nothing more is heard soon after. */
  restoreInPlace: ({ timeline, dice, cluster, replicas, write }) => {
    const dump = cluster.dump();
    timeline.after(dice.between(100, 2_000), () => {
      const goneMs = dice.pick([0, dice.between(0, 300)]);
      cluster.restore(dump, goneMs);
      timeline.after(goneMs + dice.between(0, 1_500), () => {
        fallSilent(timeline, dice, replicas);
        for (const topic of TOPICS) {
          write(topic);
        }
      });
    });
  },
  makeAnew: ({ dice, cluster }) => {
    cluster.restore(null, dice.between(0, 300));
  },
  setNumbers: ({ timeline, dice, cluster, replicas, write }) => {
    cluster.setFenceNumber(dice.pick([0, 0, 3, 1_000_000]));
    fallSilent(timeline, dice, replicas);
    for (const topic of TOPICS) {
      timeline.after(dice.between(0, 1_000), () => {
        write(topic);
      });
    }
  },
} satisfies Faults;

/** Listening connections on which nothing comes for a while. */
function fallSilent(timeline: Timeline, dice: Dice, replicas: readonly Replica[]): void {
  for (const replica of replicas) {
    const { listening } = replica.wires;
    if (listening !== null && dice.chance(0.7)) {
      listening.stalledUntilMs = timeline.nowMs + dice.between(2_000, 6_000);
    }
    for (const afterMs of [1_500, 3_500]) {
      timeline.after(afterMs, () => {
        askAgain(replica);
      });
    }
  }
}

/** The postmaster goes on, its children are new, and what was not yet written down is given out again. */
export const crashes = {
  crash: ({ timeline, dice, cluster, replicas, write }) => {
    forgetSilently(replicas, dice);
    const downMs = dice.between(5, 300);
    cluster.crash(downMs, dice.integer(4));
    for (const topic of TOPICS) {
      timeline.after(downMs + dice.between(0, 1_500), () => {
        write(topic);
      });
    }
    for (const replica of replicas) {
      timeline.after(downMs + dice.between(1_000, 4_000), () => {
        askAgain(replica);
      });
    }
  },
} satisfies Faults;

/** People wait while a machine stands still, and are answered first. */
function askAgain(replica: Replica): void {
  for (const app of ['a1', 'a2']) {
    for (const credential of ['c1', 'c2', 'c3']) {
      replica.request({ app, credential, strong: false });
    }
  }
}

export const pauses = {
  pause: ({ dice }, replica) => {
    const { machine } = replica;
    machine.pause(dice.between(10, dice.pick([200, 4_000, 9_000])));
    askAgain(replica);
  },
  /** For longer than a fence may take, while one is in flight. */
  pauseFence: ({ timeline, dice }, { machine, wires }) => {
    wires.weather.onFence = () => {
      wires.weather.onFence = null;
      timeline.after(dice.between(0, 4), () => {
        machine.pause(dice.between(2_000, 6_000));
      });
    };
  },
  /** Somebody's callback takes long, in the middle of a turn of the event loop. */
  block: ({ dice }, { machine }) => {
    machine.block(dice.between(10, dice.pick([200, 4_000])));
  },
} satisfies Faults;

export const suspensions = {
  suspend: ({ dice }, replica) => {
    const { machine } = replica;
    machine.suspend(dice.between(10, dice.pick([200, 4_000, 9_000])));
    askAgain(replica);
  },
  stepForward: ({ dice }, { machine }) => {
    machine.stepWall(dice.between(10, 10_000));
  },
} satisfies Faults;

/** Not together with suspensions: a step back of the wall clock could hide one, and nothing inside can see that. */
export const steps = {
  stepForward: suspensions.stepForward,
  stepBack: ({ dice }, { machine }) => {
    machine.stepWall(-dice.between(10, dice.pick([500, 10_000])));
  },
} satisfies Faults;

export const ddl = {
  disable: ({ timeline, dice, cluster, write }) => {
    const topic = dice.pick(TOPICS);
    cluster.disableTriggers(topic);
    timeline.after(dice.between(0, 500), () => {
      write(topic);
    });
    timeline.after(dice.between(1, dice.pick([100, 6_000])), () => {
      cluster.repairTriggers(topic);
    });
  },
  /** All at once, as a bulk import does it. */
  disableAll: ({ timeline, dice, cluster, write }) => {
    for (const topic of TOPICS) {
      cluster.disableTriggers(topic);
    }
    timeline.after(dice.between(0, 4_000), () => {
      for (const topic of TOPICS) {
        write(topic);
      }
    });
    timeline.after(dice.between(1, dice.pick([100, 8_000])), () => {
      for (const topic of TOPICS) {
        cluster.repairTriggers(topic);
      }
    });
  },
  /** Off and on again between a new LISTEN and its first fence, while facts are read. */
  flickerWhileConnecting: ({ timeline, dice, cluster, write }, replica) => {
    const { wires } = replica;
    const { weather } = wires;
    wires.listening?.cut();
    weather.onFence = () => {
      weather.onFence = null;
      weather.delayMaxMs = 400;
      askAgain(replica);
      for (const topic of TOPICS) {
        timeline.after(dice.between(50, 390), () => {
          cluster.disableTriggers(topic);
          write(topic);
          cluster.repairTriggers(topic);
        });
      }
      timeline.after(1_000, () => {
        weather.delayMaxMs = 2;
      });
    };
  },
  flicker: ({ dice, cluster, write }) => {
    const topic = dice.pick(TOPICS);
    cluster.disableTriggers(topic);
    write(topic);
    cluster.repairTriggers(topic);
  },
  unwatch: ({ timeline, dice, cluster, write }) => {
    const topic = dice.pick(TOPICS);
    cluster.unwatch(topic);
    timeline.after(dice.between(0, 500), () => {
      write(topic);
    });
    timeline.after(dice.between(1, dice.pick([100, 4_000])), () => {
      cluster.repairTriggers(topic);
    });
  },
} satisfies Faults;

export const hostile = {
  malformed: ({ cluster, dice }) => {
    shout(cluster, dice.pick(['', 'not json', '{"v":2}', '{"v":1,"s":"grant","k":[]}', '{"v":1,"f":7}', '[]']));
  },
  change: ({ cluster, dice }) => {
    const topic = dice.pick(TOPICS);
    shout(cluster, JSON.stringify(dice.chance(0.5) ? { v: 1, s: topic } : { v: 1, s: topic, k: [['u1']] }));
  },
  /** Changes that arrive as something that nobody understands. */
  garbled: ({ timeline, dice, cluster }) => {
    cluster.garbles = true;
    timeline.after(dice.between(50, 1_500), () => {
      cluster.garbles = false;
    });
  },
  foreignFence: ({ cluster }) => {
    if (cluster.primary !== null) {
      // A number that will not be reached: if it counted, it would prove whatever is asked for.
      cluster.forgeFence(cluster.primary, Number.MAX_SAFE_INTEGER);
    }
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
    // Others that have not been seen wait with it.
    for (const credential of ['made up', 'poison', 'made up as well']) {
      replica.request({ app: 'a1', credential, strong: false });
    }
  },
  poolFails: network.poolFails,
  poolBusy: network.poolBusy,
  throwingHandlers: (_, replica) => {
    replica.handlersThrow = true;
  },
} satisfies Faults;

function shout(cluster: Cluster, payload: string): void {
  if (cluster.primary !== null) {
    cluster.notify(cluster.primary, payload);
  }
}

/** More made-up credentials than there is room for, in one burst. */
export const floods = {
  flood: ({ timeline, dice }, replica) => {
    if (dice.chance(0.5)) {
      replica.wires.weather.loadsSlowUntilMs = timeline.nowMs + 300;
    }
    for (let made = dice.pick([20, 60, 120]); made > 0; made--) {
      replica.request({ app: dice.pick(['a1', 'a2']), credential: `made up ${dice.integer(1e6)}`, strong: false });
    }
  },
} satisfies Faults;

/** More than may wait for a worker that stands still. */
const MESSAGES_MANY = 60;

/** Processes end, or stand still, while requests are under way in them. */
export const processes = {
  kill: ({ kill }, replica) => {
    askAgain(replica);
    kill(replica);
  },
  stop: ({ timeline, dice, stop }, replica) => {
    if (dice.chance(0.5)) {
      replica.wires.weather.loadsSlowUntilMs = timeline.nowMs + 500;
    }
    askAgain(replica);
    stop(replica);
    // Some come late.
    timeline.after(dice.between(0, 500), () => {
      askAgain(replica);
    });
  },
  stopWhileConnecting: ({ timeline, dice, stop }, replica) => {
    replica.wires.listening?.cut();
    timeline.after(dice.between(0, 1_500), () => {
      stop(replica);
    });
  },
  /** It stands still while more comes than may wait for it; then barriers are passed. */
  fallBehind: ({ timeline, dice, cluster, write }, replica) => {
    replica.machine.pause(dice.between(300, 1_200));
    askAgain(replica);
    for (let sent = 0; sent < MESSAGES_MANY; sent++) {
      shout(cluster, JSON.stringify({ v: 1, s: 'user', k: [['nobody']] }));
    }
    timeline.after(dice.between(20, 100), () => {
      for (const topic of TOPICS) {
        write(topic);
      }
      shout(cluster, JSON.stringify({ v: 1, b: `b${dice.integer(1e9)}` }));
    });
  },
  pauseHost: ({ dice }, { host }) => {
    host?.machine.pause(dice.between(10, dice.pick([100, 2_500])));
  },
  pauseWorker: ({ dice }, replica) => {
    replica.machine.pause(dice.between(10, dice.pick([100, 2_500])));
    askAgain(replica);
  },
} satisfies Faults;

/** Changes of which nothing tells: a table rewritten by DDL, or a writer that has switched triggers off for itself. */
export const slips = {
  slip: ({ dice, write }) => {
    write(dice.pick(TOPICS), true);
  },
} satisfies Faults;

/** A trigger function is replaced and put back; who wrote in between commits later, and nothing tells of it. */
export const openWriters = {
  writeUnsignalled: ({ timeline, dice, cluster, write }) => {
    const topic = dice.pick(TOPICS);
    cluster.disableTriggers(topic);
    const end = cluster.openWriter(topic);
    timeline.after(dice.between(0, dice.pick([5, 1_500])), () => {
      cluster.repairTriggers(topic);
      timeline.after(dice.between(0, 4_000), () => {
        if (end()) {
          write(topic, true);
        }
      });
    });
  },
} satisfies Faults;

/**
 * The wall clock is set back while the first fence of a connection is in flight, and soon after the machine is
 * suspended for as long: a proof from before the step would look fresh after it.
 */
export const steppedFences = {
  stepFirstFence: ({ timeline, dice }, { machine, wires }) => {
    const ms = dice.between(1_000, 6_000);
    wires.weather.delayMaxMs = 20;
    wires.listening?.cut();
    wires.weather.onFence = () => {
      wires.weather.onFence = null;
      timeline.after(0.01, () => {
        machine.stepWall(-ms);
      });
      timeline.after(dice.between(20, 150), () => {
        machine.suspend(ms + dice.between(0, 50));
        wires.weather.delayMaxMs = 2;
      });
    };
  },
} satisfies Faults;

/** A fence with a number that will not be reached is heard, and then nothing for a while. */
export const forgedFences = {
  forgeAndStall: ({ timeline, dice, write, cluster }, replica) => {
    const { listening } = replica.wires;
    const { primary } = cluster;
    if (listening !== null && primary !== null) {
      cluster.forgeFence(primary, primary.ids + 1_000_000);
      timeline.after(20, () => {
        listening.stalledUntilMs = timeline.nowMs + dice.between(2_000, 6_000);
        for (const topic of TOPICS) {
          timeline.after(dice.between(0, 1_000), () => {
            write(topic);
          });
        }
      });
      for (const afterMs of [1_500, 2_500, 3_500, 4_500]) {
        timeline.after(afterMs, () => {
          askAgain(replica);
        });
      }
    }
  },
} satisfies Faults;

/**
 * Echoes that come when nobody waits for them any more: the answer to a fence is lost, its echo held back, and then
 * nothing follows.
 */
export const lateEchoes = {
  lateEcho: ({ timeline, dice, write }, replica) => {
    const { wires } = replica;
    const { weather } = wires;
    weather.onFence = () => {
      weather.onFence = null;
      const { listening } = wires;
      if (listening !== null) {
        weather.poolDeafUntilMs = timeline.nowMs + 100;
        // The fence is given up after two seconds, and the next one is sent at once.
        listening.stalledUntilMs = timeline.nowMs + dice.between(2_160, 2_300);
        listening.fadesAfterFence = true;
        for (const topic of TOPICS) {
          timeline.after(dice.between(50, 2_000), () => {
            write(topic);
          });
        }
        timeline.after(dice.between(2_300, 2_700), () => {
          askAgain(replica);
        });
      }
    };
  },
} satisfies Faults;
