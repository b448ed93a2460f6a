/** Lives side by side: one worker a core, each living one life after the other. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { ProfileName } from './profiles.js';
import type { LifeOptions, Outcome } from './simulated-world.js';

/** One life to be lived. */
export interface Order {
  readonly profile: ProfileName;
  readonly seed: number;
  readonly options: LifeOptions;
}

export interface Lives {
  /**
   * Lives one life as soon as a worker is free. Rejects if the simulation itself breaks, or the life does not come to
   * an end.
   */
  live(profile: ProfileName, seed: number, options?: LifeOptions): Promise<Outcome>;
  /** Gives up what is under way: its promises never settle. */
  close(): Promise<void>;
}

interface Waiting {
  readonly order: Order;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
}

/** Far more than any life takes, even on a busy machine. */
const LIFE_MAX_MS = 60_000;

/** Workers a core; fewer if told so. */
export const WORKERS = availableParallelism();

/** @param code from `bundleSimulation` */
export function startLives(code: string, workers: number = WORKERS): Lives {
  const queue: Waiting[] = [];
  const idle: Worker[] = [];
  const all = new Set<Worker>();
  const current = new Map<Worker, Waiting & { readonly limit: NodeJS.Timeout }>();

  const hire = (): void => {
    const worker = new Worker(code, { eval: true });
    all.add(worker);
    const fail = (error: Error): void => {
      const failed = leave(worker);
      all.delete(worker);
      void worker.terminate();
      if (failed !== undefined) {
        hire();
        failed.reject(error);
      }
    };
    worker.on('message', (outcome: Outcome) => {
      leave(worker)?.resolve(outcome);
      take(worker);
    });
    worker.on('error', fail);
    worker.on('late', fail);
    take(worker);
  };
  const leave = (worker: Worker): Waiting | undefined => {
    const left = current.get(worker);
    clearTimeout(left?.limit);
    current.delete(worker);
    return left;
  };
  const take = (worker: Worker): void => {
    const next = queue.shift();
    if (next === undefined) {
      idle.push(worker);
      return;
    }
    const { profile, seed } = next.order;
    const limit = setTimeout(() => {
      worker.emit('late', new Error(`the life of ${profile} ${seed} does not come to an end`));
    }, LIFE_MAX_MS);
    current.set(worker, { ...next, limit });
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker has no origin
    worker.postMessage(next.order);
  };

  for (let count = 0; count < workers; count++) {
    hire();
  }
  return {
    live: (profile, seed, options = {}) =>
      new Promise((resolve, reject) => {
        queue.push({ order: { profile, seed, options }, resolve, reject });
        const worker = idle.pop();
        if (worker !== undefined) {
          take(worker);
        }
      }),
    async close() {
      for (const { limit } of current.values()) {
        clearTimeout(limit);
      }
      await Promise.all([...all].map(worker => worker.terminate()));
    },
  };
}
