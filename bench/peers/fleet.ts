/** Many replicas of Gatebell in one process, each with a listening connection and a pool of its own. */
import { createCoherence } from '../../src/coherence/coherence.js';
import type { OpenSubscription } from '../../src/coherence/proof/connection.js';
import { createSubscriptionOpener } from '../../src/postgres/listen.js';
import { createDatabase } from '../../src/postgres/pool.js';
import { systemClock, systemRandom } from '../../src/time/clock.js';
import { runMembers } from './members.js';
import { ready, setting } from './peer.js';

/** As by default. */
const LEASE_MS = 3_000;
const FENCE_INTERVAL_MS = 1_000;

let started = 0;

runMembers(async counter => {
  const replica = `fleet-${process.pid}-${++started}`;
  const database = createDatabase({
    connectionString: setting('DATABASE_URL'),
    applicationName: `gatebell/${replica}`,
    poolMax: 2,
    observe: ({ event }) => {
      if (event === 'query') {
        counter.question();
      }
    },
  });
  const open = createSubscriptionOpener(database.listenConfig);
  const openCounted: OpenSubscription = (channel, events, signal) =>
    open(
      channel,
      {
        onMessage: payload => {
          counter.delivery();
          events.onMessage(payload);
        },
        onLost: error => {
          events.onLost(error);
        },
      },
      signal,
    );
  let becomeLive = (): void => undefined;
  const live = new Promise<void>(resolve => {
    becomeLive = resolve;
  });
  const coherence = createCoherence({
    channel: 'gatebell',
    replica,
    leaseMs: LEASE_MS,
    fenceIntervalMs: FENCE_INTERVAL_MS,
    loadsMax: 1,
    clock: systemClock,
    random: systemRandom,
    observe: observation => {
      if (observation.event === 'listener_state' && observation.to === 'live') {
        becomeLive();
      }
    },
    openSubscription: openCounted,
    askServer: database.askServer,
    askFence: database.askFence,
    renewPool: database.renew,
    source: database.source,
  });
  coherence.start();
  await live;
  return {
    get boundMs() {
      return coherence.stalenessBoundMs;
    },
    async stop() {
      await coherence.stop();
      await database.close();
    },
  };
});
ready(0);
