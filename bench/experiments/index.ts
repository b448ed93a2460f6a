/** All experiments, in the order in which they are run and reported. */
import type { Experiment } from '../experiment.js';
import { hotPath } from './hot-path.js';

export const EXPERIMENTS: readonly Experiment[] = [hotPath];
