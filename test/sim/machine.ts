/**
 * The machine that one replica runs on: two clocks and an event loop.
 *
 * A turn of the loop has the phases of Node's: timers that are due, then the sockets that can be read, then what was
 * deferred; after each callback all promises settle that can. A turn takes no time. Between turns the process may be
 * paused (both clocks go on), the machine suspended (the monotonic clock stands still), or the wall clock stepped.
 */
import type { Clock } from '../../src/time/clock.js';
import type { Dice } from './dice.js';
import { settlePromises } from './simulated-promises.js';
import type { Timeline } from './timeline.js';

interface Timer {
  readonly dueMonoMs: number;
  readonly fire: () => void;
}

/** Clocks are compared with this tolerance: sums of fractions are not exact. */
const EXACT_MS = 1e-6;
const WALL_EPOCH_MS = 1_700_000_000_000;

export class Machine {
  readonly clock: Clock;
  readonly #timeline: Timeline;
  readonly #dice: Dice;
  readonly #onCrash: (error: unknown) => void;
  readonly #timers = new Set<Timer>();
  #readable: (() => void)[] = [];
  #deferred: (() => void)[] = [];
  #suspendedMs = 0;
  #wallOffsetMs: number;
  #frozenUntilMs = 0;
  #thawing = false;
  #wakeAtMs = Infinity;
  #turning = false;
  #blockMs = 0;
  #dead = false;

  /** @param onCrash called with what a callback throws: it would have ended the process */
  constructor(timeline: Timeline, dice: Dice, onCrash: (error: unknown) => void) {
    this.#onCrash = onCrash;
    this.#timeline = timeline;
    this.#dice = dice;
    this.#wallOffsetMs = WALL_EPOCH_MS + dice.between(-1e6, 1e6);
    this.clock = {
      now: () => ({ monoMs: this.#monoMs, wallMs: timeline.nowMs + this.#wallOffsetMs }),
      startTimer: (ms, fire) => this.startTimer(ms, fire),
      defer: task => {
        this.#deferred.push(task);
        this.#plan();
      },
    };
  }

  get #monoMs(): number {
    return this.#timeline.nowMs - this.#suspendedMs;
  }

  get isFrozen(): boolean {
    return this.#frozenUntilMs > this.#timeline.nowMs;
  }

  /** Timers that have not fired. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Returns what cancels it. */
  startTimer(ms: number, fire: () => void): () => void {
    const timer = { dueMonoMs: this.#monoMs + ms, fire };
    this.#timers.add(timer);
    this.#plan();
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** A socket has something to read. */
  receive(read: () => void): void {
    this.#readable.push(read);
    this.#plan();
  }

  /** The process stands still for a while, and its clocks do not. */
  pause(ms: number): void {
    if (!this.isFrozen) {
      this.#frozenUntilMs = this.#timeline.nowMs + ms;
      this.#thawing = true;
      this.#plan();
    }
  }

  /** The next callback takes this long: what else was to run in its turn runs after it. */
  block(ms: number): void {
    this.#blockMs = ms;
  }

  /** The machine stands still for a while; only the wall clock shows it. */
  suspend(ms: number): void {
    if (!this.isFrozen) {
      this.pause(ms);
      this.#suspendedMs += ms;
    }
  }

  /** The process ends: nothing of it runs any more. */
  kill(): void {
    this.#dead = true;
    this.#timers.clear();
    this.#readable = [];
    this.#deferred = [];
  }

  stepWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  #plan(): void {
    if (this.#turning || this.#dead) {
      return;
    }
    const { nowMs } = this.#timeline;
    let dueMs = nowMs;
    if (this.#readable.length + this.#deferred.length === 0) {
      dueMs = Infinity;
      for (const timer of this.#timers) {
        dueMs = Math.min(dueMs, nowMs + timer.dueMonoMs - this.#monoMs);
      }
    }
    dueMs = Math.max(dueMs, this.#frozenUntilMs);
    if (dueMs < this.#wakeAtMs) {
      this.#wakeAtMs = dueMs;
      this.#timeline.at(dueMs, () => {
        if (this.#wakeAtMs === dueMs) {
          this.#wake();
        }
      });
    }
  }

  #wake(): void {
    this.#wakeAtMs = Infinity;
    if (this.isFrozen || this.#dead) {
      this.#plan();
    } else {
      this.#turn();
    }
  }

  #turn(): void {
    this.#turning = true;
    // Mostly the timers come first after a pause, but the loop may have stood anywhere.
    if (!this.#thawing || this.#dice.chance(0.8)) {
      this.#fireTimers();
    }
    this.#thawing = false;
    this.#readSockets();
    this.#runDeferred();
    this.#turning = false;
    this.#plan();
  }

  #fireTimers(): void {
    const due = [...this.#timers].filter(timer => timer.dueMonoMs <= this.#monoMs + EXACT_MS);
    due.sort((one, other) => one.dueMonoMs - other.dueMonoMs);
    for (const timer of due) {
      // One that fired before may have cancelled it.
      if (!this.isFrozen && this.#timers.delete(timer)) {
        this.#call(timer.fire);
      }
    }
  }

  #readSockets(): void {
    const readable = this.#readable;
    this.#readable = [];
    while (readable.length > 0 && !this.isFrozen) {
      const [read] = readable.splice(this.#dice.integer(readable.length), 1);
      this.#call(read!);
    }
    this.#readable.unshift(...readable);
  }

  #runDeferred(): void {
    const deferred = this.#deferred;
    this.#deferred = [];
    while (deferred.length > 0 && !this.isFrozen) {
      this.#call(deferred.shift()!);
    }
    this.#deferred.unshift(...deferred);
  }

  #call(task: () => void): void {
    try {
      task();
    } catch (error) {
      this.#onCrash(error);
    }
    settlePromises();
    if (this.#blockMs > 0) {
      this.pause(this.#blockMs);
      this.#blockMs = 0;
    }
  }
}
