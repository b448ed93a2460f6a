/** Keeps everything that was observed, so that a test can ask what happened. */
import type { CoherenceObservation, Observe } from '../../src/coherence/observation.js';

type Event = CoherenceObservation['event'];
type Observed<E extends Event> = Extract<CoherenceObservation, { readonly event: E }>;

export interface ObservationLog {
  readonly observe: Observe;
  /** All observations of one kind, oldest first. */
  of<E extends Event>(event: E): readonly Observed<E>[];
  /** The names of all that was observed, oldest first. */
  readonly events: readonly Event[];
}

export function createObservationLog(): ObservationLog {
  const all: CoherenceObservation[] = [];
  return {
    observe: observation => {
      all.push(observation);
    },
    of: <E extends Event>(event: E) =>
      all.filter((observation): observation is Observed<E> => observation.event === event),
    get events() {
      return all.map(({ event }) => event);
    },
  };
}
