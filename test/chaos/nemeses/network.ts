/** Nemeses of the network between the replicas and Postgres: black holes, delays, breaks. */
import type { TcpProxy, Way } from '../../support/tcp-proxy.js';
import type { Member } from '../cluster.js';
import { everywhere, isEvent, LEASE_MS, repeatedly, type Nemesis } from '../nemesis.js';

type Reach = (member: Member) => readonly TcpProxy[];

const listener: Reach = ({ listen }) => [listen];
const pool: Reach = ({ pool }) => [pool];
const everything: Reach = ({ listen, pool }) => [listen, pool];

/** A fence that is sent into it, a second after the last one, is overdue when the lease has run out. */
const UNTIL_OVERDUE_SECONDS = LEASE_MS / 1_000 + 2;

const blackHole = (name: string, does: string, reach: Reach, ...ways: readonly Way[]): Nemesis => ({
  name,
  does,
  leastSeconds: UNTIL_OVERDUE_SECONDS,
  async start(cluster) {
    const set = (...holes: readonly Way[]): Promise<void> =>
      everywhere(cluster, member => {
        for (const proxy of reach(member)) {
          proxy.blackHole(...holes);
        }
      });
    await set(...ways);
    return () => set();
  },
  leaves: isEvent('fence_failed'),
});

export const blackHoleListenerDown = blackHole(
  'black-hole-listener-one-way',
  'Lets nothing from Postgres reach the listening connections; what replicas send arrives.',
  listener,
  'down',
);

export const blackHoleListener = blackHole(
  'black-hole-listener',
  'Lets nothing through on the listening connections, either way; the pools are well.',
  listener,
  'up',
  'down',
);

export const blackHolePool = blackHole(
  'black-hole-pool',
  'Lets nothing through on the connections of the pools, either way; the listening ones are well.',
  pool,
  'up',
  'down',
);

export const blackHoleDown = blackHole(
  'black-hole-one-way',
  'Lets nothing from Postgres reach the replicas; what they send arrives.',
  everything,
  'down',
);

export const blackHoleUp = blackHole(
  'black-hole-other-way',
  'Lets nothing from the replicas reach Postgres; what it sends arrives.',
  everything,
  'up',
);

export const blackHoleAll = blackHole(
  'black-hole',
  'Lets nothing through between the replicas and Postgres, either way.',
  everything,
  'up',
  'down',
);

export const blackHoleFlicker: Nemesis = {
  name: 'black-hole-flicker',
  does:
    'Makes all connections a black hole for a random time of up to two seconds, again and again; what was kept ' +
    'back arrives late.',
  async start(cluster) {
    let isHole = false;
    const toggle = (): Promise<void> =>
      everywhere(cluster, member => {
        for (const proxy of everything(member)) {
          proxy.blackHole(...(isHole ? (['up', 'down'] as const) : []));
        }
      });
    const stop = repeatedly(0, async () => {
      isHole = !isHole;
      await toggle();
      await new Promise(resolve => {
        setTimeout(resolve, Math.random() * (isHole ? 2_000 : 800));
      });
    });
    return async () => {
      await stop();
      isHole = false;
      await toggle();
    };
  },
};

const latency = (name: string, does: string, delayMs: number, jitterMs: number): Nemesis => ({
  name,
  does,
  async start(cluster) {
    const set = (delayMs: number, jitterMs: number): Promise<void> =>
      everywhere(cluster, member => {
        for (const proxy of everything(member)) {
          proxy.setLatency({ delayMs, jitterMs });
        }
      });
    await set(delayMs, jitterMs);
    return () => set(0, 0);
  },
});

export const jitter = latency(
  'jitter',
  'Delays everything between the replicas and Postgres by 20 to 170 ms, each way.',
  20,
  150,
);

export const slowNetwork = latency(
  'slow-network',
  'Delays everything between the replicas and Postgres by 0.4 to 1.2 s, each way: near what a replica waits for.',
  400,
  800,
);
