/**
 * A coherence in the test's own process on a real Postgres, and what it observes; tests wait for observations, never
 * for time.
 */
import type { CoherenceObservation } from '../../src/coherence/observation.js';
import {
  createPostgresCoherence,
  type PostgresCoherence,
  type PostgresCoherenceOptions,
} from '../../src/postgres/coherence.js';
import type { StoreObservation } from '../../src/postgres/pool.js';

type Observation = CoherenceObservation | StoreObservation;
type Event = Observation['event'];

export interface InsideCoherence {
  readonly coherence: PostgresCoherence;
  readonly observations: readonly Observation[];
  /** Waits for as many of these, from now on. */
  seen<E extends Event>(event: E, count?: number): Promise<Extract<Observation, { readonly event: E }>>;
  /** Statements of this name so far. */
  queries(name: string): number;
}

export function createInsideCoherence(options: PostgresCoherenceOptions): InsideCoherence {
  const observations: Observation[] = [];
  const watchers = new Set<(observation: Observation) => void>();
  return {
    coherence: createPostgresCoherence({
      ...options,
      observe: observation => {
        observations.push(observation);
        for (const look of watchers) {
          look(observation);
        }
      },
    }),
    observations,
    seen: <E extends Event>(event: E, count = 1) =>
      new Promise<Extract<Observation, { readonly event: E }>>(resolve => {
        let left = count;
        const look = (observation: Observation): void => {
          if (observation.event === event && --left === 0) {
            watchers.delete(look);
            resolve(observation as Extract<Observation, { readonly event: E }>);
          }
        };
        watchers.add(look);
      }),
    queries: name => observations.filter(seen => seen.event === 'query' && seen.query === name).length,
  };
}
