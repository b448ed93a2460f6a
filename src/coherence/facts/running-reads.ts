/**
 * Reads that wait for Postgres. Such a read may hold facts that were read before a change, and decide with them after
 * the change was heard of. So a barrier waits for the reads that began before it (P26).
 */

export interface RunningReads {
  /** Notes that this read runs until it settles. Returns the same promise. */
  add<T>(read: Promise<T>): Promise<T>;
  /** Resolves when each read that runs now has settled. It does not wait for reads that begin after this call. */
  settled(): Promise<void>;
}

/** Creates a set of reads, of which none runs. */
export function createRunningReads(): RunningReads {
  const running = new Set<Promise<unknown>>();
  return {
    add(read) {
      const leave = (): void => {
        running.delete(read);
      };
      running.add(read);
      read.then(leave, leave);
      return read;
    },
    async settled() {
      await Promise.allSettled(running);
    },
  };
}
