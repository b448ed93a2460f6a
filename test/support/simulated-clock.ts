/**
 * A `Clock` whose two hands the test moves. Nothing happens by itself: timers fire when `advance` passes their hour,
 * deferred tasks run when a turn is taken. No real time is involved; `setImmediate` only lets pending promises settle.
 */
import type { Clock, Random } from '../../src/time/clock.js';

export interface SimulatedClock extends Clock {
  /** Tasks that wait for their turn. */
  readonly deferred: number;
  /** Timers that wait for their hour. */
  readonly timers: number;
  /** Lets every promise settle that can, without running deferred tasks. */
  drain(): Promise<void>;
  /** One turn of the event loop: runs the tasks deferred so far, then lets promises settle. */
  turn(): Promise<void>;
  /** Takes turns until nothing is deferred. */
  settle(): Promise<void>;
  /** Moves both clocks, firing timers at their hour and settling each time. */
  advance(ms: number): Promise<void>;
  /** A paused process: both clocks move at once, then late timers fire; the sockets were not read yet. */
  pause(ms: number): Promise<void>;
  /** Moves the wall clock alone: a step (either way), or a suspension, which the monotonic clock does not see. */
  stepWall(ms: number): void;
  /** Moves the monotonic clock alone: drift, or a wall clock that is held back. */
  stepMono(ms: number): void;
}

interface Timer {
  readonly dueMs: number;
  readonly fire: () => void;
}

const TURNS_MAX = 10_000;

/** Resolves when all promises that can settle have done so. */
export function drainMicrotasks(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve);
  });
}

export function createSimulatedClock(): SimulatedClock {
  let monoMs = 1_000;
  let wallMs = 1_700_000_000_000;
  let tasks: (() => void)[] = [];
  const timers = new Set<Timer>();

  const move = (ms: number): void => {
    monoMs += ms;
    wallMs += ms;
  };
  const nextDue = (endMs: number): Timer | undefined =>
    [...timers].filter(({ dueMs }) => dueMs <= endMs).sort((one, other) => one.dueMs - other.dueMs)[0];
  const turn = async (): Promise<void> => {
    const due = tasks;
    tasks = [];
    for (const task of due) {
      task();
    }
    await drainMicrotasks();
  };
  const settle = async (): Promise<void> => {
    await drainMicrotasks();
    for (let turns = 0; tasks.length > 0; turns++) {
      if (turns > TURNS_MAX) {
        throw new Error('the deferred tasks do not come to an end');
      }
      await turn();
    }
  };

  return {
    now: () => ({ monoMs, wallMs }),
    startTimer(ms, fire) {
      const timer: Timer = {
        dueMs: monoMs + ms,
        fire: () => {
          timers.delete(timer);
          fire();
        },
      };
      timers.add(timer);
      return () => {
        timers.delete(timer);
      };
    },
    defer: task => {
      tasks.push(task);
    },
    get deferred() {
      return tasks.length;
    },
    get timers() {
      return timers.size;
    },
    drain: drainMicrotasks,
    turn,
    settle,
    async advance(ms) {
      const endMs = monoMs + ms;
      await settle();
      for (let due = nextDue(endMs), fired = 0; due !== undefined; due = nextDue(endMs), fired++) {
        if (fired > TURNS_MAX) {
          throw new Error('the timers do not come to an end');
        }
        move(Math.max(0, due.dueMs - monoMs));
        due.fire();
        await settle();
      }
      move(endMs - monoMs);
      await settle();
    },
    async pause(ms) {
      move(ms);
      for (let due = nextDue(monoMs); due !== undefined; due = nextDue(monoMs)) {
        due.fire();
      }
      await drainMicrotasks();
    },
    stepWall(ms) {
      wallMs += ms;
    },
    stepMono(ms) {
      monoMs += ms;
    },
  };
}

/** Chance without surprises: `uniform` gives these numbers in turn, over and over; nonces are counted. */
export function createFixedRandom(...numbers: readonly number[]): Random {
  let [drawn, nonces] = [0, 0];
  return { uniform: () => numbers[drawn++ % numbers.length] ?? 0.5, nonce: () => `nonce-${++nonces}` };
}
