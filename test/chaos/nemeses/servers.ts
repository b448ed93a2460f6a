/** Nemeses of the server as a whole: it restarts, crashes, stays away. */
import type { StopMode } from '../../../src/dev/postgres.js';
import { isEvent, type Nemesis } from '../nemesis.js';

const restart = (name: string, does: string, mode: StopMode): Nemesis => ({
  name,
  does,
  async start({ primary }) {
    await primary.stop(mode);
    await primary.start();
    return () => Promise.resolve();
  },
  leaves: isEvent('connection_closed'),
});

export const restartFast = restart('restart-fast', 'Restarts Postgres as an administrator does (fast).', 'fast');

export const restartImmediate = restart(
  'restart-immediate',
  'Restarts Postgres without a clean shutdown (immediate), so that it recovers from its log.',
  'immediate',
);

export const crash = restart('crash', 'Kills the postmaster (SIGKILL) and starts Postgres again.', 'kill');

export const outage: Nemesis = {
  name: 'outage',
  does: 'Stops Postgres, and starts it again at the end.',
  stopsWriters: true,
  async start({ primary }) {
    await primary.stop('fast');
    return () => primary.start();
  },
  leaves: isEvent('connection_closed'),
};
