/**
 * What is asked of every proxy, one sentence each: the rows of the table in docs/proxies.md. A behaviour that may well
 * differ from one proxy to another says how it went, in a word or a status; that goes into the table, and CI fails when
 * it changes.
 */
import { FAULTS } from './faults.js';
import { ODD_CLIENTS_BEHAVIOURS } from './odd-clients.js';
import { OPEN_CONNECTIONS } from './open-connections.js';
import { REQUESTS } from './requests.js';
import { SPOOFS } from './spoofs.js';
import type { Stage } from './stage.js';
import { UPGRADES } from './upgrades.js';
import { VERDICTS } from './verdicts.js';

export interface Behaviour {
  readonly title: string;
  /** Fails, or tells what there is to tell. */
  readonly run: (stage: Stage) => Promise<string | void>;
}

export const BEHAVIOURS: readonly Behaviour[] = [
  ...VERDICTS,
  ...REQUESTS,
  ...SPOOFS,
  ...UPGRADES,
  ...OPEN_CONNECTIONS,
  ...ODD_CLIENTS_BEHAVIOURS,
  ...FAULTS,
];
