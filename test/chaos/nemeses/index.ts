/** Every nemesis, in the order in which they come. A new one stands in the file of what it attacks, and here. */
import type { Nemesis } from '../nemesis.js';
import * as connections from './connections.js';
import * as failover from './failover.js';
import * as network from './network.js';
import * as pooler from './pooler.js';
import * as processes from './processes.js';
import * as restores from './restores.js';
import * as servers from './servers.js';
import * as signals from './signals.js';

/** Nothing is done: what the others are compared with. */
const calm: Nemesis = {
  name: 'calm',
  does: 'Does nothing: what the others are compared with.',
  start: () => Promise.resolve(() => Promise.resolve()),
};

export const NEMESES: readonly Nemesis[] = [
  calm,
  connections.killListener,
  connections.killAllBackends,
  connections.killStorm,
  connections.cutPool,
  connections.exhaustConnections,
  connections.slowQueries,
  network.blackHoleListenerDown,
  network.blackHoleListener,
  network.blackHolePool,
  network.blackHoleDown,
  network.blackHoleUp,
  network.blackHoleAll,
  network.blackHoleFlicker,
  network.jitter,
  network.slowNetwork,
  processes.pauseReplica,
  processes.pauseListenerBackend,
  processes.killReplica,
  signals.disableTriggers,
  signals.flickerTriggers,
  signals.dropTrigger,
  signals.unwatch,
  signals.forgeries,
  signals.deafListener,
  servers.restartFast,
  servers.restartImmediate,
  servers.crash,
  servers.outage,
  pooler.poolerBetween,
  pooler.poolerForPool,
  failover.promoteClean,
  failover.promoteLossy,
  failover.promoteListenerMoves,
  failover.promotePoolMoves,
  failover.promoteNewcomers,
  restores.restoreInPlace,
  restores.schemaMadeAnew,
  restores.numbersSetBack,
  restores.crashUnlogged,
];
