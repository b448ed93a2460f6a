/** All experiments, in the order in which they are run and reported. */
import type { Experiment } from '../experiment.js';
import { firstPaint } from './first-paint.js';
import { fleet } from './fleet.js';
import { growth } from './growth.js';
import { hotPath } from './hot-path.js';
import { oneClient } from './one-client.js';
import { revocation } from './revocation.js';
import { start } from './start.js';
import { unixSocket } from './unix-socket.js';
import { workers } from './workers.js';
import { writers } from './writers.js';

export const EXPERIMENTS: readonly Experiment[] = [
  hotPath,
  firstPaint,
  revocation,
  writers,
  growth,
  fleet,
  start,
  workers,
  unixSocket,
  oneClient,
];
