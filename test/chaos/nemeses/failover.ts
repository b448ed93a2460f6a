/**
 * Nemeses that promote a standby. Writers pause while the primary changes, so that it is known which commits are on the
 * new one: what the old one had acknowledged and the new one lacks is lost, and from then on the truth is what the new
 * one says.
 *
 * An old primary that still answers is a split brain to a replica whose connections all stay with it, and outside the
 * promise. Here some of them move, and that must be noticed. (The writers go on when they have moved: from the loss of
 * a listening connection until the next one is open, some 100 ms, all that the replica has left is with the old
 * primary.)
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.js';
import { everywhere, isEvent, LEASE_MS, type Nemesis } from '../nemesis.js';
import { startStandby } from '../standby.js';

/** How long the old primary takes commits that the standby does not get. */
const LOST_MS = 500;
const POLL_MS = 1;

interface Kind {
  readonly loses: boolean;
  /** What becomes of the old primary: gone, or still answering on connections that stay open, except on these. */
  readonly old: 'killed' | 'listener moves' | 'pool moves';
}

/**
 * Breaks the connections; resolves when the replica has opened one to the new primary. Until then nothing could tell
 * it.
 */
async function moveTo(proxy: TcpProxy): Promise<void> {
  const before = proxy.opened;
  proxy.cut();
  while (proxy.opened === before) {
    await sleep(POLL_MS);
  }
}

const promote = (name: string, does: string, { loses, old: fate }: Kind): Nemesis => ({
  name,
  does,
  async start(cluster) {
    const old = cluster.primary;
    const stream = await startTcpProxy(old.port);
    cluster.onStop(() => stream.close());
    const standby = await startStandby(old, stream.port, cluster.settings);
    cluster.onStop(() => standby.server.remove());
    await standby.catchUp();
    if (loses) {
      stream.blackHole('up', 'down');
      await sleep(LOST_MS);
    }
    await cluster.writers.pause();
    if (!loses) {
      await standby.catchUp();
    }
    const sinceMs = performance.now();
    if (fate === 'killed') {
      await old.stop('kill');
    }
    await standby.promote();
    cluster.follow(standby.server);
    const lost = await cluster.writers.reread(sinceMs);
    if (loses !== lost > 0) {
      throw new Error(`${lost} facts were lost in the failover`);
    }
    if (fate !== 'killed') {
      await everywhere(cluster, ({ listen, pool }) => moveTo(fate === 'listener moves' ? listen : pool));
    }
    cluster.writers.resume();
    return async () => {
      await old.remove();
      await stream.close();
    };
  },
  leaves: isEvent('connection_closed'),
});

export const promoteClean = promote(
  'promote',
  'Kills the primary and promotes a standby that has all of its commits.',
  { loses: false, old: 'killed' },
);

export const promoteLossy = promote(
  'promote-lossy',
  'Kills the primary and promotes a standby that lacks its last commits.',
  { loses: true, old: 'killed' },
);

export const promoteListenerMoves = promote(
  'promote-old-answers-pools',
  'Promotes a standby; the listening connections move to it, those of the ' +
    'pools stay with the old primary, which still answers.',
  { loses: false, old: 'listener moves' },
);

export const promotePoolMoves = promote(
  'promote-old-answers-listeners',
  'Promotes a standby; the connections of the pools move to it, the listening ones stay with the old primary, ' +
    'which still answers.',
  { loses: false, old: 'pool moves' },
);

export const promoteNewcomers: Nemesis = {
  name: 'promote-before-start',
  does:
    'Promotes a standby and starts the replicas anew: their listening connections lead to it, their pools, for ' +
    'longer than the lease, to the old primary, which still answers and cannot commit.',
  async start(cluster) {
    const { writers, members } = cluster;
    const old = cluster.primary;
    const standby = await startStandby(old, old.port, cluster.settings);
    cluster.onStop(() => standby.server.remove());
    await writers.pause();
    await standby.catchUp();
    await Promise.all(members.map(member => member.kill()));
    const sinceMs = performance.now();
    await standby.promote();
    await cluster.sql(`alter system set synchronous_standby_names = 'nobody'`);
    await cluster.sql('select pg_reload_conf()');
    cluster.follow(standby.server);
    const lost = await writers.reread(sinceMs);
    if (lost > 0) {
      throw new Error(`${lost} facts were lost in the failover`);
    }
    await everywhere(cluster, async member => {
      member.pool.retarget(old.port);
      await member.start();
    });
    writers.resume();
    await sleep(LEASE_MS + LOST_MS);
    await everywhere(cluster, ({ pool }) => {
      pool.retarget(standby.server.port);
      pool.cut();
    });
    return () => old.remove();
  },
  leaves: line => line.event === 'connection_closed' && line['cause'] === 'foreign_pool',
};
