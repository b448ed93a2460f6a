/** A reader over the caches of a cache bench, with fences that the test proves or fails. */
import type { Cache } from '../../src/coherence/facts/cache.js';
import type { FenceOutcome } from '../../src/coherence/proof/fence.js';
import type { LoaderLimits } from '../../src/coherence/facts/loader.js';
import { createReader, type Reader } from '../../src/coherence/facts/reader.js';
import { createRunningReads, type RunningReads } from '../../src/coherence/facts/running-reads.js';
import { createCacheBench, type CacheBench } from './cache-harness.js';

export interface Types {
  readonly user: string;
  readonly grant: string;
}

export interface AskedFence {
  /** It comes back: everything sent before it was asked for is applied. */
  prove(epoch?: number | null): Promise<void>;
  fail(): Promise<void>;
}

export interface ReaderBench extends CacheBench {
  readonly reader: Reader<Types>;
  readonly users: Cache<string>;
  readonly grants: Cache<string>;
  readonly runningReads: RunningReads;
  /** All fences that were asked for, oldest first; each is sent when it is asked for. */
  readonly fences: readonly AskedFence[];
}

/** How long a strong answer waits for its fences. */
export const STRONG_WAIT_MS = 1_500;

export function createReaderBench(limits: Partial<LoaderLimits> = {}): ReaderBench {
  const bench = createCacheBench(limits);
  const { clock, sequence, lease, serverClock } = bench;
  const [users, grants] = [bench.cache('user'), bench.cache('grant')];
  const fences: AskedFence[] = [];
  const runningReads = createRunningReads();
  const reader = createReader<Types>(
    { user: users, grant: grants },
    {
      clock,
      sequence,
      lease,
      serverClock,
      snapshots: bench.snapshots,
      runningReads,
      strongWaitMs: STRONG_WAIT_MS,
      fence: () =>
        new Promise<FenceOutcome>(resolve => {
          const sentAt = sequence.next();
          fences.push({
            async prove(epoch = lease.epoch) {
              resolve({ sentAt, epoch: epoch ?? 0 });
              await clock.settle();
            },
            async fail() {
              resolve(null);
              await clock.settle();
            },
          });
        }),
    },
  );
  return Object.assign(bench, { reader, users, grants, fences, runningReads });
}
