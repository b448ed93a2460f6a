/**
 * What a nemesis is. Those that there are stand in `nemeses/`, by what they attack; `nemeses/index.ts` lists them all.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Line } from '../support/replica.js';
import type { Tool } from '../support/tool.js';
import type { Cluster, Member } from './cluster.js';

/** Takes the fault away again. */
export type Stop = () => Promise<void>;

export interface Nemesis {
  readonly name: string;
  /** One sentence. */
  readonly does: string;
  /** In force for less than this, nothing of it would be seen. Default 0. */
  readonly leastSeconds?: number;
  /** Whether nobody can commit anything before it ends. Default false. */
  readonly stopsWriters?: boolean;
  /** A program that it cannot do without. */
  readonly needs?: Tool;
  /** Brings it on. Resolves when it is in force. */
  start(cluster: Cluster): Promise<Stop>;
  /**
   * A line that every replica must have logged since the start: a nemesis that nobody has noticed was none. Where a
   * replica must not notice anything, there is none.
   */
  readonly leaves?: (line: Line) => boolean;
  /**
   * What must be so while it is in force, besides the promises: an error says what is not. Asked again and again, until
   * it is so.
   */
  readonly expect?: (cluster: Cluster) => Promise<void>;
}

/** What people call the lease; the default of a replica. */
export const LEASE_MS = 3_000;

/** Does something now and then again and again until it is stopped; one failure ends it, and is thrown at the stop. */
export function repeatedly(everyMs: number, action: () => Promise<void>): Stop {
  const stopped = new AbortController();
  const loop = (async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      await action();
      await sleep(everyMs, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  })();
  loop.catch(() => undefined);
  return () => {
    stopped.abort();
    return loop;
  };
}

/** For each replica at once. */
export async function everywhere(cluster: Cluster, action: (member: Member) => void | Promise<void>): Promise<void> {
  await Promise.all(cluster.members.map(async member => action(member)));
}

export const isEvent =
  (event: string) =>
  (line: Line): boolean =>
    line.event === event;
