/** What both fleets have in common: many members in one process, and what is counted of them. */
import { obey } from './commands.js';

/** How often the bounds of all members are looked at. */
const LOOK_MS = 50;

/** What was counted since it was read last. */
export interface FleetCounts {
  /** Statements that ask for a fence, or send one. */
  readonly questions: number;
  /** Notifications that came to the members. */
  readonly delivered: number;
  /** The worst bound of staleness that was seen, in milliseconds. */
  readonly worstBoundMs: number;
  /** Looks at one member, and those of them at which nothing was proven. */
  readonly looks: number;
  readonly unproven: number;
}

/** One listener, and whatever proves that it hears. */
export interface Member {
  /** How stale what it remembers may be now, in milliseconds; null if nothing is proven. */
  readonly boundMs: number | null;
  stop(): Promise<void>;
}

/** What members report to. */
export interface Counter {
  question(): void;
  delivery(): void;
}

/** Starts a member; resolves when it is proven for the first time. */
export type StartMember = (counter: Counter) => Promise<Member>;

/** Members started at a time: a server that many connect to at once refuses some. */
const STARTS_MAX = 4;

/** Obeys the commands `start`, with a number of members, `read` and `stop`. */
export function runMembers(startMember: StartMember): void {
  const members: Member[] = [];
  let counts = { questions: 0, delivered: 0, worstBoundMs: 0, looks: 0, unproven: 0 };
  const counter: Counter = {
    question() {
      counts.questions++;
    },
    delivery() {
      counts.delivered++;
    },
  };
  const look = (): void => {
    for (const { boundMs } of members) {
      counts.looks++;
      counts.unproven += boundMs === null ? 1 : 0;
      counts.worstBoundMs = Math.max(counts.worstBoundMs, boundMs ?? 0);
    }
  };
  setInterval(look, LOOK_MS);

  obey({
    async start(count) {
      while (members.length < Number(count)) {
        const starting = Math.min(STARTS_MAX, Number(count) - members.length);
        members.push(...(await Promise.all(Array.from({ length: starting }, () => startMember(counter)))));
      }
    },
    read(): FleetCounts {
      const read = counts;
      counts = { questions: 0, delivered: 0, worstBoundMs: 0, looks: 0, unproven: 0 };
      return read;
    },
    async stop() {
      await Promise.all(members.splice(0).map(member => member.stop()));
    },
  });
}
